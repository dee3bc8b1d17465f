import CanonicalJSON
import ChatService
import FileAccess
import HTTPTypes
import HummingbirdCore
import NIOCore
import SharedPack
import Synchronization

extension HTTPService {
  /// Answers one request of a connection. Work for a client that has left is cancelled.
  func respond(to request: Request, _ writer: consuming ResponseWriter, _ channel: any Channel) async throws {
    let exchange = Exchange(request, writer, fields: fields(for: request.headers[.origin]))
    let route = Route(request.method, request.head.path ?? "")
    let task = Task { try await self.answerOrFault(route, exchange, channel) }
    connections.set(channel, task: task)
    defer {
      connections.set(channel, task: nil)
      counts.count(route.name, exchange.status == 0 ? 499 : exchange.status)
    }
    try await withTaskCancellationHandler {
      try await task.value
    } onCancel: {
      task.cancel()
    }
  }

  private func answerOrFault(_ route: Route, _ exchange: Exchange, _ channel: any Channel) async throws {
    do {
      try await answer(route, exchange, channel)
    } catch {
      // What fails once an answer has begun ends its connection.
      guard !exchange.hasBegun, let fault = told(error) else { throw error }
      try await exchange.send(fault)
    }
  }

  /// What a client is told of an error; nil when the client is gone.
  func told(_ error: any Error) -> RequestFault? {
    switch error {
    case let fault as RequestFault: return fault
    case let refusal as Refusal:
      guard refusal.name.text != "cancelled" else { return nil }
      let fault = RequestFault(refusal)
      if fault.status == 500 { log(refusal.description) }
      return fault
    default: return nil
    }
  }

  // MARK: Who asks

  private func caller(_ request: Request, _ channel: any Channel) throws(RequestFault) -> Caller {
    let address = channel.remoteAddress?.ipAddress ?? ""
    guard let keys = settings.keys else { return Caller(client: address) }
    let words = (request.headers[.authorization] ?? "").split(separator: " ", maxSplits: 1)
    guard words.count == 2, words[0].lowercased() == "bearer", let scope = keys.scope(of: String(words[1])) else {
      throw RequestFault(
        401, "invalid_api_key",
        words.isEmpty ? "a key is needed: Authorization: Bearer KEY" : "this key is none of ours")
    }
    return Caller(scope: scope, client: "\(scope) \(address)")
  }

  private func isAllowed(_ origin: String) -> Bool {
    settings.origins.contains(origin) || settings.origins.contains("*")
  }

  /// What every answer says: not to guess what it is and, to pages of allowed origins, that they may read it.
  private func fields(for origin: String?) -> HTTPFields {
    var fields = HTTPFields()
    fields[.server] = "sharedpack"
    fields[.xContentTypeOptions] = "nosniff"
    if let origin, isAllowed(origin) {
      fields[.accessControlAllowOrigin] = origin
      fields[.vary] = "Origin"
    }
    return fields
  }

  // MARK: Routes

  private func answer(_ route: Route, _ exchange: Exchange, _ channel: any Channel) async throws {
    let request = exchange.request
    // Of several hosts, one stands in a field of its own.
    guard isOurs(request.head.authority), !request.headers.contains(where: { $0.name.canonicalName == "host" }) else {
      throw RequestFault(421, "wrong_host", "this server is not called so: see --host-name")
    }
    // A browser says which page asks; one of another origin gets nothing done, even what it could not read.
    if let origin = request.headers[.origin], !isAllowed(origin), !isOwn(origin, request) {
      throw RequestFault(403, "wrong_origin", "pages of other origins may not ask: see --allow-origin")
    }
    let caller = route.needsNoKey ? Caller() : try caller(request, channel)
    switch route {
    case .page: try await sendPage(exchange)
    case .health: try await exchange.send(chat.health)
    case .metrics: try await exchange.send(200, "text/plain; version=0.0.4; charset=utf-8", Array(metrics.utf8))
    case .models: try await exchange.send(chat.models(for: caller))
    case .model(let name): try await exchange.send(chat.model(name, for: caller))
    case .chat:
      let body = try await exchange.body(atMost: settings.bodyLimit)
      try await send(chat.chat(body, for: caller), exchange)
    case .response:
      let body = try await exchange.body(atMost: settings.bodyLimit)
      try await send(chat.response(body, for: caller), exchange)
    case .completion:
      let body = try await exchange.body(atMost: settings.bodyLimit)
      try await send(chat.completion(body, for: caller), exchange)
    case .tokenize: try await exchange.send(chat.tokenize(exchange.body(atMost: settings.bodyLimit)))
    case .detokenize: try await exchange.send(chat.detokenize(exchange.body(atMost: settings.bodyLimit)))
    case .documents: try await exchange.send(chat.documents(for: caller))
    case .addDocument(let name, let replaces):
      try await addDocument(name, replaces, exchange, caller)
    case .removeDocument(let name): try await remove(name, exchange, caller)
    case .files: try await exchange.send(chat.files(for: caller))
    case .addFile: try await addFile(exchange, caller)
    case .file(let identifier): try await exchange.send(chat.file(identifier, for: caller))
    case .fileContent(let identifier):
      let text = try await chat.fileContent(identifier, for: caller)
      try await exchange.send(200, "text/plain; charset=utf-8", text)
    case .removeFile(let identifier):
      try await remove(ChatService.documentName(ofFile: identifier), identifier: identifier, exchange, caller)
    case .preflight: try await sendPreflight(exchange)
    case .otherMethod(let allowed):
      var fields = HTTPFields()
      fields[.allow] = allowed
      let fault = RequestFault(405, "method_not_allowed", "this takes \(allowed)")
      try await exchange.send(405, "application/json", fault.json.canonical, fields: fields)
    case .none: throw RequestFault(404, "not_found", "there is nothing at this address")
    }
  }

