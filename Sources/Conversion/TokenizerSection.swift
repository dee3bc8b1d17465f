public import FileAccess
import ModelPacks
import Tokenization

/// The tokenizer and the chat template of a checkpoint, as they go into the pack.
///
/// `tokenizer.model` (SentencePiece or tiktoken's ranks) is taken before `tokenizer.json`; `tokenizer_config.json` and
/// `chat_template.jinja` add names and the template. A checkpoint without tokenizer can be converted: such packs take
/// token ids.
struct TokenizerSection {
  /// Format: `Formats/tokenizer.md`.
  private(set) var tokenizer: [UInt8]?
  /// A name that `ChatTemplate` knows.
  private(set) var chatTemplate: String?
  /// The files that were read.
  private(set) var sources: [PackProvenance.Source] = []

  /// - Parameters:
  ///   - choice: what to do about the chat template.
  /// - Throws: `Refusal` named after the `TokenizerError`, `tokenizer-mismatch`, `chat-template-unknown`, `too-large`.
  init(
    directory: String, configuration: LlamaConfiguration, chatTemplate choice: Converter.ChatTemplateChoice
  ) throws(Refusal) {
    let configurationFile = try read("tokenizer_config.json", in: directory, limit: 64 << 20)
    let settings = try configurationFile.map { file throws(Refusal) in
      try Self.naming(file.path) { () throws(TokenizerError) in try TokenizerConfiguration(parsing: file.bytes) }
    }
    let tokenizer: Tokenizer?
    if let file = try read("tokenizer.model", in: directory, limit: 16 << 20) {
      tokenizer = try Self.naming(file.path) { () throws(TokenizerError) in
        try Tokenizer(model: file.bytes, configuration: settings)
      }
    } else if let file = try read("tokenizer.json", in: directory, limit: 64 << 20) {
      tokenizer = try Self.naming(file.path) { () throws(TokenizerError) in
        try Tokenizer(huggingFace: file.bytes, configuration: settings)
      }
    } else {
      tokenizer = nil
    }
    guard let tokenizer else {
      sources = []
      return
    }
    guard tokenizer.vocabularySize <= configuration.vocabularySize else {
      throw Refusal(
        .tokenizerMismatch, file: directory,
        "the tokenizer has \(tokenizer.vocabularySize) tokens and the model \(configuration.vocabularySize)")
    }
    self.tokenizer = tokenizer.serialized()
    let jinja = try read("chat_template.jinja", in: directory, limit: 1 << 20)
    let source = jinja.map { String(decoding: $0.bytes, as: UTF8.self) } ?? settings?.chatTemplate
    switch choice {
    case .none: chatTemplate = nil
    case .named(let template): chatTemplate = template.rawValue
    case .fromCheckpoint:
      chatTemplate = try source.map { source throws(Refusal) in
        do throws(TokenizerError) {
          return try ChatTemplate(recognizing: source).rawValue
        } catch {
          throw Refusal(
            Refusal.Name(error.name, .badInput), file: jinja?.path ?? configurationFile?.path ?? directory,
            structure: "chat template",
            "\(error.fault); --chat-template \(ChatTemplate.allCases.map(\.rawValue).joined(separator: " or "))"
              + " takes that one, none goes without")
        }
      }
    }
  }

  /// Reads a file of the checkpoint if it is there, and counts it among the sources.
  private mutating func read(
    _ name: String, in directory: String, limit: Int
  ) throws(Refusal) -> (path: String, bytes: [UInt8])? {
    let path = "\(directory)/\(name)"
    guard Directory.exists(path) != nil else { return nil }
    let bytes = try SequentialFile.contents(path, limit: limit)
    sources.append(PackProvenance.Source(name: name, byteCount: bytes.count, digest: Digest256(of: bytes)))
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

extension Refusal.Name {
  /// A tokenizer with more tokens than the model.
  public static let tokenizerMismatch = Refusal.Name("tokenizer-mismatch", .badInput)
}
