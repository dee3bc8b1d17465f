import CanonicalJSON
import FileAccess
import ModelPacks
import Tokenization

/// The tokenizer that a GGUF file has among its keys: SentencePiece's pieces with scores (`llama`), or a vocabulary of
/// bytes with merges (`gpt2`) and the name of the way in which texts are split (`pre`).
struct GGUFTokenizer: TokenizerSource {
  private(set) var tokenizer: Tokenizer?
  private(set) var chatTemplates: [(name: String, text: String, path: String)] = []
  private(set) var specialTokenSpellings: [(key: String, spellings: [String])] = []
  let notes: [String]
  /// The file is among the sources for its weights.
  var provenance: [PackProvenance.Source] { [] }

  /// - Throws: `Refusal` named after the `TokenizerError`; `invalid-configuration` or `unsupported-configuration`.
  init(_ metadata: GGUFMetadata) throws(Refusal) {
    let key = "tokenizer.ggml.model"
    let kind = try metadata.string(key) ?? "none"
    guard kind != "none", kind != "no_vocab" else {
      notes = []
      return
    }
    guard let pieces = try Pieces(metadata) else {
      throw metadata.fault("tokenizer.ggml.tokens", "is missing")
    }
    switch kind {
    case "llama": tokenizer = try Self.sentencePiece(pieces, metadata)
    case "gpt2": tokenizer = try Self.byteLevel(pieces, metadata)
    default:
      throw metadata.fault(
        key, "is \(kind.printable); llama and gpt2 can be converted", name: .unsupportedConfiguration)
    }
    notes = (tokenizer?.importNotes ?? []).map { "\(metadata.file): \($0)" }
    specialTokenSpellings = try pieces.specialTokenSpellings(metadata)
    let template = "tokenizer.chat_template"
    if let text = try metadata.string(template) { chatTemplates.append(("default", text, metadata.file)) }
    for key in metadata.values.keys.sorted() where key.hasPrefix("\(template).") {
      if let text = try metadata.string(key) {
        chatTemplates.append((String(key.dropFirst(template.count + 1)), text, metadata.file))
      }
    }
  }

  /// What every kind of tokenizer has.
  private struct Pieces {
    let spellings: [String]
    let kinds: [SentencePiece.Kind]

    /// - Returns: nil when there are none.
    init?(_ metadata: GGUFMetadata) throws(Refusal) {
      guard let spellings = try metadata.strings("tokenizer.ggml.tokens") else { return nil }
      self.spellings = spellings
      let key = "tokenizer.ggml.token_type"
      let numbers = try metadata.required(key, metadata.integers(key))
      guard numbers.count == spellings.count else {
        throw metadata.fault(key, "has \(numbers.count) elements for \(spellings.count) tokens")
      }
      var kinds: [SentencePiece.Kind] = []
      kinds.reserveCapacity(numbers.count)
      for (token, number) in numbers.enumerated() {
        // 0 is a kind that nobody stated.
        guard let kind = number == 0 ? .normal : SentencePiece.Kind(rawValue: number) else {
          throw metadata.fault("\(key)[\(token)]", "is \(number), which is no kind of token")
        }
        kinds.append(kind)
      }
      self.kinds = kinds
    }

    /// A token that a key names.
    func token(_ name: String, _ metadata: GGUFMetadata) throws(Refusal) -> Int? {
      let key = "tokenizer.ggml.\(name)_token_id"
      guard let token = try metadata.integer(key), token != -1, token != Int(UInt32.max) else { return nil }
      guard spellings.indices.contains(token) else {
        throw metadata.fault(key, "is \(token), and there are \(spellings.count) tokens")
      }
      return token
    }

    /// The names that templates have for tokens.
    func specialTokenSpellings(
      _ metadata: GGUFMetadata
    ) throws(Refusal) -> [(key: String, spellings: [String])] {
      let names = [
        ("bos_token", "bos"), ("eos_token", "eos"), ("unk_token", "unknown"), ("sep_token", "seperator"),
        ("pad_token", "padding"), ("mask_token", "mask"),
      ]
      var result: [(key: String, spellings: [String])] = []
      for (key, name) in names {
        if let token = try token(name, metadata) { result.append((key, [spellings[token]])) }
      }
      return result
    }
  }

