import FileAccess
import Glibc
import Synchronization

/// What happens when the program is told to end: files that are being written under temporary names are removed. Most
/// have none; some file systems need one.
///
/// The main thread, once it waits for a task, takes all signals, whatever it had blocked: so they are handled, and a
/// thread is told through a pipe.
package enum Interruption {
  /// What the next signal does in place of ending the program.
  private static let handler = Mutex<(@Sendable () -> Void)?>(nil)
  private static let received = Atomic<Int32>(0)
  private static let outlet = Atomic<Int32>(-1)
  private static let inlet = Atomic<Int32>(-1)

  /// Lets work come to an end of its own at the next signal; the one after it ends the program as ever. Nil: so does
  /// the next.
  package static func atFirst(_ body: (@Sendable () -> Void)?) { handler.withLock { $0 = body } }

  /// Ends the program as the signal that came would have; returns if none has come.
  package static func endIfReceived() {
    let number = received.load(ordering: .sequentiallyConsistent)
    if number != 0 { end(number) }
  }

  /// Called once, before there are threads that could have signals blocked.
  /// - Returns: false where the system has no pipe or no thread for it: then a signal ends the program at once.
  package static func watch() -> Bool {
    var ends: [Int32] = [-1, -1]
    guard unsafe pipe(&ends) == 0 else { return false }
    // A program that takes this one's place has signals of its own.
    for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
    // The handler looks at these, and may initialize nothing.
    outlet.store(ends[0], ordering: .sequentiallyConsistent)
    inlet.store(ends[1], ordering: .sequentiallyConsistent)
    var thread = pthread_t()
    guard unsafe pthread_create(&thread, nil, { _ in Interruption.wait() }, nil) == 0 else { return false }
    var signals = sigset_t()
    unsafe sigemptyset(&signals)
    for number in [SIGINT, SIGTERM, SIGHUP] where !isIgnored(number) {
      unsafe sigaddset(&signals, number)
      signal(number) { number in
        // Whatever the signal interrupts finds its own error.
        let code = errno
        var byte = UInt8(truncatingIfNeeded: number)
        _ = unsafe write(Interruption.inlet.load(ordering: .sequentiallyConsistent), &byte, 1)
        errno = code
      }
    }
    // Whoever started the program may have had them blocked, as threads of Dispatch have.
    unsafe pthread_sigmask(SIG_UNBLOCK, &signals, nil)
    return true
  }

  /// A program that was started to outlive its terminal goes on.
  private static func isIgnored(_ number: Int32) -> Bool {
    var action = sigaction()
    guard unsafe sigaction(number, nil, &action) == 0 else { return false }
    return unsafe unsafeBitCast(action.__sigaction_handler.sa_handler, to: Int.self)
      == unsafeBitCast(SIG_IGN, to: Int.self)
  }

  private static func wait() -> Never {
    while true {
      var byte: UInt8 = 0
      let count = unsafe read(outlet.load(ordering: .relaxed), &byte, 1)
      guard count == 1 else { continue }
      let number = Int32(byte)
      let body = handler.withLock { handler in
        defer { handler = nil }
        return handler
      }
      guard let body else { end(number) }
      received.store(number, ordering: .sequentiallyConsistent)
      body()
    }
  }

  private static func end(_ number: Int32) -> Never {
    PublishedFile.abandonAll {
      // The signal ends the program after all, so that whoever started it sees why.
      signal(number, SIG_DFL)
      kill(getpid(), number)
      _exit(128 + number)
    }
  }
}
