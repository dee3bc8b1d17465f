import CanonicalJSON

/// The combined effect of the normalizer, pre-tokenizer and decoder of a `tokenizer.json`, for the combinations that
/// have a short name: those of LLaMA and GPT-2. `HuggingFaceSteps` has the others.
struct HuggingFaceComponents {
  private(set) var unit = SymbolUnit.characters
  private(set) var pattern = WordPattern.none
  private(set) var prefixRule = PrefixRule.never
  private(set) var flags: TokenizerFlags = []
  private(set) var hasNormalizer = false

  private static let mark = "\u{2581}"
  init(_ root: JSONValue) throws(TokenizerError) {
    try readNormalizer(root["normalizer"])
    try readPreTokenizer(root["pre_tokenizer"])
    try readDecoder(root["decoder"])
    guard unit == .characters || !hasNormalizer else {
      throw TokenizerError(.unsupported, "normalizer", "one before a vocabulary of bytes")
    }
  }

  /// The components of a sequence, or the one that is not a sequence, or none.
  private static func list(_ value: JSONValue?, _ key: String, _ structure: String) throws(TokenizerError)
    -> [JSONValue]
  {
    guard let value, value != .null else { return [] }
    guard value["type"]?.string == "Sequence" else { return [value] }
    guard let components = value[key]?.array else {
      throw TokenizerError(.malformed, structure, "a sequence without \(key)")
    }
    return components
  }

  private static func unsupported(_ component: JSONValue, _ structure: String) -> TokenizerError {
    TokenizerError(.unsupported, structure, "\(component["type"]?.string ?? "a component without type") as it is set")
  }

  private mutating func readNormalizer(_ value: JSONValue?) throws(TokenizerError) {
    for component in try Self.list(value, "normalizers", "normalizer") {
      hasNormalizer = true
      switch component["type"]?.string {
      case "Prepend" where component["prepend"]?.string == Self.mark && prefixRule == .never && flags.isEmpty:
        prefixRule = .everyStretch
      case "Replace" where component["pattern"]?["String"]?.string == " " && component["content"]?.string == Self.mark:
        flags.insert(.escapesSpaces)
      default: throw Self.unsupported(component, "normalizer")
      }
    }
    guard prefixRule == .never || flags.contains(.escapesSpaces) else {
      throw TokenizerError(.unsupported, "normalizer", "Prepend without Replace")
    }
  }

  private mutating func readPreTokenizer(_ value: JSONValue?) throws(TokenizerError) {
    for component in try Self.list(value, "pretokenizers", "pre_tokenizer") {
      switch component["type"]?.string {
      case "Split" where unit == .characters && flags.isEmpty && pattern == .none: try readSplit(component)
      case "ByteLevel" where unit == .characters && flags.isEmpty: try readByteLevel(component)
      case "Metaspace" where unit == .characters && !hasNormalizer && flags.isEmpty && pattern == .none:
        try readMetaspace(component)
      default: throw Self.unsupported(component, "pre_tokenizer")
      }
    }
    guard pattern == .none || unit == .bytes else {
      throw TokenizerError(.unsupported, "pre_tokenizer", "Split without ByteLevel")
    }
  }

  private mutating func readSplit(_ component: JSONValue) throws(TokenizerError) {
    guard let expression = component["pattern"]?["Regex"]?.string,
      let known = WordPattern(expression: expression.utf8)
    else {
      throw TokenizerError(.unsupported, "pre_tokenizer", "the pattern of Split")
    }
    pattern = known
    guard component["behavior"]?.string == "Isolated", component["invert"]?.boolean != true else {
      throw Self.unsupported(component, "pre_tokenizer")
    }
  }

  private mutating func readByteLevel(_ component: JSONValue) throws(TokenizerError) {
    let ownPattern = component["use_regex"]?.boolean ?? true
    let addsSpace = component["add_prefix_space"]?.boolean ?? true
    // After another pattern, both would act on each of its words.
    guard ownPattern == (pattern == .none), !addsSpace || ownPattern else {
      throw Self.unsupported(component, "pre_tokenizer")
    }
    if ownPattern { pattern = .gpt2 }
    if addsSpace { prefixRule = .everyStretchUnlessPresent }
    unit = .bytes
  }

  private mutating func readMetaspace(_ component: JSONValue) throws(TokenizerError) {
    guard component["replacement"]?.string == Self.mark else { throw Self.unsupported(component, "pre_tokenizer") }
    flags.insert(.escapesSpaces)
    if component["split"]?.boolean ?? true { flags.insert(.splitsAtSpaces) }
    let legacyScheme = component["add_prefix_space"]?.boolean == false ? "never" : "always"
    switch component["prepend_scheme"]?.string ?? legacyScheme {
    case "always": prefixRule = .everyStretchUnlessPresent
    case "first": prefixRule = .startUnlessPresent
    case "never": break
    default: throw Self.unsupported(component, "pre_tokenizer")
    }
  }

  private mutating func readDecoder(_ value: JSONValue?) throws(TokenizerError) {
    for component in try Self.list(value, "decoders", "decoder") {
      switch component["type"]?.string {
      case "ByteLevel" where unit == .bytes: continue
      case "ByteFallback" where unit == .characters, "Fuse" where unit == .characters: continue
      case "Replace"
      where unit == .characters && component["pattern"]?["String"]?.string == Self.mark
        && component["content"]?.string == " ":
        continue
      case "Strip"
      where unit == .characters && component["content"]?.string == " " && component["start"]?.integer == 1
        && component["stop"]?.integer == 0:
        flags.insert(.dropsLeadingSpace)
      // It drops all spaces of the first token. Dropping the one that was added gives the text back.
      case "Metaspace" where unit == .characters:
        if prefixRule != .never { flags.insert(.dropsLeadingSpace) }
      default: throw Self.unsupported(component, "decoder")
      }
    }
  }
}
