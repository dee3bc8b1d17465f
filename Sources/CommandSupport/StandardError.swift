import Glibc

/// Messages for people. What a terminal would take for a command is shown instead.
package enum StandardError {
  /// A message of one line, whatever is quoted in it.
  package static func write(line: String) { write(VisibleText.of(line, keepingLines: false) + "\n") }

  /// A message of several lines.
  package static func write(lines: String) { write(VisibleText.of(lines, keepingLines: true) + "\n") }

  private static func write(_ text: String) {
    var bytes = Array(text.utf8)[...]
    while !bytes.isEmpty {
      let count = unsafe bytes.withUnsafeBytes { unsafe Glibc.write(STDERR_FILENO, $0.baseAddress, $0.count) }
      if count < 0, errno == EINTR { continue }
      // A failure of standard error itself cannot be reported.
      guard count > 0 else { return }
      bytes = bytes.dropFirst(count)
    }
  }
}
