/// A piece of a template: where it is and what it is. Its text is read from the source when it is needed.
struct Token: Sendable {
  enum Kind: UInt8, Sendable {
    case data, variableBegin, variableEnd, blockBegin, blockEnd, name, string, integer, float, end
    case plus, minus, slash, doubleSlash, star, percent, power, tilde
    case leftBracket, rightBracket, leftParenthesis, rightParenthesis, leftBrace, rightBrace
    case equal, notEqual, greater, greaterOrEqual, less, lessOrEqual
    case assign, dot, colon, pipe, comma, semicolon
  }

  let kind: Kind
  let line: Int32
  let start: Int32
  let end: Int32

  /// What a message calls it.
  static func description(_ kind: Kind) -> String {
    switch kind {
    case .data: "template data / text"
    case .variableBegin: "begin of print statement"
    case .variableEnd: "end of print statement"
    case .blockBegin: "begin of statement block"
    case .blockEnd: "end of statement block"
    case .name: "name"
    case .string: "string"
    case .integer: "integer"
    case .float: "float"
    case .end: "end of template"
    case .plus: "+"
    case .minus: "-"
    case .slash: "/"
    case .doubleSlash: "//"
    case .star: "*"
    case .percent: "%"
    case .power: "**"
    case .tilde: "~"
    case .leftBracket: "["
    case .rightBracket: "]"
    case .leftParenthesis: "("
    case .rightParenthesis: ")"
    case .leftBrace: "{"
    case .rightBrace: "}"
    case .equal: "=="
    case .notEqual: "!="
    case .greater: ">"
    case .greaterOrEqual: ">="
    case .less: "<"
    case .lessOrEqual: "<="
    case .assign: "="
    case .dot: "."
    case .colon: ":"
    case .pipe: "|"
    case .comma: ","
    case .semicolon: ";"
    }
  }
}

struct Tokens: Sendable {
  /// The scalars of the source, its line ends being `\n`.
  let source: [UInt32]
  let tokens: [Token]
}

/// Cuts a source into tokens, and applies what the signs in tags (`-`, `+`) and the settings of chat templates say about
/// white space: a newline after a block or a comment is dropped, and so is space between the start of a line and it.
struct Lexer {
  private let source: [UInt32]
  private var position = 0
  private var line = 1
  private var tokens: [Token] = []
  /// Whether the last match ended a line; a tag at `position` is then the first of its line.
  private var isAtLineStart = true

  private init(_ text: String) {
    var source: [UInt32] = []
    source.reserveCapacity(text.utf8.count)
    var previous: UInt32 = 0
    for scalar in text.unicodeScalars {
      switch scalar {
      case "\r": source.append(0x0A)
      case "\n" where previous == 0x0D: break
      default: source.append(scalar.value)
      }
      previous = scalar.value
    }
    if source.last == 0x0A { source.removeLast() }
    self.source = source
  }

  static func tokens(of text: String) throws(TemplateError) -> Tokens {
    var lexer = Lexer(text)
    try lexer.run()
    return Tokens(source: lexer.source, tokens: lexer.tokens)
  }

  private enum Tag { case raw, comment, block, variable }
  private enum Sign { case none, minus, plus }

  private mutating func run() throws(TemplateError) {
    while position < source.count {
      guard let (tag, start, sign, after) = nextTag() else {
        emit(.data, position, source.count)
        position = source.count
        break
      }
      let dataEnd = emitData(upTo: start, sign: sign, isVariable: tag == .variable)
      // Lines are counted over what was stripped, too.
      countLines(dataEnd, start)
      switch tag {
      case .comment:
        position = after
        try skipComment()
      case .raw:
        countLines(start, after)
        position = after
        isAtLineStart = source[after - 1] == 0x0A
        try raw()
      case .block:
        emit(.blockBegin, start, after)
        position = after
        try code(endingWith: 0x25, kind: .blockEnd)
      case .variable:
        emit(.variableBegin, start, after)
        position = after
        try code(endingWith: 0x7D, kind: .variableEnd)
      }
    }
    emit(.end, source.count, source.count)
  }

  private func at(_ index: Int) -> UInt32? { index < source.count ? source[index] : nil }

  private mutating func emit(_ kind: Token.Kind, _ start: Int, _ end: Int) {
    if kind == .data, start == end { return }
    tokens.append(Token(kind: kind, line: Int32(line), start: Int32(start), end: Int32(end)))
    countLines(start, end)
  }

  private mutating func countLines(_ start: Int, _ end: Int) {
    for index in start..<max(start, end) where source[index] == 0x0A { line += 1 }
  }

  private func sign(at index: Int) -> Sign {
    switch at(index) {
    case 0x2D: .minus
    case 0x2B: .plus
    default: .none
    }
  }

  private func afterSpace(_ index: Int) -> Int {
    var index = index
    while let unit = at(index), isSpace(unit) { index += 1 }
    return index
  }

