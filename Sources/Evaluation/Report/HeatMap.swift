/// Values over length and depth, as SVG: cells are faint where values are low.
struct HeatMap {
  var title: String
  var lengths: [Double]
  var depths: [Double]
  var cells: [(length: Double, depth: Double, measure: Measure)]

  /// The title of the lengths.
  private let lengthName: String

  /// The largest value that a cell can have.
  private let largest: Double

  /// - Parameters:
  ///   - length: the label that has the length.
  ///   - range: of the measure; nil takes 0 to the largest value.
  init(
    title: String, rows: [EvaluationResult.Row], length lengthName: String, measure: String,
    range: ClosedRange<Double>? = nil
  ) {
    self.title = title
    self.lengthName = lengthName
    cells = rows.compactMap { row in
      guard case .number(let length) = row.labels[lengthName], case .number(let depth) = row.labels["depth"],
        let value = row.measures[measure]
      else { return nil }
      return (length, depth, value)
    }
    lengths = Set(cells.map(\.length)).sorted()
    depths = Set(cells.map(\.depth)).sorted()
    largest = range?.upperBound ?? max(cells.map(\.measure.value).max() ?? 1, .leastNormalMagnitude)
  }

  var svg: String {
    let (cell, left, top) = ((width: 62.0, height: 26.0), 52.0, 30.0)
    let width = left + cell.width * Double(lengths.count)
    let bottom = top + cell.height * Double(depths.count)
    var parts = plotStart(
      width: max(width, 320), height: bottom + 40, title: title,
      attributes: "style=\"max-width: \(coordinate(max(width, 320)))px\" ")
    for (row, depth) in depths.enumerated() {
      let y = top + cell.height * (Double(row) + 0.5)
      parts.append(
        "<text class=\"tick end\" x=\"\(left - 8)\" y=\"\(coordinate(y))\" dy=\"4\">"
          + "\(Label.number(depth).description) %</text>")
    }
    for (column, length) in lengths.enumerated() {
      parts.append(
        "<text class=\"tick middle\" x=\"\(coordinate(left + cell.width * (Double(column) + 0.5)))\" "
          + "y=\"\(coordinate(bottom + 16))\">\(Label.number(length).description)</text>")
    }
    parts.append("<text class=\"tick end\" x=\"\(left - 8)\" y=\"\(coordinate(bottom + 16))\">depth</text>")
    parts.append("<text class=\"tick\" x=\"\(left)\" y=\"\(coordinate(bottom + 34))\">\(lengthName)</text>")
    let measured = Set(cells.map { [$0.length, $0.depth] })
    for (row, depth) in depths.enumerated() {
      for (column, length) in lengths.enumerated() where !measured.contains([length, depth]) {
        parts.append(
          "<text class=\"tick middle\" x=\"\(coordinate(left + cell.width * (Double(column) + 0.5)))\" "
            + "y=\"\(coordinate(top + cell.height * (Double(row) + 0.5)))\" dy=\"4\">–</text>")
      }
    }
    for entry in cells {
      guard let column = lengths.firstIndex(of: entry.length), let row = depths.firstIndex(of: entry.depth) else {
        continue
      }
      let (x, y) = (left + cell.width * Double(column), top + cell.height * Double(row))
      let share = min(max(entry.measure.value / largest, 0), 1)
      parts.append(
        "<rect class=\"cell\" x=\"\(coordinate(x + 1))\" y=\"\(coordinate(y + 1))\" width=\"\(cell.width - 2)\" "
          + "height=\"\(cell.height - 2)\" rx=\"3\" fill-opacity=\"\(0.06 + 0.94 * share)\"><title>"
          + "\(entry.measure.text)</title></rect>"
          + "<text class=\"\(share > 0.55 ? "value on" : "value")\" x=\"\(coordinate(x + cell.width / 2))\" "
          + "y=\"\(coordinate(y + cell.height / 2))\" dy=\"4\">\(Measure.rounded(entry.measure.value))</text>")
    }
    return (parts + ["</svg>"]).joined(separator: "\n")
  }
}
