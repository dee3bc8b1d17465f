public import CanonicalJSON
public import SharedPack

/// Why a request is not answered, in the shape and with the status that OpenAI's clients know.
public struct RequestFault: Error, Sendable, Hashable {
  /// Of HTTP, 400 to 599.
  public var status: Int
  /// What programs tell faults apart by, such as `context_length_exceeded`.
  public var code: String
  /// One line for people.
  public var message: String
  /// The field of the request at fault; nil when none is.
  public var field: String?
  /// Seconds after which the same request may be answered; nil where waiting does not help.
  public var retryAfter: Int?

  /// A fault.
  /// - Parameters:
  ///   - status: of HTTP.
  ///   - code: for programs.
  ///   - field: of the request.
  ///   - retryAfter: seconds after which the same request may be answered.
  ///   - message: for people.
  public init(
    _ status: Int, _ code: String, field: String? = nil, retryAfter: Int? = nil, _ message: String
  ) {
    self.status = status
    self.code = code
    self.message = message
    self.field = field
    self.retryAfter = retryAfter
  }

  /// A field of a request is not as it has to be.
  public static func invalid(_ field: String, _ fault: String) -> RequestFault {
    RequestFault(400, "invalid_value", field: field, "'\(field)' \(fault)")
  }

  /// A request asks for what this server does not have.
  static func unsupported(_ field: String, _ fault: String) -> RequestFault {
    RequestFault(400, "unsupported_value", field: field, "'\(field)' \(fault)")
  }

  /// The kind of a fault, as OpenAI names it.
  public var type: String {
    switch status {
    case 401: "authentication_error"
    case 403: "permission_error"
    case 429: "rate_limit_error"
    case 500...: "server_error"
    default: "invalid_request_error"
    }
  }

  /// The body of an answer that says so.
  public var json: JSONValue {
    .members([
      "error": .members([
        "message": .string(message), "type": .string(type), "param": field.map { .string($0) } ?? .null,
        "code": .string(code),
      ])
    ])
  }
}

extension RequestFault {
  /// What a refusal of the library says to a client: never where a file lies.
  /// - Parameter field: of the request, where the refusal is about what it holds.
  public init(_ refusal: Refusal, field: String? = nil) {
    switch refusal.name.text {
    case "prompt-too-long":
      self.init(400, "context_length_exceeded", field: field ?? "messages", refusal.fault)
    case "busy":
      self.init(
        429, "rate_limit_exceeded", retryAfter: 2, "as many requests wait as may: try again in a moment")
    case "engine-closed":
      self.init(503, "shutting_down", retryAfter: 10, "the server is about to end")
    case "no-thread":
      self.init(503, "overloaded", retryAfter: 10, refusal.fault)
    case "missing-document":
      self.init(404, "document_not_found", field: field ?? "documents", Self.text(refusal))
    case "document-exists":
      self.init(409, "document_exists", field: field ?? "name", refusal.fault)
    case "store-full", "no-space":
      self.init(507, "no_space", refusal.fault)
    case let name where Self.clientFaults.contains(name):
      self.init(400, name.replacing("-", with: "_"), field: field, Self.text(refusal))
    default:
      self.init(
        500, "server_error", "the model or a store cannot be read (\(refusal.name.text)); the server's log says more")
    }
  }

  /// Refusals that are about what a request says.
  private static let clientFaults: Set<String> = [
    "empty-prompt", "token-out-of-range", "cache-too-large", "needs-more-memory", "chat-messages-invalid",
    "chat-template-failed", "no-chat-template", "no-tokenizer", "no-injection", "ambiguous-document", "one-document",
    "no-match", "row-limit", "not-text", "other-encoding", "empty-document", "invalid-document-name",
  ]

  private static func text(_ refusal: Refusal) -> String {
    // The place of a text that is sent, or what is named of one: never the path of a file.
    refusal.structure.isEmpty ? refusal.fault : "\(refusal.structure): \(refusal.fault)"
  }
}
