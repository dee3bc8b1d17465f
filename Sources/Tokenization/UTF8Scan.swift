/// How many replacement characters stand for bytes that are not UTF-8.
enum InvalidByteRule {
  /// One for every byte, as SentencePiece has it.
  case everyByte
  /// One for the longest start of a character, as Unicode recommends and Python and Swift do.
  case maximalSubpart
}

enum UTF8Scan {
  enum Unit {
    case valid(byteCount: Int)
    /// No character starts with these bytes. They are the longest start of one, or a single byte.
    case invalid(byteCount: Int)
    /// The bytes end within a character.
    case incomplete
  }

  static let replacement: [UInt8] = [0xEF, 0xBF, 0xBD]

  /// Source: The Unicode Standard, table 3-7, well-formed UTF-8 byte sequences.
  static func unit(at start: Int, of bytes: [UInt8]) -> Unit {
    let lead = bytes[start]
    var second: ClosedRange<UInt8> = 0x80...0xBF
    let count: Int
    switch lead {
    case 0..<0x80: return .valid(byteCount: 1)
    case 0xC2...0xDF: count = 2
    case 0xE0: (count, second) = (3, 0xA0...0xBF)
    case 0xED: (count, second) = (3, 0x80...0x9F)
    case 0xE1...0xEF: count = 3
    case 0xF0: (count, second) = (4, 0x90...0xBF)
    case 0xF4: (count, second) = (4, 0x80...0x8F)
    case 0xF1...0xF3: count = 4
    default: return .invalid(byteCount: 1)
    }
    for offset in 1..<count {
      guard start + offset < bytes.count else { return .incomplete }
      let byte = bytes[start + offset]
      guard offset == 1 ? second.contains(byte) : (0x80...0xBF).contains(byte) else {
        return .invalid(byteCount: offset)
      }
    }
    return .valid(byteCount: count)
  }

  /// Where an unfinished character at the end starts; the end if there is none.
  static func completePrefixByteCount(_ bytes: [UInt8]) -> Int {
    var start = bytes.count
    // A character has at most three bytes before its last.
    for _ in 0..<min(3, bytes.count) {
      start -= 1
      if bytes[start] & 0xC0 != 0x80 {
        if case .incomplete = unit(at: start, of: bytes) { return start }
        break
      }
    }
    return bytes.count
  }

  /// Replaces what is not UTF-8, including an unfinished character at the end.
  static func repaired(_ bytes: [UInt8], _ rule: InvalidByteRule) -> [UInt8] {
    var output: [UInt8] = []
    output.reserveCapacity(bytes.count + 8)
    var offset = 0
    while offset < bytes.count {
      switch unit(at: offset, of: bytes) {
      case .valid(let count):
        output.append(contentsOf: bytes[offset..<offset + count])
        offset += count
      case .invalid(let count):
        output.append(contentsOf: replacement)
        offset += rule == .everyByte ? 1 : count
      case .incomplete:
        output.append(contentsOf: replacement)
        offset = rule == .everyByte ? offset + 1 : bytes.count
      }
    }
    return output
  }

  /// The text of bytes, with what is not UTF-8 replaced.
  static func text(_ bytes: [UInt8], _ rule: InvalidByteRule) -> String {
    String(validating: bytes, as: UTF8.self) ?? String(decoding: repaired(bytes, rule), as: UTF8.self)
  }

  /// The scalar that starts at an offset of valid UTF-8.
  @inline(__always)
  static func scalar(at offset: Int, of bytes: Span<UInt8>) -> (value: UInt32, byteCount: Int) {
    let lead = UInt32(bytes[offset])
    if lead < 0x80 { return (lead, 1) }
    let second = UInt32(bytes[offset + 1] & 0x3F)
    if lead < 0xE0 { return ((lead & 0x1F) << 6 | second, 2) }
    let third = UInt32(bytes[offset + 2] & 0x3F)
    if lead < 0xF0 { return ((lead & 0x0F) << 12 | second << 6 | third, 3) }
    return ((lead & 0x07) << 18 | second << 12 | third << 6 | UInt32(bytes[offset + 3] & 0x3F), 4)
  }

  /// Where the scalar starts that ends at an offset of valid UTF-8.
  /// - Precondition: the offset is not 0.
  @inline(__always)
  static func start(before end: Int, of bytes: Span<UInt8>) -> Int {
    var start = end - 1
    while start > 0, bytes[start] & 0xC0 == 0x80 { start -= 1 }
    return start
  }
}
