/// `%` on strings, and `str.format`.
extension Evaluator {
  /// A formatted number or text before it is padded.
  private struct Field {
    var sign = ""
    /// Goes between the sign and the zeros: `0x`.
    var prefix = ""
    var body: [UInt32] = []
    var isNumber = false
  }

  private static let widthLimit = 1 << 24

  private func pad(
    _ field: Field, width: Int, alignment: Character, fill: UInt32, into builder: inout TextBuilder
  ) throws(TemplateError) {
    let count = field.sign.utf8.count + field.prefix.utf8.count + field.body.count
    let missing = max(0, width - count)
    var before = 0
    var inside = 0
    switch alignment {
    case "<": break
    case "^": before = missing / 2
    case "=": inside = missing
    default: before = missing
    }
    try builder.append(fill, times: before)
    try builder.append(field.sign)
    try builder.append(field.prefix)
    try builder.append(fill, times: inside)
    try builder.append(field.body)
    try builder.append(fill, times: missing - before - inside)
  }

  private func sign(_ isNegative: Bool, _ style: Character) -> String {
    isNegative ? "-" : style == "+" ? "+" : style == " " ? " " : ""
  }

  private func floatField(
    _ value: Double, type: Character, precision: Int, sign style: Character, isAlternate: Bool
  ) throws(TemplateError) -> Field {
    guard precision <= FloatFormatting.precisionLimit else {
      throw TemplateError(.unsupported, "a precision of more than \(FloatFormatting.precisionLimit) digits")
    }
    try meter.step(2048)
    var field = Field(isNumber: true)
    field.sign = sign(value.sign == .minus && !value.isNaN, style)
    var text =
      FloatFormatting.special(value.magnitude)
      ?? FloatFormatting.format(value.magnitude, type: type, precision: precision, isAlternate: isAlternate)
    if type.isUppercase { text = text.uppercased() }
    field.body = text.unicodeScalars.map(\.value)
    return field
  }

  private func integerField(_ value: Int, type: Character, sign style: Character, isAlternate: Bool) -> Field {
    var field = Field(isNumber: true)
    field.sign = sign(value < 0, style)
    let radix = ["x": 16, "X": 16, "o": 8, "b": 2][type] ?? 10
    let digits = String(value.magnitude, radix: radix, uppercase: type == "X")
    field.body = digits.unicodeScalars.map(\.value)
    if isAlternate, radix != 10 { field.prefix = "0\(type)" }
    return field
  }

  // MARK: %

  func formatted(_ text: Text, with value: Value) throws(TemplateError) -> Value {
    var builder = TextBuilder(meter)
    let units = text.units
    var arguments: [Value] = [value]
    if case .tuple(let items) = value { arguments = items.items }
    var used = 0
    var usesNames = false
    var index = 0
    func unit() throws(TemplateError) -> UInt32 {
      guard index < units.count else { throw .operation("incomplete format") }
      return units[index] & ~TemplateString.mark
    }
    func argument() throws(TemplateError) -> Value {
      guard used < arguments.count else { throw .operation("not enough arguments for format string") }
      used += 1
      return arguments[used - 1]
    }
    func number() throws(TemplateError) -> Int? {
      if try unit() == 0x2A {
        index += 1
        return try integer(try argument())
      }
      var result: Int?
      while index < units.count, isDigit(try unit()) {
        result = (result ?? 0) * 10 + Int(try unit() - 0x30)
        guard result ?? 0 <= Self.widthLimit else { throw .operation("width too big") }
        index += 1
      }
      return result
    }
    while index < units.count {
      let start = index
      while index < units.count, try unit() != 0x25 { index += 1 }
      try builder.append(units[start..<index])
      guard index < units.count else { break }
      index += 1
      var named: Value?
      if try unit() == 0x28 {
        guard case .mapping(let mapping) = value else { throw .operation("format requires a mapping") }
        let nameStart = index + 1
        var open = 1
        while open > 0 {
          index += 1
          switch try unit() {
          case 0x28: open += 1
          case 0x29: open -= 1
          default: break
          }
        }
        let key = try meter.text(units[nameStart..<index])
        index += 1
        guard let found = try mapping.value(of: key) else {
          throw .operation("KeyError: \(makeString(try representation(key)))")
        }
        named = found
        usesNames = true
      }
      var flags: Set<Character> = []
      while let flag = Unicode.Scalar(try unit()).map({ Character($0) }), "-+ 0#".contains(flag) {
        flags.insert(flag)
        index += 1
      }
      var width = try number() ?? 0
      if width < 0 {
        flags.insert("-")
        width = width == .min ? .max : -width
      }
      guard width <= Self.widthLimit else { throw .operation("width too big") }
      var precision: Int?
      if try unit() == 0x2E {
        index += 1
        precision = max(0, try number() ?? 0)
      }
      while [0x68, 0x6C, 0x4C].contains(try unit()) { index += 1 }
      let type = Character(Unicode.Scalar(try unit()) ?? "?")
      index += 1
      if type == "%" {
        try builder.append(0x25)
        continue
      }
      let operand: Value
      if let named { operand = named } else { operand = try argument() }
      let field = try percentField(type, operand, precision, flags)
      let usesZeros = flags.contains("0") && field.isNumber && !flags.contains("-")
      try pad(
        field, width: width, alignment: flags.contains("-") ? "<" : usesZeros ? "=" : ">",
        fill: usesZeros ? 0x30 : 0x20, into: &builder)
    }
    if !usesNames, used < arguments.count, !acceptsUnused(value) {
      throw .operation("not all arguments converted during string formatting")
    }
    return try builder.value()
  }