  private static func sentencePiece(_ pieces: Pieces, _ metadata: GGUFMetadata) throws(Refusal) -> Tokenizer {
    let key = "tokenizer.ggml.scores"
    let scores = try metadata.required(key, metadata.numbers(key))
    guard scores.count == pieces.spellings.count else {
      throw metadata.fault(key, "has \(scores.count) elements for \(pieces.spellings.count) tokens")
    }
    try refuseEnd(metadata)
    var list: [SentencePiece] = []
    list.reserveCapacity(scores.count)
    for (index, spelling) in pieces.spellings.enumerated() {
      list.append(SentencePiece(text: Array(spelling.utf8), score: Float(scores[index]), kind: pieces.kinds[index]))
    }
    let addsBegin = try metadata.boolean("tokenizer.ggml.add_bos_token") ?? true
    let begin = addsBegin ? try pieces.token("bos", metadata) : nil
    var ends: [Int32] = []
    for name in ["eos", "eot", "eom"] {
      if let end = try pieces.token(name, metadata), !ends.contains(Int32(end)) { ends.append(Int32(end)) }
    }
    let addsPrefix = try metadata.boolean("tokenizer.ggml.add_space_prefix") ?? true
    let removesSpaces = try metadata.boolean("tokenizer.ggml.remove_extra_whitespaces") ?? false
    return try naming(metadata.file) { () throws(TokenizerError) in
      try Tokenizer(
        sentencePieces: list, addsDummyPrefix: addsPrefix, removesExtraSpaces: removesSpaces,
        beginOfText: begin.map { Int32($0) }, endOfText: ends)
    }
  }

  /// The vocabulary as a `tokenizer.json` would have it.
  private static func byteLevel(_ pieces: Pieces, _ metadata: GGUFMetadata) throws(Refusal) -> Tokenizer {
    let key = "tokenizer.ggml.pre"
    let name = try metadata.required(key, metadata.string(key))
    guard let pre = GGUFPreTokenizer(name) else {
      throw metadata.fault(
        key, "is \(name.printable); known are \(GGUFPreTokenizer.names.joined(separator: ", "))",
        name: .unsupportedConfiguration)
    }
    try refuseEnd(metadata)
    let mergesKey = "tokenizer.ggml.merges"
    let merges = try metadata.required(mergesKey, metadata.strings(mergesKey))
    var vocabulary: [JSONValue.Member] = []
    var added: [JSONValue] = []
    for (token, spelling) in pieces.spellings.enumerated() {
      switch pieces.kinds[token] {
      case .control, .unknown, .userDefined:
        added.append(
          .members([
            "id": .integer(token), "content": .string(spelling),
            "special": .boolean(pieces.kinds[token] != .userDefined), "normalized": .boolean(false),
          ]))
        vocabulary.append(.init(spelling, .integer(token)))
      // The converter fills ids that the model's own tokenizer does not have.
      case .unused: continue
      case .normal, .byte: vocabulary.append(.init(spelling, .integer(token)))
      }
    }
    let root = JSONValue.members([
      "added_tokens": .array(added), "normalizer": pre.normalizer, "pre_tokenizer": pre.steps,
      "decoder": .members(["type": .string("ByteLevel")]),
      "model": .members([
        "type": .string("BPE"), "ignore_merges": .boolean(pre.ignoresMerges), "vocab": .object(vocabulary),
        "merges": .array(merges.map { .string($0) }),
      ]),
    ])
    let begin = try metadata.boolean("tokenizer.ggml.add_bos_token") ?? pre.addsBegin
    var settings: [JSONValue.Member] = [.init("add_bos_token", .boolean(begin))]
    for (key, spellings) in try pieces.specialTokenSpellings(metadata) where key == "bos_token" || key == "eos_token" {
      settings.append(.init(key, .string(spellings[0])))
    }
    return try naming(metadata.file) { () throws(TokenizerError) in
      try Tokenizer(
        huggingFace: root, configuration: TokenizerConfiguration(parsing: JSONValue.object(settings).canonical))
    }
  }

  private static func refuseEnd(_ metadata: GGUFMetadata) throws(Refusal) {
    let key = "tokenizer.ggml.add_eos_token"
    guard try metadata.boolean(key) ?? false else { return }
    throw metadata.fault(key, "is true: a token is put behind texts", name: .unsupportedConfiguration)
  }

  private static func naming<Result>(
    _ file: String, _ body: () throws(TokenizerError) -> Result
  ) throws(Refusal) -> Result {
    do throws(TokenizerError) {
      return try body()
    } catch {
      throw Refusal(
        Refusal.Name(error.name, .badInput), file: file, structure: "tokenizer: \(error.structure)", error.fault)
    }
  }
}
