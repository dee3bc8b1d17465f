// Classes of scalars, as Python has them.

/// What Python's `str.isspace` and `\s` accept.
func isSpace(_ unit: UInt32) -> Bool {
  switch unit & ~TemplateString.mark {
  case 0x09...0x0D, 0x1C...0x20, 0x85, 0xA0, 0x1680, 0x2000...0x200A, 0x2028, 0x2029, 0x202F, 0x205F, 0x3000: true
  default: false
  }
}

/// What ends a line for `str.splitlines`.
func isLineEnd(_ unit: UInt32) -> Bool {
  switch unit & ~TemplateString.mark {
  case 0x0A...0x0D, 0x1C...0x1E, 0x85, 0x2028, 0x2029: true
  default: false
  }
}

func isDigit(_ unit: UInt32) -> Bool { (0x30...0x39).contains(unit) }

func isHexDigit(_ unit: UInt32) -> Bool { isDigit(unit) || (0x61...0x66).contains(unit | 0x20) }

func properties(_ unit: UInt32) -> Unicode.Scalar.Properties {
  (Unicode.Scalar(unit & ~TemplateString.mark) ?? "\u{FFFD}").properties
}

func isAlphabetic(_ unit: UInt32) -> Bool {
  switch properties(unit).generalCategory {
  case .uppercaseLetter, .lowercaseLetter, .titlecaseLetter, .modifierLetter, .otherLetter: true
  default: false
  }
}

func isDecimal(_ unit: UInt32) -> Bool { properties(unit).generalCategory == .decimalNumber }

func isDigitLike(_ unit: UInt32) -> Bool {
  let type = properties(unit).numericType
  return type == .decimal || type == .digit
}

func isNumeric(_ unit: UInt32) -> Bool { properties(unit).numericType != nil }

func isAlphanumeric(_ unit: UInt32) -> Bool { isAlphabetic(unit) || isNumeric(unit) }

/// What `\w` accepts: what a name, or a word, consists of.
func isNameScalar(_ unit: UInt32) -> Bool {
  let unit = unit & ~TemplateString.mark
  if unit < 0x80 { return isDigit(unit) || unit == 0x5F || (0x61...0x7A).contains(unit | 0x20) }
  return isAlphanumeric(unit)
}

/// What `repr` shows as it is.
func isPrintable(_ unit: UInt32) -> Bool {
  let unit = unit & ~TemplateString.mark
  if unit < 0x7F { return unit >= 0x20 }
  switch properties(unit).generalCategory {
  case .control, .format, .surrogate, .privateUse, .unassigned, .lineSeparator, .paragraphSeparator, .spaceSeparator:
    return false
  default: return true
  }
}
