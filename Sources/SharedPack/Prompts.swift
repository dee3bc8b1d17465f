public import FileAccess
import ModelPacks
import Tokenization

extension LanguageModel {
  /// The tokens of a text to continue, with the begin-of-text token if the model has one.
  /// - Throws: `Refusal` `no-tokenizer`.
  public func textPrompt(_ text: String) throws(Refusal) -> [Int32] {
    let tokenizer = try requireTokenizer()
    return tokenizer.encode(text, addingBeginOfText: tokenizer.beginOfTextToken != nil)
  }

  /// The tokens of a user's message in the model's chat template.
  /// - Throws: `Refusal` `no-tokenizer`, `no-chat-template`.
  public func chatPrompt(_ text: String, system: String?) throws(Refusal) -> [Int32] {
    let tokenizer = try requireTokenizer()
    guard let chatTemplate else {
      throw Refusal(.noChatTemplate, file: pack.path, "the pack has no chat template: ask without it")
    }
    var messages: [ChatMessage] = []
    if let system { messages.append(ChatMessage(role: .system, content: system)) }
    messages.append(ChatMessage(role: .user, content: text))
    do throws(TokenizerError) {
      return try chatTemplate.render(messages, with: tokenizer)
    } catch {
      throw Refusal(tokenizerError: error, file: pack.path)
    }
  }

  /// The tokens of a document: no begin-of-text token, as chunks are encoded alone.
  /// - Throws: `Refusal` `no-tokenizer`, `empty-document`.
  public func documentTokens(_ text: [UInt8], file: String) throws(Refusal) -> [Int32] {
    let tokens = try requireTokenizer().encode(text, addingBeginOfText: false)
    guard !tokens.isEmpty else { throw Refusal(.emptyDocument, file: file, "has no tokens") }
    return tokens
  }
}

extension Refusal.Name {
  public static let noChatTemplate = Refusal.Name("no-chat-template", .badInput)
}
