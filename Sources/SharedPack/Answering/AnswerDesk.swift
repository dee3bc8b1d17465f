import FileAccess
import Synchronization

/// Where requests wait for the thread that answers them. Safe to use from any thread.
final class AnswerDesk: Sendable {
  /// A request, and where its answer goes.
  struct Ticket: Sendable {
    let request: AnswerRequest
    let sink: EventSink<AnswerEvent>
  }

  fileprivate struct State {
    var waiting = FairQueue<Ticket>()
    var statistics = AnswerStatistics()
    /// Whether there is a thread that works, or will be at once.
    var isWorking = false
    var isOpen = true
    var endsAll = false
    var waitingForEnd: [CheckedContinuation<Void, Never>] = []
  }

  private let state = Mutex(State())
  /// Requests that run or wait, at most.
  private let limit: Int

  init(_ limits: AnswerLimits) { limit = limits.parallel + min(limits.queue, Int.max / 2) }

  var statistics: AnswerStatistics {
    state.withLock { state in
      var statistics = state.statistics
      statistics.waiting += state.waiting.count
      return statistics
    }
  }

  /// - Returns: whether nobody works yet; the caller has to see to it.
  /// - Throws: `Refusal` `busy`, `engine-closed`.
  func add(_ ticket: Ticket, file: String) throws(Refusal) -> Bool {
    try state.withLock { (state) throws(Refusal) in
      guard state.isOpen else { throw Refusal.engineClosed(file) }
      func count() -> Int { state.waiting.count + state.statistics.waiting + state.statistics.running }
      if count() >= limit { state.removeAbandoned() }
      guard count() < limit else {
        state.statistics.refused += 1
        throw Refusal(.busy, file: file, "\(count()) requests are being answered or wait")
      }
      state.waiting.append(ticket, of: ticket.request.client)
      defer { state.isWorking = true }
      return !state.isWorking
    }
  }

  /// The next request; nil when none waits.
  func next() -> Ticket? {
    state.withLock { state in
      state.removeAbandoned()
      let ticket = state.waiting.popFirst()
      // It counts as waiting until the thread says that it runs.
      if ticket != nil { state.statistics.waiting += 1 }
      return ticket
    }
  }

  /// Notes what the thread has done.
  /// - Parameter change: of the statistics; those who `wait` have been taken, but do not run.
  func note(_ change: (inout AnswerStatistics) -> Void) { state.withLock { change(&$0.statistics) } }

  /// Whether requests that have not begun are still to be answered.
  var isOpen: Bool { state.withLock { $0.isOpen } }

  /// Whether the running answers are to be ended.
  var endsAll: Bool { state.withLock { $0.endsAll } }

  /// Called by the thread when it has nothing to do.
  /// - Returns: whether it may end: no request has come meanwhile.
  func leave() -> Bool {
    let ended = state.withLock { state -> [CheckedContinuation<Void, Never>]? in
      guard state.waiting.count == 0 else { return nil }
      state.isWorking = false
      defer { state.waitingForEnd = [] }
      return state.waitingForEnd
    }
    guard let ended else { return false }
    for continuation in ended { continuation.resume() }
    return true
  }

  /// There is no thread: nobody who waits gets an answer.
  func abandon(_ refusal: Refusal) {
    refuseWaiting(refusal)
    _ = leave()
  }

  func close() {
    state.withLock { $0.isOpen = false }
    refuseWaiting(Refusal.engineClosed("the engine"))
  }

  private func refuseWaiting(_ refusal: Refusal) {
    var tickets: [Ticket] = []
    state.withLock { state in
      while let ticket = state.waiting.popFirst() { tickets.append(ticket) }
      state.statistics.failed += tickets.count
    }
    for ticket in tickets { ticket.sink.finish(throwing: refusal) }
  }

  func endAll() { state.withLock { $0.endsAll = true } }

  /// Returns when no thread works.
  func untilIdle() async {
    await withCheckedContinuation { continuation in
      let isIdle = state.withLock { state in
        if state.isWorking { state.waitingForEnd.append(continuation) }
        return !state.isWorking
      }
      if isIdle { continuation.resume() }
    }
  }
}

extension AnswerDesk.State {
  /// Those whose readers have gone no longer wait.
  mutating func removeAbandoned() {
    let count = waiting.count
    waiting.removeAll { !$0.sink.hasReader }
    statistics.abandoned += count - waiting.count
  }
}

extension Refusal {
  static func engineClosed(_ file: String) -> Refusal {
    Refusal(.engineClosed, file: file, "no more answers are written: the engine was closed")
  }
}
