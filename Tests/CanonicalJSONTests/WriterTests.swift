import CanonicalJSON
import Testing

/// One text for one value, so that a digest of the text is a digest of the value.
@Suite struct WriterTests {
  private func canonical(_ value: JSONValue) -> String { String(decoding: value.canonical, as: UTF8.self) }

  @Test func canonicalForm() throws {
    let value: JSONValue = .members([
      "b": .array([.integer(1), .number(0.5), .null, .boolean(false)]), "a": .object([]), "": .string("x"),
      "\u{1F600}": .integer(-3), "\u{FF5E}": .array([]),
    ])
    // Sorted by UTF-8 bytes, in which U+1F600 comes after U+FF5E.
    #expect(
      canonical(value)
        == "{\"\":\"x\",\"a\":{},\"b\":[1,0.5,null,false],\"\u{FF5E}\":[],\"\u{1F600}\":-3}")
    #expect(try JSONValue(parsing: value.canonical).canonical == value.canonical)
  }

  @Test func orderDoesNotMatter() throws {
    let one = try JSONValue(parsing: Array("{\"a\": 1, \"b\": {\"d\": 2, \"c\": 3}}".utf8))
    let other = try JSONValue(parsing: Array("{\"b\":{\"c\":3,\"d\":2},\"a\":1}".utf8))
    #expect(one != other)
    #expect(one.canonical == other.canonical)
  }

  @Test func escapes() throws {
    let text = String(String.UnicodeScalarView((0..<0x30).compactMap(Unicode.Scalar.init))) + "\\\u{7F}\u{E9}\u{1F600}"
    let value = JSONValue.string(text)
    #expect(try JSONValue(parsing: value.canonical) == value)
    #expect(canonical(.string("\"\\/\n\r\t\u{1}\u{1F}")) == "\"\\\"\\\\/\\n\\r\\t\\u0001\\u001f\"")
  }

  /// The shortest decimal that is this number and no other.
  @Test(arguments: [0.1, 1e-5, 1e21, .pi, .leastNonzeroMagnitude, .greatestFiniteMagnitude, -0.0, 123456789.125, 1e16])
  func numbers(value: Double) throws {
    let parsed = try JSONValue(parsing: JSONValue.number(value).canonical)
    #expect(parsed.number == value)
    #expect(JSONValue.number(value).canonical == parsed.canonical || parsed.integer != nil)
  }

  /// Random values come back as they were.
  @Test func roundTrip() throws {
    var state: UInt64 = 42
    func next(_ bound: Int) -> Int {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return Int(state >> 33) % bound
    }
    func random(_ depth: Int) -> JSONValue {
      switch next(depth > 4 ? 5 : 7) {
      case 0: return .null
      case 1: return .boolean(next(2) == 0)
      case 2: return .integer(next(1_000_000) - 500_000)
      case 3: return .number(Double(next(1_000_000)) / 1024 + 0.0001)
      case 4: return .string(String((0..<next(8)).map { _ in Character(Unicode.Scalar(UInt8(next(256)))) }))
      case 5: return .array((0..<next(5)).map { _ in random(depth + 1) })
      default: return .object((0..<next(5)).map { JSONValue.Member("k\($0)", random(depth + 1)) })
      }
    }
    for _ in 0..<500 {
      let value = random(0)
      #expect(try JSONValue(parsing: value.canonical) == value)
      #expect(try JSONValue(parsing: Array(value.indented.utf8)) == value)
    }
  }

  @Test func forPeople() {
    let value: JSONValue = .members(["b": .array([.integer(1)]), "a": .array([]), "none": nil])
    #expect(value.indented == "{\n  \"b\": [\n    1\n  ],\n  \"a\": []\n}")
  }

  @Test func access() throws {
    let value = try JSONValue(
      parsing: Array("{\"i\":3,\"d\":3.0,\"f\":0.5,\"s\":\"x\",\"b\":true,\"a\":[1],\"o\":{}}".utf8))
    #expect(value["i"]?.integer == 3)
    #expect(value["d"]?.integer == 3)
    #expect(value["f"]?.integer == nil)
    #expect(value["i"]?.number == 3)
    #expect(value["s"]?.string == "x")
    #expect(value["s"]?.integer == nil)
    #expect(value["b"]?.boolean == true)
    #expect(value["a"]?.array == [.integer(1)])
    #expect(value["o"]?.object == [])
    #expect(value["none"] == nil)
    #expect(JSONValue.integer(1)["a"] == nil)
  }
}
