import FileAccess
import Foundation
import Testing

/// What reaches a terminal, and what a file.
@Suite struct TerminalTests {
  /// A terminal that nobody looks at.
  private final class Terminal {
    private let handle: FileHandle
    /// What is written stays there until it is read, although the writer has gone.
    private let kept: FileHandle
    let path: String

    init() throws {
      var (descriptor, other): (Int32, Int32) = (-1, -1)
      var name = [CChar](repeating: 0, count: 64)
      try #require(unsafe openpty(&descriptor, &other, &name, nil, nil) == 0)
      handle = FileHandle(fileDescriptor: descriptor, closeOnDealloc: true)
      kept = FileHandle(fileDescriptor: other, closeOnDealloc: true)
      path = String(decoding: name.prefix { $0 != 0 }.map(UInt8.init), as: UTF8.self)
    }

    /// What was written to it, with the line ends that terminals make.
    func text() -> String { String(decoding: handle.availableData, as: UTF8.self) }
  }

  private static let tricks = "\u{1B}[2Ja\u{7F}\u{9B}31m\u{202E}b\r\tc"

  /// A model's text cannot command a terminal; a pipe gets it as it is.
  @Test func generatedText() throws {
    let workplace = try Workplace()
    let ids = try workplace.run(["tokenize", "model.spk", "-", "--ids"], input: Array(Self.tricks.utf8)).output
    let decode = ["tokenize", "model.spk", "--decode", ids.trimmingCharacters(in: .whitespacesAndNewlines)]
    #expect(try workplace.run(decode).output == Self.tricks + "\n")
    let terminal = try Terminal()
    #expect(try workplace.run(decode, output: terminal.path).status == 0)
    #expect(terminal.text() == "\\u001b[2Ja\\u007f\\u009b31m\\u202eb\\u000d\tc\r\n")
    // JSON stays JSON.
    #expect(try workplace.run(decode + ["--json"], output: terminal.path).status == 0)
    #expect(
      terminal.text()
        == "{\r\n  \"text\": \"\\u001b[2Ja\\u007f\\u009b31m\\u202eb\\r\\tc\"\r\n}\r\n")
  }

  /// Standard output is the continuation; the prompt is there only for those who want it.
  @Test func prompts() throws {
    let workplace = try Workplace()
    let generate = ["generate", "model.spk", "the pack", "--max-tokens", "4", "--ignore-end"]
    let plain = try workplace.run(generate)
    #expect(plain.status == 0)
    #expect(!plain.output.hasPrefix("the pack"))
    #expect(try workplace.run(generate + ["--echo"]).output == "the pack" + plain.output)
    let terminal = try Terminal()
    let tricky = ["generate", "model.spk", Self.tricks, "--max-tokens", "1", "--echo"]
    #expect(try workplace.run(tricky, output: terminal.path).status == 0)
    #expect(terminal.text().hasPrefix("\\u001b[2Ja"))
  }
}
