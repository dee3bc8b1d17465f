import CanonicalJSON
import FileAccess
import Testing

@testable import Evaluation

/// Result files are committed and read back by the report: nothing may be lost, and a damaged one is refused.
@Suite struct EvaluationResultTests {
  static let result = EvaluationResult(
    protocolName: "perplexity",
    model: EvaluationResult.Model(
      name: "model.spk", identity: String(repeating: "ab", count: 32), weights: "int8"),
    settings: [JSONValue.Member("scored", .integer(256))],
    columns: ["domain", "windows", "perplexity", "bytes"],
    rows: [
      EvaluationResult.Row(
        labels: ["domain": "books", "windows": 8],
        measures: ["perplexity": Measure(12.3456, low: 11.5, high: 13.25, count: 100), "bytes": Measure(4096)]),
      EvaluationResult.Row(
        labels: ["domain": "code", "windows": .number(0.5)], measures: ["perplexity": Measure(1234.5, count: 1)]),
    ], notes: ["one note"], seconds: 1.5)

  @Test func roundTrip() throws {
    let directory = try Directory.temporary("sharedpack-result")
    defer { try? Directory.removeTree(directory) }
    let path = "\(directory)/result.json"
    try Self.result.write(to: path)
    let read = try EvaluationResult(reading: path)
    #expect(read == Self.result)
    #expect(try SequentialFile.contents(path, limit: 1 << 16) == Self.result.json.canonical + [0x0A])
  }

  @Test func table() {
    #expect(
      Self.result.tables.map(\.text) == [
        """
        domain  windows           perplexity  bytes
        books         8  12.35 [11.5, 13.25]   4096
        code        0.5                 1235
        """
      ])
  }

  @Test(arguments: [
    ("{", "line 1, column 2: "), ("[]", "settings: is missing or not an object"),
    (#"{"rows":[],"settings":{}}"#, "seconds: is missing or not a number"),
    (
      #"{"rows":[{"labels":{"a":[]},"measures":{}}],"seconds":1,"settings":{}}"#,
      "rows, entry 0: label \"a\" is neither a word nor a number"
    ),
    (
      #"{"rows":[{"labels":{},"measures":{"m":{"low":1,"value":2}}}],"seconds":1,"settings":{}}"#,
      "rows, entry 0: measure \"m\" is not a measure"
    ),
    (#"{"rows":[],"seconds":1,"settings":{}}"#, "protocol: is missing or not text"),
  ])
  func refused(text: String, message: String) throws {
    let directory = try Directory.temporary("sharedpack-result")
    defer { try? Directory.removeTree(directory) }
    var file = try PublishedFile(creating: "\(directory)/result.json")
    try file.append(Array(text.utf8))
    try file.publish()
    let refusal = #expect(throws: Refusal.self) { try EvaluationResult(reading: "\(directory)/result.json") }
    #expect(refusal?.description.contains(message) == true, "\(String(describing: refusal))")
    #expect(refusal?.name.exitStatus == .badInput)
  }
}