  private func acceptsUnused(_ value: Value) -> Bool {
    switch value {
    case .mapping, .list, .undefined: true
    default: false
    }
  }

  private func percentField(
    _ type: Character, _ value: Value, _ precision: Int?, _ flags: Set<Character>
  ) throws(TemplateError) -> Field {
    let style: Character = flags.contains("+") ? "+" : flags.contains(" ") ? " " : "-"
    switch type {
    case "s", "r", "a":
      let units = type == "s" ? try stringUnits(value) : try representation(value)
      return Field(body: precision.map { Array(units.prefix($0)) } ?? units)
    case "c":
      if case .text(let text) = value, text.units.count == 1 { return Field(body: text.units) }
      guard let code = value.integer.flatMap({ UInt32(exactly: $0) }), Unicode.Scalar(code) != nil else {
        throw .operation("%c requires int or char")
      }
      return Field(body: [code])
    case "d", "i", "u", "x", "X", "o":
      var integer = value.integer
      if case .float(let number) = value, "diu".contains(type) { integer = Int(exactly: number.rounded(.towardZero)) }
      guard let integer else {
        if case .undefined(let missing) = value { throw missing.error }
        throw .operation("%\(type) format: a real number is required, not \(value.typeName)")
      }
      var field = integerField(integer, type: type, sign: style, isAlternate: flags.contains("#"))
      if let precision, precision > field.body.count {
        guard precision <= FloatFormatting.precisionLimit else { throw .operation("precision too big") }
        field.body = Array(repeating: 0x30, count: precision - field.body.count) + field.body
      }
      return field
    case "e", "E", "f", "F", "g", "G":
      guard let number = value.number else {
        if case .undefined(let missing) = value { throw missing.error }
        throw .operation("must be real number, not \(value.typeName)")
      }
      return try floatField(
        number, type: type, precision: precision ?? 6, sign: style, isAlternate: flags.contains("#"))
    default: throw .operation("unsupported format character '\(type)'")
    }
  }

  // MARK: str.format

  func format(_ text: Text, _ arguments: Arguments) throws(TemplateError) -> Value {
    var builder = TextBuilder(meter)
    var counter = 0
    try format(text.units, arguments, &counter, nesting: 0, into: &builder)
    return try builder.value()
  }

  private func format(
    _ units: [UInt32], _ arguments: Arguments, _ counter: inout Int, nesting: Int, into builder: inout TextBuilder
  ) throws(TemplateError) {
    guard nesting <= 2 else { throw .operation("Max string recursion exceeded") }
    var index = 0
    func at(_ index: Int) -> UInt32? { index < units.count ? units[index] & ~TemplateString.mark : nil }
    while index < units.count {
      let unit = units[index]
      index += 1
      switch unit & ~TemplateString.mark {
      case 0x7B where at(index) == 0x7B, 0x7D where at(index) == 0x7D:
        try builder.append(unit)
        index += 1
      case 0x7D: throw .operation("Single '}' encountered in format string")
      case 0x7B:
        let start = index
        var open = 1
        while open > 0 {
          guard let next = at(index) else { throw .operation("expected '}' before end of string") }
          if next == 0x7B { open += 1 }
          if next == 0x7D { open -= 1 }
          index += 1
        }
        try formatField(Array(units[start..<index - 1]), arguments, &counter, nesting: nesting, into: &builder)
      default: try builder.append(unit)
      }
    }
  }

