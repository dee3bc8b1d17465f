import FileAccess

/// How the characters of a text are written as bytes. What is stored is UTF-8 in any case.
public enum TextEncoding: String, Sendable, Hashable, CaseIterable {
  /// UTF-8, or UTF-16 with a byte order mark. What looks like another encoding is refused, and the refusal says like
  /// which.
  case automatic = "auto"
  /// With or without a byte order mark.
  case utf8 = "utf-8"
  /// As the byte order mark says, without one little-endian.
  case utf16 = "utf-16"
  /// UTF-16 whose units start with their lower byte.
  case utf16LittleEndian = "utf-16le"
  /// UTF-16 whose units start with their upper byte.
  case utf16BigEndian = "utf-16be"
  /// ISO 8859-1.
  case latin1 = "latin-1"
  /// Latin-1 with more quotation marks, dashes and the like.
  case windows1252 = "windows-1252"

  /// A text as UTF-8, without its byte order mark.
  /// - Parameters:
  ///   - bytes: the text in this encoding.
  ///   - file: names it in messages.
  ///   - limit: the most bytes that it may have as UTF-8.
  /// - Throws: `Refusal` `not-text` for what is not in this encoding or has a NUL, `other-encoding` for what seems to be
  ///   in another one, `too-large`.
  func decode(_ bytes: [UInt8], file: String, limit: Int = .max) throws(Refusal) -> [UInt8] {
    let text: [UInt8]
    switch self {
    case .automatic:
      if let mark = ByteOrderMark(of: bytes) {
        guard mark.encoding != nil else {
          throw Refusal(.notText, file: file, "looks like UTF-32, which is not read; save it as UTF-8")
        }
        return try (mark.encoding ?? .utf8).decode(bytes, file: file, limit: limit)
      }
      if !bytes.contains(0), Self.isUTF8(bytes) { return bytes }
      throw Self.refusal(of: bytes, file: file)
    case .utf8:
      text = Array(bytes.dropFirst(ByteOrderMark(of: bytes) == .utf8 ? 3 : 0))
      guard Self.isUTF8(text) else { throw Refusal(.notText, file: file, "is not text in UTF-8") }
    case .utf16:
      let isBigEndian = ByteOrderMark(of: bytes) == .utf16BigEndian
      return try (isBigEndian ? Self.utf16BigEndian : .utf16LittleEndian).decode(bytes, file: file, limit: limit)
    case .utf16LittleEndian, .utf16BigEndian:
      text = try Self.decodeUTF16(bytes, isBigEndian: self == .utf16BigEndian, file: file, limit: limit)
    case .latin1:
      text = try Self.decodeSingleBytes(bytes, file: file, limit: limit) { UInt16($0) }
    case .windows1252:
      text = try Self.decodeSingleBytes(bytes, file: file, limit: limit) { byte in
        guard (0x80..<0xA0).contains(byte) else { return UInt16(byte) }
        return Self.windows1252Characters[Int(byte) - 0x80]
      }
    }
    guard !text.contains(0) else { throw Refusal(.notText, file: file, "is not text: has a NUL character") }
    return text
  }

  private static func decodeUTF16(
    _ bytes: [UInt8], isBigEndian: Bool, file: String, limit: Int
  ) throws(Refusal) -> [UInt8] {
    guard bytes.count % 2 == 0 else { throw Refusal(.notText, file: file, "is not UTF-16: has an odd number of bytes") }
    func unit(at index: Int) -> UInt16 {
      isBigEndian
        ? UInt16(bytes[index]) << 8 | UInt16(bytes[index + 1]) : UInt16(bytes[index + 1]) << 8 | UInt16(bytes[index])
    }
    var text: [UInt8] = []
    text.reserveCapacity(bytes.count / 2)
    var index = bytes.count >= 2 && unit(at: 0) == 0xFEFF ? 2 : 0
    while index < bytes.count {
      var value = UInt32(unit(at: index))
      let start = index
      index += 2
      if value & 0xFC00 == 0xD800, index < bytes.count, unit(at: index) & 0xFC00 == 0xDC00 {
        value = 0x10000 + (value & 0x3FF) << 10 + UInt32(unit(at: index) & 0x3FF)
        index += 2
      }
      guard let scalar = Unicode.Scalar(value) else {
        throw Refusal(.notText, file: file, "is not UTF-16: half of a surrogate pair at byte \(start)")
      }
      text += UTF8.encode(scalar) ?? UTF8.encodedReplacementCharacter
      guard text.count <= limit else { throw tooLarge(file, limit) }
    }
    return text
  }

  private static func decodeSingleBytes(
    _ bytes: [UInt8], file: String, limit: Int, character: (UInt8) -> UInt16
  ) throws(Refusal) -> [UInt8] {
    var text: [UInt8] = []
    text.reserveCapacity(bytes.count)
    for (index, byte) in bytes.enumerated() {
      guard byte >= 0x80 else {
        text.append(byte)
        continue
      }
      let value = character(byte)
      guard value > 0, let scalar = Unicode.Scalar(value) else {
        throw Refusal(
          .notText, file: file, "is not Windows-1252, which has no byte 0x\(String(byte, radix: 16)), as at \(index)")
      }
      text += UTF8.encode(scalar) ?? UTF8.encodedReplacementCharacter
      guard text.count <= limit else { throw tooLarge(file, limit) }
    }
    return text
  }

  private static func isUTF8(_ bytes: [UInt8]) -> Bool { (try? UTF8Span(validating: bytes.span)) != nil }

  private static func tooLarge(_ file: String, _ limit: Int) -> Refusal {
    Refusal(.tooLarge, file: file, "has more than \(limit) bytes of text")
  }

  /// The characters of the bytes 0x80 to 0x9F; 0 for those that there are not.
  private static let windows1252Characters: [UInt16] = [
    0x20AC, 0, 0x201A, 0x0192, 0x201E, 0x2026, 0x2020, 0x2021, 0x02C6, 0x2030, 0x0160, 0x2039, 0x0152, 0, 0x017D, 0,
    0, 0x2018, 0x2019, 0x201C, 0x201D, 0x2022, 0x2013, 0x2014, 0x02DC, 0x2122, 0x0161, 0x203A, 0x0153, 0, 0x017E,
    0x0178,
  ]
}
