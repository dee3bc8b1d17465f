import CanonicalJSON
import Testing

/// Vocabularies have keys that are canonically equivalent, which Swift's strings take for equal.
@Test func keysDifferByTheirBytes() throws {
  let value = try JSONValue(parsing: Array("{\"\u{E9}\":1,\"e\u{301}\":2}".utf8))
  #expect(value["\u{E9}"] == .integer(1))
  #expect(value["e\u{301}"] == .integer(2))
  #expect(throws: JSONError.self) { try JSONValue(parsing: Array("{\"\u{E9}\":1,\"\u{E9}\":2}".utf8)) }
}