  /// Whether a page is this server's own.
  private func isOwn(_ origin: String, _ request: Request) -> Bool {
    guard let authority = request.head.authority else { return false }
    return origin == "http://\(authority)" || origin == "https://\(authority)"
  }

  private func sendPreflight(_ exchange: Exchange) async throws {
    var fields = HTTPFields()
    if let origin = exchange.request.headers[.origin], isAllowed(origin) {
      fields[.accessControlAllowMethods] = "GET, POST, DELETE"
      fields[.accessControlAllowHeaders] = "Authorization, Content-Type"
      fields[.accessControlMaxAge] = "600"
    }
    try await exchange.send(204, "text/plain", [], fields: fields)
  }

  private func sendPage(_ exchange: Exchange) async throws {
    var fields = HTTPFields()
    // The page has all that it needs in itself, and speaks to its own server only.
    fields[.contentSecurityPolicy] =
      "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; "
      + "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    if let name = HTTPField.Name("Referrer-Policy") { fields[name] = "no-referrer" }
    fields[.cacheControl] = "no-cache"
    try await exchange.send(200, "text/html; charset=utf-8", Array(Page.html.utf8), fields: fields)
  }

  private var metrics: String {
    var text = ""
    for figure in chat.figures {
      text += "# HELP sharedpack_\(figure.name) \(figure.help)\n"
      text += "# TYPE sharedpack_\(figure.name) \(figure.isCounter ? "counter" : "gauge")\n"
      text += "sharedpack_\(figure.name) \(figure.value)\n"
    }
    text += "# HELP sharedpack_connections Connections that are open.\n# TYPE sharedpack_connections gauge\n"
    text += "sharedpack_connections \(connections.count)\n"
    text += "# HELP sharedpack_http_requests_total Requests by route and status; 499: the client left.\n"
    text += "# TYPE sharedpack_http_requests_total counter\n"
    return text + counts.text
  }

  // MARK: Answers

  private func send(_ reply: Reply, _ exchange: Exchange) async throws {
    guard reply.isStreamed else { return try await exchange.send(reply.whole()) }
    try await exchange.sendEvents(fault: told) { events in
      var isNamed = false
      try await reply.forEachPiece { piece in
        switch piece {
        case .data(let event):
          isNamed = event.name != nil
          try await events.send(event.json, name: event.name)
        case .progress(let done, let total): try await events.sendComment("read \(done) of \(total)")
        }
      }
      if !isNamed { try await events.sendDone() }
    }
  }

  // MARK: Documents

  private func addDocument(
    _ name: String?, _ replaces: Bool, _ exchange: Exchange, _ caller: Caller
  ) async throws {
    let events = try await receive(name, replaces, exchange, caller).events
    let wantsEvents = exchange.request.headers[.accept]?.contains("text/event-stream") == true
    guard wantsEvents else { return try await exchange.send(ChatService.added(Self.last(events))) }
    try await exchange.sendEvents(fault: told) { writer in
      var last: ContinuousClock.Instant?
      for try await event in events {
        switch event {
        case .waiting: try await writer.send(.members(["event": .string("waiting")]))
        case .progress(let done, let total):
          let now = ContinuousClock.now
          if let last, now - last < .milliseconds(100), done < total { continue }
          last = now
          try await writer.send(
            .members(["event": .string("progress"), "done": .integer(done), "total": .integer(total)]))
        case .added(let report):
          try await writer.send(.members(["event": .string("added"), "document": ChatService.added(report)]))
        }
      }
      try await writer.sendDone()
    }
  }

  private func addFile(_ exchange: Exchange, _ caller: Caller) async throws {
    let (upload, events) = try await receive(nil, true, exchange, caller)
    _ = try await Self.last(events)
    try await exchange.send(chat.file(upload.name, byteCount: upload.text.count))
  }

  /// Waits until a text is stored.
  private static func last(
    _ events: AsyncThrowingStream<DocumentLibrary.Event, any Error>
  ) async throws -> StoreBuilder.Report {
    for try await event in events {
      if case .added(let report) = event { return report }
    }
    throw CancellationError()
  }

  /// Receives a text and begins to read it. Few are received at once, as each is held in memory.
  private func receive(
    _ name: String?, _ replaces: Bool, _ exchange: Exchange, _ caller: Caller
  ) async throws -> (upload: DocumentUpload, events: AsyncThrowingStream<DocumentLibrary.Event, any Error>) {
    guard let library = chat.library else { throw ChatService.noDocuments }
    guard uploads.add(1, ordering: .relaxed).newValue <= settings.uploadCount else {
      uploads.subtract(1, ordering: .relaxed)
      throw RequestFault(429, "rate_limit_exceeded", retryAfter: 10, "too many documents are being received")
    }
    defer { uploads.subtract(1, ordering: .relaxed) }
    let body = try await exchange.body(atMost: settings.uploadLimit)
    let upload = try DocumentUpload(
      body, contentType: exchange.request.headers[.contentType], name: name, isReplacing: replaces)
    return (upload, try library.add(upload.name, text: upload.text, replacing: upload.isReplacing, for: caller))
  }

  private func remove(
    _ name: String, identifier: String? = nil, _ exchange: Exchange, _ caller: Caller
  ) async throws {
    try await chat.remove(name, for: caller)
    try await exchange.send(
      .members([
        "id": .string(identifier ?? FileIdentifier.of(name)),
        "object": .string(identifier == nil ? "document" : "file"),
        "name": identifier == nil ? .string(name) : nil, "deleted": .boolean(true),
      ]))
  }
}
