import Glibc

/// Lines over a number that doubles, with intervals, as SVG.
struct LinePlot {
  var title: String
  var xTitle: String
  var series: [PlotSeries]
  /// A value to draw a line at.
  var reference: Double?
  /// The range of the axis; nil fits it to the values.
  var range: ClosedRange<Double>?

  private static let (width, height) = (640.0, 300.0)
  private static let (left, right, top, bottom) = (56.0, 12.0, 30.0, 40.0)
  /// The number of series colours that the page has.
  static let colourCount = 6

  var svg: String {
    let numbers = Set(series.flatMap { $0.points.map(\.x) }).sorted()
    let measures = series.flatMap { $0.points.map(\.measure) }
    let values = measures.flatMap { [$0.low ?? $0.value, $0.high ?? $0.value] } + [reference].compactMap(\.self)
    guard let first = numbers.first, let last = numbers.last,
      let scale = Scale(values, range: range, allowsDecades: true)
    else { return "" }
    let isLogarithmic = first > 0 && last > 4 * first
    func scaled(_ x: Double) -> Double { isLogarithmic ? log2(x) : x }
    func horizontal(_ x: Double) -> Double {
      let share = last > first ? (scaled(x) - scaled(first)) / (scaled(last) - scaled(first)) : 0.5
      return Self.left + 20 + share * (Self.width - Self.left - Self.right - 40)
    }
    func vertical(_ y: Double) -> Double {
      Self.height - Self.bottom - scale.share(y) * (Self.height - Self.top - Self.bottom)
    }

    var parts = plotStart(width: Self.width, height: Self.height, title: title)
    for tick in scale.ticks {
      let y = coordinate(vertical(tick))
      parts.append(
        "<line class=\"grid\" x1=\"\(Self.left)\" x2=\"\(Self.width - Self.right)\" y1=\"\(y)\" y2=\"\(y)\"/>"
          + "<text class=\"tick end\" x=\"\(Self.left - 8)\" y=\"\(y)\" dy=\"4\">\(scale.text(tick))</text>")
    }
    if let reference {
      let y = coordinate(vertical(reference))
      parts.append(
        "<line class=\"reference\" x1=\"\(Self.left)\" x2=\"\(Self.width - Self.right)\" y1=\"\(y)\" y2=\"\(y)\"/>")
    }
    for x in numbers {
      parts.append(
        "<text class=\"tick middle\" x=\"\(coordinate(horizontal(x)))\" y=\"\(Self.height - Self.bottom + 18)\">"
          + "\(Label.number(x).description)</text>")
    }
    parts.append(
      "<text class=\"tick middle\" x=\"\((Self.left + Self.width - Self.right) / 2)\" y=\"\(Self.height - 4)\">"
        + "\(escapedHTML(xTitle))</text>")
    for (number, line) in series.enumerated() {
      // Side by side, so that no interval hides another.
      let shift = (Double(number) - Double(series.count - 1) / 2) * 4
      let points = line.points.map { (x: horizontal($0.x) + shift, y: vertical($0.measure.value), measure: $0.measure) }
      parts.append("<g class=\"series \(Self.style(number))\">")
      parts.append(
        "<polyline points=\"\(points.map { "\(coordinate($0.x)),\(coordinate($0.y))" }.joined(separator: " "))\"/>")
      for (point, source) in zip(points, line.points) {
        if let low = point.measure.low, let high = point.measure.high {
          parts.append(
            "<line x1=\"\(coordinate(point.x))\" x2=\"\(coordinate(point.x))\" y1=\"\(coordinate(vertical(low)))\" "
              + "y2=\"\(coordinate(vertical(high)))\"/>")
        }
        parts.append(
          "<circle cx=\"\(coordinate(point.x))\" cy=\"\(coordinate(point.y))\" r=\"3.5\"><title>"
            + "\(escapedHTML(line.name)), \(Label.number(source.x).description): \(point.measure.text)</title></circle>"
        )
      }
      parts.append("</g>")
    }
    parts.append("</svg>")
    return parts.joined(separator: "\n") + legend
  }

  /// The class of a series: where there are more than colours, lines are broken.
  private static func style(_ number: Int) -> String {
    let round = number / colourCount
    return "s\(number % colourCount + 1)" + (round > 0 ? " d\(min(round, 2))" : "")
  }

  private var legend: String {
    guard series.count > 1 || !(series.first?.name.isEmpty ?? true) else { return "" }
    let entries = series.enumerated().map { number, line in
      "<span class=\"entry \(Self.style(number))\"><i></i>\(escapedHTML(line.name))</span>"
    }
    return "\n<p class=\"legend\">\(entries.joined(separator: " "))</p>"
  }
}

/// An axis of values with round ticks.
struct Scale {
  let low: Double
  let high: Double
  let step: Double
  /// Whether the axis has the decimal logarithms of the values.
  private(set) var isLogarithmic = false

  /// - Parameter allowsDecades: whether values that are many times each other make the axis logarithmic.
  /// - Returns: nil without values.
  init?(_ values: [Double], range: ClosedRange<Double>?, allowsDecades: Bool = false) {
    guard let low = values.min(), let high = values.max() else { return nil }
    if allowsDecades, range == nil, low > 0, high > 20 * low {
      self.init(low: floor(log10(low)), high: ceil(log10(high)))
      isLogarithmic = true
    } else {
      self.init(low: range?.lowerBound ?? low, high: range?.upperBound ?? high)
    }
  }

  init(low: Double, high: Double) {
    let range = high > low ? high - low : max(abs(high), 1) * 0.1
    let rough = range / 4
    let magnitude = pow(10, floor(log10(rough)))
    step = ([1, 2, 2.5, 5, 10].first { $0 * magnitude >= rough } ?? 10) * magnitude
    self.low = floor(low / step) * step
    self.high = max(ceil(high / step) * step, self.low + step)
  }

  func share(_ value: Double) -> Double { ((isLogarithmic ? log10(value) : value) - low) / (high - low) }

  var ticks: [Double] {
    if isLogarithmic {
      let factors = high - low > 2 ? [1.0] : [1, 2, 5]
      return (Int(low)...Int(high)).flatMap { decade in factors.map { $0 * pow(10, Double(decade)) } }
        .filter { share($0) <= 1 }
    }
    return (0...Int(((high - low) / step).rounded())).map { low + Double($0) * step }
  }

  /// With as many digits as the step needs.
  func text(_ tick: Double) -> String {
    if isLogarithmic { return Label.number(tick).description }
    let digits = max(0, Int(ceil(-log10(step) - 1e-9)) + (step / pow(10, floor(log10(step))) == 2.5 ? 1 : 0))
    let factor = pow(10, Double(digits))
    let rounded = (tick * factor).rounded() / factor
    return digits == 0 ? String(Int(rounded)) : rounded.description
  }
}
