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

  /// What was not measured is shown as such, and every measure has its range.
  @Test func gaps() throws {
    let rows = [(1, 0), (1, 50), (8, 0)].map { windows, depth in
      EvaluationResult.Row(
        labels: ["task": "needle", "windows": Label(windows), "depth": Label(depth)],
        measures: ["accuracy": Measure(0.2, count: 4), "leaf": Measure(0.5, count: 4)])
    }
    let html = EvaluationReport([Self.result(rows, columns: ["task", "windows", "depth", "accuracy", "leaf"])]).html
    try parse(html)
    #expect(html.components(separatedBy: "<rect").count == 7)
    #expect(html.components(separatedBy: ">–</text>").count == 3)
    #expect(html.contains("needle: share of right answers") && html.contains(">50 %</text>"))
    // A fifth of the darkest.
    #expect(html.contains("fill-opacity=\"0.248\""))
  }

  /// A sweep has a plot for each factor, in which a value stands once.
  @Test func sweeps() throws {
    func row(_ table: String, _ factor: String, _ value: Label, _ remark: String?) -> EvaluationResult.Row {
      var row = EvaluationResult.Row(
        labels: ["table": .text(table), "factor": .text(factor), "value": value],
        measures: ["to_default": Measure(1.01, low: 0.99, high: 1.02, count: 4), "row_bytes": Measure(2_500_000)])
      row.labels["remark"] = remark.map { .text($0) }
      return row
    }
    let rows = ["Table 5", "Table 11"].flatMap { table in
      [row(table, "depth", 1, nil), row(table, "depth", 3, "default"), row(table, "policy", "right", "default")]
    }
    let result = Self.result(rows, columns: ["table", "factor", "value", "to_default", "row_bytes", "remark"])
    let html = EvaluationReport([result, result], names: ["one", "two"]).html
    try parse(html)
    // Of each of the two results one plot of two values; one value alone has none.
    #expect(html.components(separatedBy: "<svg").count == 3)
    #expect(html.components(separatedBy: "<circle").count == 5)
    #expect(html.contains(">3 (default)</text>") && html.contains("<td>2.5 MB</td>"))
    #expect(html.contains("<a href=\"#result-1\">two</a>") && html.contains("<h2 id=\"result-1\">two</h2>"))
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
