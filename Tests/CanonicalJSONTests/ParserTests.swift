import CanonicalJSON
import Testing

/// What a stranger's text may be, and what it may not.
@Suite struct ParserTests {
  private func parse(_ text: String, depthLimit: Int = 32) throws(JSONError) -> JSONValue {
    try JSONValue(parsing: Array(text.utf8), depthLimit: depthLimit)
  }

  @Test(arguments: [
    ("null", JSONValue.null), ("true", .boolean(true)), (" false\n", .boolean(false)), ("[]", .array([])),
    ("{}", .object([])), ("\"\"", .string("")), ("0", .integer(0)), ("-0", .integer(0)), ("-17", .integer(-17)),
    ("9223372036854775807", .integer(.max)), ("-9223372036854775808", .integer(.min)),
    ("9223372036854775808", .number(9_223_372_036_854_775_808)), ("1.5", .number(1.5)), ("1e2", .number(100)),
    ("-1E-2", .number(-0.01)), ("1e+2", .number(100)),
    (
      "[1,[2,{\"a\":[]}]]",
      .array([
        .integer(1), .array([.integer(2), .object([JSONValue.Member("a", .array([]))])]),
      ])
    ),
    ("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", .string("\"\\/\u{8}\u{C}\n\r\t")), ("\"\\u0041\\u00e9\"", .string("A\u{E9}")),
    ("\"\\ud83d\\uDE00\"", .string("\u{1F600}")), ("\"\u{1F600}\"", .string("\u{1F600}")),
    ("\"\\u0000\"", .string("\0")),
    (
      " { \"b\" : 1 , \"a\" : 2 } ",
      .object([
        JSONValue.Member("b", .integer(1)), JSONValue.Member("a", .integer(2)),
      ])
    ),
  ])
  func accepted(text: String, value: JSONValue) throws {
    #expect(try parse(text) == value)
  }

  @Test(arguments: [
    "", " ", "nul", "nulll", "True", "[", "]", "[1", "[1,", "[1,]", "[,1]", "[1 2]", "{", "}", "{\"a\"", "{\"a\":",
    "{\"a\":1", "{\"a\":1,", "{\"a\":1,}", "{a:1}", "{\"a\" 1}", "{1:2}", "\"", "\"a", "\"\\", "\"\\x\"", "\"\\u12\"",
    "\"\\u12g4\"", "\"\t\"", "\"\n\"", "01", "-", "-a", "+1", ".5", "1.", "1.e2", "1e", "1e+", "1e999", "-1e999", "NaN",
    "Infinity", "1 2", "[] []", "null,", "'a'", "// a\n1", "\u{FEFF}1", "\u{A0}1", "[1]x",
    "\"\\ud800\"", "\"\\udc00\"", "\"\\ud800\\ud800\"", "\"\\ud800a\"", "\"\\ud800\\n\"", "0x10", "1_000",
  ])
  func refused(text: String) {
    #expect(throws: JSONError.self) { try parse(text) }
  }

  /// Bytes that are not UTF-8: lone continuation, overlong, surrogate, past U+10FFFF, cut short.
  @Test(arguments: [[0x80], [0xC0, 0x80], [0xED, 0xA0, 0x80], [0xF4, 0x90, 0x80, 0x80], [0xE2, 0x82]] as [[UInt8]])
  func notUTF8(bytes: [UInt8]) {
    #expect(throws: JSONError.self) { try JSONValue(parsing: [0x22] + bytes + [0x22]) }
    #expect(throws: JSONError.self) { try JSONValue(parsing: [0x22, 0x5C, 0x6E] + bytes + [0x22]) }
  }

  /// However a key is spelled, it is there once.
  @Test(arguments: ["{\"a\":1,\"a\":1}", "{\"a\":1,\"b\":2,\"\\u0061\":3}", "[{\"x\":{\"a\":1,\"a\":2}}]"])
  func duplicateKeys(text: String) {
    let error = #expect(throws: JSONError.self) { try parse(text) }
    #expect(error?.reason.contains("duplicate key") == true)
  }

  /// Depth costs stack, so it is bounded, for arrays and objects alike.
  @Test func depth() throws {
    func nested(_ count: Int) -> String {
      String(repeating: "[", count: count) + String(repeating: "]", count: count)
    }
    _ = try parse(nested(31))
    _ = try parse(nested(32))
    #expect(throws: JSONError.self) { try parse(nested(33)) }
    #expect(throws: JSONError.self) { try parse(String(repeating: "[", count: 1_000_000)) }
    #expect(throws: JSONError.self) { try parse(String(repeating: "{\"a\":", count: 1_000_000)) }
    _ = try parse("[[1]]", depthLimit: 3)
    #expect(throws: JSONError.self) { try parse("[[1]]", depthLimit: 2) }
  }

  /// No prefix of a text is a text, and no changed byte crashes the parser.
  @Test func damage() throws {
    let text = Array("{\"a\":[1,-2.5e3,true,null],\"b\":{\"c\":\"\\u00e9\\ud83d\\ude00\"}}".utf8)
    _ = try JSONValue(parsing: text)
    for length in 0..<text.count {
      #expect(throws: JSONError.self) { try JSONValue(parsing: Array(text[..<length])) }
    }
    for offset in text.indices {
      for byte in UInt8.min...UInt8.max {
        var other = text
        other[offset] = byte
        guard let value = try? JSONValue(parsing: other) else { continue }
        #expect(try JSONValue(parsing: value.canonical).canonical == value.canonical)
      }
    }
  }

  @Test func errorsNameThePlace() {
    let error = #expect(throws: JSONError.self) { try parse("[1, x]") }
    #expect(error?.byteOffset == 4)
    #expect(error?.description == "byte 4: no value starts with this byte")
  }
}
