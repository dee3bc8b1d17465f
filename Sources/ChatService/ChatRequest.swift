import CanonicalJSON
import SharedPack

/// A request for the next message of a conversation.
struct ChatRequest: Sendable {
  var fields: AnswerFields
  var messages: [ChatMessage]
  /// The number of a message in the request, less its number here, where the system's at the start are one.
  let offset: Int

  /// Messages of a request, at most.
  static let messageLimit = 4096

  /// - Parameters:
  ///   - body: JSON.
  ///   - limit: tokens of an answer where the request says nothing of it.
  /// - Throws: `RequestFault`, naming the field at fault.
  init(parsing body: [UInt8], limit: Int) throws(RequestFault) {
    let request = try RequestFields(parsing: body)
    var fields = try AnswerFields(request, limit: limit)
    if try request.boolean("logprobs") ?? false {
      fields.logProbabilities = try request.integer("top_logprobs", in: 0...20) ?? 0
    } else if try request.integer("top_logprobs", in: 0...20) ?? 0 > 0 {
      throw .invalid("top_logprobs", "needs 'logprobs' to be true")
    }
    guard let array = try request.array("messages", atMost: Self.messageLimit) else {
      throw .invalid("messages", "is missing")
    }
    try self.init(array, at: "messages", fields)
  }

  /// - Parameters:
  ///   - array: the messages.
  ///   - place: the field that has them.
  ///   - fields: all others; the documents that messages name are added.
  ///   - instructions: what the system says before them.
  init(
    _ array: [JSONValue], at place: String, _ fields: AnswerFields, instructions: String? = nil
  ) throws(RequestFault) {
    guard !array.isEmpty else { throw .invalid(place, "is empty") }
    self.fields = fields
    messages = instructions.map { [.system($0)] } ?? []
    for (number, element) in array.enumerated() {
      let message = try RequestFields(element, at: "\(place)[\(number)]")
      let role = try Self.role(message)
      let content = try Self.content(message, &self.fields.documents)
      // A system message in the middle is one more instruction; templates know it only at the start.
      if role == .system, messages.count == 1, messages[0].role == .system {
        messages[0].content += "\n\n\(content)"
      } else {
        messages.append(ChatMessage(role: role, content: content))
      }
    }
    offset = array.count - messages.count
    guard messages.last?.role == .user else {
      throw .invalid(place, "ends with a message that is not the user's: there is nothing to answer")
    }
  }

  private static func role(_ message: RequestFields) throws(RequestFault) -> ChatMessage.Role {
    let name = message.name(of: "role")
    switch try message.string("role", atMost: 32) {
    case "system", "developer": return .system
    case "user": return .user
    case "assistant": return .assistant
    case nil: throw .invalid(name, "is missing")
    case "tool", "function": throw .unsupported(name, "is system, developer, user or assistant here")
    default: throw .invalid(name, "is not system, developer, user or assistant")
    }
  }

  /// A message's text; the documents that it names are added to others.
  private static func content(
    _ message: RequestFields, _ documents: inout [String]
  ) throws(RequestFault) -> String {
    let name = message.name(of: "content")
    try message.refuse("tool_calls", unless: { $0.array?.isEmpty == true }, "are not supported")
    guard let value = message["content"] else { throw .invalid(name, "is missing") }
    if value.string != nil { return try message.string("content", atMost: 1 << 24) ?? "" }
    guard value.array != nil, let parts = try message.array("content", atMost: 1024) else {
      throw .invalid(name, "is neither a string nor an array of parts")
    }
    var texts: [String] = []
    for (number, element) in parts.enumerated() {
      let place = "\(name)[\(number)]"
      let part = try RequestFields(element, at: place)
      switch try part.string("type", atMost: 64) {
      case "text":
        guard let text = try part.string("text", atMost: 1 << 24) else { throw .invalid("\(place).text", "is missing") }
        texts.append(text)
      case "file":
        guard let value = part["file"] else { throw .invalid("\(place).file", "is missing") }
        let file = try RequestFields(value, at: "\(place).file")
        guard let identifier = try file.string("file_id", atMost: 4096) else {
          throw .unsupported("\(place).file", "has no 'file_id': send the file to /v1/files first")
        }
        guard let document = FileIdentifier.name(of: identifier) else {
          throw RequestFault(404, "file_not_found", field: "\(place).file.file_id", "there is no file of this name")
        }
        if !documents.contains(document) { documents.append(document) }
      case nil: throw .invalid("\(place).type", "is missing")
      default: throw .unsupported("\(place).type", "is text or file here")
      }
    }
    return texts.joined(separator: "\n")
  }
}

/// A request to continue a text.
struct CompletionRequest: Sendable {
  /// What is continued.
  enum Prompt: Sendable, Hashable {
    case text(String)
    case tokens([Int32])
  }

  var fields: AnswerFields
  var prompt: Prompt

  /// - Throws: `RequestFault`, naming the field at fault.
  init(parsing body: [UInt8], limit: Int) throws(RequestFault) {
    let request = try RequestFields(parsing: body)
    // 16 is what OpenAI's completions have.
    fields = try AnswerFields(request, limit: min(limit, 16))
    fields.logProbabilities = try request.integer("logprobs", in: 0...20)
    guard let value = request["prompt"] else { throw .invalid("prompt", "is missing") }
    prompt = try Self.prompt(value)
  }

  private static func prompt(_ value: JSONValue) throws(RequestFault) -> Prompt {
    if let text = value.string { return .text(text) }
    guard let array = value.array, let first = array.first else {
      throw .invalid("prompt", "is neither a string nor an array that has something")
    }
    if first.integer != nil {
      var tokens: [Int32] = []
      for (number, element) in array.enumerated() {
        guard let token = element.integer.flatMap(Int32.init(exactly:)) else {
          throw .invalid("prompt[\(number)]", "is not a token")
        }
        tokens.append(token)
      }
      return .tokens(tokens)
    }
    guard array.count == 1, first.string != nil || first.array?.first?.integer != nil else {
      throw .unsupported("prompt", "is one prompt here: send a request for each")
    }
    return try prompt(first)
  }
}
