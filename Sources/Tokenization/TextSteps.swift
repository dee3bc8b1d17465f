/// What is looked for in a text.
enum TextPattern: Equatable, Sendable {
  case literal([UInt8])
  /// A regular expression, in the syntax that `Pattern` knows.
  case expression([UInt8])
}

/// Rewrites a stretch of text before it is split, as a normalizer of `tokenizer.json` does.
enum NormalizerStep: Equatable, Sendable {
  case form(UnicodeForm)
  case lowercase
  /// Puts something in front of a text that is not empty.
  case prepend([UInt8])
  case replace(TextPattern, with: [UInt8])
  /// Removes white space at the ends.
  case strip(left: Bool, right: Bool)
}

/// The Unicode normalization forms.
enum UnicodeForm: UInt32, Sendable {
  case nfc = 1
  case nfd = 2
  case nfkc = 3
  case nfkd = 4
}

/// What happens to the matches at which a text is split.
enum SplitBehaviour: UInt32, Sendable {
  case removed = 1
  /// Each is a word.
  case isolated = 2
  case mergedWithPrevious = 3
  case mergedWithNext = 4
  /// As isolated, but neighbouring matches are one word.
  case contiguous = 5
}

/// Splits each word of a text further, as a pre-tokenizer of `tokenizer.json` does.
enum SplitStep: Equatable, Sendable {
  /// By a pattern that has a scanner of its own; each match is a word.
  case words(WordPattern)
  case split(TextPattern, SplitBehaviour, inverts: Bool)
  /// At digits: each is a word, or each run of them is.
  case digits(individual: Bool)
  case punctuation(SplitBehaviour)
  /// Runs of word characters and runs of others are words; white space is dropped.
  case whitespace
  /// Drops white space.
  case whitespaceSplit
  /// Replaces spaces by U+2581, maybe puts one in front, and maybe starts a word at each.
  case metaspace(PrefixRule, splits: Bool)
  /// Bytes are the symbols from here on: later steps see the characters of `ByteAlphabet`.
  case byteLevel(addsPrefixSpace: Bool, splitsWords: Bool)
}
