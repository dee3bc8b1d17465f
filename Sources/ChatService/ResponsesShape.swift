import CanonicalJSON
import Glibc
import SharedPack

/// An answer to those who ask `/v1/responses`: one object, or events that say how it comes to be.
struct ResponsesShape: AnswerShape {
  private let identifier: String
  private let messageIdentifier: String
  private let created = Int(time(nil))
  private let model: String
  private let instructions: String?
  private let options: GenerationOptions
  /// What only this server says: the sources of an answer.
  private let extra: JSONValue?
  private let overflow: JSONValue?
  /// The answer so far.
  private var text = ""
  private var eventCount = 0

  init(
    model: String, instructions: String?, options: GenerationOptions, extra: JSONValue?, overflow: JSONValue?
  ) {
    identifier = "resp_" + ReplyShape.digits()
    messageIdentifier = "msg_" + ReplyShape.digits()
    self.model = model
    self.instructions = instructions
    self.options = options
    self.extra = extra
    self.overflow = overflow
  }

  // MARK: Objects

  /// - Parameter summary: nil while the answer is being written.
  private func response(_ summary: ResponseSummary?) -> JSONValue {
    let isCut = summary.map(ReplyShape.isCut) ?? false
    return .members([
      "id": .string(identifier), "object": .string("response"), "created_at": .integer(created),
      "status": .string(Self.status(summary)), "error": .null,
      "incomplete_details": isCut ? .members(["reason": .string("max_output_tokens")]) : .null,
      "instructions": instructions.map { .string($0) } ?? .null,
      "max_output_tokens": .integer(options.maxTokens), "model": .string(model),
      "output": .array(summary == nil ? [] : [message(summary)]), "parallel_tool_calls": .boolean(false),
      "previous_response_id": .null, "store": .boolean(false),
      "temperature": .number(Double(options.sampling.temperature)),
      "text": .members(["format": .members(["type": .string("text")])]), "tool_choice": .string("auto"),
      "tools": .array([]), "top_p": .number(Double(options.sampling.topP)), "truncation": .string("disabled"),
      "metadata": .object([]), "usage": summary.map(usage) ?? .null, "sharedpack": extra,
    ])
  }

  private func message(_ summary: ResponseSummary?) -> JSONValue {
    .members([
      "id": .string(messageIdentifier), "type": .string("message"), "role": .string("assistant"),
      "status": .string(Self.status(summary)), "content": .array(summary == nil ? [] : [part]),
    ])
  }

  private var part: JSONValue {
    .members([
      "type": .string("output_text"), "text": .string(text), "annotations": .array([]), "logprobs": .array([]),
    ])
  }

  private static func status(_ summary: ResponseSummary?) -> String {
    summary.map { ReplyShape.isCut($0) ? "incomplete" : "completed" } ?? "in_progress"
  }

  private func usage(_ summary: ResponseSummary) -> JSONValue {
    .members([
      "input_tokens": .integer(summary.promptTokens),
      "input_tokens_details": .members(["cached_tokens": .integer(summary.cachedTokens)]),
      "output_tokens": .integer(summary.tokens.count),
      "output_tokens_details": .members(["reasoning_tokens": .integer(0)]),
      "total_tokens": .integer(summary.promptTokens + summary.tokens.count), "sharedpack": overflow,
    ])
  }

  // MARK: Events

  private mutating func event(_ name: String, _ members: [JSONValue.Member]) -> AnswerEventText {
    defer { eventCount += 1 }
    let type = "response.\(name)"
    return AnswerEventText(
      name: type,
      json: .object(
        [JSONValue.Member("type", .string(type)), JSONValue.Member("sequence_number", .integer(eventCount))] + members))
  }

  /// An event of the only message, or of its only part.
  private mutating func event(_ name: String, ofPart: Bool, _ member: JSONValue.Member) -> AnswerEventText {
    let place =
      ofPart
      ? [
        JSONValue.Member("item_id", .string(messageIdentifier)), JSONValue.Member("output_index", .integer(0)),
        JSONValue.Member("content_index", .integer(0)),
      ] : [JSONValue.Member("output_index", .integer(0))]
    return event(name, place + [member])
  }

  mutating func start() -> [AnswerEventText] {
    let response = JSONValue.Member("response", response(nil))
    return [
      event("created", [response]), event("in_progress", [response]),
      event("output_item.added", ofPart: false, JSONValue.Member("item", message(nil))),
      event("content_part.added", ofPart: true, JSONValue.Member("part", part)),
    ]
  }

  mutating func piece(_ text: String, _ tokens: [TokenChoice], _ tokenizer: Tokenizer?) -> AnswerEventText {
    self.text += text
    return event("output_text.delta", ofPart: true, JSONValue.Member("delta", .string(text)))
  }

  mutating func end(_ summary: ResponseSummary) -> [AnswerEventText] {
    [
      event("output_text.done", ofPart: true, JSONValue.Member("text", .string(text))),
      event("content_part.done", ofPart: true, JSONValue.Member("part", part)),
      event("output_item.done", ofPart: false, JSONValue.Member("item", message(summary))),
      event(Self.status(summary), [JSONValue.Member("response", response(summary))]),
    ]
  }

  mutating func whole(
    _ text: String, _ tokens: [TokenChoice], _ summary: ResponseSummary, _ tokenizer: Tokenizer?
  ) -> JSONValue {
    self.text = text
    return response(summary)
  }
}
