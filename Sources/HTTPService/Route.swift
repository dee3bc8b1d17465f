import HTTPTypes

/// What a request asks for.
enum Route: Sendable, Hashable {
  case page
  case health
  case metrics
  case models
  case model(String)
  case chat
  case response
  case completion
  case tokenize
  case detokenize
  case documents
  case addDocument(name: String?, replaces: Bool)
  case removeDocument(String)
  case files
  case addFile
  case file(String)
  case fileContent(String)
  case removeFile(String)
  /// What a browser asks before a page of another origin may.
  case preflight
  /// There is such a path, but not for this method.
  case otherMethod(allowed: String)
  case none

  /// - Parameters:
  ///   - method: of HTTP.
  ///   - target: the path with what stands behind a question mark, as the client wrote it.
  init(_ method: HTTPRequest.Method, _ target: String) {
    let parts = target.split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false)
    let query = parts.count > 1 ? Self.query(parts[1]) : [:]
    let method = method == .head ? .get : method
    if method == .options {
      self = .preflight
      return
    }
    func only(_ allowed: HTTPRequest.Method, _ route: Route) -> Route {
      method == allowed ? route : .otherMethod(allowed: allowed.rawValue)
    }
    switch parts.first ?? "" {
    case "/": self = only(.get, .page)
    case "/health", "/v1/health": self = only(.get, .health)
    case "/metrics": self = only(.get, .metrics)
    case "/v1/models": self = only(.get, .models)
    case "/v1/chat/completions": self = only(.post, .chat)
    case "/v1/responses": self = only(.post, .response)
    case "/v1/completions": self = only(.post, .completion)
    case "/tokenize": self = only(.post, .tokenize)
    case "/detokenize": self = only(.post, .detokenize)
    case "/v1/documents":
      let replaces = query["replace"] == "true" || query["replace"] == "1"
      switch method {
      case .get: self = .documents
      case .post: self = .addDocument(name: query["name"], replaces: replaces)
      case .delete: self = query["name"].map(Route.removeDocument) ?? .none
      default: self = .otherMethod(allowed: "GET, POST, DELETE")
      }
    case "/v1/files":
      switch method {
      case .get: self = .files
      case .post: self = .addFile
      default: self = .otherMethod(allowed: "GET, POST")
      }
    case let path where path.hasPrefix("/v1/models/"):
      let name = Self.decoded(path.dropFirst("/v1/models/".count))
      self = name.map { only(.get, .model($0)) } ?? .none
    case let path where path.hasPrefix("/v1/documents/"):
      let name = Self.decoded(path.dropFirst("/v1/documents/".count))
      self = name.map { only(.delete, .removeDocument($0)) } ?? .none
    case let path where path.hasPrefix("/v1/files/"):
      guard let name = Self.decoded(path.dropFirst("/v1/files/".count)) else {
        self = .none
        return
      }
      // No identifier has a slash.
      let end = "/content"
      if name.hasSuffix(end) {
        self = only(.get, .fileContent(String(name.dropLast(end.count))))
        return
      }
      switch method {
      case .get: self = .file(name)
      case .delete: self = .removeFile(name)
      default: self = .otherMethod(allowed: "GET, DELETE")
      }
    default: self = .none
    }
  }

  /// One of few names, for counting.
  var name: String {
    switch self {
    case .page: "/"
    case .health: "/health"
    case .metrics: "/metrics"
    case .models, .model: "/v1/models"
    case .chat: "/v1/chat/completions"
    case .response: "/v1/responses"
    case .completion: "/v1/completions"
    case .tokenize: "/tokenize"
    case .detokenize: "/detokenize"
    case .documents, .addDocument, .removeDocument: "/v1/documents"
    case .files, .addFile, .file, .fileContent, .removeFile: "/v1/files"
    case .preflight: "OPTIONS"
    case .otherMethod, .none: "other"
    }
  }

  /// Whether everybody may ask: nothing of a document or a model is told.
  var needsNoKey: Bool {
    switch self {
    case .page, .health, .preflight: true
    default: false
    }
  }

  private static func query(_ text: Substring) -> [String: String] {
    var fields: [String: String] = [:]
    for pair in text.split(separator: "&").prefix(32) {
      let parts = pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
      guard let name = decoded(parts[0]), let value = decoded(parts.count > 1 ? parts[1] : "", plusIsSpace: true)
      else { continue }
      fields[name] = fields[name] ?? value
    }
    return fields
  }

  /// - Returns: nil for what is not UTF-8 or has half an escape.
  static func decoded(_ text: Substring, plusIsSpace: Bool = false) -> String? {
    var bytes: [UInt8] = []
    var rest = Array(text.utf8)[...]
    while let byte = rest.popFirst() {
      if byte == UInt8(ascii: "+"), plusIsSpace {
        bytes.append(UInt8(ascii: " "))
      } else if byte == UInt8(ascii: "%") {
        guard rest.count >= 2, let value = UInt8(String(decoding: rest.prefix(2), as: UTF8.self), radix: 16) else {
          return nil
        }
        bytes.append(value)
        rest = rest.dropFirst(2)
      } else {
        bytes.append(byte)
      }
    }
    return String(validating: bytes, as: UTF8.self)
  }
}
