enum UnicodeTables {
  /// A part of a word, as the package `regex` of Rust has it.
  static func isWordOfRust(_ scalar: UInt32) -> Bool {
    guard let scalar = Unicode.Scalar(scalar) else { return false }
    return scalar.properties.isAlphabetic || scalar.properties.generalCategory == .decimalNumber || scalar == "_"
  }
  static func isPunctuation(_ scalar: UInt32) -> Bool {
    guard let scalar = Unicode.Scalar(scalar) else { return false }
    switch scalar.properties.generalCategory {
    case .connectorPunctuation, .dashPunctuation, .openPunctuation, .closePunctuation, .initialPunctuation, .finalPunctuation, .otherPunctuation: return true
    default: return scalar.isASCII && "$+<=>^`|~".unicodeScalars.contains(scalar)
    }
  }
}
