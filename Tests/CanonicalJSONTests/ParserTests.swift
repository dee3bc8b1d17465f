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

  /// Columns are characters, not bytes, so that an editor goes where the fault is.
  @Test(arguments: [
    ("[1, x]", 4, 1, 5), ("", 0, 1, 1), ("{\n  \"a\": 1,\n  \"é\u{1F600}\": ?\n}", 24, 3, 9), ("[\r\n1,]", 5, 2, 3),
    ("[1,\n", 4, 2, 1),
  ])
  func errorsNameThePlace(text: String, byteOffset: Int, line: Int, column: Int) throws {
    let error = try #require(throws: JSONError.self) { try parse(text) }
    #expect(error.byteOffset == byteOffset && error.line == line && error.column == column, "\(error)")
    #expect(error.description == "line \(line), column \(column): \(error.reason)")
  }
}

/// Files are parsed like other texts, but for what programs put before them or in their place.
@Suite struct JSONFileTests {
  private func parse(_ text: [UInt8]) throws(JSONError) -> JSONValue { try JSONValue(parsingFile: text) }

  @Test func byteOrderMark() throws {
    let mark: [UInt8] = [0xEF, 0xBB, 0xBF]
    let text = Array("{\"a\": 1}".utf8)
    #expect(try parse(mark + text) == parse(text))
    #expect(throws: JSONError.self) { try parse(mark + mark + text) }
    #expect(throws: JSONError.self) { try parse(text + mark) }
    // Our own formats have none.
    #expect(throws: JSONError.self) { try JSONValue(parsing: mark + text) }
    // It is no column of the text.
    let error = #expect(throws: JSONError.self) { try parse(mark + Array("[x]".utf8)) }
    #expect(error?.description == "line 1, column 2: no value starts with this byte")
  }

  @Test(arguments: [
    ("", "is empty"), ("\u{FEFF}", "is empty"),
    ("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 3\n", "Git LFS pointer"),
    ("<!DOCTYPE html>\n<html>", "HTML"), ("\n <html>", "HTML"), ("\u{FEFF}<?xml version=\"1.0\"?>", "HTML or XML"),
  ])
  func whatIsThereInstead(text: String, words: String) throws {
    let error = #expect(throws: JSONError.self) { try parse(Array(text.utf8)) }
    #expect(error?.description.hasPrefix("line 1, column 1: ") == true)
    #expect(error?.reason.contains(words) == true)
  }

  @Test(
    arguments: [
      [0xFF, 0xFE, 0x7B, 0x00], [0xFE, 0xFF, 0x00, 0x7B], [0x7B, 0x00, 0x22, 0x00], [0x00, 0x7B, 0x00, 0x22],
      [0xFF, 0xFE, 0x00, 0x00], [0x00, 0x00, 0x00, 0x7B],
    ] as [[UInt8]])
  func otherEncodings(bytes: [UInt8]) {
    let error = #expect(throws: JSONError.self) { try parse(bytes) }
    #expect(error?.reason.contains("UTF-16") == true)
  }
}
