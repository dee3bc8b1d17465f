public import FileAccess
import Synchronization

/// Records what calls to the file system did, bytes included, so that the disk can be rebuilt as a power cut leaves it.
public final class FileJournal: FileProbe {
  struct Entry: Sendable {
    let operation: FileOperation
    let written: [UInt8]
  }

  private let state = Mutex<[Entry]>([])
  private let faults: FaultSchedule?

  /// - Parameter faults: what happens to the calls.
  public init(faults: FaultSchedule? = nil) { self.faults = faults }

  /// Goes on where another journal ended, with other faults.
  public init(after journal: FileJournal, faults: FaultSchedule? = nil) {
    self.faults = faults
    let entries = journal.entries
    state.withLock { $0 = entries }
  }

  /// The number of changes so far: a point of the journal.
  public var count: Int { state.withLock(\.count) }

  var entries: [Entry] { state.withLock { $0 } }

  public func fault(in operation: FileOperation) -> FileFault? { faults?.fault(in: operation) }

  public func happened(_ operation: FileOperation, written: RawSpan) {
    switch operation {
    case .open, .list, .read, .map, .lock: return
    default: break
    }
    let entry = Entry(operation: operation, written: written.array)
    state.withLock { $0.append(entry) }
  }
}
