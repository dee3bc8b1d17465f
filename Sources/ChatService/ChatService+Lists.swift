public import CanonicalJSON
import FileAccess
import Glibc
public import SharedPack

// What requests ask about the server itself.
extension ChatService {
  /// Documents that stand among the models, at most: a client's menu has no room for more.
  private static let modelLimit = 1000

  /// The model and, behind an `@`, its documents, for clients that can only choose models: `GET /v1/models`.
  public func models(for caller: Caller) async throws -> JSONValue {
    let documents = try await listed(caller).prefix(Self.modelLimit)
    var names = [ModelName(model: modelName, documents: nil)]
    if documents.count > 1 { names.append(ModelName(model: modelName, documents: "*")) }
    names += documents.map { ModelName(model: modelName, documents: $0.document.name) }
    return .members(["object": .string("list"), "data": .array(names.map(entry))])
  }

  /// One of them: `GET /v1/models/NAME`.
  /// - Throws: `RequestFault` 404.
  public func model(_ name: String, for caller: Caller) async throws -> JSONValue {
    guard let model = ModelName(name, served: modelName) else {
      throw RequestFault(404, "model_not_found", field: "model", "this server has no model of this name")
    }
    return entry(model)
  }

  private func entry(_ name: ModelName) -> JSONValue {
    .members([
      "id": .string(name.text), "object": .string("model"), "created": .integer(started),
      "owned_by": .string("sharedpack"),
      "context_window": .integer(engine.model.window), "max_model_len": .integer(engine.model.window),
    ])
  }

  private func listed(_ caller: Caller) async throws -> [ListedDocument] {
    guard let library else { return [] }
    do {
      return try await work.run { try library.documents(of: caller) }
    } catch let refusal as Refusal {
      throw RequestFault(refusal)
    }
  }

  // MARK: Documents

  /// All documents that the caller may ask about: `GET /v1/documents`.
  public func documents(for caller: Caller) async throws -> JSONValue {
    let documents = try await listed(caller)
    return .members(["object": .string("list"), "data": .array(documents.map(Self.document))])
  }

  private static func document(_ listed: ListedDocument) -> JSONValue {
    let document = listed.document
    return .members([
      "id": .string(FileIdentifier.of(document.name)), "object": .string("document"), "name": .string(document.name),
      "bytes": .integer(document.textByteCount), "tokens": .integer(document.tokenCount),
      "chunks": .integer(document.chunkCount), "shared": .boolean(listed.isShared),
    ])
  }

  /// What a document is when it has been added.
  public static func added(_ report: StoreBuilder.Report) -> JSONValue {
    .members([
      "id": .string(FileIdentifier.of(report.name)), "object": .string("document"), "name": .string(report.name),
      "outcome": .string(report.outcome.rawValue), "tokens": .integer(report.tokenCount),
      "chunks": .integer(report.chunkCount), "encoded_tokens": .integer(report.encodedTokenCount),
    ])
  }

  /// The same documents as files: `GET /v1/files`.
  public func files(for caller: Caller) async throws -> JSONValue {
    let documents = try await listed(caller)
    return .members([
      "object": .string("list"), "has_more": .boolean(false),
      "data": .array(documents.map { file($0.document.name, byteCount: $0.document.textByteCount) }),
    ])
  }

  /// One of them: `GET /v1/files/ID`.
  /// - Throws: `RequestFault` 404.
  public func file(_ identifier: String, for caller: Caller) async throws -> JSONValue {
    let name = try Self.documentName(ofFile: identifier)
    guard let found = try await listed(caller).first(where: { $0.document.name == name }) else {
      throw Self.noFile
    }
    return file(name, byteCount: found.document.textByteCount)
  }

  /// The text of one of them, where its store keeps it, as those do that came by the server: `GET /v1/files/ID/content`.
  /// - Throws: `RequestFault` 404.
  public func fileContent(_ identifier: String, for caller: Caller) async throws -> [UInt8] {
    let name = try Self.documentName(ofFile: identifier)
    guard let library else { throw Self.noDocuments }
    do {
      return try await work.run {
        for store in try library.stores(of: caller) {
          guard let document = try store.store.document(named: name) else { continue }
          if let text = try store.store.text(of: document) { return text }
          throw RequestFault(404, "text_not_kept", field: "file_id", "the text of this document is not kept")
        }
        throw Self.noFile
      }
    } catch let refusal as Refusal {
      throw RequestFault(refusal, field: "file_id")
    }
  }

  /// The document that a file is.
  /// - Throws: `RequestFault` 404.
  public static func documentName(ofFile identifier: String) throws(RequestFault) -> String {
    guard let name = FileIdentifier.name(of: identifier) else { throw noFile }
    return name
  }

  private static var noFile: RequestFault {
    RequestFault(404, "file_not_found", field: "file_id", "there is no file of this name")
  }

