import CanonicalJSON
public import FileAccess

/// One page about some results, for people: plots and tables, nothing from outside, light and dark.
public struct EvaluationReport {
  private let results: [EvaluationResult]
  /// The name of each result.
  private let names: [String]

  /// - Parameter names: of the results, such as those of their files; nil takes those of their protocols.
  public init(_ results: [EvaluationResult], names: [String]? = nil) {
    precondition(names == nil || names?.count == results.count, "every result has a name")
    self.results = results
    self.names = names ?? results.map(\.protocolName)
  }

  /// Writes the page, which replaces a file of the same name when it is whole.
  public func write(to path: String) throws(Refusal) {
    try PublishedFile.write(Array(html.utf8), to: path)
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
    \(contents)
    \(results.indices.map(section).joined(separator: "\n"))
    </main>
    </body>
    </html>

    """
  }

  private var title: String {
    var models: [String] = []
    for model in results.compactMap(\.model) where !models.contains(model.name) { models.append(model.name) }
    if models.isEmpty { return "Evaluation of given answers" }
    return "Evaluation of \(models.joined(separator: ", "))"
  }

  /// Links to the sections, where there are several.
  private var contents: String {
    guard results.count > 1 else { return "" }
    let links = names.enumerated().map { "<a href=\"#result-\($0)\">\(escapedHTML($1))</a>" }
    return "<nav>\(links.joined(separator: " · "))</nav>"
  }

  private func section(_ number: Int) -> String {
    let result = results[number]
    let facts = [
      result.model.map { model in
        ["\(model.name), weights \(model.weights)"]
          + (model.positions.map { ["positions \($0)"] } ?? []) + ["identity \(model.identity.prefix(12))"]
      }?.joined(separator: ", ") ?? "given answers",
      "measured in \(result.seconds < 100 ? "\(Measure.rounded(result.seconds)) s" : "\(Int(result.seconds / 60 + 0.5)) min")",
    ]
    let plots = EvaluationPlots(result).all
    // By name, as in a result's file.
    let settings = result.settings.sorted { $0.key < $1.key }.map { "\($0.key) \(Self.text($0.value))" }
      .joined(separator: " · ")
    return """
      <section>
      <h2 id="result-\(number)">\(escapedHTML(names[number]))</h2>
      <p class="facts">\(escapedHTML(facts.joined(separator: " · ")))</p>
      <div class="plots">
      \(plots.map { "<figure>\($0)</figure>" }.joined(separator: "\n"))
      </div>
      <ul>\(result.notes.map { "<li>\(escapedHTML($0))</li>" }.joined())</ul>
      \(tables(result))
      <p class="facts">\(escapedHTML(settings))</p>
      </section>
      """
  }

  private static func text(_ value: JSONValue) -> String {
    if let members = value.object {
      return members.sorted { $0.key < $1.key }.map { "\($0.key) \(text($0.value))" }.joined(separator: ", ")
    }
    if let values = value.array { return values.map(text).joined(separator: ", ") }
    return value.string ?? String(decoding: value.canonical, as: UTF8.self)
  }

  /// The text of a cell; a dash where the row has no such column.
  private func cell(_ row: EvaluationResult.Row, _ column: String) -> String {
    let text = row.cell(column)
    return text.isEmpty ? "–" : escapedHTML(text)
  }

  // MARK: Tables

  /// One table, or one for each value of the label `table`.
  private func tables(_ result: EvaluationResult) -> String {
    result.parts(by: "table").map { name, rows in
      let columns = result.shownColumns(rows).map { (name: $0.name, kind: $0.isText ? " class=\"text\"" : "") }
      let heads = columns.map { "<th\($0.kind)>\(escapedHTML($0.name))</th>" }.joined()
      let lines = rows.map { row in
        let cells = columns.map { "<td\($0.kind)>\(cell(row, $0.name))</td>" }
        return "<tr>\(cells.joined())</tr>"
      }
      return """
        \(name.map { "<h3>\(escapedHTML($0))</h3>" } ?? "")
        <div class="table"><table><thead><tr>\(heads)</tr></thead>
        <tbody>\(lines.joined(separator: "\n"))</tbody></table></div>
        """
    }.joined(separator: "\n")
  }
}

extension EvaluationResult {
  /// The rows that share some labels, in order of first appearance.
  /// - Parameter rows: of the result; nil takes all.
  func parts(_ rows: [Row]? = nil, by columns: [String]) -> [(name: String, rows: [Row])] {
    var parts: [(name: String, rows: [Row])] = []
    for row in rows ?? self.rows {
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
