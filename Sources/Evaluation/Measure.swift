/// A measured value, with its 95 % interval and the number of samples where it is a mean.
public struct Measure: Sendable, Equatable {
  public var value: Double
  public var low: Double?
  public var high: Double?
  /// Documents or samples; nil for what is not a mean, such as bytes and seconds.
  public var count: Int?

  /// - Precondition: finite numbers.
  public init(_ value: Double, low: Double? = nil, high: Double? = nil, count: Int? = nil) {
    precondition(value.isFinite && (low ?? 0).isFinite && (high ?? 0).isFinite, "a measure is a finite number")
    self.value = value
    self.low = low
    self.high = high
    self.count = count
  }

  /// The share of samples of which something holds, with Wilson's 95 % interval: unlike a bootstrap it does not claim
  /// that what held of a few samples holds of all.
  ///
  /// Source: E. Wilson, Probable inference, the law of succession, and statistical inference, J. Am. Stat. Assoc. 22, 1927.
  /// - Precondition: `samples` is not empty; each is 0 or 1.
  public static func proportion(of samples: [Double]) -> Measure {
    precondition(!samples.isEmpty && samples.allSatisfy { $0 == 0 || $0 == 1 }, "a proportion is of samples, yes or no")
    let (right, count) = (samples.reduce(0, +), Double(samples.count))
    // The 97.5 % quantile of the normal distribution.
    let z = 1.959963984540054
    let center = (right + z * z / 2) / (count + z * z)
    let reach = z / (count + z * z) * (right * (count - right) / count + z * z / 4).squareRoot()
    return Measure(
      right / count, low: right == 0 ? 0 : center - reach, high: right == count ? 1 : center + reach,
      count: samples.count)
  }

  /// The measure of an increasing function of what was measured: quantiles go through it unchanged.
  public func mapped(_ increasing: (Double) -> Double) -> Measure {
    Measure(increasing(value), low: low.map(increasing), high: high.map(increasing), count: count)
  }
}
