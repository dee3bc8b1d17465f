/// A measured value, with its 95 % interval and the number of samples where it is a mean.
public struct Measure: Sendable, Equatable {
  public var value: Double
  public var low: Double?
  public var high: Double?
  /// Documents or samples; nil for what is no mean: bytes, seconds.
  public var count: Int?

  /// - Precondition: finite numbers.
  public init(_ value: Double, low: Double? = nil, high: Double? = nil, count: Int? = nil) {
    precondition(value.isFinite && (low ?? 0).isFinite && (high ?? 0).isFinite, "a measure is a finite number")
    self.value = value
    self.low = low
    self.high = high
    self.count = count
  }

  /// The measure of an increasing function of what was measured: quantiles go through it unchanged.
  public func mapped(_ increasing: (Double) -> Double) -> Measure {
    Measure(increasing(value), low: low.map(increasing), high: high.map(increasing), count: count)
  }
}
