/// What Python's strings and regular expressions call spaces, words and digits. The published metrics are programs in
/// Python and count in its characters, which are Unicode scalars.
enum TextRules {
  static func isSpace(_ scalar: Unicode.Scalar) -> Bool {
    scalar.properties.isWhitespace || (0x1C...0x1F).contains(scalar.value)
  }

  /// `\w` without the underscore.
  static func isAlphanumeric(_ scalar: Unicode.Scalar) -> Bool {
    switch scalar.properties.generalCategory {
    case .uppercaseLetter, .lowercaseLetter, .titlecaseLetter, .modifierLetter, .otherLetter: true
    default: scalar.properties.numericType != nil
    }
  }

  /// `\d`.
  static func isDigit(_ scalar: Unicode.Scalar) -> Bool { scalar.properties.generalCategory == .decimalNumber }

  /// `str.split()`. Words are scalars, as strings that differ in their scalars may be equal.
  static func words(_ text: String) -> [[Unicode.Scalar]] {
    text.unicodeScalars.split(whereSeparator: isSpace).map(Array.init)
  }

  /// `str.strip()`.
  static func trimmed(_ text: String) -> String {
    let scalars = text.unicodeScalars
    guard let first = scalars.firstIndex(where: { !isSpace($0) }),
      let last = scalars.lastIndex(where: { !isSpace($0) })
    else { return "" }
    return String(scalars[first...last])
  }

  /// The longest stretches of scalars with a property, such as numbers.
  static func runs(_ text: String, of property: (Unicode.Scalar) -> Bool) -> [[Unicode.Scalar]] {
    text.unicodeScalars.split { !property($0) }.map(Array.init)
  }

  /// The text with a space for each of some characters.
  static func blanking(_ characters: Set<Unicode.Scalar>, in text: String) -> String {
    var result = String.UnicodeScalarView()
    for scalar in text.unicodeScalars { result.append(characters.contains(scalar) ? " " : scalar) }
    return String(result)
  }

  /// Whether the scalars of a text stand in another one.
  static func contains(_ text: String, _ part: String) -> Bool {
    range(of: part, in: Array(text.unicodeScalars)) != nil
  }

  /// The first place of a text's scalars in others.
  static func range(of part: String, in scalars: [Unicode.Scalar]) -> Range<Int>? {
    let part = Array(part.unicodeScalars)
    guard !part.isEmpty else { return 0..<0 }
    guard part.count <= scalars.count else { return nil }
    for start in 0...scalars.count - part.count
    where scalars[start] == part[0] && scalars[start..<start + part.count].elementsEqual(part) {
      return start..<start + part.count
    }
    return nil
  }

  static func string(_ scalars: some Sequence<Unicode.Scalar>) -> String {
    var view = String.UnicodeScalarView()
    view.append(contentsOf: scalars)
    return String(view)
  }

  /// `string.punctuation`.
  static let asciiPunctuation = Set("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~".unicodeScalars)
}
