import FileAccess
import ModelPacks
import Tokenization

/// The tokenizer of a directory in Hugging Face's layout.
///
/// `tokenizer.model` (SentencePiece or tiktoken's ranks) is taken before `tokenizer.json`; `tokenizer_config.json` and
/// `chat_template.jinja` add names and the template.
struct HuggingFaceTokenizer: TokenizerSource {
  private(set) var provenance: [PackProvenance.Source] = []
  private(set) var tokenizer: Tokenizer?
  private(set) var chatTemplate: (text: String, path: String)?

  /// - Throws: `Refusal` named after the `TokenizerError`; `too-large`.
  init(directory: String) throws(Refusal) {
    let configuration = try read("tokenizer_config.json", in: directory, limit: 64 << 20)
    let settings = try configuration.map { file throws(Refusal) in
      try Self.naming(file.path) { () throws(TokenizerError) in try TokenizerConfiguration(parsing: file.bytes) }
    }
    if let file = try read("tokenizer.model", in: directory, limit: 16 << 20) {
      tokenizer = try Self.naming(file.path) { () throws(TokenizerError) in
        try Tokenizer(model: file.bytes, configuration: settings)
      }
    } else if let file = try read("tokenizer.json", in: directory, limit: 64 << 20) {
      tokenizer = try Self.naming(file.path) { () throws(TokenizerError) in
        try Tokenizer(huggingFace: file.bytes, configuration: settings)
      }
    } else {
      provenance = []
      return
    }
    if let file = try read("chat_template.jinja", in: directory, limit: 1 << 20) {
      chatTemplate = (String(decoding: file.bytes, as: UTF8.self), file.path)
    } else if let configuration, let text = settings?.chatTemplate {
      chatTemplate = (text, configuration.path)
    }
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
      throw Refusal(Refusal.Name(error.name, .badInput), file: file, structure: error.structure, error.fault)
    }
  }
}
