public import FileAccess
import ModelPacks
package import Tokenization

/// The tokenizer and the chat template of a checkpoint, as they go into the pack. A checkpoint without tokenizer can be
/// converted: such packs take token ids.
struct TokenizerSection {
  /// Format: `Formats/tokenizer.md`.
  private(set) var tokenizer: [UInt8]?
  /// Format: `Formats/model-pack.md`, chat template.
  private(set) var chatTemplate: String?
  /// Lines for the person who converts.
  private(set) var notes: [String] = []

  /// - Parameters:
  ///   - choice: what to do about the chat template.
  /// - Throws: `Refusal` `tokenizer-mismatch`; for a template that was asked for by name or given, `invalid-option`,
  ///   `tokenizer-missing-piece` and `chat-template-failed`.
  init(
    _ checkpoint: Checkpoint, configuration: LlamaConfiguration, chatTemplate choice: Converter.ChatTemplateChoice
  ) throws(Refusal) {
    notes = checkpoint.tokenizer.notes
    guard let whole = checkpoint.tokenizer.tokenizer else { return }
    let tokenizer: Tokenizer
    do throws(TokenizerError) {
      let limited = try whole.limited(to: configuration.vocabularySize)
      tokenizer = limited.tokenizer
      if limited.dropped > 0 {
        notes.append(
          "\(checkpoint.path): the model has \(configuration.vocabularySize) tokens: the tokenizer's last "
            + "\(limited.dropped) are left out")
      }
    } catch {
      throw Refusal(
        .tokenizerMismatch, file: checkpoint.path, structure: error.structure,
        "the tokenizer has \(whole.vocabularySize) tokens and the model \(configuration.vocabularySize): \(error.fault)"
      )
    }
    self.tokenizer = tokenizer.serialized()
    guard let (template, path) = try Self.template(choice, of: checkpoint, tokenizer) else { return }
    let text = template.serialized
    guard text.utf8.count <= ChatTemplate.serializedByteCountLimit else {
      notes.append("\(path): the chat template is too long, and is left out")
      return
    }
    chatTemplate = text
    do throws(TokenizerError) {
      _ = try template.text([ChatMessage(role: .user, content: "Hello")])
    } catch {
      // Only who gave a program wants to hear at once that it is not one.
      if case .program = choice, error.name == "chat-template-failed" { throw Refusal(error, file: path) }
      notes.append("\(path): a first question does not go through the chat template: \(error)")
    }
  }

  /// The template that is chosen, and the file that it is from.
  private static func template(
    _ choice: Converter.ChatTemplateChoice, of checkpoint: Checkpoint, _ tokenizer: Tokenizer
  ) throws(Refusal) -> (template: ChatTemplate, path: String)? {
    let own = checkpoint.tokenizer.chatTemplates
    let specialTokens = Dictionary(
      checkpoint.tokenizer.specialTokenSpellings.map { ($0.key, $0.spellings) }, uniquingKeysWith: { first, _ in first }
    )
    switch choice {
    case .none: return nil
    case .program(let source, let path): return (ChatTemplate(source: source, specialTokens: specialTokens), path)
    case .fromCheckpoint:
      guard let chosen = checkpoint.tokenizer.chatTemplate else { return nil }
      return (ChatTemplate(source: chosen.text, specialTokens: specialTokens), chosen.path)
    case .named(let name):
      if let chosen = own.first(where: { $0.name == name }) {
        return (ChatTemplate(source: chosen.text, specialTokens: specialTokens), chosen.path)
      }
      if let template = ChatTemplate(named: name, specialTokens: specialTokens, tokenizer: tokenizer) {
        do throws(TokenizerError) {
          try ChatTemplate.require(named: name, of: tokenizer)
        } catch {
          throw Refusal(
            Refusal.Name(error.name, .badInput), file: checkpoint.path, parameter: "chatTemplate",
            "\(name): \(error.fault)")
        }
        return (template, checkpoint.path)
      }
      let names = (own.map(\.name) + ChatTemplate.builtInNames).joined(separator: ", ")
      throw Refusal(
        .invalidOption, file: checkpoint.path, parameter: "chatTemplate",
        "\"\(name)\" is none of \(names), and no file")
    }
  }
}

extension Refusal {
  /// - Parameter file: that the tokenizer or the template is from.
  package init(_ error: TokenizerError, file: String) {
    self.init(Refusal.Name(error.name, .badInput), file: file, structure: error.structure, error.fault)
  }
}

extension Refusal.Name {
  /// A tokenizer that does not work with the tokens that the model has.
  public static let tokenizerMismatch = Refusal.Name("tokenizer-mismatch", .badInput)
}
