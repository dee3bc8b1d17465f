package import CanonicalJSON

extension Tokenizer {
  /// Reads a Hugging Face `tokenizer.json` with a BPE model: over bytes, as LLaMA-3 has it, or over characters with
  /// byte fallback, as LLaMA-2's conversions have it.
  ///
  /// Tokens are those of tokenizers 0.23.3 for each stretch of text. Truncation and padding are left to the caller.
  /// - Throws: `TokenizerError`; a component that is not known is named. See Formats/tokenizer.md.
  public init(huggingFace text: [UInt8], configuration: TokenizerConfiguration? = nil) throws(TokenizerError) {
    try self.init(
      huggingFace: try TokenizerConfiguration.json(text, structure: "tokenizer.json"), configuration: configuration)
  }

  /// As `init(huggingFace:configuration:)`, of the contents of a `tokenizer.json` that has been parsed, or was never a
  /// file.
  package init(huggingFace root: JSONValue, configuration: TokenizerConfiguration? = nil) throws(TokenizerError) {
    var notes: [String] = []
    let importer = try HuggingFaceImporter(root, configuration, &notes)
    var definition = try importer.definition()
    configuration?.nameSpecialTokens(of: &definition, &notes)
    try importer.chooseBegin(of: &definition, configuration)
    if configuration?.addsPrefixSpace == false, definition.unit == .characters,
      !definition.flags.contains(.usesSteps)
    {
      definition.prefixRule = .never
      definition.flags.remove(.dropsLeadingSpace)
    }
    try self.init(definition)
    importNotes = notes
  }
}

struct HuggingFaceImporter {
  private let root: JSONValue
  private let model: JSONValue
  private let addedTokens: [TokenizerConfiguration.AddedToken]

  /// - Parameter notes: takes a line for each thing that the two files say differently.
  init(
    _ root: JSONValue, _ configuration: TokenizerConfiguration?, _ notes: inout [String]
  ) throws(TokenizerError) {
    guard root.object != nil, let model = root["model"], model.object != nil else {
      throw TokenizerError(.malformed, "tokenizer.json", "it has no model")
    }
    self.root = root
    self.model = model
    guard model["type"]?.string ?? "BPE" == "BPE" else {
      throw TokenizerError(.unsupported, "model", "its type is \(model["type"]?.string ?? "unknown")")
    }
    for name in ["continuing_subword_prefix", "end_of_word_suffix"] {
      guard let value = model[name], value != .null, value != .string("") else { continue }
      throw TokenizerError(.unsupported, "model", name)
    }
    if let dropout = model["dropout"], dropout != .null, dropout.number != 0 {
      throw TokenizerError(.unsupported, "model", "dropout")
    }
    var addedTokens: [TokenizerConfiguration.AddedToken] = []
    for (index, value) in (root["added_tokens"]?.array ?? []).enumerated() {
      let structure = "added_tokens, entry \(index)"
      guard let id = value["id"]?.integer else { throw TokenizerError(.malformed, structure, "it has no id") }
      addedTokens.append(try TokenizerConfiguration.AddedToken(value, id: id, structure: structure))
    }
    try configuration?.mergeAddedTokens(into: &addedTokens, vocabulary: model["vocab"]?.object ?? [], &notes)
    self.addedTokens = addedTokens.sorted { $0.id < $1.id }
  }

  /// What is put in front of texts: what the configuration says for good, else what the post-processor says. When
  /// both are silent, models of LLaMA's own class have their begin-of-text token there, and so do files without a
  /// configuration.
  fileprivate func chooseBegin(
    of definition: inout TokenizerDefinition, _ configuration: TokenizerConfiguration?
  ) throws(TokenizerError) {
    switch configuration?.putsBeginInFront {
    case false?: definition.beginOfText = nil
    case true?: definition.adoptUsualBegin()
    case nil:
      if let name = try PostProcessing.firstToken(root) {
        definition.beginOfText = try token(name, definition)
      } else if configuration?.isOfLlamaClass ?? true {
        definition.adoptUsualBegin()
      } else {
        definition.beginOfText = nil
      }
    }
    definition.adoptUsualEnds()
  }

  /// As short as it can be: the components of LLaMA and GPT-2 have names, all others become steps.
  func definition() throws(TokenizerError) -> TokenizerDefinition {
    if let components = try? HuggingFaceComponents(root), let definition = try shortDefinition(components) {
      return definition
    }
    let steps = try HuggingFaceSteps(root)
    var definition = TokenizerDefinition(unit: steps.unit)
    definition.flags = steps.flags.union(.splitsAtUserDefined)
    definition.normalizers = steps.normalizers
    definition.splits = steps.splits
    if model["ignore_merges"]?.boolean == true { definition.flags.insert(.wholePieceFirst) }
    if model["fuse_unk"]?.boolean == true { definition.flags.insert(.fusesUnknown) }
    if model["byte_fallback"]?.boolean == true, steps.unit == .characters { definition.flags.insert(.byteFallback) }
    try appendPieces(to: &definition)
    try appendMerges(to: &definition)
    try adoptUnknownToken(&definition)
    return definition
  }

