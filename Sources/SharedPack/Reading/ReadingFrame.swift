public import FileAccess
import Templates
import Tokenization

/// What stands around the documents in a prompt of a plain model: all that comes before them, which is the same for
/// every question, and what follows them.
///
/// With a chat template, documents and question are one message of the user.
public struct ReadingFrame: Sendable, Hashable {
  /// The tokens before the documents.
  public let opening: [Int32]
  /// The text between the documents and the question, and behind the question.
  private let beforeQuestion: String
  private let afterQuestion: String

  /// The one instruction that was tried.
  static let instruction = "Read this text and answer the question after it."

  /// - Parameters:
  ///   - usesChatTemplate: whether the model's chat template is used if it has one.
  ///   - system: a system message for the template.
  /// - Throws: `Refusal` `no-tokenizer`, and those of the chat template.
  init(_ model: LanguageModel, usesChatTemplate: Bool, system: String?, now: TemplateDate?) throws(Refusal) {
    let tokenizer = try model.requireTokenizer()
    guard usesChatTemplate, model.chatTemplate != nil else {
      let start = tokenizer.beginOfTextToken.map { [$0] } ?? []
      opening = start + tokenizer.encode("\(Self.instruction)\n\n", addingBeginOfText: false)
      beforeQuestion = "\n\nQuestion: "
      afterQuestion = "\nAnswer:"
      return
    }
    // Two characters for private use stand for what comes later; no template has them.
    let (document, question) = ("\u{F8F0}", "\u{F8F1}")
    let messages =
      (system.map { [ChatMessage.system($0)] } ?? []) + [.user("\(Self.instruction)\n\n\(document)\n\n\(question)")]
    let rendered = try model.chatText(messages, now: now)
    let parts = rendered.text.split(separator: document, omittingEmptySubsequences: false)
    let rest = parts.count == 2 ? parts[1].split(separator: question, omittingEmptySubsequences: false) : []
    guard parts.count == 2, rest.count == 2 else {
      throw Refusal(
        .chatMessagesInvalid, file: model.pack.path, structure: "chat template",
        "it does not write what the user says once, as it is")
    }
    let end = parts[0].utf8.count
    opening = tokenizer.encode(
      String(parts[0]),
      withoutSpecialTokensIn: rendered.markedRanges.map { $0.clamped(to: 0..<end) }.filter { !$0.isEmpty })
    beforeQuestion = String(rest[0])
    afterQuestion = String(rest[1])
  }

  /// The tokens after the documents.
  func closing(_ question: String, tokenizer: Tokenizer) -> [Int32] {
    let start = beforeQuestion.utf8.count
    return tokenizer.encodeContinuation(
      beforeQuestion + question + afterQuestion,
      withoutSpecialTokensIn: [start..<start + question.utf8.count])
  }
}

extension LanguageModel {
  /// The tokens behind the documents of a prompt: the question, and what the frame says after it.
  /// - Throws: `Refusal` `no-tokenizer`.
  public func questionPrompt(_ question: String, in frame: ReadingFrame) throws(Refusal) -> [Int32] {
    frame.closing(question, tokenizer: try requireTokenizer())
  }
}
