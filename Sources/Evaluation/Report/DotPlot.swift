/// Values with intervals, one a line, as SVG: what a change does, beside a line for no change.
struct DotPlot {
  var title: String
  var rows: [(name: String, measure: Measure)]
  /// A value to draw a line at.
  var reference: Double?
  /// The range of the axis; nil fits it to the values.
  var range: ClosedRange<Double>?

  private static let (width, right, top, line) = (640.0, 20.0, 30.0, 20.0)

  var svg: String {
    let values = rows.flatMap { [$0.measure.low ?? $0.measure.value, $0.measure.high ?? $0.measure.value] }
    guard let scale = Scale(values + [reference].compactMap(\.self), range: range) else { return "" }
    // Names are read from the left of the page; a character has about 6.5 units.
    let left = min(max(110, 20 + 6.5 * Double(rows.map(\.name.count).max() ?? 0)), 400)
    let bottom = Self.top + Self.line * Double(rows.count)
    func horizontal(_ value: Double) -> Double {
      left + scale.share(value) * (Self.width - left - Self.right)
    }
    var parts = plotStart(width: Self.width, height: bottom + 26, title: title)
    for tick in scale.ticks {
      let x = coordinate(horizontal(tick))
      parts.append(
        "<line class=\"grid\" x1=\"\(x)\" x2=\"\(x)\" y1=\"\(Self.top)\" y2=\"\(bottom)\"/>"
          + "<text class=\"tick middle\" x=\"\(x)\" y=\"\(coordinate(bottom + 18))\">\(scale.text(tick))</text>")
    }
    if let x = reference.map({ coordinate(horizontal($0)) }) {
      parts.append("<line class=\"reference\" x1=\"\(x)\" x2=\"\(x)\" y1=\"\(Self.top)\" y2=\"\(bottom)\"/>")
    }
    parts.append("<g class=\"series s1\">")
    for (number, row) in rows.enumerated() {
      let y = coordinate(Self.top + Self.line * (Double(number) + 0.5))
      parts.append(
        "<text class=\"end\" x=\"\(coordinate(left - 10))\" y=\"\(y)\" dy=\"4\">\(escapedHTML(row.name))</text>")
      if let low = row.measure.low, let high = row.measure.high {
        parts.append(
          "<line x1=\"\(coordinate(horizontal(low)))\" x2=\"\(coordinate(horizontal(high)))\" y1=\"\(y)\" y2=\"\(y)\"/>"
        )
      }
      parts.append(
        "<circle cx=\"\(coordinate(horizontal(row.measure.value)))\" cy=\"\(y)\" r=\"3.5\"><title>"
          + "\(escapedHTML(row.name)): \(row.measure.text)</title></circle>")
    }
    return (parts + ["</g>", "</svg>"]).joined(separator: "\n")
  }
}
