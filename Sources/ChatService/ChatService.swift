import CanonicalJSON
import Glibc
public import SharedPack

/// A model and its documents, behind the requests that OpenAI's clients send. Knows nothing of connections.
///
/// Safe to use from any task. Whatever is wrong with a request is thrown before an answer begins.
public final class ChatService: Sendable {
  public let engine: AnswerEngine
  /// Nil for a server without documents.
  public let library: DocumentLibrary?
  /// What clients call the model.
  public let modelName: String
  /// Keeps what has left the window of conversations; nil: one that does not fit is refused.
  let overflow: OverflowMemory?
  /// Tokens of an answer where a request says nothing of it.
  private let answerLimit: Int
  /// When the service was made, in seconds since 1970.
  let started = Int(time(nil))
  let work = BlockingWork("prompts", isSerial: false)

  private var model: LanguageModel { engine.model }

  /// Sources that an answer tells, at most: the best ones.
  private static let sourceLimit = 32

  /// - Parameters:
  ///   - engine: writes the answers.
  ///   - library: of documents; nil for none.
  ///   - modelName: what clients call the model.
  ///   - answerLimit: tokens of an answer where a request says nothing of it.
  ///   - overflow: keeps what has left the window of conversations; nil: one that does not fit is refused.
  public init(
    _ engine: AnswerEngine, library: DocumentLibrary?, modelName: String, answerLimit: Int = 1024,
    overflow: OverflowMemory? = nil
  ) {
    self.engine = engine
    self.overflow = overflow
    self.library = library
    self.modelName = modelName
    self.answerLimit = answerLimit
  }

  // MARK: Answers

  /// Answers a conversation: `POST /v1/chat/completions`.
  /// - Parameters:
  ///   - body: JSON.
  ///   - caller: whose request it is.
  /// - Throws: `RequestFault`, `CancellationError`.
  public func chat(_ body: [UInt8], for caller: Caller) async throws -> Reply {
    try requireRoom()
    let limit = answerLimit
    let (request, name, prepared) = try await work.run { [self] in
      let request = try ChatRequest(parsing: body, limit: limit)
      let name = try requireModel(request.fields.model)
      return (request, name, try prepare(request, name, at: "messages", for: caller))
    }
    return try begin(prepared, request.fields, name, .chat, for: caller)
  }

  /// Answers a conversation in the shape that came after chats: `POST /v1/responses`.
  /// - Parameters:
  ///   - body: JSON.
  ///   - caller: whose request it is.
  /// - Throws: `RequestFault`, `CancellationError`.
  public func response(_ body: [UInt8], for caller: Caller) async throws -> Reply {
    try requireRoom()
    let limit = answerLimit
    let (request, name, prepared) = try await work.run { [self] in
      let request = try ResponsesRequest(parsing: body, limit: limit)
      let name = try requireModel(request.chat.fields.model)
      return (request, name, try prepare(request.chat, name, at: "input", for: caller))
    }
    let fields = request.chat.fields
    let shape = ResponsesShape(
      model: name.text, instructions: request.instructions, options: fields.options,
      extra: prepared.inquiry.map { Self.sources($0, prepared.earlier) }, overflow: prepared.earlier.map(Self.overflow))
    return try begin(prepared, fields, shape, at: "input", for: caller)
  }

  /// Continues a text: `POST /v1/completions`.
  /// - Parameters:
  ///   - body: JSON.
  ///   - caller: whose request it is.
  /// - Throws: `RequestFault`, `CancellationError`.
  public func completion(_ body: [UInt8], for caller: Caller) async throws -> Reply {
    try requireRoom()
    let limit = answerLimit
    let (request, name, prepared) = try await work.run { [self] in
      let request = try CompletionRequest(parsing: body, limit: limit)
      let name = try requireModel(request.fields.model)
      guard request.fields.documents.isEmpty, name.documents == nil else {
        throw RequestFault.unsupported("documents", "are asked about in /v1/chat/completions")
      }
      let tokens: [Int32]
      switch request.prompt {
      case .tokens(let given): tokens = given
      case .text(let text): tokens = try faults("prompt") { () throws(Refusal) in try model.textPrompt(text) }
      }
      return (request, name, PreparedPrompt(tokens: tokens))
    }
    return try begin(prepared, request.fields, name, .completion, for: caller)
  }

  /// - Throws: `RequestFault` 429 before any work is done.
  private func requireRoom() throws(RequestFault) {
    let now = engine.statistics
    guard now.waiting <= engine.limits.queue, now.running + now.waiting < engine.limits.parallel + engine.limits.queue
    else { throw RequestFault(Refusal(Refusal.Name("busy", .tryAgain), file: "engine", "")) }
  }

  private func requireModel(_ name: String?) throws(RequestFault) -> ModelName {
    guard let name, !name.isEmpty else { return ModelName(model: modelName, documents: nil) }
    guard let model = ModelName(name, served: modelName) else {
      throw RequestFault(
        404, "model_not_found", field: "model", "this server has the model '\(modelName)' and no other")
    }
    return model
  }