  /// Nil when the vocabulary or an added token needs what only steps have.
  private func shortDefinition(_ components: HuggingFaceComponents) throws(TokenizerError) -> TokenizerDefinition? {
    for token in addedTokens {
      if token.options.subtracting(.normalized) != [] { return nil }
      if !token.isSpecial, token.options.contains(.normalized), components.hasNormalizer { return nil }
    }
    var definition = TokenizerDefinition(unit: components.unit, pattern: components.pattern)
    definition.prefixRule = components.prefixRule
    definition.flags = components.flags.union(.splitsAtUserDefined)
    switch components.unit {
    case .bytes:
      if model["ignore_merges"]?.boolean == true { definition.flags.insert(.wholePieceFirst) }
    case .characters:
      guard model["byte_fallback"]?.boolean == true, model["ignore_merges"]?.boolean != true else { return nil }
      definition.flags.insert(.byteFallback)
    }
    try appendPieces(to: &definition)
    guard !definition.kinds.contains(.inert), definition.hasAllBytes else { return nil }
    try appendMerges(to: &definition)
    return definition
  }

  /// What the reference takes for characters without a token, with steps.
  private func adoptUnknownToken(_ definition: inout TokenizerDefinition) throws(TokenizerError) {
    guard let name = model["unk_token"]?.string else { return }
    let hasAll = definition.hasAllBytes
    guard definition.unit == .characters && !definition.flags.contains(.byteFallback) || !hasAll else { return }
    guard definition.unit == .characters || model["byte_fallback"]?.boolean != true else {
      throw TokenizerError(.unsupported, "model", "byte_fallback for a vocabulary of bytes that lacks some")
    }
    definition.unknownToken = try token(name, definition)
  }

  private func appendPieces(to definition: inout TokenizerDefinition) throws(TokenizerError) {
    guard let vocabulary = model["vocab"]?.object else {
      throw TokenizerError(.malformed, "model", "it has no vocab")
    }
    var spellings: [String?] = []
    func add(_ spelling: String, at id: Int, _ structure: String) throws(TokenizerError) {
      guard id >= 0, id < TokenizerLimits.symbolCount else {
        throw TokenizerError(
          .tooLarge, structure, "\(id) is past the \(TokenizerLimits.symbolCount) ids that are known")
      }
      if id >= spellings.count { spellings.append(contentsOf: repeatElement(nil, count: id + 1 - spellings.count)) }
      guard spellings[id].map({ $0.utf8.elementsEqual(spelling.utf8) }) ?? true else {
        throw TokenizerError(.duplicatePiece, structure, "the id \(id) has another piece")
      }
      spellings[id] = spelling
    }
    for member in vocabulary {
      guard let id = member.value.integer else {
        throw TokenizerError(.malformed, "vocab", "the id of \"\(member.key)\" is not an integer")
      }
      if id >= 0, id < spellings.count, spellings[id] != nil {
        throw TokenizerError(.duplicatePiece, "vocab", "the id \(id) is there twice")
      }
      try add(member.key, at: id, "vocab")
    }
    var added: [Int: TokenizerConfiguration.AddedToken] = [:]
    for token in addedTokens {
      try add(token.content, at: token.id, "added token \(token.id)")
      guard added.updateValue(token, forKey: token.id) == nil else {
        throw TokenizerError(.duplicatePiece, "added token \(token.id)", "it is there twice")
      }
    }
    let unknown = model["unk_token"]?.string.map { Array($0.utf8) }
    for (id, spelling) in spellings.enumerated() {
      guard let spelling else {
        definition.append([], .inert)
        continue
      }
      let text = Array(spelling.utf8)
      let usesSteps = definition.flags.contains(.usesSteps)
      if definition.unit == .characters, !usesSteps, text == unknown {
        definition.unknownToken = Int32(id)
        definition.unknownSurface = text
        definition.append(text, .unknown)
      } else if let token = added[id] {
        definition.append(text, token.isSpecial ? .control : .userDefined)
        if usesSteps, !token.options.isEmpty { definition.options[Int32(id)] = token.options }
      } else if definition.unit == .bytes {
        // No text leads to a piece with a character that stands for no byte.
        if let bytes = ByteAlphabet.bytes(spelling), !bytes.isEmpty {
          definition.append(bytes, .normal)
        } else {
          definition.append(text, .inert)
        }
      } else if definition.flags.contains(.byteFallback), let byte = bytePieceValue(text) {
        definition.append([byte], .byte)
      } else {
        definition.append(text, .normal)
      }
    }
  }

