public import FileAccess

/// What some texts begin with, to say how they are encoded: U+FEFF.
enum ByteOrderMark {
  case utf8, utf16LittleEndian, utf16BigEndian, utf32

  init?(of bytes: [UInt8]) {
    if bytes.starts(with: [0xEF, 0xBB, 0xBF]) {
      self = .utf8
    } else if bytes.starts(with: [0xFF, 0xFE, 0, 0]) || bytes.starts(with: [0, 0, 0xFE, 0xFF]) {
      self = .utf32
    } else if bytes.starts(with: [0xFF, 0xFE]) {
      self = .utf16LittleEndian
    } else if bytes.starts(with: [0xFE, 0xFF]) {
      self = .utf16BigEndian
    } else {
      return nil
    }
  }

  /// Nil for one that is not read.
  var encoding: TextEncoding? {
    switch self {
    case .utf8: .utf8
    case .utf16LittleEndian: .utf16LittleEndian
    case .utf16BigEndian: .utf16BigEndian
    case .utf32: nil
    }
  }
}

extension TextEncoding {
  /// Why bytes are refused that are not text in UTF-8 and have no byte order mark.
  static func refusal(of bytes: [UInt8], file: String) -> Refusal {
    if let guess = guess(bytes) {
      return Refusal(.otherEncoding, file: file, "is not text in UTF-8; it looks like \(guess.title)")
    }
    if let offset = damage(bytes) {
      return Refusal(.notText, file: file, "is not text in UTF-8: byte \(offset) is wrong")
    }
    return Refusal(.notText, file: file, "is not text in UTF-8")
  }

  /// What bytes seem to be that are not UTF-8, from their first 64 KiB; nil where there is no telling.
  static func guess(_ bytes: [UInt8]) -> TextEncoding? {
    let start = bytes.prefix(1 << 16)
    if start.contains(0) {
      // Most texts have many characters below U+0100, one of whose two bytes is 0, and no character 0.
      guard bytes.count % 2 == 0, bytes.count > 2 else { return nil }
      var zeros = [0, 0]
      for (index, byte) in start.enumerated() where byte == 0 { zeros[index % 2] += 1 }
      let half = start.count / 2
      // In a few characters a zero may be anything.
      let wanted = half < 32 ? half * 4 / 5 : half / 3
      if zeros[0] * 50 <= half, zeros[1] > wanted { return .utf16LittleEndian }
      if zeros[1] * 50 <= half, zeros[0] > wanted { return .utf16BigEndian }
      return nil
    }
    // Letters of Western European texts, among many more of ASCII; no control characters but white space.
    let spaces: Set<UInt8> = [0x09, 0x0A, 0x0C, 0x0D]
    var (high, isWindows) = (0, false)
    for byte in start {
      if byte < 0x20, !spaces.contains(byte) { return nil }
      if byte == 0x7F { return nil }
      if byte >= 0x80 { high += 1 }
      if (0x80..<0xA0).contains(byte) {
        guard ![0x81, 0x8D, 0x8F, 0x90, 0x9D].contains(byte) else { return nil }
        isWindows = true
      }
    }
    guard high * 3 < start.count, damage(bytes) == nil else { return nil }
    return isWindows ? .windows1252 : .latin1
  }

  /// The first wrong byte of a text that is UTF-8 for the most part: with more characters beyond ASCII than faults.
  private static func damage(_ bytes: [UInt8]) -> Int? {
    var (faults, characters) = (0, 0)
    var first: Int?
    var index = 0
    while index < bytes.count {
      let byte = bytes[index]
      let length = byte < 0x80 ? 1 : byte >= 0xF0 ? 4 : byte >= 0xE0 ? 3 : byte >= 0xC2 ? 2 : 0
      let isWhole =
        length > 0 && byte <= 0xF4 && index + length <= bytes.count
        && bytes[(index + 1)..<max(index + length, index + 1)].allSatisfy { $0 & 0xC0 == 0x80 }
      if isWhole {
        if length > 1 { characters += 1 }
        index += length
      } else {
        if first == nil { first = index }
        faults += 1
        index += 1
      }
    }
    return characters > faults ? first : nil
  }

  private var title: String {
    switch self {
    case .automatic, .utf8: "UTF-8"
    case .utf16: "UTF-16"
    case .utf16LittleEndian: "UTF-16 (little-endian)"
    case .utf16BigEndian: "UTF-16 (big-endian)"
    case .latin1: "Latin-1"
    case .windows1252: "Windows-1252"
    }
  }

  /// The encoding that an `other-encoding` refusal names.
  package init?(namedBy refusal: Refusal) {
    guard refusal.name == .otherEncoding,
      let found = Self.allCases.first(where: { refusal.fault.hasSuffix("looks like \($0.title)") })
    else { return nil }
    self = found
  }
}

extension Refusal.Name {
  /// A text seems to be in another encoding than the one that was expected.
  public static let otherEncoding = Refusal.Name("other-encoding", .badInput)
}