  private func begin(
    _ prepared: PreparedPrompt, _ fields: AnswerFields, _ name: ModelName, _ kind: ReplyShape.Kind, for caller: Caller
  ) throws(RequestFault) -> Reply {
    let shape = ReplyShape(
      kind, model: name.text, fingerprint: "sp-\(model.pack.identity.description.prefix(10))",
      includesUsage: fields.includesUsage, hasProbabilities: fields.logProbabilities != nil,
      extra: prepared.inquiry.map { Self.sources($0, prepared.earlier) }, overflow: prepared.earlier.map(Self.overflow))
    return try begin(prepared, fields, shape, at: kind == .chat ? "messages" : "prompt", for: caller)
  }

  private func begin(
    _ prepared: PreparedPrompt, _ fields: AnswerFields, _ shape: any AnswerShape, at place: String, for caller: Caller
  ) throws(RequestFault) -> Reply {
    let answer = try faults(place) { () throws(Refusal) in
      try engine.submit(
        AnswerRequest(
          prepared.tokens, context: prepared.context, options: fields.options, client: caller.client,
          scope: caller.scope, logProbabilities: fields.logProbabilities))
    }
    return Reply(
      answer, start: prepared.answerStart, tokenizer: model.tokenizer, shape: shape, isStreamed: fields.isStreamed)
  }

  // MARK: Documents

  /// The prompt of a request, and what of documents is read before it. Takes a while.
  private func prepare(
    _ request: ChatRequest, _ name: ModelName, at place: String, for caller: Caller
  ) throws(RequestFault) -> PreparedPrompt {
    let documents = try documents(request, name, for: caller)
    return try faults(place) { () throws(Refusal) in
      let whole =
        if let (store, inquiry) = documents {
          try model.prompt(of: request.messages, asking: inquiry, in: store.store.configuration.text?.frame)
        } else {
          try model.prompt(of: request.messages)
        }
      return try overflowing(request, whole, about: documents, for: caller) ?? whole
    }
  }

  /// What is read of the documents that a request names; nil when it names none.
  private func documents(
    _ request: ChatRequest, _ name: ModelName, for caller: Caller
  ) throws(RequestFault) -> (store: DocumentStore, inquiry: Inquiry)? {
    var names = request.fields.documents
    if let more = name.documents, !names.contains(more) { names.append(more) }
    guard !names.isEmpty else { return nil }
    guard let library else {
      throw RequestFault(404, "document_not_found", field: "documents", "this server has no documents")
    }
    let question = request.messages.last?.content ?? ""
    return try faults("documents") { () throws(Refusal) in
      try library.inquiry(question, about: names, for: caller)
    }
  }

  /// What is read of documents for an answer, the best first.
  /// - Parameter earlier: the messages that have left the window: the last document.
  private static func sources(_ inquiry: Inquiry, _ earlier: EarlierMessages?) -> JSONValue {
    let conversation = earlier == nil ? nil : inquiry.documents.count - 1
    let best = inquiry.sources.sorted { $0.score > $1.score }.prefix(sourceLimit)
    return .members([
      "documents": .array(inquiry.documents.map { .string($0.name) }),
      "sources": .array(
        best.map { source in
          let messages =
            source.document == conversation ? source.byteRange.flatMap { earlier?.messages(in: $0) } : nil
          return .members([
            "document": .string(inquiry.documents[source.document].name), "chunk": .integer(source.chunk),
            "messages": messages.map { .array([.integer($0.first), .integer($0.last)]) },
            "byte_range": source.byteRange.map { .array([.integer($0.lowerBound), .integer($0.upperBound)]) },
            "score": .number(source.score.isFinite ? Double(source.score) : 0), "text": .string(source.text),
          ])
        }),
      "source_count": .integer(inquiry.sources.count),
      "answer_start": inquiry.answerStart.isEmpty ? nil : .string(inquiry.answerStart),
      "unreadable_segments": inquiry.unreadableSegments > 0 ? .integer(inquiry.unreadableSegments) : nil,
    ])
  }

  /// What has left the window.
  private static func overflow(_ earlier: EarlierMessages) -> JSONValue {
    .members([
      "overflow_messages": .integer(earlier.places.count), "overflow_tokens": .integer(earlier.tokenCount),
      "overflow_chunks": .integer(earlier.chunkCount),
    ])
  }

  /// - Throws: the fault that a refusal means to a client.
  func faults<Value>(
    _ field: String?, _ body: () throws(Refusal) -> Value
  ) throws(RequestFault) -> Value {
    do throws(Refusal) {
      return try body()
    } catch {
      throw RequestFault(error, field: field)
    }
  }
}

extension DocumentLibrary {
  /// The question about the documents that names mean, all of one store.
  /// - Parameter names: of documents, or one pattern.
  func inquiry(
    _ question: String, about names: [String], for caller: Caller
  ) throws(Refusal) -> (store: DocumentStore, inquiry: Inquiry) {
    var fault: Refusal?
    for store in try stores(of: caller) {
      do throws(Refusal) {
        if let name = names.first, names.count == 1, NamePattern(name).isWild,
          try store.store.document(named: name) == nil
        {
          let pattern = name == "*" ? nil : NamePattern(name)
          return (store, try store.inquiry(question, aboutAll: pattern, explains: true))
        }
        var documents: [String] = []
        for name in names {
          let document = try store.store.requireDocument(named: name).name
          if !documents.contains(document) { documents.append(document) }
        }
        return (store, try store.inquiry(question, about: documents, explains: true))
      } catch {
        guard error.name.text == "missing-document" else { throw error }
        fault = fault ?? error
      }
    }
    throw fault ?? Refusal(.missingDocument, file: path, "there are no documents yet")
  }
}
