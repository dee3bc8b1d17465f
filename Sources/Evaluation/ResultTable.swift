import Glibc

extension EvaluationResult {
  /// The rows as tables of text; more than one where rows have a label `table`, its title.
  public var tables: [(title: String?, text: String)] {
    parts(by: "table").map { ($0.name, table($0.rows)) }
  }

  /// The columns that a table of some rows has.
  func shownColumns(_ rows: [Row]) -> [(name: String, isText: Bool)] {
    columns.filter { name in
      name != "table" && rows.contains { $0.labels[name] != nil || $0.measures[name] != nil }
    }.map { name in (name, rows.contains { if case .text = $0.labels[name] { true } else { false } }) }
  }

  /// A line of column names, then a line a row, columns aligned.
  private func table(_ rows: [Row]) -> String {
    let columns = shownColumns(rows)
    let cells = [columns.map(\.name)] + rows.map { row in columns.map { row.cell($0.name) } }
    let widths = columns.indices.map { column in cells.map { $0[column].count }.max() ?? 0 }
    let lines = cells.map { line in
      zip(line, zip(widths, columns)).map { cell, form in
        let space = String(repeating: " ", count: form.0 - cell.count)
        // Numbers are aligned at their right ends.
        return form.1.isText ? cell + space : space + cell
      }.joined(separator: "  ")
    }
    return lines.map { line in
      String(line.reversed().drop { $0 == " " }.reversed())
    }.joined(separator: "\n")
  }
}

extension EvaluationResult.Row {
  /// The text of a cell; empty where the row has no such column.
  func cell(_ column: String) -> String {
    if let label = labels[column] { return label.description }
    guard let measure = measures[column] else { return "" }
    return column.hasSuffix("_bytes") ? Self.bytes(measure.value) : measure.text
  }

  /// A number of bytes in a readable unit.
  private static func bytes(_ value: Double) -> String {
    let (unit, name) = value < 1e6 ? (1e3, "kB") : value < 1e9 ? (1e6, "MB") : (1e9, "GB")
    return "\(Measure.rounded(value / unit)) \(name)"
  }
}

extension Measure {
  /// `value [low, high]`, four significant digits.
  public var text: String {
    guard let low, let high else { return Self.rounded(value) }
    return "\(Self.rounded(value)) [\(Self.rounded(low)), \(Self.rounded(high))]"
  }

  /// Four significant digits; whole numbers stay whole.
  static func rounded(_ value: Double) -> String {
    if value == 0 || (value.rounded() == value && abs(value) < 1e15) { return String(Int(value)) }
    let magnitude = Int(floor(log10(abs(value))))
    if magnitude >= 3 { return String(Int(value.rounded())) }
    if magnitude < -6 { return value.description }
    let scale = pow(10, Double(3 - magnitude))
    return ((value * scale).rounded() / scale).description
  }
}