  private func formatField(
    _ units: [UInt32], _ arguments: Arguments, _ counter: inout Int, nesting: Int, into builder: inout TextBuilder
  ) throws(TemplateError) {
    func isPart(_ unit: UInt32) -> Bool { unit & ~TemplateString.mark == 0x21 || unit & ~TemplateString.mark == 0x3A }
    let name = units.prefix { !isPart($0) }
    var rest = units[name.endIndex...]
    var value = try formatValue(makeString(name), arguments, &counter)
    if let first = rest.first, first & ~TemplateString.mark == 0x21 {
      rest.removeFirst()
      guard let conversion = rest.popFirst(), rest.isEmpty || rest.first.map(isPart) == true else {
        throw .operation("expected ':' after conversion specifier")
      }
      switch conversion & ~TemplateString.mark {
      case 0x73: value = try meter.text(try stringUnits(value))
      case 0x72, 0x61: value = try meter.text(try representation(value))
      default: throw .operation("Unknown conversion specifier")
      }
    }
    var inner = TextBuilder(meter)
    try format(Array(rest.dropFirst()), arguments, &counter, nesting: nesting + 1, into: &inner)
    try formatValue(value, inner.units, into: &builder)
  }

  /// `name.attribute[item]`.
  private func formatValue(
    _ path: String, _ arguments: Arguments, _ counter: inout Int
  ) throws(TemplateError) -> Value {
    let scalars = Array(path.unicodeScalars)
    var index = scalars.firstIndex { $0 == "." || $0 == "[" } ?? scalars.count
    func string(_ range: Range<Int>) -> String {
      var view = String.UnicodeScalarView()
      view.append(contentsOf: scalars[range])
      return String(view)
    }
    let first = string(0..<index)
    var value: Value
    if first.isEmpty || first.utf8.allSatisfy({ (0x30...0x39).contains($0) }) {
      let place = first.isEmpty ? counter : Int(first) ?? .max
      if first.isEmpty { counter += 1 }
      guard place < arguments.positional.count else {
        throw .operation("Replacement index \(place) out of range for positional args tuple")
      }
      value = arguments.positional[place]
    } else {
      guard let given = arguments.keywords.first(where: { $0.name == first }) else {
        throw .operation("KeyError: '\(first)'")
      }
      value = given.value
    }
    while index < scalars.count {
      try meter.step()
      let start = index + 1
      if scalars[index] == "." {
        index = scalars[start...].firstIndex { $0 == "." || $0 == "[" } ?? scalars.count
        value = try attribute(string(start..<index), of: value)
      } else if scalars[index] == "[" {
        guard let end = scalars[start...].firstIndex(of: "]") else {
          throw .operation("Missing ']' in format string")
        }
        let key = string(start..<end)
        let form: Value
        if let number = Int(key) { form = .integer(number) } else { form = try meter.text(key) }
        value = try item(form, of: value)
        index = end + 1
      } else {
        throw .operation("Only '.' or '[' may follow ']' in format field specifier")
      }
    }
    return value
  }

  private struct Specification {
    var fill: UInt32 = 0x20
    var alignment: Character?
    var sign: Character = "-"
    var isAlternate = false
    var width = 0
    var grouping: Character?
    var precision: Int?
    var type: Character?
  }

  private func specification(_ units: [UInt32]) throws(TemplateError) -> Specification {
    var result = Specification()
    var index = 0
    func at(_ index: Int) -> Character? {
      index < units.count ? Unicode.Scalar(units[index] & ~TemplateString.mark).map { Character($0) } : nil
    }
    func isAlignment(_ character: Character?) -> Bool { character.map { "<>=^".contains($0) } ?? false }
    func number() throws(TemplateError) -> Int? {
      var value: Int?
      while index < units.count, isDigit(units[index] & ~TemplateString.mark) {
        value = (value ?? 0) * 10 + Int(units[index] & ~TemplateString.mark) - 0x30
        guard value ?? 0 <= Self.widthLimit else { throw .operation("Too many decimal digits in format string") }
        index += 1
      }
      return value
    }
    if isAlignment(at(1)) {
      result.fill = units[0]
      result.alignment = at(1)
      index = 2
    } else if isAlignment(at(0)) {
      result.alignment = at(0)
      index = 1
    }
    if let sign = at(index), "+- ".contains(sign) {
      result.sign = sign
      index += 1
    }
    if at(index) == "#" {
      result.isAlternate = true
      index += 1
    }
    if at(index) == "0" {
      if result.alignment == nil { (result.fill, result.alignment) = (0x30, "=") }
      index += 1
    }
    result.width = try number() ?? 0
    if let character = at(index), ",_".contains(character) {
      result.grouping = character
      index += 1
    }
    if at(index) == "." {
      index += 1
      guard let precision = try number() else { throw .operation("Format specifier missing precision") }
      result.precision = precision
    }
    result.type = at(index)
    guard units.count <= index + 1 else { throw .operation("Invalid format specifier") }
    return result
  }

