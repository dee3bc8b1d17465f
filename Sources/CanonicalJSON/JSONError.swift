/// Why a text is not accepted as JSON.
public struct JSONError: Error, Sendable, CustomStringConvertible {
  /// Where the fault is, in bytes from the start of the text.
  public let byteOffset: Int
  /// The line with the fault, from 1.
  public let line: Int
  /// The place of the fault in its line, in characters as editors count them (Unicode scalars), from 1.
  public let column: Int
  public let reason: String

  init(at byteOffset: Int, in text: [UInt8], _ reason: String) {
    let before = text.prefix(byteOffset)
    let start = before.lastIndex(of: UInt8(ascii: "\n")).map { $0 + 1 } ?? 0
    self.byteOffset = byteOffset
    line = 1 + before.count { $0 == UInt8(ascii: "\n") }
    // A byte that continues a scalar does not count, nor does a byte order mark.
    let mark = start == 0 && before.starts(with: JSONValue.byteOrderMark) ? 1 : 0
    column = 1 + before[start...].count { $0 & 0xC0 != 0x80 } - mark
    self.reason = reason
  }

  public var description: String { "line \(line), column \(column): \(reason)" }
}
