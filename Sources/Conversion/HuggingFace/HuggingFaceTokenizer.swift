import FileAccess
import ModelPacks
import Tokenization

/// The tokenizer of a directory in Hugging Face's layout.
///
/// As in transformers, `tokenizer.json` is taken before `tokenizer.model` (SentencePiece or tiktoken's ranks);
/// `tokenizer_config.json`, `special_tokens_map.json` and `added_tokens.json` add names and tokens.
struct HuggingFaceTokenizer: TokenizerSource {
  private(set) var provenance: [PackProvenance.Source] = []
  private(set) var tokenizer: Tokenizer?
  private(set) var chatTemplates: [(name: String, text: String, path: String)] = []
  private(set) var specialTokenSpellings: [(key: String, spellings: [String])] = []
  private(set) var notes: [String] = []

  private static let templateLimit = 1 << 20

  /// - Throws: `Refusal` named after the `TokenizerError`; `too-large`.
  init(directory: String) throws(Refusal) {
    let configuration = try read("tokenizer_config.json", in: directory, limit: 64 << 20)
    let tokenMap = try read("special_tokens_map.json", in: directory, limit: 1 << 20)
    let addedTokens = try read("added_tokens.json", in: directory, limit: 64 << 20)
    var settings: TokenizerConfiguration?
    if configuration != nil || tokenMap != nil || addedTokens != nil {
      let path = configuration?.path ?? tokenMap?.path ?? addedTokens?.path ?? directory
      settings = try Self.naming(path) { () throws(TokenizerError) in
        try TokenizerConfiguration(
          parsing: configuration?.bytes ?? Array("{}".utf8), specialTokensMap: tokenMap?.bytes,
          addedTokens: addedTokens?.bytes)
      }
    }
    if let file = try read("tokenizer.json", in: directory, limit: 64 << 20) {
      tokenizer = try Self.naming(file.path) { () throws(TokenizerError) in
        try Tokenizer(huggingFace: file.bytes, configuration: settings)
      }
      try compareModel(in: directory)
    } else if let file = try read("tokenizer.model", in: directory, limit: 16 << 20) {
      tokenizer = try Self.naming(file.path) { () throws(TokenizerError) in
        try Tokenizer(model: file.bytes, configuration: settings)
      }
    } else {
      provenance = []
      return
    }
    notes += (tokenizer?.importNotes ?? []).map { "\(directory): \($0)" }
    specialTokenSpellings = settings?.specialTokenSpellings ?? []
    try readTemplates(in: directory, settings, configuration?.path ?? "")
  }

  /// Says so when a `tokenizer.model` beside `tokenizer.json` has other pieces.
  private mutating func compareModel(in directory: String) throws(Refusal) {
    let path = "\(directory)/tokenizer.model"
    guard let tokenizer, Directory.exists(path) != nil else { return }
    let bytes = try SequentialFile.contents(path, limit: 16 << 20)
    guard let model = try? Tokenizer(model: bytes) else {
      notes.append("\(path): not read: tokenizer.json is taken")
      return
    }
    let count = min(model.vocabularySize, tokenizer.vocabularySize)
    if let token = (0..<Int32(count)).first(where: { model.piece($0) != tokenizer.piece($0) }) {
      notes.append("\(path) and tokenizer.json disagree about token \(token): tokenizer.json is taken")
    }
  }

  /// The templates, from the files that transformers looks into, in its order. Where two files have one of the same
  /// name, the first counts.
  private mutating func readTemplates(
    in directory: String, _ settings: TokenizerConfiguration?, _ configurationPath: String
  ) throws(Refusal) {
    if let file = try read("chat_template.jinja", in: directory, limit: Self.templateLimit) {
      add("default", String(decoding: file.bytes, as: UTF8.self), file.path)
    }
    let folder = "additional_chat_templates"
    if Directory.exists("\(directory)/\(folder)") == .directory {
      for name in try Directory.names(in: "\(directory)/\(folder)").sorted() where name.hasSuffix(".jinja") {
        guard let file = try read("\(folder)/\(name)", in: directory, limit: Self.templateLimit) else { continue }
        add(String(name.dropLast(".jinja".count)), String(decoding: file.bytes, as: UTF8.self), file.path)
      }
    }
    if let file = try read("chat_template.json", in: directory, limit: Self.templateLimit) {
      let templates = try Self.naming(file.path) { () throws(TokenizerError) in
        try TokenizerConfiguration(parsing: file.bytes).chatTemplates
      }
      for template in templates { add(template.name, template.text, file.path) }
    }
    for template in settings?.chatTemplates ?? [] { add(template.name, template.text, configurationPath) }
  }

  private mutating func add(_ name: String, _ text: String, _ path: String) {
    guard let known = chatTemplates.first(where: { $0.name.utf8.elementsEqual(name.utf8) }) else {
      chatTemplates.append((name, text, path))
      return
    }
    guard !known.text.utf8.elementsEqual(text.utf8) else { return }
    notes.append("\(path) and \(known.path) disagree about the chat template \(name): \(known.path) is taken")
  }

  /// Reads a file of the checkpoint if it is there, and counts it among the sources.
  private mutating func read(
    _ name: String, in directory: String, limit: Int
  ) throws(Refusal) -> (path: String, bytes: [UInt8])? {
    let path = "\(directory)/\(name)"
    guard Directory.exists(path) != nil else { return nil }
    let bytes = try SequentialFile.contents(path, limit: limit)
    provenance.append(PackProvenance.Source(name: name, byteCount: bytes.count, digest: Digest256(of: bytes)))
    return (path, bytes)
  }

  private static func naming<Result>(
    _ file: String, _ body: () throws(TokenizerError) -> Result
  ) throws(Refusal) -> Result {
    do throws(TokenizerError) {
      return try body()
    } catch {
      throw Refusal(error, file: file)
    }
  }
}
