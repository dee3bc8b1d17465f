import FileAccess
import Testing

@Suite struct LineReaderTests {
  private func lines(_ bytes: [UInt8], limit: Int = 1 << 20) throws -> [[UInt8]] {
    let directory = try Directory.temporary()
    defer { try? Directory.removeTree(directory) }
    var file = try PublishedFile(creating: "\(directory)/lines")
    try file.append(bytes)
    try file.publish()
    var reader = try LineReader("\(directory)/lines", lineLimit: limit)
    var lines: [[UInt8]] = []
    while let line = try reader.next() {
      lines.append(line)
      #expect(reader.lineNumber == lines.count)
    }
    #expect(try reader.next() == nil)
    return lines
  }

  @Test func endsOfLines() throws {
    #expect(try lines([]) == [])
    #expect(try lines(Array("a".utf8)) == [Array("a".utf8)])
    #expect(try lines(Array("a\n\nb\n".utf8)) == [Array("a".utf8), [], Array("b".utf8)])
    #expect(try lines([10]) == [[]])
  }

  /// Lines that end at, before and after the end of a buffer.
  @Test(arguments: [-1, 0, 1, LineReader.bufferByteCount])
  func buffers(_ offset: Int) throws {
    let long = [UInt8](repeating: 0x61, count: LineReader.bufferByteCount + offset - 1)
    #expect(try lines(long + [10, 0x62, 10] + long) == [long, [0x62], long])
  }

  @Test func tooLong() throws {
    let long = [UInt8](repeating: 0x61, count: 3 * LineReader.bufferByteCount)
    #expect(throws: Refusal.self) { try lines(long, limit: LineReader.bufferByteCount) }
  }
}
