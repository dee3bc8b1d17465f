/// The kinds of tokens. The raw values are those of the serialized form.
enum PieceKind: UInt8 {
  case normal = 0
  /// Stands for characters without a token.
  case unknown = 1
  /// A special token: begin of text, end of turn. Never found in plain text.
  case control = 2
  /// Found in every text before anything else is.
  case userDefined = 3
  /// Takes part in merges and is split again afterwards.
  case unused = 4
  /// One byte of a character without a token. Its piece is that byte.
  case byte = 5
  /// Never produced: an id without a piece, whose bytes are empty, or a spelling that no text leads to.
  case inert = 6
}

/// The symbols that merges start from.
enum SymbolUnit: UInt32 {
  /// Unicode scalars, as SentencePiece does.
  case characters = 1
  /// Bytes of words that a pattern has split off, as GPT-2 does.
  case bytes = 2
}

/// The pattern that splits a text into words.
enum WordPattern: UInt32 {
  case none = 0
  case gpt2 = 1
  case llama3 = 2
}

/// When a text gets a space in front, so that its first word is the token of a word.
enum PrefixRule: UInt32 {
  case never = 0
  /// Every stretch of text between special tokens gets one.
  case everyStretch = 1
  /// As `everyStretch`, unless the stretch starts with a space.
  case everyStretchUnlessPresent = 2
  /// Only the start of the text, unless it starts with a space.
  case startUnlessPresent = 3
  /// Only the start of the text.
  case start = 4
}

struct TokenizerFlags: OptionSet {
  let rawValue: UInt32

  /// Spaces become U+2581 before merging and spaces again when decoding.
  static let escapesSpaces = TokenizerFlags(rawValue: 1 << 0)
  /// Runs of spaces become one; none stay at the start and the end.
  static let removesExtraSpaces = TokenizerFlags(rawValue: 1 << 1)
  /// A character without a token becomes its bytes.
  static let byteFallback = TokenizerFlags(rawValue: 1 << 2)
  /// A word that is a piece is that token, whatever the merges say.
  static let wholePieceFirst = TokenizerFlags(rawValue: 1 << 3)
  /// Every U+2581 starts a new word.
  static let splitsAtSpaces = TokenizerFlags(rawValue: 1 << 4)
  /// Decoding drops one space at the start of the text.
  static let dropsLeadingSpace = TokenizerFlags(rawValue: 1 << 5)
  /// User-defined pieces end a stretch of text. Otherwise they are symbols within one.
  static let splitsAtUserDefined = TokenizerFlags(rawValue: 1 << 6)

  /// The text goes through `normalizers` and `splits` instead of what the pattern, the prefix rule and the flags about
  /// spaces say, and characters without a token are treated as the package `tokenizers` treats them.
  static let usesSteps = TokenizerFlags(rawValue: 1 << 7)
  /// With `usesSteps`: characters without a token that follow each other in a word are one unknown token.
  static let fusesUnknown = TokenizerFlags(rawValue: 1 << 8)

  /// Those of version 1 of the serialized form.
  static let first = TokenizerFlags(rawValue: 1 << 7 - 1)
  static let all = TokenizerFlags(rawValue: 1 << 9 - 1)
  /// What steps replace.
  static let replacedBySteps: TokenizerFlags = [
    .escapesSpaces, .removesExtraSpaces, .splitsAtSpaces,
  ]
}

/// How an added token is found in a text.
struct AddedTokenOptions: OptionSet, Equatable {
  let rawValue: UInt32

  /// It takes the white space before it.
  static let stripsLeft = AddedTokenOptions(rawValue: 1 << 0)
  /// It takes the white space after it.
  static let stripsRight = AddedTokenOptions(rawValue: 1 << 1)
  /// It is found only where no letter, digit or other part of a word touches it.
  static let singleWord = AddedTokenOptions(rawValue: 1 << 2)
  /// It is looked for, normalized, in the normalized text. Only with `usesSteps`.
  static let normalized = AddedTokenOptions(rawValue: 1 << 3)

  static let all = AddedTokenOptions(rawValue: 1 << 4 - 1)
}

/// Byte strings one after another.
struct PieceList: Equatable {
  /// Where each piece ends in `bytes`.
  var ends: [UInt32] = []
  var bytes: [UInt8] = []

  var count: Int { ends.count }

  func range(_ index: Int) -> Range<Int> {
    (index == 0 ? 0 : Int(ends[index - 1]))..<Int(ends[index])
  }

  subscript(index: Int) -> ArraySlice<UInt8> { bytes[range(index)] }

  mutating func append(_ piece: some Sequence<UInt8>) {
    bytes.append(contentsOf: piece)
    ends.append(UInt32(bytes.count))
  }
}

/// Two neighbouring symbols become one. Its rank is that of the merge before it if `sharesRank`, else one more.
struct Merge: Equatable {
  var left: UInt32
  var right: UInt32
  var result: UInt32
  var sharesRank: Bool
}

/// All that makes a tokenizer, as the importers produce it and as it is serialized.
///
/// Format: Formats/tokenizer.md.
struct TokenizerDefinition: Equatable {
  var unit: SymbolUnit
  var pattern: WordPattern = .none
  var prefixRule: PrefixRule = .never
  var flags: TokenizerFlags = []
  var pieces = PieceList()
  var kinds: [PieceKind] = []
  /// Characters that are no piece, yet part of one. The first has the symbol after the last piece.
  var extraCharacters: [UInt32] = []
  /// In the order of their ranks.
  var merges: [Merge] = []
  var unknownToken: Int32?
  /// The text of the unknown token.
  var unknownSurface: [UInt8] = []
  var beginOfText: Int32?
  var endOfText: [Int32] = []
  /// What a text goes through before it is split, with `usesSteps`.
  var normalizers: [NormalizerStep] = []
  /// What splits a text into words, with `usesSteps`.
  var splits: [SplitStep] = []
  /// Of the control and user-defined pieces that have any.
  var options: [Int32: AddedTokenOptions] = [:]

  /// Whether version 1 of the serialized form can express it.
  var fitsFirstVersion: Bool {
    flags.isSubset(of: .first) && options.isEmpty && !kinds.contains(.inert)
  }

  mutating func append(_ piece: some Sequence<UInt8>, _ kind: PieceKind) {
    pieces.append(piece)
    kinds.append(kind)
  }
}

extension TokenizerFlags: Equatable {}

/// U+2581 in UTF-8, which stands for a space in SentencePiece's pieces.
let spaceMark: [UInt8] = [0xE2, 0x96, 0x81]