  private func appendMerges(to definition: inout TokenizerDefinition) throws(TokenizerError) {
    guard let merges = model["merges"]?.array else {
      throw TokenizerError(.malformed, "model", "it has no merges")
    }
    guard merges.count < TokenizerLimits.mergeCount else {
      throw TokenizerError(.tooLarge, "merges", "\(merges.count) exceed \(TokenizerLimits.mergeCount)")
    }
    var index = PieceIndex(capacity: definition.pieces.count)
    for piece in definition.kinds.indices
    where definition.kinds[piece] != .byte && definition.kinds[piece] != .inert {
      guard definition.pieces[piece].count > 0, index.insert(piece, of: definition.pieces) else {
        throw TokenizerError(.duplicatePiece, "piece \(piece)", "its spelling is empty, or another piece's")
      }
    }
    definition.merges.reserveCapacity(merges.count)
    var pairs: Set<UInt64> = []
    for (rank, merge) in merges.enumerated() {
      let structure = "merge \(rank)"
      guard let (left, right) = Self.pair(merge), let leftBytes = bytes(left, definition.unit),
        let rightBytes = bytes(right, definition.unit)
      else {
        throw TokenizerError(.malformed, structure, "it is not a pair of pieces")
      }
      let joined = leftBytes + rightBytes
      let parts = [leftBytes, rightBytes, joined].map { bytes in
        index.find(0..<bytes.count, of: bytes.span, in: definition.pieces)
      }
      guard let left = parts[0], let right = parts[1], let result = parts[2] else {
        throw TokenizerError(.malformed, structure, "a piece of it is not in the vocabulary")
      }
      guard pairs.insert(UInt64(left) << 32 | UInt64(right)).inserted else {
        throw TokenizerError(.duplicatePiece, structure, "its pair has a merge already")
      }
      // Text never becomes a special piece. A user-defined one has been found before merging starts, unless its options
      // keep it from being found everywhere.
      switch definition.kinds[Int(result)] {
      case .control: continue
      case .userDefined where !definition.flags.contains(.usesSteps): continue
      default: break
      }
      definition.merges.append(Merge(left: left, right: right, result: result, sharesRank: false))
    }
  }

  private func bytes(_ spelling: String, _ unit: SymbolUnit) -> [UInt8]? {
    unit == .bytes ? ByteAlphabet.bytes(spelling) : Array(spelling.utf8)
  }

  private static func pair(_ merge: JSONValue) -> (String, String)? {
    if let parts = merge.array, parts.count == 2, let left = parts[0].string, let right = parts[1].string {
      return (left, right)
    }
    guard let text = merge.string, let space = text.utf8.firstIndex(of: 0x20) else { return nil }
    let right = text[text.utf8.index(after: space)...]
    guard !right.utf8.contains(0x20) else { return nil }
    return (String(text[..<space]), String(right))
  }

  /// The token that a setting names.
  func token(_ name: String, _ definition: TokenizerDefinition) throws(TokenizerError) -> Int32 {
    let spellings = [Array(name.utf8)] + (definition.unit == .bytes ? [ByteAlphabet.bytes(name) ?? []] : [])
    for spelling in spellings {
      if let token = definition.kinds.indices.first(where: {
        definition.kinds[$0] != .inert && definition.pieces[$0].elementsEqual(spelling)
      }) {
        return Int32(token)
      }
    }
    throw TokenizerError(.malformed, "tokenizer.json", "\"\(name)\" is named and is not a token")
  }
}

/// The characters that stand for bytes in vocabularies of bytes, as GPT-2 has them: printable ones of Latin-1 for
/// themselves, and the others, in order, from U+0100 on.
enum ByteAlphabet {
  private static let byteOfScalar: [Int16] = {
    var bytes = [Int16](repeating: -1, count: 0x144)
    var next = 0x100
    for byte in 0..<256 {
      switch byte {
      case 0x21...0x7E, 0xA1...0xAC, 0xAE...0xFF: bytes[byte] = Int16(byte)
      default:
        bytes[next] = Int16(byte)
        next += 1
      }
    }
    return bytes
  }()

  /// The character of each byte, in UTF-8.
  private static let spellings: [[UInt8]] = {
    var spellings = [[UInt8]](repeating: [], count: 256)
    for (scalar, byte) in byteOfScalar.enumerated() where byte >= 0 {
      spellings[Int(byte)] = scalar < 0x80 ? [UInt8(scalar)] : [UInt8(0xC0 | scalar >> 6), UInt8(0x80 | scalar & 0x3F)]
    }
    return spellings
  }()

  static func spelling(_ byte: UInt8) -> [UInt8] { spellings[Int(byte)] }

  static func byte(_ scalar: UInt32) -> UInt8? {
    guard Int(scalar) < byteOfScalar.count, byteOfScalar[Int(scalar)] >= 0 else { return nil }
    return UInt8(byteOfScalar[Int(scalar)])
  }

  static func bytes(_ spelling: String) -> [UInt8]? {
    var bytes: [UInt8] = []
    for scalar in spelling.unicodeScalars {
      guard scalar.value < byteOfScalar.count, byteOfScalar[Int(scalar.value)] >= 0 else { return nil }
      bytes.append(UInt8(byteOfScalar[Int(scalar.value)]))
    }
    return bytes
  }
}
