/// Reads the fields of one protocol buffer message and refuses to leave its bytes.
///
/// Groups and nesting are up to the caller, so hostile bytes cannot make it recurse.
struct ProtobufReader: ~Escapable {
  enum Value {
    case integer(UInt64)
    /// Eight bytes. Nothing here has that type.
    case fixed64
    /// Where the bytes of a string or message are.
    case bytes(Range<Int>)
    case fixed32(UInt32)
  }

  private let bytes: Span<UInt8>
  private let structure: String
  private var offset: Int
  private let end: Int

  @_lifetime(copy bytes)
  init(_ bytes: Span<UInt8>, _ range: Range<Int>, structure: String) {
    self.bytes = bytes
    self.structure = structure
    offset = range.lowerBound
    end = range.upperBound
  }

  /// The next field, or nil at the end.
  @_lifetime(self: copy self)
  mutating func next() throws(TokenizerError) -> (field: UInt64, value: Value)? {
    guard offset < end else { return nil }
    let key = try varint()
    guard key >> 3 > 0 else { throw malformed("field 0") }
    switch key & 7 {
    case 0: return (key >> 3, .integer(try varint()))
    case 1:
      try skip(8)
      return (key >> 3, .fixed64)
    case 2:
      let count = try varint()
      guard count <= UInt64(end - offset) else { throw malformed("a length past the end") }
      let start = offset
      offset += Int(count)
      return (key >> 3, .bytes(start..<offset))
    case 5:
      try skip(4)
      return (key >> 3, .fixed32((1...4).reduce(0) { $0 << 8 | UInt32(bytes[offset - $1]) }))
    default: throw malformed("wire type \(key & 7)")
    }
  }

  private func malformed(_ fault: String) -> TokenizerError {
    TokenizerError(.malformed, structure, "\(fault) at byte \(offset)")
  }

  @_lifetime(self: copy self)
  private mutating func skip(_ count: Int) throws(TokenizerError) {
    guard end - offset >= count else { throw malformed("a field past the end") }
    offset += count
  }

  @_lifetime(self: copy self)
  private mutating func varint() throws(TokenizerError) -> UInt64 {
    var value: UInt64 = 0
    for shift in stride(from: UInt64(0), to: 70, by: 7) {
      guard offset < end else { throw malformed("the end within a number") }
      let byte = bytes[offset]
      offset += 1
      guard shift < 63 || byte <= 1 else { throw malformed("a number past 64 bits") }
      value |= UInt64(byte & 0x7F) << shift
      if byte & 0x80 == 0 { return value }
    }
    throw malformed("a number past 64 bits")
  }
}
