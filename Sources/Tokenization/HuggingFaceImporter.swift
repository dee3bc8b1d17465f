import CanonicalJSON

extension Tokenizer {
  /// Reads a Hugging Face `tokenizer.json` with a BPE model: over bytes, as LLaMA-3 has it, or over characters with
  /// byte fallback, as LLaMA-2's conversions have it.
  ///
  /// Tokens are those of tokenizers 0.23.3 for each stretch of text. Truncation and padding are left to the caller.
  /// - Throws: `TokenizerError`; a component that is not known is named. See Formats/tokenizer.md.
  public init(huggingFace text: [UInt8], configuration: TokenizerConfiguration? = nil) throws(TokenizerError) {
    let root = try TokenizerConfiguration.json(text, structure: "tokenizer.json")
    let importer = try HuggingFaceImporter(root)
    var definition = try importer.definition()
    try configuration?.apply(to: &definition)
    if definition.beginOfText == nil { definition.beginOfText = try importer.postProcessorBegin(definition) }
    definition.adoptUsualNames()
    if configuration?.addsPrefixSpace == false, definition.unit == .characters {
      definition.prefixRule = .never
      definition.flags.remove(.dropsLeadingSpace)
    }
    try self.init(definition)
  }
}

struct HuggingFaceImporter {
  private let root: JSONValue
  private let model: JSONValue
  private let components: HuggingFaceComponents
  private let addedTokens: [TokenizerConfiguration.AddedToken]

  init(_ root: JSONValue) throws(TokenizerError) {
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
    components = try HuggingFaceComponents(root)
    var addedTokens: [TokenizerConfiguration.AddedToken] = []
    for (index, value) in (root["added_tokens"]?.array ?? []).enumerated() {
      let structure = "added_tokens, entry \(index)"
      guard let id = value["id"]?.integer else { throw TokenizerError(.malformed, structure, "it has no id") }
      let token = try TokenizerConfiguration.AddedToken(value, id: id, structure: structure)
      if !token.isSpecial, token.isNormalized, components.hasNormalizer {
        throw TokenizerError(.unsupported, structure, "it is matched in normalized text")
      }
      addedTokens.append(token)
    }
    self.addedTokens = addedTokens.sorted { $0.id < $1.id }
  }

  func definition() throws(TokenizerError) -> TokenizerDefinition {
    var definition = TokenizerDefinition(unit: components.unit, pattern: components.pattern)
    definition.prefixRule = components.prefixRule
    definition.flags = components.flags.union(.splitsAtUserDefined)
    switch components.unit {
    case .bytes:
      if model["ignore_merges"]?.boolean == true { definition.flags.insert(.wholePieceFirst) }
    case .characters:
      guard model["byte_fallback"]?.boolean == true else {
        throw TokenizerError(.unsupported, "model", "characters without byte_fallback")
      }
      guard model["ignore_merges"]?.boolean != true else {
        throw TokenizerError(.unsupported, "model", "ignore_merges for a vocabulary of characters")
      }
      definition.flags.insert(.byteFallback)
    }
    try appendPieces(to: &definition)
    try appendMerges(to: &definition)
    return definition
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
    var added: [Int: Bool] = [:]
    for token in addedTokens {
      try add(token.content, at: token.id, "added token \(token.id)")
      guard added.updateValue(token.isSpecial, forKey: token.id) == nil else {
        throw TokenizerError(.duplicatePiece, "added token \(token.id)", "it is there twice")
      }
    }
    let unknown = model["unk_token"]?.string.map { Array($0.utf8) }
    for (id, spelling) in spellings.enumerated() {
      guard let spelling else { throw TokenizerError(.missingPiece, "vocab", "no piece has the id \(id)") }
      let text = Array(spelling.utf8)
      if definition.unit == .characters, text == unknown {
        definition.unknownToken = Int32(id)
        definition.unknownSurface = text
        definition.append(text, .unknown)
      } else if let isSpecial = added[id] {
        definition.append(text, isSpecial ? .control : .userDefined)
      } else if definition.unit == .bytes {
        guard let bytes = ByteAlphabet.bytes(spelling) else {
          throw TokenizerError(.malformed, "piece \(id)", "a character stands for no byte")
        }
        definition.append(bytes, .normal)
      } else if let byte = bytePieceValue(text) {
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
    for piece in definition.kinds.indices where definition.kinds[piece] != .byte {
      guard definition.pieces[piece].count > 0, index.insert(piece, of: definition.pieces) else {
        throw TokenizerError(.duplicatePiece, "piece \(piece)", "its spelling is empty, or another piece's")
      }
    }
    definition.merges.reserveCapacity(merges.count)
    var pairs: Set<UInt64> = []
    for (rank, merge) in merges.enumerated() {
      let structure = "merge \(rank)"
      guard let (left, right) = Self.pair(merge), let leftBytes = bytes(left), let rightBytes = bytes(right) else {
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
      // Such a piece has been found before merging starts.
      if definition.kinds[Int(result)] == .userDefined { continue }
      definition.merges.append(Merge(left: left, right: right, result: result, sharesRank: false))
    }
  }

  private func bytes(_ spelling: String) -> [UInt8]? {
    components.unit == .bytes ? ByteAlphabet.bytes(spelling) : Array(spelling.utf8)
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

  /// The token that the template of the post-processor puts first.
  func postProcessorBegin(_ definition: TokenizerDefinition) throws(TokenizerError) -> Int32? {
    guard let name = components.firstTemplateToken else { return nil }
    let spelling = Array(name.utf8)
    guard let token = definition.kinds.indices.first(where: { definition.pieces[$0].elementsEqual(spelling) }) else {
      throw TokenizerError(.malformed, "post_processor", "\"\(name)\" is not a token")
    }
    return Int32(token)
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

  static func bytes(_ spelling: String) -> [UInt8]? {
    var bytes: [UInt8] = []
    for scalar in spelling.unicodeScalars {
      guard scalar.value < byteOfScalar.count, byteOfScalar[Int(scalar.value)] >= 0 else { return nil }
      bytes.append(UInt8(byteOfScalar[Int(scalar.value)]))
    }
    return bytes
  }
}
