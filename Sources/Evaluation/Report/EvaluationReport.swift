import CanonicalJSON
public import FileAccess

/// One page about some results, for people: plots and tables, nothing from outside, light and dark.
public struct EvaluationReport {
  private let results: [EvaluationResult]

  public init(_ results: [EvaluationResult]) { self.results = results }

  /// Writes the page, which replaces a file of the same name when it is whole.
  public func write(to path: String) throws(Refusal) {
    var file = try PublishedFile(creating: path)
    try file.append(Array(html.utf8))
    try file.publish()
  }

  var html: String {
    """
    <!doctype html>
    <html lang="en">
    <head>
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <title>\(escapedHTML(title))</title>
    <style>
    \(Self.style)
    </style>
    </head>
    <body>
    <main>
    <h1>\(escapedHTML(title))</h1>
    \(results.map(section).joined(separator: "\n"))
    </main>
    </body>
    </html>

    """
  }

  private var title: String {
    var names: [String] = []
    for result in results where !names.contains(result.model.name) { names.append(result.model.name) }
    return "Evaluation of \(names.joined(separator: ", "))"
  }

  private func section(_ result: EvaluationResult) -> String {
    let facts = [
      "\(result.model.name), weights \(result.model.weights), identity \(result.model.identity.prefix(12))",
      "\(Measure.rounded(result.seconds)) s",
    ]
    // By name, as in a result's file.
    let settings = result.settings.sorted { $0.key < $1.key }.map { "\($0.key) \(Self.text($0.value))" }
      .joined(separator: " · ")
    return """
      <section>
      <h2>\(escapedHTML(result.protocolName))</h2>
      <p class="facts">\(escapedHTML(facts.joined(separator: " · ")))</p>
      <div class="plots">
      \(plots(result).map { "<figure>\($0)</figure>" }.joined(separator: "\n"))
      </div>
      <ul>\(result.notes.map { "<li>\(escapedHTML($0))</li>" }.joined())</ul>
      \(tables(result))
      <p class="facts">\(escapedHTML(settings))</p>
      </section>
      """
  }

  private static func text(_ value: JSONValue) -> String {
    value.string ?? String(decoding: value.canonical, as: UTF8.self)
  }

  // MARK: Tables

  /// One table, or one for each value of the label `table`.
  private func tables(_ result: EvaluationResult) -> String {
    result.parts(by: "table").map { name, rows in
      let columns = result.columns.filter { column in
        column != "table" && rows.contains { $0.labels[column] != nil || $0.measures[column] != nil }
      }
      let texts = columns.filter { column in rows.contains { if case .text = $0.labels[column] { true } else { false } }
      }
      func kind(_ column: String) -> String { texts.contains(column) ? " class=\"text\"" : "" }
      let heads = columns.map { "<th\(kind($0))>\(escapedHTML($0))</th>" }.joined()
      let lines = rows.map { row in
        let cells = columns.map { "<td\(kind($0))>\(escapedHTML(row.cell($0)))</td>" }
        return "<tr>\(cells.joined())</tr>"
      }
      return """
        \(name.map { "<h3>\(escapedHTML($0))</h3>" } ?? "")
        <div class="table"><table><thead><tr>\(heads)</tr></thead>
        <tbody>\(lines.joined(separator: "\n"))</tbody></table></div>
        """
    }.joined(separator: "\n")
  }

  // MARK: Plots

  private func plots(_ result: EvaluationResult) -> [String] {
    let measures = result.columns.filter { column in result.rows.contains { $0.measures[column] != nil } }
    let labels = result.columns.filter { column in result.rows.contains { $0.labels[column] != nil } }
    func isNumber(_ column: String) -> Bool {
      result.rows.contains { if case .number = $0.labels[column] { true } else { false } }
    }
    guard let measure = measures.first else { return [] }
    guard let x = ["windows", "length"].first(where: isNumber) else { return [] }
    if isNumber("depth") {
      return result.parts(by: labels.filter { $0 != x && $0 != "depth" }).map { name, rows in
        HeatMap(title: name.isEmpty ? measure : "\(name): \(measure)", rows: rows, length: x, measure: measure)
      }.filter { !$0.cells.isEmpty }.map(\.svg)
    }
    // A plot for each domain or task; the other labels tell its lines apart.
    let facet = ["domain", "task"].filter(labels.contains)
    let plotted: [(measure: String, reference: Double?)] = [(measure, nil), ("to_truncated", 1)]
    var plots: [String] = []
    for (name, rows) in result.parts(by: facet) {
      for (measure, reference) in plotted {
        let series = PlotSeries.split(rows, x: x, measure: measure, columns: labels, leavingOut: Set(facet))
        guard series.contains(where: { $0.points.count > 1 }) else { continue }
        let title = name.isEmpty ? measure : "\(name): \(measure)"
        plots.append(LinePlot(title: title, xTitle: x, series: series, reference: reference).svg)
      }
    }
    return plots
  }
}

extension EvaluationResult {
  /// The rows that share some labels, in order of first appearance.
  func parts(by columns: [String]) -> [(name: String, rows: [Row])] {
    var parts: [(name: String, rows: [Row])] = []
    for row in rows {
      let name = row.name(columns)
      if let known = parts.firstIndex(where: { $0.name == name }) {
        parts[known].rows.append(row)
      } else {
        parts.append((name, [row]))
      }
    }
    return parts
  }

  /// The rows of each table; one without a name where rows have no such label.
  func parts(by column: String) -> [(name: String?, rows: [Row])] {
    parts(by: [column]).map { ($0.name.isEmpty ? nil : $0.name, $0.rows) }
  }
}
