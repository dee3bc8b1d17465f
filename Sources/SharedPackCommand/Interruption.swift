import FileAccess
import Glibc
import Synchronization

/// What happens when the program is told to end: files that are being written under temporary names are removed. Most
/// have none; some file systems need one.
enum Interruption {
  /// What the next signal does in place of ending the program.
  private static let handler = Mutex<(@Sendable () -> Void)?>(nil)
  private static let received = Atomic<Int32>(0)

  /// Lets work come to an end of its own at the next signal; the one after it ends the program as ever. Nil: so does
  /// the next.
  ///
  /// The work has to keep the main thread, which takes all signals once it waits for a task.
  static func atFirst(_ body: (@Sendable () -> Void)?) { handler.withLock { $0 = body } }

  /// Ends the program as the signal that came would have; returns if none has come.
  static func endIfReceived() {
    let number = received.load(ordering: .sequentiallyConsistent)
    if number != 0 { end(number) }
  }

  /// Called once, before there are other threads, as they inherit what is blocked.
  /// - Throws: `Refusal` `no-thread`.
  static func watch() throws(Refusal) {
    var signals = sigset_t()
    unsafe sigemptyset(&signals)
    for number in [SIGINT, SIGTERM, SIGHUP] where !isIgnored(number) { unsafe sigaddset(&signals, number) }
    unsafe pthread_sigmask(SIG_BLOCK, &signals, nil)
    var thread = pthread_t()
    guard unsafe pthread_create(&thread, nil, { _ in Interruption.wait() }, nil) == 0 else {
      throw ProcessLimits.noThread
    }
  }

  /// A program that was started to outlive its terminal goes on.
  private static func isIgnored(_ number: Int32) -> Bool {
    var action = sigaction()
    guard unsafe sigaction(number, nil, &action) == 0 else { return false }
    return unsafe unsafeBitCast(action.__sigaction_handler.sa_handler, to: Int.self)
      == unsafeBitCast(SIG_IGN, to: Int.self)
  }

  private static func wait() -> Never {
    var signals = sigset_t()
    unsafe pthread_sigmask(SIG_BLOCK, nil, &signals)
    while true {
      var number: Int32 = 0
      while unsafe sigwait(&signals, &number) != 0 {}
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
      var signals = sigset_t()
      unsafe sigemptyset(&signals)
      unsafe sigaddset(&signals, number)
      signal(number, SIG_DFL)
      unsafe pthread_sigmask(SIG_UNBLOCK, &signals, nil)
      kill(getpid(), number)
      _exit(128 + number)
    }
  }
}
