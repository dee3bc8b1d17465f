import Glibc

/// The bytes of a file or of standard input, one piece after the other; those of a gzip or zstd file decompressed.
///
/// Memory stays that of a few pieces, whatever the file expands to: who reads on decides how much is too much.
public struct ByteStream: ~Copyable {
  /// How a file is compressed.
  public enum Packing: Sendable, CaseIterable {
    case gzip, zstd

    /// The end of such a file's name.
    public var suffix: String {
      switch self {
      case .gzip: ".gz"
      case .zstd: ".zst"
      }
    }

    /// No text in UTF-8 or UTF-16 starts so.
    fileprivate var magic: [UInt8] {
      switch self {
      case .gzip: [0x1F, 0x8B]
      case .zstd: [0x28, 0xB5, 0x2F, 0xFD]
      }
    }

    fileprivate func makeDecompressor() -> (any Decompressor)? {
      switch self {
      case .gzip: GzipDecompressor()
      case .zstd: ZstdDecompressor()
      }
    }
  }

  /// As the caller named it.
  public let path: String
  /// How the bytes are compressed, as their beginning says; nil: not.
  public let packing: Packing?
  /// Nil for standard input.
  private let file: SequentialFile?
  /// Bytes that were read from the file.
  private var byteOffset: Int
  /// What was read and not given out or decompressed, from `start` on.
  private var input: [UInt8]
  private var start = 0
  private let decompressor: (any Decompressor)?
  /// Whether a member or frame has begun and not ended.
  private var isInside: Bool

  public static let pieceByteCount = 1 << 16

  /// Opens a regular file.
  /// - Throws: `Refusal` as `SequentialFile`, and `malformed-compression` for one that its name says is compressed, and
  ///   that does not start so.
  public init(_ path: String) throws(Refusal) {
    let file: SequentialFile? = try SequentialFile(path)
    let beginning = try Self.beginning(of: file, path)
    if let claimed = Packing.allCases.first(where: { path.hasSuffix($0.suffix) }), beginning.packing != claimed {
      throw Refusal(.malformedCompression, file: path, "is not a \(claimed) file")
    }
    self.init(path, file, beginning)
  }

  /// Standard input.
  /// - Throws: `Refusal` `input-output`.
  public init(standardInput path: String) throws(Refusal) {
    self.init(path, nil, try Self.beginning(of: nil, path))
  }

  private init(_ path: String, _ file: consuming SequentialFile?, _ beginning: Beginning) {
    self.path = path
    self.file = file
    packing = beginning.packing
    decompressor = beginning.decompressor
    input = beginning.bytes
    byteOffset = input.count
    isInside = decompressor != nil
  }

  private typealias Beginning = (bytes: [UInt8], packing: Packing?, decompressor: (any Decompressor)?)

  private static func beginning(of file: borrowing SequentialFile?, _ path: String) throws(Refusal) -> Beginning {
    var bytes: [UInt8] = []
    // A pipe may give a byte at a time.
    while bytes.count < 4 {
      let piece = try read(file, at: bytes.count, path)
      if piece.isEmpty { break }
      bytes += piece
    }
    guard let packing = Packing.allCases.first(where: { bytes.starts(with: $0.magic) }) else {
      return (bytes, nil, nil)
    }
    guard let decompressor = packing.makeDecompressor() else {
      throw Refusal(.inputOutput, file: path, "no memory to decompress it")
    }
    return (bytes, packing, decompressor)
  }

  /// Bytes of the file, compressed ones if it is; nil for standard input.
  public var fileByteCount: Int? {
    switch file {
    case .some(let file): file.byteCount
    case .none: nil
    }
  }

  /// The part of the file that was read, 0 to 1; nil for standard input.
  public var share: Double? { fileByteCount.map { $0 > 0 ? Double(byteOffset) / Double($0) : 1 } }

  /// The next bytes; nil at the end.
  /// - Throws: `Refusal` `malformed-compression` for what is damaged or cut off, and those of reading.
  public mutating func next() throws(Refusal) -> [UInt8]? {
    guard let decompressor else {
      let piece = start < input.count ? Array(input[start...]) : try read()
      input = []
      start = 0
      return piece.isEmpty ? nil : piece
    }
    var output = [UInt8](repeating: 0, count: Self.pieceByteCount)
    while true {
      if start == input.count {
        input = try read()
        start = 0
        guard !input.isEmpty else {
          guard !isInside else { throw malformed("ends before it is whole") }
          return nil
        }
      }
      isInside = true
      let step = unsafe input.withUnsafeBytes { input in
        unsafe output.withUnsafeMutableBytes { output in
          unsafe decompressor.step(UnsafeRawBufferPointer(rebasing: input[start...]), output)
        }
      }
      start += step.consumed
      switch step.state {
      case .damaged: throw malformed("is damaged")
      case .end: isInside = false
      case .inside:
        guard step.consumed + step.produced > 0 || start == input.count else { throw malformed("is damaged") }
      }
      if step.produced > 0 {
        output.removeLast(output.count - step.produced)
        return output
      }
    }
  }

  private func malformed(_ fault: String) -> Refusal {
    Refusal(.malformedCompression, file: path, structure: packing.map { "\($0)" } ?? "", fault)
  }

  /// All that is left.
  /// - Throws: `Refusal` `too-large` for more than `limit` bytes, as soon as they are there.
  public mutating func rest(limit: Int) throws(Refusal) -> [UInt8] {
    if packing == nil, let fileByteCount, fileByteCount > limit {
      throw Refusal(.tooLarge, file: path, "has \(fileByteCount) bytes; at most \(limit) are read")
    }
    var bytes: [UInt8] = []
    if packing == nil, let fileByteCount { bytes.reserveCapacity(fileByteCount) }
    while let piece = try next() {
      guard bytes.count + piece.count <= limit else {
        throw Refusal(.tooLarge, file: path, "has more than \(limit) bytes of text")
      }
      bytes += piece
    }
    return bytes
  }

  private mutating func read() throws(Refusal) -> [UInt8] {
    let piece = try Self.read(file, at: byteOffset, path)
    byteOffset += piece.count
    return piece
  }

  /// Some bytes as they are in the file; none at its end.
  private static func read(
    _ file: borrowing SequentialFile?, at byteOffset: Int, _ path: String
  ) throws(Refusal) -> [UInt8] {
    switch file {
    case .some(let file):
      var piece = [UInt8](repeating: 0, count: min(pieceByteCount, file.byteCount - byteOffset))
      guard !piece.isEmpty else { return [] }
      var span = piece.mutableSpan
      var bytes = unsafe span.mutableBytes
      try file.read(at: byteOffset, into: &bytes)
      return piece
    case .none:
      var piece = [UInt8](repeating: 0, count: pieceByteCount)
      let count = unsafe piece.withUnsafeMutableBytes { buffer in
        unsafe FileOperation.transfer(
          .read(path: path, byteOffset: byteOffset, byteCount: buffer.count), byteCount: buffer.count
        ) { unsafe Glibc.read(STDIN_FILENO, buffer.baseAddress, $0) }
      }
      guard count >= 0 else { throw SystemError.refusal("read", path: path) }
      piece.removeLast(piece.count - count)
      return piece
    }
  }
}

extension Refusal.Name {
  /// A gzip or zstd file is damaged or cut off, or none.
  public static let malformedCompression = Refusal.Name("malformed-compression", .badInput)
}
