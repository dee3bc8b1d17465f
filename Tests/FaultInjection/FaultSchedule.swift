public import FileAccess
import Synchronization

/// Records the calls that a piece of work makes to the file system, and makes chosen ones fail.
public final class FaultSchedule: FileProbe {
  private struct State {
    var operations: [FileOperation] = []
    var faultCount = 0
  }

  private let state = Mutex(State())
  private let fault: FileFault?
  private let first: Int
  private let isPersistent: Bool

  /// - Parameters:
  ///   - fault: nil records the calls only.
  ///   - first: the number of the call, from 0, that it happens to.
  ///   - persistently: whether it happens to all calls after that one, too.
  public init(_ fault: FileFault? = nil, at first: Int = 0, persistently isPersistent: Bool = false) {
    self.fault = fault
    self.first = first
    self.isPersistent = isPersistent
  }

  /// The calls so far, those that failed among them.
  public var operations: [FileOperation] { state.withLock(\.operations) }
  public var faultCount: Int { state.withLock(\.faultCount) }

  public func fault(in operation: FileOperation) -> FileFault? {
    state.withLock { state in
      let number = state.operations.count
      state.operations.append(operation)
      guard let fault, isPersistent ? number >= first : number == first else { return nil }
      state.faultCount += 1
      return fault
    }
  }

  public func happened(_ operation: FileOperation, written: RawSpan) {}
}
