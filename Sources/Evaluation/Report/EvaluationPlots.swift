/// The plots of a result: what its rows say at a glance.
///
/// A sweep has a plot for each factor; rows with several depths make heat maps; rows with several lengths make lines;
/// others make a plot with a line for each row.
struct EvaluationPlots {
  private let result: EvaluationResult
  /// The labels that tell rows apart, in the order of the columns.
  private let labels: [String]

  init(_ result: EvaluationResult) {
    self.result = result
    labels = result.columns.filter { column in
      let values = Set(result.rows.compactMap { $0.labels[column] })
      return !["table", "remark", "setting"].contains(column)
        && (values.count > 1 || !values.isEmpty && Self.facets.contains(column))
    }
  }

  /// Columns whose values each get plots of their own.
  private static let facets = ["domain", "task"]

  var all: [String] {
    if labels.contains("factor") { return factors }
    let x = ["windows", "length"].first { isNumber($0) && labels.contains($0) }
    let isGrid = labels.contains("depth") && isNumber("depth")
    guard let x else { return isGrid ? [] : dots }
    return (isGrid ? heatMaps(x) : []) + lines(x)
  }

  /// The measures that are plotted, each with the value to draw a line at.
  private var plotted: [(measure: String, reference: Double?)] {
    let candidates: [(String, Double?)] = [
      ("perplexity", nil), ("to_truncated", 1), ("to_float32", 1), ("accuracy", nil), ("leaf", nil), ("score", nil),
      ("passkey", nil), ("key_value", nil), ("fact", nil), ("second_question", nil), ("read_per_second", nil),
      ("write_per_second", nil), ("view_bytes", nil), ("kept_bytes", nil), ("peak_bytes", nil),
    ]
    return candidates.filter { candidate in result.rows.contains { $0.measures[candidate.0] != nil } }
  }

  private func isNumber(_ column: String) -> Bool {
    result.rows.contains { if case .number = $0.labels[column] { true } else { false } }
  }

  /// The whole of a measure's range, where it has one.
  private func range(of measure: String) -> ClosedRange<Double>? {
    switch measure {
    case "accuracy", "leaf", "passkey", "key_value", "fact", "second_question": 0...1
    case "score": 0...100
    default: nil
    }
  }

  /// A plot for each factor of a sweep.
  private var factors: [String] {
    var plots: [String] = []
    for (factor, rows) in result.parts(by: ["factor"]) {
      var seen: Set<Label> = []
      let values: [(name: String, measure: Measure)] = rows.compactMap { row in
        guard let measure = row.measures["to_default"], let value = row.labels["value"], seen.insert(value).inserted
        else { return nil }
        return ("\(value)\(row.labels["remark"] == "default" ? " (default)" : "")", measure)
      }
      guard values.count > 1 else { continue }
      plots.append(DotPlot(title: "\(factor): perplexity, default = 1", rows: values, reference: 1).svg)
    }
    return plots
  }

  private func heatMaps(_ x: String) -> [String] {
    let rows = result.rows.filter { $0.labels["depth"] != nil }
    return result.parts(rows, by: labels.filter { $0 != x && $0 != "depth" }).flatMap { name, rows in
      plotted.compactMap { measure, _ in
        let map = HeatMap(
          title: title(name, measure), rows: rows, length: x, measure: measure, range: range(of: measure))
        return map.cells.isEmpty ? nil : map.svg
      }
    }
  }

  /// A plot for each domain or task; the other labels tell its lines apart.
  private func lines(_ x: String) -> [String] {
    let hasDepths = labels.contains("depth")
    let rows = result.rows.filter { !hasDepths || $0.labels["depth"] == nil }
    let facet = Self.facets.filter(labels.contains)
    var plots: [String] = []
    for (name, rows) in result.parts(rows, by: facet) {
      for (measure, reference) in plotted {
        var series = PlotSeries.split(
          rows, x: x, measure: measure, columns: labels, leavingOut: Set(facet))
        if measure.hasSuffix("_bytes") { series = series.map { $0.scaled(by: 1e-6) } }
        guard series.contains(where: { $0.points.count > 1 }) else { continue }
        plots.append(
          LinePlot(
            title: title(name, measure), xTitle: x, series: series, reference: reference, range: range(of: measure)
          ).svg)
      }
    }
    return plots
  }

  private var dots: [String] {
    plotted.compactMap { measure, reference in
      let rows = result.rows.compactMap { row in row.measures[measure].map { (name: row.name(labels), measure: $0) } }
      guard rows.count > 1 else { return nil }
      return DotPlot(title: title("", measure), rows: rows, reference: reference, range: range(of: measure)).svg
    }
  }

  private func title(_ name: String, _ measure: String) -> String {
    let measure = Self.names[measure] ?? measure
    return name.isEmpty ? measure : "\(name): \(measure)"
  }

  private static let names = [
    "to_truncated": "perplexity, truncated = 1", "to_float32": "perplexity, rows in float32 = 1",
    "passkey": "pass keys found", "key_value": "values found by their key", "fact": "facts found",
    "second_question": "second questions answered", "read_per_second": "tokens read a second",
    "write_per_second": "tokens written a second", "view_bytes": "MB of keys and values attended to",
    "kept_bytes": "MB of keys and values kept", "peak_bytes": "MB of memory, at most",
    "accuracy": "share of right answers", "leaf": "share of answers in an opened leaf",
  ]
}
