import LlamaRuntime
import SharedPack

/// What is read for the next message of a conversation.
struct PreparedPrompt: Sendable {
  var tokens: [Int32]
  var context: ContextSelection?
  /// The first words of the answer, which stand in the prompt.
  var answerStart = ""
  /// What is read of documents, and of what has left the window; nil without any.
  var inquiry: Inquiry?
  /// The messages that have left the window; nil where all stand in the prompt.
  var earlier: EarlierMessages?
}

extension LanguageModel {
  /// The prompt of a conversation without documents. Without a chat template, the messages follow one another.
  func prompt(of messages: [ChatMessage]) throws(Refusal) -> PreparedPrompt {
    if chatTemplate != nil { return PreparedPrompt(tokens: try chatPrompt(messages)) }
    return PreparedPrompt(tokens: try textPrompt(messages.map(\.content).joined(separator: "\n\n")))
  }

  /// The prompt of a conversation about documents. The last message is the question, by which what is read is chosen;
  /// the messages before it stand between the documents and the question, as if the first one had brought the documents.
  /// - Parameters:
  ///   - messages: the last one is the user's.
  ///   - inquiry: of the last message.
  ///   - frame: of the store; nil for one of trees, which stand in no text.
  func prompt(
    of messages: [ChatMessage], asking inquiry: Inquiry, in frame: ReadingFrame?
  ) throws(Refusal) -> PreparedPrompt {
    var prepared = PreparedPrompt(
      tokens: inquiry.prompt, context: inquiry.context, answerStart: inquiry.answerStart, inquiry: inquiry)
    guard messages.count > 1, let question = messages.last?.content else { return prepared }
    prepared.tokens = try tokens(of: messages, behind: frame)
    guard let frame else { return prepared }
    // What comes of the documents themselves, where they stand in the prompt, remains.
    let documents = try inquiry.prompt.dropLast(questionPrompt(question, in: frame).count)
    prepared.tokens = documents + prepared.tokens
    return prepared
  }

  /// The tokens of a conversation behind what is read of documents.
  /// - Parameter frame: what stands around the documents; nil where they stand in no text.
  func tokens(of messages: [ChatMessage], behind frame: ReadingFrame?) throws(Refusal) -> [Int32] {
    guard let frame else { return try prompt(of: messages).tokens }
    if messages.count == 1 { return try questionPrompt(messages[0].content, in: frame) }
    return try tail(of: messages, in: frame)
  }

  /// The tokens behind the documents: a conversation whose first message has the documents before it.
  private func tail(of messages: [ChatMessage], in frame: ReadingFrame) throws(Refusal) -> [Int32] {
    var turns = messages
    var instruction = ""
    if turns[0].role == .system { instruction = "\n\n\(turns.removeFirst().content)" }
    let tokenizer = try requireTokenizer()
    guard chatTemplate != nil, try readingFrame(usesChatTemplate: false).afterQuestion != frame.afterQuestion else {
      return tokenizer.encodeContinuation(plainTail(of: turns, instruction, in: frame))
    }
    // A character for private use stands for the documents; no template has it, and no message keeps it.
    let mark = "\u{F8F0}"
    for index in turns.indices { turns[index].content.removeAll { $0 == Character(mark) } }
    let isUsers = turns[0].role == .user
    let first = mark + instruction + frame.beforeQuestion + (isUsers ? turns[0].content : "")
    turns = [.user(first)] + turns.dropFirst(isUsers ? 1 : 0)
    let rendered = try chatText(turns)
    let parts = rendered.text.split(separator: mark, omittingEmptySubsequences: false)
    guard parts.count == 2, let rest = parts.last else {
      throw Refusal(
        .chatMessagesInvalid, file: pack.path, structure: "chat template",
        "it does not write what the user says once, as it is")
    }
    let (start, end) = (rendered.text.utf8.count - rest.utf8.count, rendered.text.utf8.count)
    let literal = rendered.markedRanges.map { $0.clamped(to: start..<end) }.filter { !$0.isEmpty }
    let space = frame.answerStart.isEmpty || rest.last?.isWhitespace == true ? "" : " "
    return tokenizer.encodeContinuation(
      rest + space + frame.answerStart,
      withoutSpecialTokensIn: literal.map { $0.lowerBound - start..<$0.upperBound - start })
  }

  private func plainTail(of turns: [ChatMessage], _ instruction: String, in frame: ReadingFrame) -> String {
    var text = instruction
    for turn in turns {
      text += turn.role == .assistant ? " \(turn.content)" : frame.beforeQuestion + turn.content + frame.afterQuestion
    }
    return text
  }
}
