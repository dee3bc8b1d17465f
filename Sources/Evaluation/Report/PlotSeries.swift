/// Rows that differ in one number only, such as the length: a line of a plot, or a row of a heat map.
struct PlotSeries {
  var name: String
  var points: [(x: Double, measure: Measure)]

  /// Splits rows into series by their other labels.
  /// - Parameters:
  ///   - x: the label that is a number in every row that counts.
  ///   - leavingOut: labels that the series share.
  static func split(
    _ rows: [EvaluationResult.Row], x: String, measure: String, columns: [String], leavingOut: Set<String>
  ) -> [PlotSeries] {
    var series: [PlotSeries] = []
    for row in rows {
      guard case .number(let number) = row.labels[x], let value = row.measures[measure] else { continue }
      let name = row.name(columns.filter { $0 != x && !leavingOut.contains($0) })
      if let known = series.firstIndex(where: { $0.name == name }) {
        series[known].points.append((number, value))
      } else {
        series.append(PlotSeries(name: name, points: [(number, value)]))
      }
    }
    return series.map { PlotSeries(name: $0.name, points: $0.points.sorted { $0.x < $1.x }) }
  }

  /// In another unit.
  func scaled(by factor: Double) -> PlotSeries {
    PlotSeries(name: name, points: points.map { ($0.x, $0.measure.mapped { $0 * factor }) })
  }
}

extension EvaluationResult.Row {
  /// The labels of some columns, one after another.
  func name(_ columns: [String]) -> String {
    columns.compactMap { column in
      switch labels[column] {
      case nil: nil
      case .text(let text): text
      case .number: "\(column) \(labels[column]?.description ?? "")"
      }
    }.joined(separator: " ")
  }
}
