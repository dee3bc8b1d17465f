import SeededRandom

/// Percentile bootstrap intervals of means over documents or samples.
///
/// Samples are drawn with replacement, as many as there are, `resampleCount` times; the interval runs between the
/// 2.5 % and the 97.5 % quantile of the resampled means (interpolated linearly between order statistics). The same
/// values and seed give the same interval on every machine.
///
/// Source: B. Efron, R. Tibshirani, An Introduction to the Bootstrap, 1993, section 13.3.
public struct Bootstrap: Sendable {
  public let resampleCount: Int
  public let seed: UInt64
  /// The share of resampled means that the interval holds.
  public static let confidence = 0.95

  /// - Precondition: `resampleCount` is positive.
  public init(resampleCount: Int = 4000, seed: UInt64 = 1) {
    precondition(resampleCount > 0, "an interval needs resamples")
    self.resampleCount = resampleCount
    self.seed = seed
  }

  /// The mean of values and its interval; fewer than two values have no interval.
  /// - Precondition: `values` is not empty and finite.
  public func mean(of values: [Double]) -> Measure {
    precondition(!values.isEmpty && values.allSatisfy(\.isFinite), "a mean needs finite values")
    let mean = values.reduce(0, +) / Double(values.count)
    guard values.count > 1 else { return Measure(mean, count: 1) }
    var generator = SplitMix64(state: seed)
    let means = (0..<resampleCount).map { _ in
      var sum = 0.0
      for _ in values { sum += values[generator.next(below: values.count)] }
      return sum / Double(values.count)
    }.sorted()
    let tail = (1 - Self.confidence) / 2
    return Measure(
      mean, low: Self.quantile(tail, ofSorted: means), high: Self.quantile(1 - tail, ofSorted: means),
      count: values.count)
  }

  /// The mean of scores: that of right and wrong answers, 1 and 0, is a proportion with Wilson's interval.
  public func mean(of scores: [Double], areYesOrNo: Bool) -> Measure {
    areYesOrNo ? .proportion(of: scores) : mean(of: scores)
  }

  /// The mean of `a[i] - b[i]` and its interval: both values of a pair are drawn together, so what documents have in
  /// common cancels.
  /// - Precondition: as many values in `a` as in `b`, and as `mean(of:)`.
  public func difference(_ a: [Double], _ b: [Double]) -> Measure {
    precondition(a.count == b.count, "differences are of pairs")
    return mean(of: zip(a, b).map { $0 - $1 })
  }

  /// - Parameter values: ascending, not empty.
  static func quantile(_ share: Double, ofSorted values: [Double]) -> Double {
    let rank = share * Double(values.count - 1)
    let below = Int(rank)
    let above = min(below + 1, values.count - 1)
    return values[below] + (values[above] - values[below]) * (rank - Double(below))
  }
}
