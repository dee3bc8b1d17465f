import ArgumentParser
import CanonicalJSON
import CommandSupport
import FileAccess
import Glibc
import LlamaRuntime
import SharedPack
import Synchronization

/// Data goes to standard output, everything else to standard error. What a terminal would take for a command is shown
/// instead; a file or a pipe gets data as it is.
enum Console {
  static func output(_ text: String, terminator: String = "\n") {
    // What was computed of a file that has lost pages is not said.
    if let refusal = MappingFaults.first {
      error("sharedpack: \(refusal.message)")
      Glibc.exit(refusal.name.exitStatus.rawValue)
    }
    write((outputIsTerminal ? VisibleText.of(text, keepingLines: true) : text) + terminator, to: STDOUT_FILENO)
  }

  /// Bytes of a text, as they are.
  static func output(bytes: [UInt8]) {
    if outputIsTerminal { return output(String(decoding: bytes, as: UTF8.self)) }
    output("", terminator: "")
    write(bytes, to: STDOUT_FILENO)
  }

  /// A message of one line, whatever is quoted in it.
  static func error(_ line: String) { StandardError.write(line: line) }

  /// A message of several lines.
  static func error(lines: String) { StandardError.write(lines: lines) }

  /// Commands for the terminal.
  static func control(_ text: String) { write(text, to: STDERR_FILENO) }

  private static func write(_ text: String, to descriptor: Int32) { write(Array(text.utf8), to: descriptor) }

  private static func write(_ bytes: [UInt8], to descriptor: Int32) {
    var bytes = bytes[...]
    while !bytes.isEmpty {
      let count = unsafe bytes.withUnsafeBytes { unsafe Glibc.write(descriptor, $0.baseAddress, $0.count) }
      if count < 0 {
        if errno == EINTR { continue }
        // A failure of standard error itself cannot be reported.
        guard descriptor == STDOUT_FILENO else { return }
        error("sharedpack: standard output: \(reason(errno)) [input-output]")
        Glibc.exit(ExitStatus.inputOutput.rawValue)
      }
      bytes = bytes.dropFirst(count)
    }
  }

  static func output(_ json: JSONValue) { output(json.indented) }

  /// All of standard input, which must be text.
  /// - Throws: `Refusal` `too-large`, `not-text`, `input-output`.
  static func input(limit: Int) throws(Refusal) -> String {
    let file = "standard input"
    var bytes: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 1 << 16)
    while true {
      let count = unsafe buffer.withUnsafeMutableBytes { unsafe read(STDIN_FILENO, $0.baseAddress, $0.count) }
      if count < 0, errno == EINTR { continue }
      guard count >= 0 else { throw Refusal(.inputOutput, file: file, reason(errno)) }
      if count == 0 { break }
      bytes += buffer[..<count]
      guard bytes.count <= limit else { throw Refusal(.tooLarge, file: file, "has more than \(limit) bytes") }
    }
    guard !bytes.contains(0), let text = String(validating: bytes, as: UTF8.self) else {
      throw Refusal(.notText, file: file, "is not text in UTF-8")
    }
    return text
  }

  private static func reason(_ code: Int32) -> String { unsafe String(cString: strerror(code)) }

  private static let outputIsTerminal = isatty(STDOUT_FILENO) == 1

  static var errorIsTerminal: Bool { isatty(STDERR_FILENO) == 1 }

  /// Columns of the terminal behind standard error.
  static var columns: Int {
    var size = winsize()
    guard unsafe ioctl(STDERR_FILENO, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 0 else { return 80 }
    return Int(size.ws_col)
  }
}

/// How progress is shown.
enum ProgressMode: String, ExpressibleByArgument, CaseIterable {
  /// A bar on a terminal, nothing elsewhere.
  case auto
  /// A line now and then.
  case plain
  case none
}

/// The options of commands that answer at once.
struct JSONOption: ParsableArguments {
  @Flag(help: "Print JSON for programs.")
  var json = false
}