  /// A document as a file. The store does not keep when it came; a file of OpenAI's has a time.
  public func file(_ name: String, byteCount: Int) -> JSONValue {
    .members([
      "id": .string(FileIdentifier.of(name)), "object": .string("file"), "bytes": .integer(byteCount),
      "created_at": .integer(started), "filename": .string(name), "purpose": .string("user_data"),
      "status": .string("processed"),
    ])
  }

  /// Removes a document of the caller's own.
  /// - Throws: `RequestFault`.
  public func remove(_ name: String, for caller: Caller) async throws {
    guard let library else { throw Self.noDocuments }
    do {
      try await library.remove(name, for: caller)
    } catch let refusal as Refusal {
      throw RequestFault(refusal, field: "name")
    }
  }

  /// A server without a store was asked to keep something.
  public static var noDocuments: RequestFault {
    RequestFault(404, "no_documents", "this server keeps no documents: it was started without --store")
  }

  // MARK: Tokens

  /// The tokens of a text or of a conversation: `POST /tokenize`.
  public func tokenize(_ body: [UInt8]) async throws -> JSONValue {
    try await work.run { [self] in
      let fields = try RequestFields(parsing: body)
      let tokens: [Int32]
      if fields["messages"] != nil {
        let request = try ChatRequest(parsing: body, limit: 1)
        tokens = try faults("messages") { () throws(Refusal) in try engine.model.prompt(of: request.messages).tokens }
      } else {
        guard let text = try fields.string("prompt", atMost: 1 << 24) ?? fields.string("content", atMost: 1 << 24)
        else { throw RequestFault.invalid("prompt", "is missing") }
        let adds = try fields.boolean("add_special_tokens") ?? true
        tokens = try faults("prompt") { () throws(Refusal) in
          adds
            ? try engine.model.textPrompt(text)
            : try engine.model.requireTokenizer().encode(text, addingBeginOfText: false)
        }
      }
      return .members([
        "tokens": .array(tokens.map { .integer(Int($0)) }), "count": .integer(tokens.count),
        "max_model_len": .integer(engine.model.window),
      ])
    }
  }

  /// The text of tokens: `POST /detokenize`.
  public func detokenize(_ body: [UInt8]) async throws -> JSONValue {
    try await work.run { [self] in
      let fields = try RequestFields(parsing: body)
      guard let array = try fields.array("tokens", atMost: 1 << 20) else {
        throw RequestFault.invalid("tokens", "is missing")
      }
      var tokens: [Int32] = []
      for (number, element) in array.enumerated() {
        guard let token = element.integer.flatMap(Int32.init(exactly:)) else {
          throw RequestFault.invalid("tokens[\(number)]", "is not a token")
        }
        tokens.append(token)
      }
      let text = try faults("tokens") { () throws(Refusal) in try engine.model.text(of: tokens) }
      return .members(["prompt": .string(text), "content": .string(text)])
    }
  }

  // MARK: The state

  /// Whether the server answers: `GET /health`.
  public var health: JSONValue {
    let now = engine.statistics
    return .members([
      "status": .string("ok"), "model": .string(modelName), "running": .integer(now.running),
      "waiting": .integer(now.waiting),
    ])
  }

  /// Figures as Prometheus reads them: name, whether it only grows, what it is, value.
  public var figures: [(name: String, isCounter: Bool, help: String, value: Double)] {
    let now = engine.statistics
    return [
      ("requests_running", false, "Answers that are written now.", Double(now.running)),
      ("requests_waiting", false, "Requests in the queue.", Double(now.waiting)),
      ("requests_finished_total", true, "Answers that ended by themselves.", Double(now.finished)),
      ("requests_abandoned_total", true, "Answers whose readers left.", Double(now.abandoned)),
      ("requests_failed_total", true, "Answers that failed.", Double(now.failed)),
      ("requests_refused_total", true, "Requests that the queue had no place for.", Double(now.refused)),
      ("prompt_tokens_total", true, "Tokens of prompts that were read.", Double(now.promptTokens)),
      ("cached_tokens_total", true, "Tokens of prompts that need not be read.", Double(now.cachedTokens)),
      ("answer_tokens_total", true, "Tokens that were written.", Double(now.answerTokens)),
      ("kept_conversations", false, "Conversations that are kept.", Double(now.keptConversations)),
      ("kept_bytes", false, "Bytes of kept conversations.", Double(now.keptBytes)),
      ("overflow_bytes", false, "Bytes of what has left the window.", Double(overflow?.byteCount ?? 0)),
      (
        "overflow_tokens_total", true, "Tokens that were encoded when they had left the window.",
        Double(overflow?.encodedTokenCount ?? 0)
      ),
      ("reserved_bytes", false, "Bytes of running answers.", Double(now.reservedBytes)),
      ("passes_total", true, "Passes over the weights.", Double(now.passes)),
      ("busy_seconds_total", true, "Seconds in passes and around them.", now.busySeconds),
      ("private_bytes", false, "Memory that only this process uses.", Double(ProcessMemory.privateByteCount() ?? 0)),
    ]
  }
}
