/// Reads a file line by line; no more than a line and a buffer are in memory.
public struct LineReader: ~Copyable {
  private let file: SequentialFile
  private let lineLimit: Int
  private var buffer: [UInt8] = []
  /// The part of the buffer that is not given out.
  private var start = 0
  private var byteOffset = 0
  /// The number of the line that was read last, from 1.
  public private(set) var lineNumber = 0

  public static let bufferByteCount = 1 << 16

  /// - Parameter lineLimit: the most bytes that a line may have.
  /// - Throws: `Refusal` as `SequentialFile`.
  public init(_ path: String, lineLimit: Int = 1 << 28) throws(Refusal) {
    file = try SequentialFile(path)
    self.lineLimit = lineLimit
  }

  /// The next line without its line feed; nil at the end. What follows the last line feed is a line if it is not empty.
  /// - Throws: `Refusal` `too-large` for a line beyond the limit, and those of reading.
  public mutating func next() throws(Refusal) -> [UInt8]? {
    var searched = start
    while true {
      if let end = buffer[searched...].firstIndex(of: UInt8(ascii: "\n")) {
        defer { start = end + 1 }
        lineNumber += 1
        return Array(buffer[start..<end])
      }
      guard buffer.count - start <= lineLimit else {
        throw Refusal(
          .tooLarge, file: file.path, structure: "line \(lineNumber + 1)", "has more than \(lineLimit) bytes")
      }
      buffer.removeFirst(start)
      start = 0
      searched = buffer.count
      let count = min(Self.bufferByteCount, file.byteCount - byteOffset)
      if count == 0 {
        guard !buffer.isEmpty else { return nil }
        defer { buffer = [] }
        lineNumber += 1
        return buffer
      }
      var piece = [UInt8](repeating: 0, count: count)
      var span = piece.mutableSpan
      var bytes = unsafe span.mutableBytes
      try file.read(at: byteOffset, into: &bytes)
      buffer += piece
      byteOffset += count
    }
  }
}
