import FileAccess
import LlamaRuntime
import Synchronization

/// The events of a request, read by one loop.
///
/// The work goes on while the loop waits, and keeps the model and what is read alive until it ends. Leaving the loop,
/// cancelling its task or releasing the stream ends it: before the next token or, while the prompt is being read, before
/// its next piece, of up to 1,024 tokens. Nothing is left behind. A loop whose task was cancelled ends without a
/// `finished` event. One whose pack or store was cut short while it was read throws `Refusal` `file-changed`.
public struct EventStream<Event: Sendable>: AsyncSequence, Sendable {
  /// An event of a request while it runs.
  public typealias Element = Event
  /// `CancellationError` when the reader has gone, or `Refusal` `file-changed`, where the system has no thread for the
  /// work, `no-thread` or, of an engine that was closed, `engine-closed`: whatever else can be refused is refused before
  /// there is a stream.
  public typealias Failure = any Error

  private let events: AsyncThrowingStream<Event, any Error>
  private let isCancelled: CancellationFlag

  /// A stream, and where its events go.
  static func make() -> (stream: EventStream, sink: EventSink<Event>) {
    let (events, continuation) = AsyncThrowingStream<Event, any Error>.makeStream()
    let isCancelled = CancellationFlag()
    continuation.onTermination = { _ in isCancelled.set() }
    return (EventStream(events: events, isCancelled), EventSink(continuation: continuation, isCancelled: isCancelled))
  }

  private init(events: AsyncThrowingStream<Event, any Error>, _ isCancelled: CancellationFlag) {
    self.events = events
    self.isCancelled = isCancelled
  }

  /// Starts work on a thread of its own.
  init(_ work: @escaping @Sendable (EventSink<Event>) throws -> Void) {
    let (stream, sink) = Self.make()
    self = stream
    let isStarted = WorkThread.start {
      do {
        try work(sink)
        sink.finish()
      } catch {
        sink.finish(throwing: error)
      }
    }
    if !isStarted { sink.finish(throwing: Refusal.noThreadForAnswers) }
  }

  /// Starts the one loop over the events.
  public func makeAsyncIterator() -> Iterator { Iterator(events.makeAsyncIterator(), isCancelled) }

  /// A loop over the events.
  public struct Iterator: AsyncIteratorProtocol {
    private var events: AsyncThrowingStream<Event, any Error>.AsyncIterator
    private let reader: EventReader

    fileprivate init(_ events: AsyncThrowingStream<Event, any Error>.AsyncIterator, _ isCancelled: CancellationFlag) {
      self.events = events
      reader = EventReader(isCancelled)
    }

    /// Waits for the next event; nil after the last one.
    public mutating func next() async throws -> Event? { try await events.next() }

    /// Waits for the next event; nil after the last one.
    public mutating func next(isolation actor: isolated (any Actor)?) async throws -> Event? {
      try await events.next(isolation: actor)
    }
  }
}

/// Is released with its loop, even if a variable still holds the stream.
private final class EventReader: Sendable {
  private let isCancelled: CancellationFlag

  init(_ isCancelled: CancellationFlag) { self.isCancelled = isCancelled }

  deinit { isCancelled.set() }
}

/// Where the work for a request leaves its results.
struct EventSink<Event: Sendable>: Sendable {
  fileprivate let continuation: AsyncThrowingStream<Event, any Error>.Continuation
  fileprivate let isCancelled: CancellationFlag

  /// Whether somebody waits for the events.
  var hasReader: Bool { !isCancelled.isSet }

  func yield(_ event: Event) throws(CancellationError) {
    try requireReader()
    continuation.yield(event)
  }

  /// - Throws: when nobody waits for the answer any more. Checked before every step, because many steps yield no text.
  func requireReader() throws(CancellationError) {
    if !hasReader { throw CancellationError() }
  }

  /// Ends the stream.
  func finish(throwing error: (any Error)? = nil) { continuation.finish(throwing: error) }
}

private final class CancellationFlag: Sendable {
  private let flag = Atomic<Bool>(false)

  var isSet: Bool { flag.load(ordering: .relaxed) }

  func set() { flag.store(true, ordering: .relaxed) }
}

extension Refusal {
  static let noThreadForAnswers = Refusal(.noThread, file: "this process", "the system has no thread for an answer")
}
