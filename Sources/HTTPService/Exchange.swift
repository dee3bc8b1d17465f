import CanonicalJSON
import ChatService
import HTTPTypes
import HummingbirdCore
import NIOCore
import SharedPack

/// A request and its answer. Used by one task at a time.
final class Exchange: @unchecked Sendable {
  let request: Request
  private var writer: ResponseWriter?
  /// What every answer to this request has.
  private let fields: HTTPFields
  private(set) var status = 0
  /// Whether the body was read to its end: else the connection cannot be used again.
  private var isBodyRead = false

  init(_ request: Request, _ writer: consuming ResponseWriter, fields: HTTPFields) {
    self.request = request
    self.writer = consume writer
    self.fields = fields
    let length = request.headers[.contentLength]
    isBodyRead = (length == nil || length == "0") && request.headers[.transferEncoding] == nil
  }

  /// Whether an answer has begun.
  var hasBegun: Bool { status != 0 }

  /// The whole body.
  /// - Throws: `RequestFault` 413 when it has more bytes than it may, before they are read where its length is given.
  func body(atMost limit: Int) async throws -> [UInt8] {
    let tooLarge = RequestFault(413, "body_too_large", "the body has more than \(limit) bytes")
    if let length = request.headers[.contentLength] {
      guard let length = Int(length), length <= limit else { throw tooLarge }
    }
    var bytes: [UInt8] = []
    for try await buffer in request.body {
      guard bytes.count + buffer.readableBytes <= limit else { throw tooLarge }
      bytes.append(contentsOf: buffer.readableBytesView)
    }
    isBodyRead = true
    return bytes
  }

  private func takeWriter(_ status: Int) -> ResponseWriter? {
    guard let taken = writer.take() else { return nil }
    self.status = status
    return taken
  }

  private func head(_ status: Int, _ more: HTTPFields) -> HTTPResponse {
    var fields = fields
    for field in more { fields[field.name] = field.value }
    if !isBodyRead || request.headers[.connection]?.lowercased() == "close" { fields[.connection] = "close" }
    return HTTPResponse(status: HTTPResponse.Status(code: status), headerFields: fields)
  }

  /// Answers with bytes.
  func send(
    _ status: Int, _ type: String, _ bytes: [UInt8], fields more: HTTPFields = HTTPFields()
  ) async throws {
    var more = more
    if status != 204 {
      more[.contentType] = type
      more[.contentLength] = String(bytes.count)
    }
    let head = head(status, more)
    guard let writer = takeWriter(status) else { return }
    let hasBody = request.method != .head && !bytes.isEmpty
    try await writer.write(
      response: head, body: hasBody ? ResponseBody(byteBuffer: ByteBuffer(bytes: bytes)) : ResponseBody())
  }

  func send(_ json: JSONValue, status: Int = 200) async throws {
    try await send(status, "application/json", json.canonical)
  }

  func send(_ fault: RequestFault) async throws {
    var more = HTTPFields()
    if let seconds = fault.retryAfter { more[.retryAfter] = String(seconds) }
    if fault.status == 401 { more[.wwwAuthenticate] = "Bearer" }
    try await send(fault.status, "application/json", fault.json.canonical, fields: more)
  }

  /// Answers with server-sent events, as they come.
  /// - Parameter body: sends them. What it throws after the first is told as the last event.
  func sendEvents(
    fault: (any Error) -> RequestFault?, _ body: (inout EventWriter) async throws -> Void
  ) async throws {
    var more = HTTPFields()
    more[.contentType] = "text/event-stream; charset=utf-8"
    more[.cacheControl] = "no-store"
    if let name = HTTPField.Name("X-Accel-Buffering") { more[name] = "no" }
    let head = head(200, more)
    guard let writer = takeWriter(200) else { return }
    var events = EventWriter(writer: try await writer.writeHead(head))
    do {
      try await body(&events)
    } catch {
      guard let fault = fault(error) else { throw error }
      try await events.send(fault.json)
    }
    try await events.finish()
  }
}

/// Server-sent events.
/// Source: the HTML standard, server-sent events.
struct EventWriter {
  fileprivate var writer: any ResponseBodyWriter
  private var lastProgress: ContinuousClock.Instant?

  fileprivate init(writer: any ResponseBodyWriter) { self.writer = writer }

  /// - Parameter name: of the event; nil for none.
  mutating func send(_ json: JSONValue, name: String? = nil) async throws {
    let line = name.map { "event: \($0)\n" } ?? ""
    try await send(text: "\(line)data: \(String(decoding: json.canonical, as: UTF8.self))\n\n")
  }

  mutating func sendDone() async throws { try await send(text: "data: [DONE]\n\n") }

  /// A line that readers skip, at most one in a second: proxies and clients see that the connection lives.
  mutating func sendComment(_ text: String) async throws {
    let now = ContinuousClock.now
    if let lastProgress, now - lastProgress < .seconds(1) { return }
    lastProgress = now
    try await send(text: ": \(text)\n\n")
  }

  private mutating func send(text: String) async throws {
    try await writer.write(ByteBuffer(string: text))
  }

  fileprivate consuming func finish() async throws {
    try await writer.finish(nil)
  }
}
