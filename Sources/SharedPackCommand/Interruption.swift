import FileAccess
import Glibc

/// What happens when the program is told to end: files that are being written under temporary names are removed. Most
/// have none; some file systems need one.
enum Interruption {
  /// Called once, before there are other threads, as they inherit what is blocked.
  static func watch() {
    var signals = sigset_t()
    unsafe sigemptyset(&signals)
    for number in [SIGINT, SIGTERM, SIGHUP] where !isIgnored(number) { unsafe sigaddset(&signals, number) }
    unsafe pthread_sigmask(SIG_BLOCK, &signals, nil)
    var thread = pthread_t()
    unsafe pthread_create(&thread, nil, { _ in Interruption.wait() }, nil)
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
    var number: Int32 = 0
    while unsafe sigwait(&signals, &number) != 0 {}
    PublishedFile.abandonAll {
      // The signal ends the program after all, so that whoever started it sees why.
      signal(number, SIG_DFL)
      unsafe pthread_sigmask(SIG_UNBLOCK, &signals, nil)
      kill(getpid(), number)
      _exit(128 + number)
    }
  }
}
