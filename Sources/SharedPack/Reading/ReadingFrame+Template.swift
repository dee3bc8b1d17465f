public import FileAccess
import Templates
import Tokenization
public import TreeStore

extension ReadingFrame {
  /// The first words of an answer, when they stand behind the question.
  public var answerStart: String {
    afterQuestion.hasSuffix(LanguageModel.answerStart) ? LanguageModel.answerStart : ""
  }
}

extension LanguageModel {
  /// What was best of the wordings that were tried with SmolLM2-135M-Instruct: with the first words of its answer given, a
  /// small model speaks about the text, where it else often writes a template's words or nothing.
  private static let readingInstruction = "Use the following text to answer the question."
  private static let questionStart = "According to the text: "
  static let answerStart = "According to the text,"

  /// The frame of questions about documents: with a chat template, documents and question are one message of the user, and
  /// the model's answer has been begun.
  /// - Parameters:
  ///   - usesChatTemplate: whether the model's chat template is used if it has one.
  ///   - system: a system message for the template.
  ///   - now: the time for templates that write the date; the machine's local time if not given.
  /// - Throws: `Refusal` `no-tokenizer`, `prompt-too-long` when what stands before the documents has more than 1,024
  ///   tokens, and those of the chat template.
  public func readingFrame(
    usesChatTemplate: Bool = true, system: String? = nil, now: TemplateDate? = nil
  ) throws(Refusal) -> ReadingFrame {
    let tokenizer = try requireTokenizer()
    guard usesChatTemplate, chatTemplate != nil else {
      let start = tokenizer.beginOfTextToken.map { [$0] } ?? []
      let text = (system.map { "\($0)\n\n" } ?? "") + "\(Self.readingInstruction)\n\n"
      return try frame(
        start + tokenizer.encode(text, addingBeginOfText: false), before: "\n\nQuestion: ", after: "\nAnswer:")
    }
    // Two characters for private use stand for what comes later; no template has them.
    let (document, question) = ("\u{F8F0}", "\u{F8F1}")
    let messages =
      (system.map { [ChatMessage.system($0)] } ?? [])
      + [.user("\(Self.readingInstruction)\n\n\(document)\n\n\(Self.questionStart)\(question)")]
    let rendered = try chatText(messages, now: now)
    let parts = rendered.text.split(separator: document, omittingEmptySubsequences: false)
    let rest = parts.count == 2 ? parts[1].split(separator: question, omittingEmptySubsequences: false) : []
    guard parts.count == 2, rest.count == 2 else {
      throw Refusal(
        .chatMessagesInvalid, file: pack.path, structure: "chat template",
        "it does not write what the user says once, as it is")
    }
    let end = parts[0].utf8.count
    return try frame(
      tokenizer.encode(
        String(parts[0]),
        withoutSpecialTokensIn: rendered.markedRanges.map { $0.clamped(to: 0..<end) }.filter { !$0.isEmpty }),
      before: String(rest[0]),
      after: String(rest[1]) + (rest[1].last?.isWhitespace == true ? "" : " ") + Self.answerStart)
  }

  private func frame(_ opening: [Int32], before: String, after: String) throws(Refusal) -> ReadingFrame {
    guard let frame = ReadingFrame(opening: opening, beforeQuestion: before, afterQuestion: after) else {
      throw Refusal(
        .promptTooLong, file: pack.path, structure: "frame",
        "\(opening.count) tokens stand before the documents; at most 1024 may, and at least one has to")
    }
    return frame
  }

  /// The tokens behind the documents of a prompt: the question, and what the frame says after it.
  /// - Throws: `Refusal` `no-tokenizer`.
  public func questionPrompt(_ question: String, in frame: ReadingFrame) throws(Refusal) -> [Int32] {
    let start = frame.beforeQuestion.utf8.count
    return try requireTokenizer().encodeContinuation(
      frame.beforeQuestion + question + frame.afterQuestion,
      withoutSpecialTokensIn: [start..<start + question.utf8.count])
  }
}
