/// The filters, by their names.
extension Evaluator {
  static let filterNames: Set<String> = [
    "abs", "attr", "batch", "capitalize", "center", "count", "d", "default", "dictsort", "e", "escape",
    "filesizeformat", "first", "float", "forceescape", "format", "groupby", "indent", "int", "items", "join", "last",
    "length", "list", "lower", "map", "max", "min", "pprint", "random", "reject", "rejectattr", "replace", "reverse",
    "round", "safe", "select", "selectattr", "slice", "sort", "string", "striptags", "sum", "title", "tojson", "trim",
    "truncate", "unique", "upper", "urlencode", "urlize", "wordcount", "wordwrap", "xmlattr",
  ]

  func filter(_ name: String, _ value: Value, _ arguments: Arguments) throws(TemplateError) -> Value {
    try nested { () throws(TemplateError) in
      if let result = try textFilter(name, value, arguments) { return result }
      if let result = try sequenceFilter(name, value, arguments) { return result }
      if let result = try numberFilter(name, value, arguments) { return result }
      guard Self.filterNames.contains(name) else { throw .operation("No filter named '\(name)' found.") }
      throw TemplateError(.unsupported, "the filter '\(name)' is not supported")
    }
  }

  // MARK: Numbers and values of any kind

  private func numberFilter(
    _ name: String, _ value: Value, _ arguments: Arguments
  ) throws(TemplateError) -> Value? {
    switch name {
    case "abs":
      _ = try arguments.bound(name, [])
      if case .float(let number) = value { return .float(number.magnitude) }
      guard let number = value.integer else { throw .operation("bad operand type for abs(): '\(value.typeName)'") }
      return number < 0 ? try negated(.integer(number)) : .integer(number)
    case "attr":
      let key = try requiredText(try arguments.bound(name, ["name"], required: 1)[0], name).string
      if case .undefined(let missing) = value { throw missing.error }
      return try ownAttribute(key, of: value)
        ?? .undefined(Missing("'\(value.typeName) object' has no attribute '\(key)'"))
    case "d", "default":
      let values = try arguments.bound("default", ["default_value", "boolean"])
      let isMissing = value.isUndefined || values[1]?.isTrue == true && !value.isTrue
      if !isMissing { return value }
      if let standard = values[0] { return standard }
      return try meter.text([])
    case "filesizeformat": return try fileSize(value, arguments)
    case "float":
      let values = try arguments.bound(name, ["default"])
      return try double(value).map { .float($0) } ?? values[0] ?? .float(0)
    case "int": return try integerFilter(value, arguments)
    case "round": return try round(value, arguments)
    case "tojson": return try toJSON(value, arguments)
    default: return nil
    }
  }

  /// What Python's `float` gives, or nil where it fails.
  func double(_ value: Value) throws(TemplateError) -> Double? {
    if case .undefined(let missing) = value { throw missing.error }
    guard case .text(let text) = value else { return value.number }
    let digits = makeString(text.stripped(nil))
    guard digits.utf8.count < 1000 else { return nil }
    let letters = digits.lowercased()
    let word = letters.first.map { "+-".contains($0) } ?? false ? String(letters.dropFirst()) : letters
    if ["inf", "infinity", "nan"].contains(word) { return Double(digits) }
    let isNumber = digits.unicodeScalars.allSatisfy { isDigit($0.value) || "+-.eE_".unicodeScalars.contains($0) }
    guard isNumber, let plain = Self.withoutUnderscores(digits) else { return nil }
    // Swift wants a digit before the point.
    return Double(plain) ?? Double(plain.replacing(".", with: "0.", maxReplacements: 1)) ?? Double(plain + "0")
  }

  /// Underscores are only allowed between digits.
  private static func withoutUnderscores(_ digits: String) -> String? {
    let bytes = Array(digits.utf8)
    for (index, byte) in bytes.enumerated() where byte == 0x5F {
      guard index > 0, index + 1 < bytes.count, isAlphanumeric(UInt32(bytes[index - 1])),
        isAlphanumeric(UInt32(bytes[index + 1]))
      else { return nil }
    }
    return digits.filter { $0 != "_" }
  }

  private func integerFilter(_ value: Value, _ arguments: Arguments) throws(TemplateError) -> Value {
    let values = try arguments.bound("int", ["default", "base"])
    let standard = values[0] ?? .integer(0)
    let base = try values[1].map { (value) throws(TemplateError) in try integer(value) } ?? 10
    if case .text(let text) = value, let number = try parseInteger(text, base: base) { return .integer(number) }
    if let number = value.integer { return .integer(number) }
    guard let number = try double(value), number.isFinite else { return standard }
    guard let result = Int(exactly: number.rounded(.towardZero)) else {
      throw TemplateError(.unsupported, "the number \(number) exceeds 64 bits")
    }
    return .integer(result)
  }