  private func matches(_ word: StaticString, at index: Int) -> Bool {
    var index = index
    for byte in word.description.utf8 {
      guard at(index) == UInt32(byte) else { return false }
      index += 1
    }
    return true
  }

  private func nextTag() -> (tag: Tag, start: Int, sign: Sign, after: Int)? {
    var index = position
    while index + 1 < source.count {
      if source[index] == 0x7B {
        let sign = sign(at: index + 2)
        let after = index + (sign == .none ? 2 : 3)
        switch source[index + 1] {
        case 0x25:
          if let end = rawTag(after) { return (.raw, index, sign, end) }
          return (.block, index, sign, after)
        case 0x23: return (.comment, index, sign, after)
        case 0x7B: return (.variable, index, sign, after)
        default: break
        }
      }
      index += 1
    }
    return nil
  }

  /// Where the text of a raw block starts, if its first tag is read up to its sign.
  private func rawTag(_ index: Int) -> Int? {
    let word = afterSpace(index)
    guard matches("raw", at: word) else { return nil }
    let end = afterSpace(word + 3)
    if matches("-%}", at: end) { return afterSpace(end + 3) }
    return matches("%}", at: end) ? end + 2 : nil
  }

  /// Emits the text before a tag without the space that the tag strips, and returns where it ends.
  private mutating func emitData(upTo end: Int, sign: Sign, isVariable: Bool) -> Int {
    var dataEnd = end
    if sign == .minus {
      while dataEnd > position, isSpace(source[dataEnd - 1]) { dataEnd -= 1 }
    } else if sign == .none, !isVariable {
      var lineStart = end
      while lineStart > position, source[lineStart - 1] != 0x0A { lineStart -= 1 }
      if lineStart > position || isAtLineStart, source[lineStart..<end].allSatisfy({ isSpace($0) }) {
        dataEnd = lineStart
      }
    }
    emit(.data, position, dataEnd)
    return dataEnd
  }

  /// Where a tag that ends in `character` and a brace ends, with what it strips, or nil if it does not end here.
  private func tagEnd(_ character: UInt32, at index: Int) -> Int? {
    func closes(_ index: Int) -> Bool { at(index) == character && at(index + 1) == 0x7D }
    if at(index) == 0x2D, closes(index + 1) { return afterSpace(index + 3) }
    let isVariable = character == 0x7D
    if at(index) == 0x2B, closes(index + 1), !isVariable { return index + 3 }
    guard closes(index) else { return nil }
    return !isVariable && at(index + 2) == 0x0A ? index + 3 : index + 2
  }

  private mutating func finishTag(at end: Int) {
    isAtLineStart = source[end - 1] == 0x0A
    position = end
  }

  private mutating func skipComment() throws(TemplateError) {
    var index = position
    while index < source.count {
      if let end = tagEnd(0x23, at: index) {
        countLines(position - 2, end)
        finishTag(at: end)
        return
      }
      index += 1
    }
    throw TemplateError(.syntax, line: line, "Missing end of comment tag")
  }

  private mutating func raw() throws(TemplateError) {
    var index = position
    while index < source.count {
      if source[index] == 0x7B, at(index + 1) == 0x25 {
        let sign = sign(at: index + 2)
        let word = afterSpace(index + (sign == .none ? 2 : 3))
        if matches("endraw", at: word), let end = tagEnd(0x25, at: afterSpace(word + 6)) {
          let dataEnd = emitData(upTo: index, sign: sign, isVariable: false)
          countLines(dataEnd, end)
          finishTag(at: end)
          return
        }
      }
      index += 1
    }
    throw TemplateError(.syntax, line: line, "Missing end of raw directive")
  }

  // MARK: The inside of tags

  private mutating func code(endingWith character: UInt32, kind end: Token.Kind) throws(TemplateError) {
    var open: [UInt32] = []
    while let unit = at(position) {
      if open.isEmpty, let stop = tagEnd(character, at: position) {
        emit(end, position, stop)
        finishTag(at: stop)
        return
      }
      if isSpace(unit) {
        if unit == 0x0A { line += 1 }
        position += 1
      } else if isDigit(unit) {
        number()
      } else if isNameScalar(unit) {
        try name()
      } else if unit == 0x22 || unit == 0x27 {
        try string(quote: unit)
      } else {
        try symbol(unit, &open)
      }
    }
    // The parser knows what is missing.
  }

  private mutating func take(_ kind: Token.Kind, upTo end: Int) {
    emit(kind, position, end)
    position = end
  }

  private mutating func name() throws(TemplateError) {
    var end = position
    while let unit = at(end), isNameScalar(unit) { end += 1 }
    for index in position..<end {
      let properties = Unicode.Scalar(source[index])?.properties
      let isValid = index == position ? properties?.isXIDStart : properties?.isXIDContinue
      guard isValid == true || source[index] == 0x5F else {
        throw TemplateError(.syntax, line: line, "Invalid character in identifier")
      }
    }
    take(.name, upTo: end)
  }

