import FileAccess
import Glibc
import Synchronization

/// What a process must be allowed to have. The libraries that run Swift's tasks end the process, or wait for ever, where
/// they cannot have it, so it is asked for first.
enum ProcessLimits {
  static let noThread = Refusal(
    .noThread, file: "this process", "the system does not let it have \(threadCount) threads")

  private static let threadCount = 8
  /// Those that are open at the start among them.
  private static let fileCount = 16
  private static let gate = Mutex<Void>(())

  /// - Throws: `Refusal` `no-thread`, or `input-output` where it may open too few files.
  static func check() throws(Refusal) {
    let limit = sysconf(Int32(_SC_OPEN_MAX))
    guard limit < 0 || limit >= fileCount else {
      throw Refusal(
        .inputOutput, file: "this process", "may open \(limit) files (ulimit -n), and \(fileCount) are needed")
    }
    guard hasThreads else { throw noThread }
  }

  /// Whether there can be so many at once.
  private static var hasThreads: Bool {
    let threads = gate.withLock { _ in
      var threads: [pthread_t] = []
      for _ in 0..<threadCount {
        var thread = pthread_t()
        let code = unsafe pthread_create(
          &thread, nil,
          { _ in
            ProcessLimits.gate.withLock { _ in }
            return nil
          }, nil)
        guard code == 0 else { break }
        threads.append(thread)
      }
      return threads
    }
    for thread in threads { pthread_join(thread, nil) }
    return threads.count == threadCount
  }
}
