import Glibc
import Synchronization

/// The signals that tell the program to end. The first one lets it end in its own way; the second ends it.
///
/// The main thread, once it waits for a task, takes all signals, whatever it had blocked: so they are handled, and a thread
/// is told through a pipe.
enum Termination {
  private static let handler = Mutex<(@Sendable () -> Void)?>(nil)
  private static let outlet = Atomic<Int32>(-1)
  private static let inlet = Atomic<Int32>(-1)

  /// What the first signal does.
  static func atFirst(_ body: @escaping @Sendable () -> Void) { handler.withLock { $0 = body } }

  /// Called once. Where the system has no pipe or thread for it, a signal ends the program at once.
  static func watch() {
    var ends: [Int32] = [-1, -1]
    guard unsafe pipe(&ends) == 0 else { return }
    // The handler looks at these, and may initialize nothing.
    outlet.store(ends[0], ordering: .sequentiallyConsistent)
    inlet.store(ends[1], ordering: .sequentiallyConsistent)
    var thread = pthread_t()
    let code = unsafe pthread_create(&thread, nil, { _ in Termination.wait() }, nil)
    guard code == 0 else { return }
    for number in [SIGINT, SIGTERM, SIGHUP] {
      signal(number) { number in
        var byte = UInt8(truncatingIfNeeded: number)
        _ = unsafe write(Termination.inlet.load(ordering: .sequentiallyConsistent), &byte, 1)
      }
    }
  }

  private static func wait() -> Never {
    while true {
      var byte: UInt8 = 0
      let count = unsafe read(outlet.load(ordering: .relaxed), &byte, 1)
      if count < 0, errno == EINTR { continue }
      let body = handler.withLock { handler in
        defer { handler = nil }
        return handler
      }
      guard count == 1, let body else { _exit(128 + Int32(byte)) }
      body()
    }
  }
}