  private mutating func string(quote: UInt32) throws(TemplateError) {
    var end = position + 1
    while let unit = at(end), unit != quote { end += unit == 0x5C ? 2 : 1 }
    guard end < source.count else {
      throw TemplateError(.syntax, line: line, "a string has no end")
    }
    take(.string, upTo: end + 1)
  }

  /// The end of digits with single underscores between them, or nil if there is none at `index`.
  private func digits(_ index: Int, _ isDigit: (UInt32) -> Bool) -> Int? {
    guard let first = at(index), isDigit(first) else { return nil }
    var end = index + 1
    while true {
      if let unit = at(end), isDigit(unit) {
        end += 1
      } else if at(end) == 0x5F, let unit = at(end + 1), isDigit(unit) {
        end += 2
      } else {
        return end
      }
    }
  }

  private mutating func number() {
    if position == 0 || source[position - 1] != 0x2E, let end = floatEnd() {
      take(.float, upTo: end)
      return
    }
    var end = position + 1
    if source[position] == 0x30 {
      // A prefix may be followed by an underscore.
      let prefixEnd = at(position + 2) == 0x5F ? position + 3 : position + 2
      switch at(position + 1).map({ $0 | 0x20 }) {
      case 0x62: end = digits(prefixEnd, { $0 == 0x30 || $0 == 0x31 }) ?? end
      case 0x6F: end = digits(prefixEnd, { (0x30...0x37).contains($0) }) ?? end
      case 0x78: end = digits(prefixEnd, isHexDigit) ?? end
      default: end = digits(position, { $0 == 0x30 }) ?? end
      }
    } else {
      end = digits(position, isDigit) ?? end
    }
    take(.integer, upTo: end)
  }

  private func floatEnd() -> Int? {
    guard let whole = digits(position, isDigit) else { return nil }
    let fraction = at(whole) == 0x2E ? digits(whole + 1, isDigit) : nil
    var exponent = fraction ?? whole
    if let unit = at(exponent), unit | 0x20 == 0x65 {
      exponent += 1
      if at(exponent) == 0x2B || at(exponent) == 0x2D { exponent += 1 }
      if let end = digits(exponent, isDigit) { return end }
    }
    return fraction
  }

  private mutating func symbol(_ unit: UInt32, _ open: inout [UInt32]) throws(TemplateError) {
    let next = at(position + 1)
    let (kind, length): (Token.Kind, Int)
    switch unit {
    case 0x2B: (kind, length) = (.plus, 1)
    case 0x2D: (kind, length) = (.minus, 1)
    case 0x2F: (kind, length) = next == 0x2F ? (.doubleSlash, 2) : (.slash, 1)
    case 0x2A: (kind, length) = next == 0x2A ? (.power, 2) : (.star, 1)
    case 0x25: (kind, length) = (.percent, 1)
    case 0x7E: (kind, length) = (.tilde, 1)
    case 0x5B: (kind, length) = (.leftBracket, 1)
    case 0x5D: (kind, length) = (.rightBracket, 1)
    case 0x28: (kind, length) = (.leftParenthesis, 1)
    case 0x29: (kind, length) = (.rightParenthesis, 1)
    case 0x7B: (kind, length) = (.leftBrace, 1)
    case 0x7D: (kind, length) = (.rightBrace, 1)
    case 0x3D: (kind, length) = next == 0x3D ? (.equal, 2) : (.assign, 1)
    case 0x21 where next == 0x3D: (kind, length) = (.notEqual, 2)
    case 0x3E: (kind, length) = next == 0x3D ? (.greaterOrEqual, 2) : (.greater, 1)
    case 0x3C: (kind, length) = next == 0x3D ? (.lessOrEqual, 2) : (.less, 1)
    case 0x2E: (kind, length) = (.dot, 1)
    case 0x3A: (kind, length) = (.colon, 1)
    case 0x7C: (kind, length) = (.pipe, 1)
    case 0x2C: (kind, length) = (.comma, 1)
    case 0x3B: (kind, length) = (.semicolon, 1)
    default:
      let character = Unicode.Scalar(unit).map { String($0) } ?? ""
      throw TemplateError(.syntax, line: line, "unexpected char '\(character)'")
    }
    switch kind {
    case .leftBracket: open.append(0x5D)
    case .leftParenthesis: open.append(0x29)
    case .leftBrace: open.append(0x7D)
    case .rightBracket, .rightParenthesis, .rightBrace:
      guard open.popLast() == unit else {
        throw TemplateError(.syntax, line: line, "unexpected '\(Token.description(kind))'")
      }
    default: break
    }
    take(kind, upTo: position + length)
  }
}
