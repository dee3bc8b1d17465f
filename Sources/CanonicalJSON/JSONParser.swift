extension JSONValue {
  /// Parses RFC 8259 JSON, strictly: UTF-8 without byte order mark, no duplicate keys, no lone surrogates, at most
  /// `depthLimit` levels of nesting, nothing after the value but white space.
  public init(parsing text: [UInt8], depthLimit: Int = 32) throws(JSONError) {
    var parser = JSONParser(text: text, depthLimit: depthLimit)
    self = try parser.document()
  }
}

struct JSONParser {
  let text: [UInt8]
  let depthLimit: Int
  var offset = 0

  init(text: [UInt8], depthLimit: Int) {
    self.text = text
    self.depthLimit = depthLimit
  }

  mutating func document() throws(JSONError) -> JSONValue {
    let result = try value(depth: 0)
    skipSpace()
    guard offset == text.count else { throw error("text after the end of the value") }
    return result
  }

  private func error(_ reason: String) -> JSONError { JSONError(at: offset, in: text, reason) }

  private var next: UInt8? { offset < text.count ? text[offset] : nil }

  private mutating func skipSpace() {
    while let byte = next, byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09 { offset += 1 }
  }

  private mutating func accept(_ byte: UInt8) -> Bool {
    guard next == byte else { return false }
    offset += 1
    return true
  }

  private mutating func value(depth: Int) throws(JSONError) -> JSONValue {
    guard depth < depthLimit else { throw error("nested deeper than \(depthLimit) levels") }
    skipSpace()
    switch next {
    case UInt8(ascii: "{"): return try object(depth: depth)
    case UInt8(ascii: "["): return try array(depth: depth)
    case UInt8(ascii: "\""): return .string(try string())
    case UInt8(ascii: "t"): return try literal("true", .boolean(true))
    case UInt8(ascii: "f"): return try literal("false", .boolean(false))
    case UInt8(ascii: "n"): return try literal("null", .null)
    case nil: throw error("the text ends where a value is expected")
    case let byte? where byte == UInt8(ascii: "-") || isDigit(byte): return try number()
    default: throw error("no value starts with this byte")
    }
  }

  private mutating func literal(_ word: StaticString, _ value: JSONValue) throws(JSONError) -> JSONValue {
    for expected in word.description.utf8 {
      guard accept(expected) else { throw error("expected \(word)") }
    }
    return value
  }

  private mutating func object(depth: Int) throws(JSONError) -> JSONValue {
    offset += 1
    var members: [JSONValue.Member] = []
    // Keys are compared by their bytes: strings that are equal in Swift may differ in them, such as é composed and
    // decomposed.
    var keys: Set<[UInt8]> = []
    skipSpace()
    if accept(UInt8(ascii: "}")) { return .object([]) }
    while true {
      skipSpace()
      guard next == UInt8(ascii: "\"") else { throw error("expected a key") }
      let keyOffset = offset
      let key = try string()
      guard keys.insert(Array(key.utf8)).inserted else {
        throw JSONError(at: keyOffset, in: text, "duplicate key \"\(key)\"")
      }
      skipSpace()
      guard accept(UInt8(ascii: ":")) else { throw error("expected :") }
      members.append(JSONValue.Member(key, try value(depth: depth + 1)))
      skipSpace()
      if accept(UInt8(ascii: "}")) { return .object(members) }
      guard accept(UInt8(ascii: ",")) else { throw error("expected , or }") }
    }
  }

  private mutating func array(depth: Int) throws(JSONError) -> JSONValue {
    offset += 1
    var values: [JSONValue] = []
    skipSpace()
    if accept(UInt8(ascii: "]")) { return .array([]) }
    while true {
      values.append(try value(depth: depth + 1))
      skipSpace()
      if accept(UInt8(ascii: "]")) { return .array(values) }
      guard accept(UInt8(ascii: ",")) else { throw error("expected , or ]") }
    }
  }

