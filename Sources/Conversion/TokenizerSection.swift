public import FileAccess
import ModelPacks
import Tokenization

/// The tokenizer and the chat template of a checkpoint, as they go into the pack. A checkpoint without tokenizer can be
/// converted: such packs take token ids.
struct TokenizerSection {
  /// Format: `Formats/tokenizer.md`.
  private(set) var tokenizer: [UInt8]?
  /// A name that `ChatTemplate` knows.
  private(set) var chatTemplate: String?

  /// - Parameters:
  ///   - choice: what to do about the chat template.
  /// - Throws: `Refusal` `tokenizer-mismatch` or `chat-template-unknown`.
  init(
    _ checkpoint: Checkpoint, configuration: LlamaConfiguration, chatTemplate choice: Converter.ChatTemplateChoice
  ) throws(Refusal) {
    guard let tokenizer = checkpoint.tokenizer.tokenizer else { return }
    guard tokenizer.vocabularySize <= configuration.vocabularySize else {
      throw Refusal(
        .tokenizerMismatch, file: checkpoint.path,
        "the tokenizer has \(tokenizer.vocabularySize) tokens and the model \(configuration.vocabularySize)")
    }
    self.tokenizer = tokenizer.serialized()
    switch choice {
    case .none: chatTemplate = nil
    case .named(let template): chatTemplate = template.rawValue
    case .fromCheckpoint:
      chatTemplate = try checkpoint.tokenizer.chatTemplate.map { source throws(Refusal) in
        do throws(TokenizerError) {
          return try ChatTemplate(recognizing: source.text).rawValue
        } catch {
          throw Refusal(
            Refusal.Name(error.name, .badInput), file: source.path, structure: "chat template",
            "\(error.fault); --chat-template \(ChatTemplate.allCases.map(\.rawValue).joined(separator: " or "))"
              + " takes that one, none goes without")
        }
      }
    }
  }
}

extension Refusal.Name {
  /// A tokenizer with more tokens than the model.
  public static let tokenizerMismatch = Refusal.Name("tokenizer-mismatch", .badInput)
}
