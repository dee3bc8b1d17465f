import CanonicalJSON
import Fuzzing
import Testing

/// JSON of whatever bytes: see `FuzzedReader`.
@Suite struct FuzzedJSON {
  @Test func texts() throws {
    let seeds = [
      #"{"a":[1,-2.5e-3,true,null,"\u00e9\ud83d\ude00\n"],"b":{"c":{}},"n":9223372036854775807}"#,
      "[[[[1e308]]], \"\"]",
    ]
    try FuzzedReader.run("json", seeds: seeds.map { Array($0.utf8) }) { text in
      guard let value = try? JSONValue(parsing: text) else { return }
      guard let again = try? JSONValue(parsing: value.canonical) else {
        preconditionFailure("what was written is no JSON")
      }
      precondition(again.canonical == value.canonical, "what was written is something else")
    }
  }
}
