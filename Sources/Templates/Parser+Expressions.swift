extension Parser {
  /// Expressions with commas between them are a tuple.
  mutating func tuple(
    withConditional: Bool = true, endingWith end: String? = nil, inParentheses: Bool = false
  ) throws(TemplateError) -> Expression {
    var parts: [Expression] = []
    var isTuple = false
    while true {
      switch current.kind {
      case .variableEnd, .blockEnd, .rightParenthesis: break
      default:
        if let end, isName(end) { break }
        parts.append(try withConditional ? expression() : expressionWithoutConditional())
        if skip(.comma) {
          isTuple = true
          continue
        }
      }
      break
    }
    if isTuple { return .tuple(parts) }
    if let single = parts.first { return single }
    guard inParentheses else { throw failure("Expected an expression, got '\(describe(current))'") }
    return .tuple([])
  }

  mutating func expression() throws(TemplateError) -> Expression {
    try nested { (parser) throws(TemplateError) in try parser.conditionalExpression() }
  }

  mutating func expressionWithoutConditional() throws(TemplateError) -> Expression {
    try nested { (parser) throws(TemplateError) in try parser.disjunction() }
  }

  private mutating func conditionalExpression() throws(TemplateError) -> Expression {
    var result = try disjunction()
    var count = 0
    while skipName("if") {
      count += 1
      guard count < Self.depthLimit else {
        throw TemplateError(.nestedTooDeep, line: Int(current.line), "too many conditions after one another")
      }
      let test = try disjunction()
      let otherwise = skipName("else") ? try expression() : nil
      result = .conditional(test: test, then: result, otherwise: otherwise)
    }
    return result
  }

  private mutating func disjunction() throws(TemplateError) -> Expression {
    var parts = [try conjunction()]
    while skipName("or") { parts.append(try conjunction()) }
    return parts.count == 1 ? parts[0] : .or(parts)
  }

  private mutating func conjunction() throws(TemplateError) -> Expression {
    var parts = [try negation()]
    while skipName("and") { parts.append(try negation()) }
    return parts.count == 1 ? parts[0] : .and(parts)
  }

  private mutating func negation() throws(TemplateError) -> Expression {
    guard skipName("not") else { return try comparison() }
    return .not(try nested { (parser) throws(TemplateError) in try parser.negation() })
  }

  private mutating func comparison() throws(TemplateError) -> Expression {
    let first = try sum()
    var rest: [(operation: Comparison, operand: Expression)] = []
    while let operation = comparisonOperator() { rest.append((operation, try sum())) }
    return rest.isEmpty ? first : .comparison(first, rest)
  }

  private mutating func comparisonOperator() -> Comparison? {
    let operation: Comparison
    switch current.kind {
    case .equal: operation = .equal
    case .notEqual: operation = .notEqual
    case .less: operation = .less
    case .lessOrEqual: operation = .lessOrEqual
    case .greater: operation = .greater
    case .greaterOrEqual: operation = .greaterOrEqual
    case .name where isName("in"): operation = .isIn
    case .name where isName("not") && isName("in", next):
      advance()
      operation = .isNotIn
    default: return nil
    }
    advance()
    return operation
  }

  private mutating func sum() throws(TemplateError) -> Expression {
    let first = try concatenation()
    var rest: [(operation: Arithmetic, operand: Expression)] = []
    while true {
      if skip(.plus) {
        rest.append((.add, try concatenation()))
      } else if skip(.minus) {
        rest.append((.subtract, try concatenation()))
      } else {
        return rest.isEmpty ? first : .arithmetic(first, rest)
      }
    }
  }

  private mutating func concatenation() throws(TemplateError) -> Expression {
    var parts = [try product()]
    while skip(.tilde) { parts.append(try product()) }
    return parts.count == 1 ? parts[0] : .concatenation(parts)
  }

  private mutating func product() throws(TemplateError) -> Expression {
    let first = try power()
    var rest: [(operation: Arithmetic, operand: Expression)] = []
    while true {
      let operation: Arithmetic
      switch current.kind {
      case .star: operation = .multiply
      case .slash: operation = .divide
      case .doubleSlash: operation = .floorDivide
      case .percent: operation = .remainder
      default: return rest.isEmpty ? first : .arithmetic(first, rest)
      }
      advance()
      rest.append((operation, try power()))
    }
  }

  private mutating func power() throws(TemplateError) -> Expression {
    let first = try unary(withFilters: true)
    var rest: [Expression] = []
    while skip(.power) { rest.append(try unary(withFilters: true)) }
    // The reference writes `a ** b ** c` with parentheses from the left.
    return rest.isEmpty ? first : .arithmetic(first, rest.map { (.power, $0) })
  }

  private mutating func unary(withFilters: Bool) throws(TemplateError) -> Expression {
    var node: Expression
    var parts: [Postfix] = []
    if skip(.minus) {
      node = .negative(try nested { (parser) throws(TemplateError) in try parser.unary(withFilters: false) })
    } else if skip(.plus) {
      node = .positive(try nested { (parser) throws(TemplateError) in try parser.unary(withFilters: false) })
    } else {
      node = try primary()
    }
    try postfixes(&parts)
    if withFilters { try filtersAndTests(&parts) }
    if !parts.isEmpty { node = .postfix(node, parts) }
    return node
  }

  mutating func primary() throws(TemplateError) -> Expression {
    let token = current
    switch token.kind {
    case .name:
      advance()
      let name = text(token)
      switch name {
      case "true", "True": return .constant(.boolean(true))
      case "false", "False": return .constant(.boolean(false))
      case "none", "None": return .constant(.none)
      default: return .name(nameID(name))
      }
    case .string:
      var units: [UInt32] = []
      while current.kind == .string {
        try unescape(current, into: &units)
        advance()
      }
      return .constant(.text(units))
    case .integer:
      advance()
      return .constant(.integer(try integer(token)))
    case .float:
      advance()
      guard let value = Double(text(token).filter { $0 != "_" }) else { throw failure("not a number") }
      return .constant(.float(value))
    case .leftParenthesis:
      advance()
      let inner = try nested { (parser) throws(TemplateError) in try parser.tuple(inParentheses: true) }
      try expect(.rightParenthesis)
      return inner
    case .leftBracket:
      advance()
      var items: [Expression] = []
      while current.kind != .rightBracket {
        if !items.isEmpty { try expect(.comma) }
        if current.kind == .rightBracket { break }
        items.append(try expression())
      }
      try expect(.rightBracket)
      return .list(items)
    case .leftBrace:
      advance()
      var members: [(key: Expression, value: Expression)] = []
      while current.kind != .rightBrace {
        if !members.isEmpty { try expect(.comma) }
        if current.kind == .rightBrace { break }
        let key = try expression()
        try expect(.colon)
        members.append((key, try expression()))
      }
      try expect(.rightBrace)
      return .mapping(members)
    default: throw failure("unexpected '\(describe(token))'")
    }
  }

  private func integer(_ token: Token) throws(TemplateError) -> Int {
    let digits = text(token).filter { $0 != "_" }.lowercased()
    let value: Int? =
      switch digits.prefix(2) {
      case "0b": Int(digits.dropFirst(2), radix: 2)
      case "0o": Int(digits.dropFirst(2), radix: 8)
      case "0x": Int(digits.dropFirst(2), radix: 16)
      default: Int(digits)
      }
    guard let value else {
      throw TemplateError(.unsupported, line: Int(token.line), "the number \(digits.prefix(40)) exceeds 64 bits")
    }
    return value
  }

  private mutating func postfixes(_ parts: inout [Postfix]) throws(TemplateError) {
    while true {
      switch current.kind {
      case .dot:
        advance()
        let token = current
        advance()
        switch token.kind {
        case .name: parts.append(.attribute(text(token)))
        case .integer: parts.append(.item(.constant(.integer(try integer(token)))))
        default: throw failure("expected name or number", line: Int(token.line))
        }
      case .leftBracket: parts.append(try subscripted())
      case .leftParenthesis: parts.append(.call(try arguments()))
      default: return
      }
    }
  }

  private mutating func filtersAndTests(_ parts: inout [Postfix]) throws(TemplateError) {
    while true {
      if skip(.pipe) {
        parts.append(try filter())
      } else if skipName("is") {
        parts.append(try test())
      } else if current.kind == .leftParenthesis {
        parts.append(.call(try arguments()))
      } else {
        return
      }
    }
  }

  private mutating func subscripted() throws(TemplateError) -> Postfix {
    try expect(.leftBracket)
    var items: [Postfix] = []
    while current.kind != .rightBracket {
      if !items.isEmpty { try expect(.comma) }
      items.append(try subscriptPart())
    }
    try expect(.rightBracket)
    if items.count == 1 { return items[0] }
    var parts: [Expression] = []
    for item in items {
      guard case .item(let expression) = item else {
        throw TemplateError(.unsupported, line: Int(current.line), "slices in tuples are not supported")
      }
      parts.append(expression)
    }
    return .item(.tuple(parts))
  }

  private mutating func subscriptPart() throws(TemplateError) -> Postfix {
    var start: Expression?
    var stop: Expression?
    var step: Expression?
    if current.kind != .colon {
      let value = try expression()
      guard current.kind == .colon else { return .item(value) }
      start = value
    }
    advance()
    func isEnd(_ kind: Token.Kind) -> Bool { kind == .rightBracket || kind == .comma }
    if current.kind != .colon, !isEnd(current.kind) { stop = try expression() }
    if skip(.colon), !isEnd(current.kind) { step = try expression() }
    return .slice(start: start, stop: stop, step: step)
  }

  private mutating func arguments() throws(TemplateError) -> CallArguments {
    let line = Int(try expect(.leftParenthesis).line)
    var result = CallArguments()
    func check(_ holds: Bool) throws(TemplateError) {
      guard holds else { throw failure("invalid syntax for function call expression", line: line) }
    }
    var needsComma = false
    while current.kind != .rightParenthesis {
      if needsComma {
        try expect(.comma)
        if current.kind == .rightParenthesis { break }
      }
      if skip(.star) {
        try check(result.rest == nil && result.keywordRest == nil)
        result.rest = try expression()
      } else if skip(.power) {
        try check(result.keywordRest == nil)
        result.keywordRest = try expression()
      } else if current.kind == .name, next.kind == .assign {
        try check(result.keywordRest == nil)
        let name = text(current)
        guard !result.keywords.contains(where: { $0.name == name }) else {
          throw failure("keyword argument repeated: \(name)", line: line)
        }
        advance()
        advance()
        result.keywords.append((name, try expression()))
      } else {
        try check(result.rest == nil && result.keywordRest == nil && result.keywords.isEmpty)
        result.positional.append(try expression())
      }
      needsComma = true
    }
    try expect(.rightParenthesis)
    return result
  }

  private mutating func dottedName() throws(TemplateError) -> String {
    var name = text(try expect(.name))
    while skip(.dot) { name += "." + text(try expect(.name)) }
    return name
  }

  /// A filter after its bar.
  mutating func filter() throws(TemplateError) -> Postfix {
    let name = try dottedName()
    return .filter(name, current.kind == .leftParenthesis ? try arguments() : CallArguments())
  }

  /// A test after its `is`.
  private mutating func test() throws(TemplateError) -> Postfix {
    let isNegated = skipName("not")
    let name = try dottedName()
    var arguments = CallArguments()
    switch current.kind {
    case .leftParenthesis: arguments = try self.arguments()
    case .name, .string, .integer, .float, .leftBracket, .leftBrace:
      if ["else", "or", "and"].contains(where: { isName($0) }) { break }
      if isName("is") { throw failure("You cannot chain multiple tests with is") }
      arguments.positional = [
        try nested { (parser) throws(TemplateError) in
          var parts: [Postfix] = []
          let base = try parser.primary()
          try parser.postfixes(&parts)
          return parts.isEmpty ? base : .postfix(base, parts)
        }
      ]
    default: break
    }
    return .test(name, arguments, isNegated: isNegated)
  }

  // MARK: Strings

  /// Appends a string without its quotes, its escapes replaced as in Python.
  private func unescape(_ token: Token, into units: inout [UInt32]) throws(TemplateError) {
    var index = Int(token.start) + 1
    let end = Int(token.end) - 1
    while index < end {
      let unit = source[index]
      index += 1
      guard unit == 0x5C else {
        units.append(unit)
        continue
      }
      let kind = source[index]
      index += 1
      switch kind {
      case 0x0A: break  // A line that is continued.
      case 0x5C, 0x27, 0x22: units.append(kind)
      case 0x61: units.append(0x07)
      case 0x62: units.append(0x08)
      case 0x66: units.append(0x0C)
      case 0x6E: units.append(0x0A)
      case 0x72: units.append(0x0D)
      case 0x74: units.append(0x09)
      case 0x76: units.append(0x0B)
      case 0x30...0x37:
        var value = kind - 0x30
        var count = 1
        while count < 3, index < end, (0x30...0x37).contains(source[index]) {
          value = value * 8 + source[index] - 0x30
          index += 1
          count += 1
        }
        units.append(value)
      case 0x78: units.append(try hexadecimal(2, &index, end, token))
      case 0x75: units.append(try hexadecimal(4, &index, end, token))
      case 0x55: units.append(try hexadecimal(8, &index, end, token))
      case 0x4E:
        throw TemplateError(.unsupported, line: Int(token.line), "escapes with names of characters are not supported")
      case 0x80...:
        // In the reference, characters beyond ASCII become escapes first, and the backslash then protects that.
        let digits = String(kind, radix: 16)
        let (letter, width) = kind < 0x100 ? ("x", 2) : kind < 0x10000 ? ("u", 4) : ("U", 8)
        let zeros = String(repeating: "0", count: max(0, width - digits.count))
        units += "\\\(letter)\(zeros)\(digits)".unicodeScalars.map(\.value)
      default: units += [0x5C, kind]
      }
    }
  }

  private func hexadecimal(
    _ count: Int, _ index: inout Int, _ end: Int, _ token: Token
  ) throws(TemplateError) -> UInt32 {
    var value: UInt32 = 0
    for _ in 0..<count {
      guard index < end, isHexDigit(source[index]),
        let digit = Unicode.Scalar(source[index]).flatMap({ Character($0).hexDigitValue })
      else { throw TemplateError(.syntax, line: Int(token.line), "truncated escape of a character in a string") }
      value = value << 4 | UInt32(digit)
      index += 1
    }
    guard Unicode.Scalar(value) != nil else {
      throw TemplateError(.syntax, line: Int(token.line), "an escape in a string is no Unicode scalar")
    }
    return value
  }
}
