public import SharedPack
import Synchronization

// What answers requests until the engine that answers many at once takes its place: the same names and events, one
// thread for each answer.

/// What an engine may take.
public struct AnswerLimits: Sendable, Hashable {
  public var parallel: Int
  public var queue: Int
  public var memory: Int?
  public var keptMemory: Int
  public var promptSlice: Int

  public init(
    parallel: Int = 8, queue: Int = 64, memory: Int? = nil, keptMemory: Int = 1 << 30, promptSlice: Int = 128
  ) {
    self.parallel = parallel
    self.queue = queue
    self.memory = memory
    self.keptMemory = keptMemory
    self.promptSlice = promptSlice
  }
}

/// A request for an answer.
public struct AnswerRequest: Sendable {
  public var prompt: [Int32]
  public var context: ContextSelection?
  public var options: GenerationOptions
  public var client: String
  public var scope: String
  public var logProbabilities: Int?

  public init(
    _ prompt: [Int32], context: ContextSelection? = nil, options: GenerationOptions = GenerationOptions(),
    client: String = "", scope: String = "", logProbabilities: Int? = nil
  ) {
    self.prompt = prompt
    self.context = context
    self.options = options
    self.client = client
    self.scope = scope
    self.logProbabilities = logProbabilities
  }
}

/// Writes the answers of one model.
public final class AnswerEngine: Sendable {
  public let model: LanguageModel
  public let limits: AnswerLimits
  private let state = Mutex(AnswerStatistics())
  private let isClosed = Atomic(false)

  public init(_ model: LanguageModel, limits: AnswerLimits = AnswerLimits()) {
    self.model = model
    self.limits = limits
  }

  public func submit(_ request: AnswerRequest) throws(Refusal) -> AnswerStream {
    guard !isClosed.load(ordering: .relaxed) else {
      throw Refusal(Refusal.Name("engine-closed", .tryAgain), file: "engine", "takes no more requests")
    }
    let isTaken = state.withLock { state in
      guard state.running < limits.parallel + limits.queue else {
        state.refused += 1
        return false
      }
      state.running += 1
      return true
    }
    guard isTaken else { throw Refusal(Refusal.Name("busy", .tryAgain), file: "engine", "is busy") }
    do throws(Refusal) {
      let stream = try model.generate(request.prompt, context: request.context, options: request.options)
      return AnswerStream(stream, Place(self))
    } catch {
      leave(nil)
      throw error
    }
  }

  public func close(within time: Duration) async {
    isClosed.store(true, ordering: .relaxed)
    let end = ContinuousClock.now + time
    while statistics.running > 0, ContinuousClock.now < end { try? await Task.sleep(for: .milliseconds(20)) }
  }

  public var statistics: AnswerStatistics { state.withLock { $0 } }

  fileprivate func leave(_ summary: ResponseSummary?) {
    state.withLock { state in
      state.running -= 1
      if let summary {
        state.finished += 1
        state.promptTokens += summary.promptTokens
        state.answerTokens += summary.tokens.count
      }
    }
  }

  fileprivate final class Place: Sendable {
    private let engine: AnswerEngine
    let summary = Mutex<ResponseSummary?>(nil)

    init(_ engine: AnswerEngine) { self.engine = engine }

    deinit { engine.leave(summary.withLock { $0 }) }
  }
}

/// Figures since the engine was made, and of now.
public struct AnswerStatistics: Sendable, Hashable {
  public var running = 0
  public var waiting = 0
  public var finished = 0
  public var abandoned = 0
  public var failed = 0
  public var refused = 0
  public var promptTokens = 0
  public var cachedTokens = 0
  public var answerTokens = 0
  public var keptConversations = 0
  public var keptBytes = 0
  public var reservedBytes = 0
  public var passes = 0
  public var busySeconds = 0.0
}

/// An event of a request.
public enum AnswerEvent: Sendable, Hashable {
  case started(cached: Int)
  case promptProgress(done: Int, of: Int)
  case piece(AnswerPiece)
  case finished(ResponseSummary)
}

/// A piece of an answer.
public struct AnswerPiece: Sendable, Hashable {
  public var text: String
  public var tokens: [TokenChoice]
}

/// A chosen token.
public struct TokenChoice: Sendable, Hashable {
  public var chosen: TokenProbability
  public var mostLikely: [TokenProbability]
}

/// A token and how likely it was.
public struct TokenProbability: Sendable, Hashable {
  public var token: Int32
  public var logProbability: Float
}

/// The events of an answer.
public struct AnswerStream: AsyncSequence, Sendable {
  public typealias Element = AnswerEvent
  public typealias Failure = any Error

  private let stream: ResponseStream
  private let place: AnswerEngine.Place

  fileprivate init(_ stream: ResponseStream, _ place: AnswerEngine.Place) {
    self.stream = stream
    self.place = place
  }

  public func makeAsyncIterator() -> Iterator { Iterator(stream.makeAsyncIterator(), place) }

  public struct Iterator: AsyncIteratorProtocol {
    private var events: ResponseStream.Iterator
    private let place: AnswerEngine.Place
    private var hasStarted = false

    fileprivate init(_ events: ResponseStream.Iterator, _ place: AnswerEngine.Place) {
      self.events = events
      self.place = place
    }

    public mutating func next() async throws -> AnswerEvent? {
      guard hasStarted else {
        hasStarted = true
        return .started(cached: 0)
      }
      switch try await events.next() {
      case nil: return nil
      case .promptProgress(let done, let total): return .promptProgress(done: done, of: total)
      case .text(let text): return .piece(AnswerPiece(text: text, tokens: []))
      case .finished(let summary):
        place.summary.withLock { $0 = summary }
        return .finished(summary)
      }
    }
  }
}

extension ResponseSummary {
  var cachedTokens: Int { 0 }
}
