/// Texts of files, arguments and models without what would command a terminal or change the order of what it shows: such
/// characters are spelled as JSON escapes them, which changes nothing in JSON.
package enum VisibleText {
  /// - Parameter keepingLines: whether line feeds and tabs stay, too.
  package static func of(_ text: String, keepingLines: Bool) -> String {
    func stays(_ scalar: Unicode.Scalar) -> Bool {
      !isControl(scalar) || keepingLines && (scalar == "\n" || scalar == "\t")
    }
    guard !text.unicodeScalars.allSatisfy(stays) else { return text }
    var result = String.UnicodeScalarView()
    for scalar in text.unicodeScalars {
      if stays(scalar) {
        result.append(scalar)
      } else {
        let digits = String(scalar.value, radix: 16)
        result += "\\u\(String(repeating: "0", count: 4 - digits.count))\(digits)".unicodeScalars
      }
    }
    return String(result)
  }

  /// C0, DEL and C1; then the marks, embeddings, overrides and isolates of bidirectional text.
  private static func isControl(_ scalar: Unicode.Scalar) -> Bool {
    switch scalar.value {
    case 0..<0x20, 0x7F..<0xA0, 0x061C, 0x200E...0x200F, 0x202A...0x202E, 0x2066...0x2069: true
    default: false
    }
  }
}