  private mutating func string() throws(JSONError) -> String {
    offset += 1
    let start = offset
    while let byte = next, byte != UInt8(ascii: "\""), byte != UInt8(ascii: "\\"), byte >= 0x20 { offset += 1 }
    if next == UInt8(ascii: "\"") {
      // The common case: nothing to unescape.
      let result = try utf8(Array(text[start..<offset]), at: start)
      offset += 1
      return result
    }
    var bytes = Array(text[start..<offset])
    while let byte = next {
      if byte == UInt8(ascii: "\"") {
        offset += 1
        return try utf8(bytes, at: start)
      }
      guard byte >= 0x20 else { throw error("control character in a string") }
      if byte == UInt8(ascii: "\\") {
        offset += 1
        try escape(into: &bytes)
      } else {
        bytes.append(byte)
        offset += 1
      }
    }
    throw error("the text ends inside a string")
  }

  private func utf8(_ bytes: [UInt8], at start: Int) throws(JSONError) -> String {
    guard let result = String(validating: bytes, as: UTF8.self) else {
      throw JSONError(at: start, in: text, "a string is not valid UTF-8")
    }
    return result
  }

  private mutating func escape(into bytes: inout [UInt8]) throws(JSONError) {
    guard let kind = next else { throw error("the text ends inside an escape") }
    offset += 1
    switch kind {
    case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): bytes.append(kind)
    case UInt8(ascii: "b"): bytes.append(0x08)
    case UInt8(ascii: "f"): bytes.append(0x0C)
    case UInt8(ascii: "n"): bytes.append(0x0A)
    case UInt8(ascii: "r"): bytes.append(0x0D)
    case UInt8(ascii: "t"): bytes.append(0x09)
    case UInt8(ascii: "u"):
      var code = try fourDigits()
      if (0xD800..<0xDC00).contains(code) {
        guard accept(UInt8(ascii: "\\")), accept(UInt8(ascii: "u")) else { throw error("lone surrogate") }
        let low = try fourDigits()
        guard (0xDC00..<0xE000).contains(low) else { throw error("lone surrogate") }
        code = 0x10000 + (code - 0xD800) << 10 + (low - 0xDC00)
      }
      guard let scalar = Unicode.Scalar(code) else { throw error("lone surrogate") }
      bytes.append(contentsOf: String(scalar).utf8)
    default: throw error("unknown escape")
    }
  }

  private mutating func fourDigits() throws(JSONError) -> UInt32 {
    var code: UInt32 = 0
    for _ in 0..<4 {
      guard let byte = next, let digit = Character(Unicode.Scalar(byte)).hexDigitValue, byte < 0x80 else {
        throw error("expected four hexadecimal digits")
      }
      code = code << 4 | UInt32(digit)
      offset += 1
    }
    return code
  }

  private mutating func number() throws(JSONError) -> JSONValue {
    let start = offset
    _ = accept(UInt8(ascii: "-"))
    guard let first = next, isDigit(first) else { throw error("expected a digit") }
    offset += 1
    if first == UInt8(ascii: "0"), let second = next, isDigit(second) { throw error("a number starts with 0") }
    skipDigits()
    var isInteger = true
    if accept(UInt8(ascii: ".")) {
      isInteger = false
      try digits()
    }
    if let byte = next, byte | 0x20 == UInt8(ascii: "e") {
      isInteger = false
      offset += 1
      if !accept(UInt8(ascii: "+")) { _ = accept(UInt8(ascii: "-")) }
      try digits()
    }
    let spelling = String(decoding: text[start..<offset], as: UTF8.self)
    if isInteger, let value = Int(spelling) { return .integer(value) }
    guard let value = Double(spelling), value.isFinite else { throw error("a number is out of range") }
    return .number(value)
  }

  private func isDigit(_ byte: UInt8) -> Bool { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) }

  private mutating func digits() throws(JSONError) {
    guard let byte = next, isDigit(byte) else { throw error("expected a digit") }
    skipDigits()
  }

  private mutating func skipDigits() {
    while let byte = next, isDigit(byte) { offset += 1 }
  }
}
