import CanonicalJSON

/// The normalizer, pre-tokenizer and decoder of a `tokenizer.json` as steps, when
/// `HuggingFaceComponents` has no shorter name for what they do together.
struct HuggingFaceSteps {
  private(set) var normalizers: [NormalizerStep] = []
  private(set) var splits: [SplitStep] = []
  private(set) var flags: TokenizerFlags = .usesSteps

  /// Whether bytes are the symbols of merging.
  var unit: SymbolUnit {
    splits.contains { if case .byteLevel = $0 { true } else { false } } ? .bytes : .characters
  }

  init(_ root: JSONValue) throws(TokenizerError) {
    for component in try Self.list(root["normalizer"], "normalizers", "normalizer") { try readNormalizer(component) }
    for component in try Self.list(root["pre_tokenizer"], "pretokenizers", "pre_tokenizer") {
      try readPreTokenizer(component)
    }
    for component in try Self.list(root["decoder"], "decoders", "decoder") { try readDecoder(component) }
  }

  /// The components of sequences, of sequences within them, or the one that is not a sequence, or none.
  static func list(
    _ value: JSONValue?, _ key: String, _ structure: String, depth: Int = 0
  ) throws(TokenizerError) -> [JSONValue] {
    guard let value, value != .null else { return [] }
    guard value["type"]?.string == "Sequence" else { return [value] }
    guard depth < 8, let components = value[key]?.array else {
      throw TokenizerError(.malformed, structure, "a sequence without \(key), or too deep")
    }
    var found: [JSONValue] = []
    for component in components { found += try list(component, key, structure, depth: depth + 1) }
    return found
  }

  private static func unsupported(_ component: JSONValue, _ structure: String) -> TokenizerError {
    TokenizerError(.unsupported, structure, "\(component["type"]?.string ?? "a component without type") as it is set")
  }

  private static func text(
    _ component: JSONValue, _ key: String, _ structure: String
  ) throws(TokenizerError) -> [UInt8] {
    guard let text = component[key]?.string else {
      throw TokenizerError(.malformed, structure, "\(component["type"]?.string ?? "a component") without \(key)")
    }
    return Array(text.utf8)
  }

  private static func pattern(_ component: JSONValue, _ structure: String) throws(TokenizerError) -> TextPattern {
    if let text = component["pattern"]?["String"]?.string {
      // Nothing is everywhere.
      guard !text.isEmpty else { throw unsupported(component, structure) }
      return .literal(Array(text.utf8))
    }
    if let text = component["pattern"]?["Regex"]?.string { return .expression(Array(text.utf8)) }
    throw TokenizerError(.malformed, structure, "\(component["type"]?.string ?? "a component") without pattern")
  }

  private static func behaviour(
    _ component: JSONValue, _ structure: String, otherwise: SplitBehaviour? = nil
  ) throws(TokenizerError) -> SplitBehaviour {
    switch component["behavior"]?.string {
    case "Removed": return .removed
    case "Isolated": return .isolated
    case "MergedWithPrevious": return .mergedWithPrevious
    case "MergedWithNext": return .mergedWithNext
    case "Contiguous": return .contiguous
    default:
      guard let otherwise, component["behavior"] == nil else { throw unsupported(component, structure) }
      return otherwise
    }
  }

  private mutating func readNormalizer(_ component: JSONValue) throws(TokenizerError) {
    let structure = "normalizer"
    switch component["type"]?.string {
    case "NFC": normalizers.append(.form(.nfc))
    case "NFD": normalizers.append(.form(.nfd))
    case "NFKC": normalizers.append(.form(.nfkc))
    case "NFKD": normalizers.append(.form(.nfkd))
    case "Lowercase": normalizers.append(.lowercase)
    case "Prepend": normalizers.append(.prepend(try Self.text(component, "prepend", structure)))
    case "Replace":
      normalizers.append(
        .replace(try Self.pattern(component, structure), with: try Self.text(component, "content", structure)))
    case "Strip":
      normalizers.append(
        .strip(
          left: component["strip_left"]?.boolean ?? true, right: component["strip_right"]?.boolean ?? true))
    default: throw Self.unsupported(component, structure)
    }
  }

