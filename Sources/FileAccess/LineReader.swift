/// Reads a file line by line, decompressed if it is a gzip or zstd file; no more than a line and a buffer are in memory.
public struct LineReader: ~Copyable {
  private var stream: ByteStream
  private let lineLimit: Int
  private var buffer: [UInt8] = []
  /// The part of the buffer that is not given out.
  private var start = 0
  /// The number of the line that was read last, from 1.
  public private(set) var lineNumber = 0

  public static let bufferByteCount = ByteStream.pieceByteCount

  /// - Parameter lineLimit: the most bytes that a line may have.
  /// - Throws: `Refusal` as `ByteStream`.
  public init(_ path: String, lineLimit: Int = 1 << 28) throws(Refusal) {
    self.init(try ByteStream(path), lineLimit: lineLimit)
  }

  /// The lines of what is read from elsewhere.
  public init(_ stream: consuming ByteStream, lineLimit: Int = 1 << 28) {
    self.stream = stream
    self.lineLimit = lineLimit
  }

  /// The part of the file that was read, 0 to 1; nil for standard input.
  public var share: Double? { stream.share }

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
          .tooLarge, file: stream.path, structure: "line \(lineNumber + 1)", "has more than \(lineLimit) bytes")
      }
      buffer.removeFirst(start)
      start = 0
      searched = buffer.count
      guard let piece = try stream.next() else {
        guard !buffer.isEmpty else { return nil }
        defer { buffer = [] }
        lineNumber += 1
        return buffer
      }
      buffer += piece
    }
  }
}
