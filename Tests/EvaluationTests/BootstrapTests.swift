import Testing

@testable import Evaluation

/// Intervals are claims in a paper's table: they must be those of the definition, the same on every machine.
@Suite struct BootstrapTests {
  /// Quantiles of 1, 2, 4, 8 as NumPy interpolates them.
  @Test func quantiles() {
    let values = [1.0, 2, 4, 8]
    #expect(Bootstrap.quantile(0, ofSorted: values) == 1)
    #expect(Bootstrap.quantile(0.5, ofSorted: values) == 3)
    #expect(Bootstrap.quantile(0.75, ofSorted: values) == 5)
    #expect(Bootstrap.quantile(1, ofSorted: values) == 8)
  }

  /// Means and intervals that a program of a few lines with numpy.percentile found for the same draws.
  @Test func means() {
    let few = Bootstrap(resampleCount: 1000, seed: 7).mean(of: [1, 2, 4, 8, 16])
    #expect(few == Measure(6.2, low: 2, high: 11.4, count: 5))
    #expect(Bootstrap().mean(of: [3, 1, 4, 1, 5, 9, 2, 6]) == Measure(3.875, low: 2.25, high: 5.75, count: 8))
    let between = Bootstrap(resampleCount: 50, seed: 7).mean(of: [0.1, 0.7, 1.9, 3.3, 7.7])
    #expect(abs((between.low ?? 0) - 0.541) < 1e-12 && abs((between.high ?? 0) - 5.051) < 1e-12)
    #expect(Bootstrap().mean(of: [2.5]) == Measure(2.5, count: 1))
    #expect(Bootstrap().mean(of: [2, 2, 2]) == Measure(2, low: 2, high: 2, count: 3))
  }

  /// What all documents have in common adds nothing to the uncertainty of a paired difference.
  @Test func differences() {
    let a = [10.0, 200, 3000, 40000]
    let difference = Bootstrap().difference(a.map { $0 + 0.5 }, a)
    #expect(difference == Measure(0.5, low: 0.5, high: 0.5, count: 4))
  }

  /// Intervals as R's `prop.test` without its correction finds them: four right answers of four claim little.
  @Test(arguments: [(4, 4, 0.5101092, 1.0), (3, 10, 0.1077913, 0.6032219), (0, 4, 0, 0.4898908)])
  func proportions(right: Int, count: Int, low: Double, high: Double) throws {
    let samples = (0..<count).map { $0 < right ? 1.0 : 0 }
    let share = Measure.proportion(of: samples)
    #expect(share.value == Double(right) / Double(count) && share.count == count)
    #expect(try abs(#require(share.low) - low) < 1e-7 && abs(#require(share.high) - high) < 1e-7)
    #expect(Bootstrap().mean(of: samples, areYesOrNo: true) == share)
    #expect(Bootstrap().mean(of: samples, areYesOrNo: false) == Bootstrap().mean(of: samples))
  }

  /// The interval of a perplexity is that of its logarithm, mapped.
  @Test func mappedMeasure() {
    #expect(Measure(1, low: 0, high: 2, count: 3).mapped { $0 * 2 } == Measure(2, low: 0, high: 4, count: 3))
  }
}