/// Threads that share the work, as an argument.
struct ThreadCountArgument: ExpressibleByArgument {
  let count: Int

  init?(argument: String) {
    guard let count = Int(argument), (1...1024).contains(count) else { return nil }
    self.count = count
  }
}

/// The options of commands that take a while.
struct OutputOptions: ParsableArguments {
  @Flag(help: "Print JSON for programs.")
  var json = false

  @Option(help: ArgumentHelp("How to show progress on standard error: auto, plain or none.", valueName: "mode"))
  var progress = ProgressMode.auto
}

/// A bar with rate and estimated time, on standard error.
struct ProgressBar {
  private let label: String
  private let unit: Unit
  private let mode: ProgressMode
  private let start = ContinuousClock.now
  private var lastShown: ContinuousClock.Instant?
  private var isShown = false

  enum Unit {
    case bytes, tokens, samples
  }

  init(_ label: String, unit: Unit, mode: ProgressMode) {
    self.label = VisibleText.of(label, keepingLines: false)
    self.unit = unit
    self.mode = mode
  }

  /// Shows how much is done, a few times a second.
  /// - Parameter worked: how much of what is done took work, for the rate; nil: all.
  mutating func update(_ done: Int, of total: Int, worked: Int? = nil) {
    let share = total > 0 ? Double(done) / Double(total) : 1
    let shown = self
    update(share: share, isLast: done >= total) { seconds in
      let rate = seconds > 0 ? Double(worked ?? done) / seconds : 0
      var facts = "\(Int((share * 100).rounded(.down)))%  "
      facts += "\(shown.format(Double(done))) of \(shown.format(Double(total)))"
      if rate > 0 {
        facts += "  \(shown.format(rate))/s"
        if done < total { facts += "  \(Format.duration(Double(total - done) / rate)) left" }
      }
      return facts
    }
  }

  /// Shows facts beside the bar, a few times a second.
  /// - Parameters:
  ///   - share: of the work that is done, 0 to 1.
  ///   - isLast: whether nothing comes after that.
  ///   - facts: called with the seconds since the start.
  mutating func update(share: Double, isLast: Bool, facts: (_ seconds: Double) -> String) {
    let isBar = mode == .auto && Console.errorIsTerminal
    guard isBar || mode == .plain else { return }
    let now = ContinuousClock.now
    let interval: Duration = isBar ? .milliseconds(100) : .seconds(5)
    if let lastShown, now - lastShown < interval, !isLast { return }
    lastShown = now
    let facts = facts((now - start).seconds)
    if isBar {
      let width = max(0, min(30, Console.columns - label.count - facts.count - 6))
      let filled = Int(share * Double(width))
      let bar =
        width > 4
        ? "[" + String(repeating: "=", count: filled) + String(repeating: " ", count: width - filled) + "] " : ""
      Console.control("\r\u{1B}[K\(label) \(bar)\(facts)")
      isShown = true
    } else {
      Console.error("\(label) \(facts)")
    }
  }

  /// Removes the bar.
  mutating func finish() {
    if isShown { Console.control("\r\u{1B}[K") }
    isShown = false
  }

  /// An amount with its unit.
  func format(_ value: Double) -> String {
    switch unit {
    case .bytes: Format.bytes(value)
    case .samples: value < 10 ? "\(Format.rounded(value)) samples" : "\(Int(value)) samples"
    case .tokens: value < 10_000 ? "\(Int(value)) tokens" : "\(Format.rounded(value / 1000))k tokens"
    }
  }
}

/// A progress bar that several threads report to.
final class SharedProgress: Sendable {
  private let bar: Mutex<ProgressBar>

  init(_ label: String, mode: ProgressMode) {
    bar = Mutex(ProgressBar(label, unit: .bytes, mode: mode))
  }

  func update(_ done: Int, of total: Int) { bar.withLock { $0.update(done, of: total) } }

  func finish() { bar.withLock { $0.finish() } }
}
