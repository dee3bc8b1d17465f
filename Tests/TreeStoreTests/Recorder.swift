import FileAccess
import Synchronization

/// Notes the system calls of a piece of work, and makes chosen ones fail.
final class Recorder: Sendable {
  private struct State {
    var operations: [FileOperation] = []
    var failures = 0
  }

  private let state = Mutex(State())
  private let firstFailure: Int?
  private let isPersistent: Bool

  /// - Parameter firstFailure: the number of the call that fails; and those after it, if the fault persists.
  init(firstFailure: Int? = nil, isPersistent: Bool = false) {
    self.firstFailure = firstFailure
    self.isPersistent = isPersistent
  }

  var all: [FileOperation] { state.withLock { $0.operations } }
  var failures: Int { state.withLock { $0.failures } }

  func note(_ operation: FileOperation) {
    state.withLock { $0.operations.append(operation) }
  }

  func decide(_ operation: FileOperation) throws(Refusal) {
    let fails = state.withLock { state in
      let number = state.operations.count
      state.operations.append(operation)
      let fails = firstFailure.map { isPersistent ? number >= $0 : number == $0 } ?? false
      if fails { state.failures += 1 }
      return fails
    }
    if fails { throw Refusal(.inputOutput, file: "injected", "\(operation)") }
  }

  /// Runs a piece of work whose system calls this recorder decides.
  func probing(_ body: () -> Void) {
    let probe: @Sendable (FileOperation) throws(Refusal) -> Void = { (operation) throws(Refusal) in
      try self.decide(operation)
    }
    FileOperation.withProbe(probe, body)
  }
}
