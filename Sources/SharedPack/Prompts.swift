import Conversion
public import FileAccess
import ModelPacks
public import Templates
public import Tokenization

extension LanguageModel {
  /// The tokens of a text to continue, with the begin-of-text token if the model has one.
  /// - Throws: `Refusal` `no-tokenizer`.
  public func textPrompt(_ text: String) throws(Refusal) -> [Int32] {
    let tokenizer = try requireTokenizer()
    return tokenizer.encode(text, addingBeginOfText: tokenizer.beginOfTextToken != nil)
  }

  /// The tokens of a conversation that the assistant is to continue, in the model's chat template.
  /// - Parameters:
  ///   - messages: all turns so far, such as `[.system("…"), .user("…"), .assistant("…"), .user("…")]`. Which orders are
  ///     allowed is the template's business.
  ///   - now: the time for templates that write the date; the machine's local time if not given.
  /// - Throws: `Refusal` `no-tokenizer`, `no-chat-template`, `chat-messages-invalid` when the template does not allow a
  ///   message or the last one is the assistant's, `chat-template-failed` when the template cannot be run.
  public func chatPrompt(_ messages: [ChatMessage], now: TemplateDate? = nil) throws(Refusal) -> [Int32] {
    let tokenizer = try requireTokenizer()
    let rendered = try chatText(messages, now: now)
    return tokenizer.encode(rendered.text, withoutSpecialTokensIn: rendered.markedRanges)
  }

  /// The text of a conversation, as ``chatPrompt(_:now:)``.
  package func chatText(_ messages: [ChatMessage], now: TemplateDate? = nil) throws(Refusal) -> RenderedText {
    guard let chatTemplate else {
      throw Refusal(.noChatTemplate, file: pack.path, "the pack has no chat template: ask without it")
    }
    guard messages.last?.role != .assistant else {
      throw Refusal(
        .chatMessagesInvalid, file: pack.path, structure: "messages",
        "the last one is the assistant's: nothing to answer")
    }
    do throws(TokenizerError) {
      return try chatTemplate.text(messages, now: now ?? .now)
    } catch {
      throw Refusal(error, file: pack.path)
    }
  }

  /// The tokens of a document: no begin-of-text token, as chunks are encoded alone.
  /// - Parameters:
  ///   - text: UTF-8.
  ///   - file: the text's name for messages.
  /// - Throws: `Refusal` `no-tokenizer`, `empty-document`.
  public func documentTokens(_ text: [UInt8], file: String) throws(Refusal) -> [Int32] {
    let tokens = try requireTokenizer().encode(text, addingBeginOfText: false)
    guard !tokens.isEmpty else { throw Refusal(.emptyDocument, file: file, "has no tokens") }
    return tokens
  }

  /// What tokens stand for.
  /// - Throws: `Refusal` `no-tokenizer`, `token-out-of-range`.
  public func text(of tokens: [Int32]) throws(Refusal) -> String {
    let tokenizer = try requireTokenizer()
    if let token = tokens.first(where: { tokenizer.piece($0) == nil }) {
      throw Refusal(
        .tokenOutOfRange, file: pack.path,
        "token \(token) is not in the vocabulary of \(tokenizer.vocabularySize)")
    }
    return tokenizer.decode(tokens)
  }
}

extension ChatMessage {
  /// Instructions for the assistant.
  public static func system(_ content: String) -> ChatMessage { ChatMessage(role: .system, content: content) }

  /// A turn of the user.
  public static func user(_ content: String) -> ChatMessage { ChatMessage(role: .user, content: content) }

  /// A turn of the assistant.
  public static func assistant(_ content: String) -> ChatMessage { ChatMessage(role: .assistant, content: content) }
}

extension Refusal.Name {
  /// A pack has no chat template.
  public static let noChatTemplate = Refusal.Name("no-chat-template", .badInput)
  /// A chat template is not a program that can be run.
  public static let chatTemplateFailed = Refusal.Name("chat-template-failed", .badInput)
  /// A chat template does not allow a message of a conversation.
  public static let chatMessagesInvalid = Refusal.Name("chat-messages-invalid", .badInput)
}
