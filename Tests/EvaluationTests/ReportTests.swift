import Foundation
import Testing

@testable import Evaluation

#if canImport(FoundationXML)
  import FoundationXML
#endif

/// The page is read by people and kept in repositories: it must be whole, and show what the rows say.
@Suite struct ReportTests {
  static func result(_ rows: [EvaluationResult.Row], columns: [String]) -> EvaluationResult {
    EvaluationResult(
      protocolName: "perplexity & <more>",
      model: EvaluationResult.Model(name: "model.spk", identity: String(repeating: "ab", count: 32), weights: "int8"),
      settings: [], columns: columns, rows: rows)
  }

  /// Every element that opens is closed: a parser for XML reads the body.
  private func parse(_ html: String) throws {
    let start = try #require(html.range(of: "<main>"))
    let end = try #require(html.range(of: "</main>"))
    let parser = XMLParser(data: Data(html[start.lowerBound..<end.upperBound].utf8))
    #expect(parser.parse(), "\(String(describing: parser.parserError)) in line \(parser.lineNumber)")
  }

  @Test func lines() throws {
    let rows = [1, 8, 32].flatMap { windows in
      ["shared", "truncated"].map { method in
        EvaluationResult.Row(
          labels: ["domain": "books", "method": .text(method), "windows": Label(windows)],
          measures: ["perplexity": Measure(10 + Double(windows), low: 9, high: 44, count: 5)])
      }
    }
    let html = EvaluationReport([Self.result(rows, columns: ["domain", "method", "windows", "perplexity"])]).html
    try parse(html)
    #expect(html.contains("perplexity &amp; &lt;more&gt;"))
    #expect(html.components(separatedBy: "<polyline").count == 3)
    #expect(html.components(separatedBy: "<circle").count == 7)
    #expect(html.contains("<title>shared, 32: 42 [9, 44]</title>"))
    #expect(!html.contains("http"))
  }

  @Test func heatMaps() throws {
    let rows = [512, 1024].flatMap { length in
      [0, 50, 100].map { depth in
        EvaluationResult.Row(
          labels: ["task": "passkey", "length": Label(length), "depth": Label(depth)],
          measures: ["score": Measure(depth == 50 ? 0.25 : 1, count: 4)])
      }
    }
    let html = EvaluationReport([Self.result(rows, columns: ["task", "length", "depth", "score"])]).html
    try parse(html)
    #expect(html.components(separatedBy: "<rect").count == 7)
    #expect(html.contains("passkey: score"))
  }

  @Test func scales() {
    let scale = Scale(low: 11.2, high: 13.9)
    #expect(scale.ticks == [11, 12, 13, 14])
    #expect(scale.ticks.map(scale.text) == ["11", "12", "13", "14"])
    #expect(
      Scale(low: 0.97, high: 1.02).ticks.map(Scale(low: 0.97, high: 1.02).text) == ["0.96", "0.98", "1.0", "1.02"])
    #expect(Scale(low: 5, high: 5).high > 5)
  }
}