  private func formatValue(
    _ value: Value, _ units: [UInt32], into builder: inout TextBuilder
  ) throws(TemplateError) {
    guard !units.isEmpty else { return try builder.append(try stringUnits(value)) }
    let specification = try specification(units)
    var field = Field()
    switch value {
    case .text(let text):
      guard specification.type == nil || specification.type == "s", specification.alignment != "=" else {
        if specification.alignment == "=", specification.fill == 0x30, specification.type ?? "s" == "s" {
          field.body = text.units
          break
        }
        throw .operation("Unknown format code for object of type 'str'")
      }
      field.body = specification.precision.map { Array(text.units.prefix($0)) } ?? text.units
    case .integer, .boolean, .float: field = try numberField(value, specification)
    default:
      if case .undefined(let missing) = value { throw missing.error }
      throw .operation("unsupported format string passed to \(value.typeName).__format__")
    }
    let standard: Character = field.isNumber ? ">" : "<"
    var alignment = specification.alignment ?? standard
    if alignment == "=", !field.isNumber { alignment = "<" }
    if alignment == "=", specification.fill == 0x30, let separator = specification.grouping {
      // Zeros are grouped, too.
      let taken = field.sign.utf8.count + field.prefix.utf8.count
      field.body = grouped(field.body, separator, minimum: specification.width - taken)
      alignment = ">"
    } else if let separator = specification.grouping {
      field.body = grouped(field.body, separator, minimum: 0)
    }
    try pad(field, width: specification.width, alignment: alignment, fill: specification.fill, into: &builder)
  }

  private func numberField(_ value: Value, _ specification: Specification) throws(TemplateError) -> Field {
    let style = specification.sign
    if case .float(let number) = value, specification.type == nil, specification.precision == nil {
      var field = Field(isNumber: true)
      field.sign = sign(number.sign == .minus && !number.isNaN, style)
      field.body = FloatFormatting.representation(number.magnitude).unicodeScalars.map(\.value)
      return field
    }
    let isFloat = if case .float = value { true } else { false }
    let type = specification.type ?? (isFloat ? "g" : "d")
    switch type {
    case _ where "dxXobn".contains(type) && !isFloat:
      guard let integer = value.integer, specification.precision == nil else {
        throw .operation("Unknown format code '\(type)' for object of type 'float'")
      }
      return integerField(integer, type: type, sign: style, isAlternate: specification.isAlternate)
    case "e", "E", "f", "F", "g", "G":
      return try floatField(
        value.number ?? 0, type: type, precision: specification.precision ?? 6, sign: style,
        isAlternate: specification.isAlternate)
    case "%":
      var field = try floatField(
        (value.number ?? 0) * 100, type: "f", precision: specification.precision ?? 6, sign: style, isAlternate: false)
      field.body.append(0x25)
      return field
    case "c":
      guard let code = value.integer.flatMap({ UInt32(exactly: $0) }), Unicode.Scalar(code) != nil else {
        throw .operation("%c arg not in range")
      }
      return Field(body: [code])
    default: throw .operation("Unknown format code '\(type)' for object of type '\(value.typeName)'")
    }
  }

  /// Digits before the point in groups of three, with zeros before them to a least width.
  private func grouped(_ body: [UInt32], _ separator: Character, minimum: Int) -> [UInt32] {
    let mark = separator.unicodeScalars.first?.value ?? 0x2C
    let end = body.firstIndex { !isDigit($0) } ?? body.count
    let tail = body[end...]
    var result: [UInt32] = []
    var count = 0
    var digits = Array(body[..<end])
    while !digits.isEmpty || result.count + tail.count < minimum {
      if count > 0, count % 3 == 0 {
        result.append(mark)
        if digits.isEmpty, result.count + tail.count >= minimum {
          result.append(0x30)
          break
        }
      }
      result.append(digits.popLast() ?? 0x30)
      count += 1
    }
    return result.reversed() + tail
  }
}