  private func parseInteger(_ text: Text, base: Int) throws(TemplateError) -> Int? {
    var digits = makeString(text.stripped(nil)).lowercased()[...]
    let isNegative = digits.hasPrefix("-")
    if isNegative || digits.hasPrefix("+") { digits.removeFirst() }
    var base = base
    for (prefix, prefixBase) in [("0x", 16), ("0o", 8), ("0b", 2)] where base == prefixBase || base == 0 {
      guard digits.hasPrefix(prefix) else { continue }
      digits.removeFirst(2)
      if digits.hasPrefix("_") { digits.removeFirst() }
      base = prefixBase
    }
    if base == 0 { base = 10 }
    guard (2...36).contains(base), !digits.hasPrefix("+"), !digits.hasPrefix("-"),
      let plain = Self.withoutUnderscores(String(digits)), !plain.isEmpty
    else { return nil }
    let isNumber = plain.utf8.allSatisfy { (0x30...0x39).contains($0) || (0x61...0x7A).contains($0) }
    guard isNumber else { return nil }
    guard let number = Int((isNegative ? "-" : "") + plain, radix: base) else {
      let isValid = plain.allSatisfy { $0.hexDigitValue.map { $0 < base } ?? false }
      if isValid, plain.utf8.count > 12 {
        throw TemplateError(.unsupported, "the number \(plain.prefix(40)) exceeds 64 bits")
      }
      return nil
    }
    return number
  }

  private func round(_ value: Value, _ arguments: Arguments) throws(TemplateError) -> Value {
    let values = try arguments.bound("round", ["precision", "method"])
    let decimals = try values[0].map { (value) throws(TemplateError) in try integer(value) } ?? 0
    let method = try values[1].map { (value) throws(TemplateError) in try requiredText(value, "round").string }
    guard let number = value.number else {
      throw .operation("type \(value.typeName) doesn't define __round__ method")
    }
    guard (-300...300).contains(decimals) else { throw TemplateError(.unsupported, "round to \(decimals) digits") }
    try meter.step(2048)
    switch method ?? "common" {
    case "common":
      if let integer = value.integer {
        guard decimals < 0 else { return .integer(integer) }
        let rounded = FloatFormatting.round(Double(integer), decimals: decimals)
        guard let result = Int(exactly: rounded) else {
          throw TemplateError(.unsupported, "the number exceeds 64 bits")
        }
        return .integer(result)
      }
      guard number.isFinite else { return .float(number) }
      return .float(FloatFormatting.round(number, decimals: decimals))
    case let method where method == "ceil" || method == "floor":
      let scale = try apply(.power, .integer(10), .integer(decimals))
      guard let factor = scale.number, (number * factor).isFinite else { throw .operation("the number is not finite") }
      let rounded = (number * factor).rounded(method == "ceil" ? .up : .down)
      return .float(rounded / factor)
    default: throw .operation("method must be common, ceil or floor")
    }
  }

  private func fileSize(_ value: Value, _ arguments: Arguments) throws(TemplateError) -> Value {
    let isBinary = try arguments.bound("filesizeformat", ["binary"])[0]?.isTrue ?? false
    guard let bytes = try double(value), !bytes.isNaN else { throw .operation("could not convert to a number") }
    let base = isBinary ? 1024.0 : 1000.0
    if bytes == 1 { return try meter.text("1 Byte") }
    if bytes < base {
      guard let whole = Int(exactly: bytes.rounded(.towardZero)) else {
        throw TemplateError(.unsupported, "the number exceeds 64 bits")
      }
      return try meter.text("\(whole) Bytes")
    }
    guard bytes.isFinite else { throw .operation("cannot convert float infinity") }
    var unit = base
    var prefix = ""
    for letter in [isBinary ? "K" : "k", "M", "G", "T", "P", "E", "Z", "Y"] {
      unit *= base
      prefix = letter
      if bytes < unit { break }
    }
    let amount = FloatFormatting.format(base * bytes / unit, type: "f", precision: 1)
    return try meter.text("\(amount) \(prefix)\(isBinary ? "i" : "")B")
  }

  private func toJSON(_ value: Value, _ arguments: Arguments) throws(TemplateError) -> Value {
    let values = try arguments.bound("tojson", ["ensure_ascii", "indent", "separators", "sort_keys"])
    var style = JSONStyle(itemSeparator: [0x2C, 0x20], keySeparator: [0x3A, 0x20])
    style.escapesNonASCII = values[0]?.isTrue ?? false
    style.sortsKeys = values[3]?.isTrue ?? false
    switch values[1] {
    case nil, .some(.none): break
    case .text(let text): style.indentation = text.units
    case let indentation?:
      let count = max(0, try integer(indentation))
      try meter.check(count)
      style.indentation = Array(repeating: 0x20, count: count)
    }
    if style.indentation != nil { style.itemSeparator = [0x2C] }
    if let separators = values[2] {
      if case .none = separators {
      } else {
        let parts = try items(of: separators)
        guard parts.count == 2 else { throw .operation("tojson() needs two separators") }
        style.itemSeparator = try requiredText(parts[0], "tojson").units
        style.keySeparator = try requiredText(parts[1], "tojson").units
      }
    }
    return try meter.text(try json(value, style))
  }
}
