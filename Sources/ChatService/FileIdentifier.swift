/// The identifiers of `/v1/files`: the name of a document, spelled so that it can stand in any address.
public enum FileIdentifier {
  private static let prefix = "file-"

  /// The identifier of a document.
  public static func of(_ name: String) -> String {
    var identifier = prefix
    for byte in name.utf8 {
      let digits = String(byte, radix: 16)
      identifier += byte < 16 ? "0\(digits)" : digits
    }
    return identifier
  }

  /// The document that an identifier means.
  /// - Returns: nil when it is none of ours.
  public static func name(of identifier: String) -> String? {
    guard identifier.hasPrefix(prefix) else { return nil }
    let digits = Array(identifier.utf8.dropFirst(prefix.utf8.count))
    guard !digits.isEmpty, digits.count.isMultiple(of: 2) else { return nil }
    var bytes: [UInt8] = []
    for start in stride(from: 0, to: digits.count, by: 2) {
      guard let high = value(digits[start]), let low = value(digits[start + 1]) else { return nil }
      bytes.append(high << 4 | low)
    }
    return String(validating: bytes, as: UTF8.self)
  }

  private static func value(_ digit: UInt8) -> UInt8? {
    switch digit {
    case UInt8(ascii: "0")...UInt8(ascii: "9"): digit - UInt8(ascii: "0")
    case UInt8(ascii: "a")...UInt8(ascii: "f"): digit - UInt8(ascii: "a") + 10
    default: nil
    }
  }
}
