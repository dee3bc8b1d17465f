import CanonicalJSON
import SharedPack

/// A request of OpenAI's newer kind, `/v1/responses`: a conversation, said otherwise. No response is kept, so that each
/// request has all of its conversation.
struct ResponsesRequest: Sendable {
  /// The same request as one for a chat.
  var chat: ChatRequest
  /// What the answer repeats.
  var instructions: String?

  /// - Parameters:
  ///   - body: JSON.
  ///   - limit: tokens of an answer where the request says nothing of it.
  /// - Throws: `RequestFault`, naming the field at fault.
  init(parsing body: [UInt8], limit: Int) throws(RequestFault) {
    let request = try RequestFields(parsing: body)
    for field in ["previous_response_id", "conversation"] {
      try request.refuse(
        field, unless: { _ in false }, "is not supported: no response is kept here; send all messages in 'input'")
    }
    try request.refuse("background", unless: { $0.boolean == false }, "is false here")
    try request.refuse("prompt", unless: { _ in false }, "is not supported")
    try request.refuse(
      "text", unless: { $0["format"].map { $0["type"]?.string == "text" } ?? true }, "has a format of type text here")
    var fields = try AnswerFields(request, limit: limit)
    if let limit = try request.integer("max_output_tokens", in: 1...Int.max) {
      fields.options.maxTokens = min(limit, 1 << 20)
    }
    instructions = try request.string("instructions", atMost: 1 << 24)
    guard let input = request["input"] else { throw .invalid("input", "is missing") }
    var messages: [JSONValue] = []
    if input.string != nil {
      messages = [.members(["role": .string("user"), "content": input])]
    } else {
      guard let items = try request.array("input", atMost: ChatRequest.messageLimit) else {
        throw .invalid("input", "is neither a string nor an array of messages")
      }
      for (number, item) in items.enumerated() { messages.append(try Self.message(item, at: "input[\(number)]")) }
    }
    chat = try ChatRequest(messages, at: "input", fields, instructions: instructions)
  }

  /// An item of the input as a chat has it.
  private static func message(_ item: JSONValue, at place: String) throws(RequestFault) -> JSONValue {
    let fields = try RequestFields(item, at: place)
    try fields.refuse("type", unless: { $0.string == "message" }, "is message here")
    guard let content = fields["content"]?.array else { return item }
    var parts: [JSONValue] = []
    for (number, element) in content.enumerated() {
      let part = try RequestFields(element, at: "\(place).content[\(number)]")
      switch try part.string("type", atMost: 64) {
      case "input_text", "output_text": parts.append(.members(["type": .string("text"), "text": part["text"]]))
      case "input_file":
        parts.append(.members(["type": .string("file"), "file": .members(["file_id": part["file_id"]])]))
      case nil: throw .invalid(part.name(of: "type"), "is missing")
      default: throw .unsupported(part.name(of: "type"), "is input_text, output_text or input_file here")
      }
    }
    return .members(["role": fields["role"], "content": .array(parts)])
  }
}
