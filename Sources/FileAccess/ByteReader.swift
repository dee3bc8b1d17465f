/// Reads little-endian fields from a region of a mapped file and refuses to leave it.
///
/// `RawSpan` has no checked typed load for unaligned offsets, so this is the one place that does it.
public struct ByteReader: ~Escapable {
  let bytes: RawSpan
  let file: String
  let structure: String
  /// The offset of the next field in the region.
  public private(set) var offset = 0

  /// - Parameters:
  ///   - file: the name for messages.
  ///   - structure: what the region is, for messages.
  @_lifetime(copy bytes)
  public init(_ bytes: RawSpan, file: String, structure: String) {
    self.bytes = bytes
    self.file = file
    self.structure = structure
  }

  public var remainingByteCount: Int { bytes.byteCount - offset }

  /// Moves to an offset in the region.
  /// - Throws: `Refusal` `truncated` when the region ends before it.
  @_lifetime(self: copy self)
  public mutating func seek(to newOffset: Int) throws(Refusal) {
    guard newOffset >= 0, newOffset <= bytes.byteCount else {
      throw truncation(needing: newOffset)
    }
    offset = newOffset
  }

  @_lifetime(self: copy self)
  public mutating func integer<Value: FixedWidthInteger & BitwiseCopyable>(
    _ type: Value.Type = Value.self
  ) throws(Refusal) -> Value {
    let size = MemoryLayout<Value>.size
    guard remainingByteCount >= size else { throw truncation(needing: offset + size) }
    let value = unsafe bytes.unsafeLoadUnaligned(fromByteOffset: offset, as: Value.self)
    offset += size
    return Value(littleEndian: value)
  }

  /// Reads an unsigned 64-bit field that must fit a signed one: a size, count or offset.
  @_lifetime(self: copy self)
  public mutating func size() throws(Refusal) -> Int {
    let start = offset
    guard let value = Int(exactly: try integer(UInt64.self)) else {
      throw Refusal(.truncated, file: file, structure: structure, "the size at byte \(start) exceeds 2^63")
    }
    return value
  }

  @_lifetime(self: copy self)
  public mutating func bytes(_ count: Int) throws(Refusal) -> [UInt8] {
    guard count >= 0, remainingByteCount >= count else { throw truncation(needing: offset &+ max(count, 0)) }
    let region = bytes.extracting(offset..<offset + count)
    offset += count
    return region.array
  }

  private func truncation(needing end: Int) -> Refusal {
    Refusal(
      .truncated, file: file, structure: structure, "needs \(end) bytes and has \(bytes.byteCount)")
  }
}

extension RawSpan {
  /// A copy of the bytes.
  public var array: [UInt8] {
    unsafe withUnsafeBytes { unsafe [UInt8]($0) }
  }

  /// The first offset at which a byte is not zero.
  public var firstNonZeroOffset: Int? {
    unsafe withUnsafeBytes { unsafe $0.firstIndex { $0 != 0 } }
  }
}