  private mutating func readPreTokenizer(_ component: JSONValue) throws(TokenizerError) {
    let structure = "pre_tokenizer"
    switch component["type"]?.string {
    case "Split":
      let pattern = try Self.pattern(component, structure)
      let behaviour = try Self.behaviour(component, structure)
      let inverts = component["invert"]?.boolean ?? false
      if case .expression(let text) = pattern, let known = WordPattern(expression: text), behaviour == .isolated {
        // Both match all of a text, so that it does not matter which of match and rest is which.
        splits.append(.words(known))
      } else {
        splits.append(.split(pattern, behaviour, inverts: inverts))
      }
    case "Digits": splits.append(.digits(individual: component["individual_digits"]?.boolean ?? false))
    case "Punctuation":
      splits.append(.punctuation(try Self.behaviour(component, structure, otherwise: .isolated)))
    case "Whitespace": splits.append(.whitespace)
    case "WhitespaceSplit": splits.append(.whitespaceSplit)
    case "Metaspace": splits.append(try metaspace(component))
    case "ByteLevel":
      splits.append(
        .byteLevel(
          addsPrefixSpace: component["add_prefix_space"]?.boolean ?? true,
          splitsWords: component["use_regex"]?.boolean ?? true))
    default: throw Self.unsupported(component, structure)
    }
  }

  private func metaspace(_ component: JSONValue) throws(TokenizerError) -> SplitStep {
    guard component["replacement"]?.string == "\u{2581}" else { throw Self.unsupported(component, "pre_tokenizer") }
    let splits = component["split"]?.boolean ?? true
    let legacyScheme = component["add_prefix_space"]?.boolean == false ? "never" : "always"
    switch component["prepend_scheme"]?.string ?? legacyScheme {
    case "always": return .metaspace(.everyStretchUnlessPresent, splits: splits)
    case "first": return .metaspace(.startUnlessPresent, splits: splits)
    case "never": return .metaspace(.never, splits: splits)
    default: throw Self.unsupported(component, "pre_tokenizer")
    }
  }

  private mutating func readDecoder(_ component: JSONValue) throws(TokenizerError) {
    let mark = "\u{2581}"
    switch component["type"]?.string {
    case "ByteLevel" where unit == .bytes: break
    case "ByteFallback" where unit == .characters, "Fuse": break
    case "Replace"
    where unit == .characters && component["pattern"]?["String"]?.string == mark
      && component["content"]?.string == " ":
      break
    case "Strip"
    where unit == .characters && component["content"]?.string == " " && component["start"]?.integer == 1
      && component["stop"]?.integer == 0:
      flags.insert(.dropsLeadingSpace)
    case "Metaspace" where unit == .characters:
      let putsSpace = splits.contains {
        if case .metaspace(let rule, _) = $0 { rule != .never } else { false }
      }
      if putsSpace { flags.insert(.dropsLeadingSpace) }
    default: throw Self.unsupported(component, "decoder")
    }
  }
}

extension WordPattern {
  private static let llama3Expression =
    #"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|"#
    + #"\s*[\r\n]+|\s+(?!\S)|\s+"#
  private static let gpt2Expression = #"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"#

  /// The pattern of an expression that has a scanner of its own.
  init?(expression: some Collection<UInt8>) {
    if expression.elementsEqual(Self.llama3Expression.utf8) {
      self = .llama3
    } else if expression.elementsEqual(Self.gpt2Expression.utf8) {
      self = .gpt2
    } else {
      return nil
    }
  }
}

/// What post-processors put around a single text.
enum PostProcessing {
  /// The token that is put in front, if one is.
  /// - Throws: `TokenizerError` when there is more than one, or one behind the text.
  static func firstToken(_ root: JSONValue) throws(TokenizerError) -> String? {
    var first: String?
    for component in try HuggingFaceSteps.list(root["post_processor"], "processors", "post_processor") {
      first = try firstToken(of: component) ?? first
    }
    return first
  }

  private static func firstToken(of component: JSONValue) throws(TokenizerError) -> String? {
    let structure = "post_processor"
    func refusal(_ fault: String) -> TokenizerError { TokenizerError(.unsupported, structure, fault) }
    switch component["type"]?.string {
    // It changes offsets only.
    case "ByteLevel": return nil
    case "TemplateProcessing":
      guard let items = component["single"]?.array else { throw refusal("TemplateProcessing without single") }
      let names = items.map { $0["SpecialToken"]?["id"]?.string }
      guard let text = items.firstIndex(where: { $0["Sequence"] != nil }) else {
        throw refusal("TemplateProcessing without the text")
      }
      if let behind = names[(text + 1)...].compactMap(\.self).first {
        throw refusal("\"\(behind)\" is put behind texts")
      }
      guard text <= 1, items.count == text + 1 else { throw refusal("more than one token is put in front of texts") }
      guard text == 0 || names[0] != nil else { throw refusal("TemplateProcessing as it is set") }
      return text == 0 ? nil : names[0]
    case "BertProcessing", "RobertaProcessing":
      let behind = component["sep"]?.array?.first?.string ?? ""
      throw refusal("\(component["type"]?.string ?? "") puts \"\(behind)\" behind texts")
    default: throw refusal("\(component["type"]?.string ?? "a component without type") as it is set")
    }
  }
}
