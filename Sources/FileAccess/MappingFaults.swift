internal import CMappingFaults
import Synchronization

/// What becomes of a process whose mapped file loses pages: because it is cut short, or cannot be read any more. The
/// system then sends the signal SIGBUS to the thread that reads such a page, which ends the process.
///
/// Unless a program says otherwise, the first file that is mapped installs a handler for the signal, with which pages of
/// zeros take the place of lost ones, and the work that read them ends with a refusal, `file-changed`. The handler that
/// was there before gets all faults that are not in a file that this library has mapped.
public enum MappingFaults {
  private static let wanted = Atomic<Bool>(true)

  /// Whether lost pages are handled. A program that wants to keep its signals for itself sets it to false before it opens
  /// anything; to set it later takes the handler out again. Safe from any thread.
  public static var areHandled: Bool {
    get { wanted.load(ordering: .relaxed) }
    set {
      wanted.store(newValue, ordering: .relaxed)
      sp_mapping_faults_handle(newValue)
    }
  }

  /// Before a file is mapped.
  static func prepare() {
    if areHandled { sp_mapping_faults_handle(true) }
  }

  /// Why nothing that a program says can be trusted any more, if it looks at one thing only, as a command does; nil
  /// when no file that it has mapped has lost pages.
  public static var first: Refusal? {
    guard let path = unsafe sp_mapping_first_lost() else { return nil }
    return refusal(unsafe String(cString: path))
  }

  static func refusal(_ path: String) -> Refusal {
    Refusal(.fileChanged, file: path, "was cut short, or could not be read, while it was in use")
  }
}

extension Refusal.Name {
  /// A mapped file has lost pages.
  public static let fileChanged = Refusal.Name("file-changed", .inputOutput)
}
