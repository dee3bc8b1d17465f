/// One turn of a conversation.
public struct ChatMessage: Sendable, Hashable {
  public enum Role: String, Sendable, CaseIterable {
    case system, user, assistant
  }

  public var role: Role
  public var content: String

  public init(role: Role, content: String) {
    self.role = role
    self.content = content
  }
}

/// How the messages of a conversation become the tokens that a chat model was trained on.
///
/// The templates are rendered here, not interpreted: special tokens are put in by their ids, and nothing in a message
/// can become one. The raw value is the name under which a model pack keeps the template.
public enum ChatTemplate: String, Sendable, Hashable, CaseIterable {
  /// `[INST] <<SYS>> … [/INST]`.
  case llama2 = "llama-2"
  /// `<|start_header_id|>role<|end_header_id|>`.
  case llama3 = "llama-3"

  /// The tokens of a conversation, starting with the begin-of-text token.
  /// - Parameters:
  ///   - messages: LLaMA-2 takes an optional system message first, then user and assistant in turns. LLaMA-3 takes
  ///     any order.
  ///   - addingGenerationPrompt: ends with what comes before the assistant's next message. LLaMA-2 has nothing there.
  /// - Throws: `TokenizerError` `chat-messages-invalid` when the template does not allow the messages,
  ///   `tokenizer-missing-piece` when the vocabulary lacks a special token of the template.
  public func render(
    _ messages: [ChatMessage], with tokenizer: Tokenizer, addingGenerationPrompt: Bool = true
  ) throws(TokenizerError) -> [Int32] {
    switch self {
    case .llama2: try Self.renderLlama2(messages, tokenizer)
    case .llama3: try Self.renderLlama3(messages, tokenizer, addingGenerationPrompt)
    }
  }

  /// Source: Touvron et al. 2023, Llama 2, and its published code: each user message with its answer is a text of its
  /// own, between begin and end of text.
  private static func renderLlama2(
    _ messages: [ChatMessage], _ tokenizer: Tokenizer
  ) throws(TokenizerError) -> [Int32] {
    guard let begin = tokenizer.beginOfTextToken, let end = tokenizer.endOfTextTokens.first else {
      throw TokenizerError(.missingPiece, "chat template llama-2", "no token begins or ends a text")
    }
    var turns = messages[...]
    var system = ""
    if let first = turns.first, first.role == .system {
      system = "<<SYS>>\n\(first.content)\n<</SYS>>\n\n"
      turns.removeFirst()
    }
    guard !turns.isEmpty else { throw TokenizerError(.badMessages, "messages", "there is none of the user") }
    var tokens: [Int32] = []
    var question = ""
    for (index, turn) in turns.enumerated() {
      guard turn.role == (index % 2 == 0 ? .user : .assistant) else {
        throw TokenizerError(
          .badMessages, "message \(turns.startIndex + index)", "user and assistant do not take turns")
      }
      if turn.role == .user {
        question = "[INST] \(trimmed((index == 0 ? system : "") + turn.content)) [/INST]"
      } else {
        tokens.append(begin)
        tokens += tokenizer.encode("\(question) \(trimmed(turn.content)) ", addingBeginOfText: false)
        tokens.append(end)
        question = ""
      }
    }
    if !question.isEmpty { tokens += tokenizer.encode(question, addingBeginOfText: true) }
    return tokens
  }

  /// Source: the published model card of Meta Llama 3, prompt format.
  private static func renderLlama3(
    _ messages: [ChatMessage], _ tokenizer: Tokenizer, _ addingGenerationPrompt: Bool
  ) throws(TokenizerError) -> [Int32] {
    func special(_ name: String) throws(TokenizerError) -> Int32 {
      guard let token = tokenizer.token(named: name) else {
        throw TokenizerError(.missingPiece, "chat template llama-3", "\(name) is not a token")
      }
      return token
    }
    let startHeader = try special("<|start_header_id|>")
    let endHeader = try special("<|end_header_id|>")
    let endOfTurn = try special("<|eot_id|>")
    guard !messages.isEmpty else { throw TokenizerError(.badMessages, "messages", "there is none") }
    var tokens = [try special("<|begin_of_text|>")]
    func appendHeader(_ role: ChatMessage.Role) {
      tokens.append(startHeader)
      tokens += tokenizer.encodeContinuation(role.rawValue)
      tokens.append(endHeader)
    }
    for message in messages {
      appendHeader(message.role)
      tokens += tokenizer.encodeContinuation("\n\n" + trimmed(message.content))
      tokens.append(endOfTurn)
    }
    if addingGenerationPrompt {
      appendHeader(.assistant)
      tokens += tokenizer.encodeContinuation("\n\n")
    }
    return tokens
  }

  /// The text without white space at both ends. The templates use Python's `strip`, which knows four more such
  /// characters than Unicode.
  private static func trimmed(_ text: String) -> String {
    func isSpace(_ scalar: Unicode.Scalar) -> Bool {
      (0x1C...0x1F).contains(scalar.value) || scalar.properties.isWhitespace
    }
    let scalars = text.unicodeScalars
    guard let first = scalars.firstIndex(where: { !isSpace($0) }), let last = scalars.lastIndex(where: { !isSpace($0) })
    else { return "" }
    return String(scalars[first...last])
  }
}
