public import CanonicalJSON
import Conversion
import Glibc

/// How a run differs from what is expected.
public struct GoldenComparison: Sendable {
  /// The largest difference in each expected tensor; infinite where it is missing or has another shape.
  public let differences: [(name: String, largest: Double, tolerance: Double)]
  public let treesAgree: Bool
  public let greedyAgrees: Bool
  /// The mean Kullback-Leibler divergence of the run's next-token distributions from the expected ones, in nats, over
  /// `logits`.
  public let meanDivergence: Double
  public let numeric: GoldenCase.Numeric

  /// The mean divergence that an int8 run may have on tiny random weights.
  public static let int8DivergenceLimit = 0.02

  /// Whether the run is within tolerance: in float every tensor, tree and token; in int8 the mean divergence.
  public var isWithinTolerance: Bool {
    switch numeric {
    case .float: treesAgree && greedyAgrees && differences.allSatisfy { $0.largest <= $0.tolerance }
    case .int8: meanDivergence <= Self.int8DivergenceLimit
    }
  }

  init(_ result: GoldenResult, to golden: GoldenCase, numeric: GoldenCase.Numeric) {
    self.numeric = numeric
    differences = golden.expected.tensors.sorted { $0.key < $1.key }.map { name, expected in
      let actual = result.tensors.tensors[name]
      return (name, Self.largestDifference(actual, expected), name.hasSuffix("logits") ? 1e-4 : 1e-5)
    }
    treesAgree = result.trees == golden.trees
    greedyAgrees = result.greedy == golden.greedy
    let expected = golden.expected.tensors["logits"]
    let actual = result.tensors.tensors["logits"]
    if let expected, let actual, expected.shape == actual.shape, let p = expected.floats, let q = actual.floats {
      meanDivergence = Self.meanDivergence(of: q, from: p, vocabulary: expected.shape.last ?? 1)
    } else {
      meanDivergence = .infinity
    }
  }

  private static func largestDifference(_ actual: SafetensorsFile.Tensor?, _ expected: SafetensorsFile.Tensor) -> Double
  {
    guard let actual, actual.shape == expected.shape else { return .infinity }
    func doubles(_ tensor: SafetensorsFile.Tensor) -> [Double] {
      switch tensor.values {
      case .float32(let values): values.map(Double.init)
      case .int32(let values): values.map(Double.init)
      }
    }
    return zip(doubles(actual), doubles(expected)).reduce(0) {
      max($0, abs($1.0 - $1.1).isNaN ? .infinity : abs($1.0 - $1.1))
    }
  }

  /// Σ p · (ln p - ln q), averaged over the rows; both from logits.
  public static func meanDivergence(of logits: [Float], from expected: [Float], vocabulary: Int) -> Double {
    let rows = expected.count / vocabulary
    guard rows > 0 else { return 0 }
    var sum = 0.0
    for row in 0..<rows {
      let range = row * vocabulary..<(row + 1) * vocabulary
      let p = LogProbabilities.of(expected[range])
      let q = LogProbabilities.of(logits[range])
      for (p, q) in zip(p, q) { sum += exp(p) * (p - q) }
    }
    return sum / Double(rows)
  }

  public var json: JSONValue {
    .members([
      "numeric": .string(numeric.rawValue),
      "differences": .object(
        differences.map { JSONValue.Member($0.name, $0.largest.isFinite ? .number($0.largest) : .null) }),
      "trees_agree": .boolean(treesAgree),
      "greedy_agrees": .boolean(greedyAgrees),
      "mean_divergence": meanDivergence.isFinite ? .number(meanDivergence) : .null,
      "within_tolerance": .boolean(isWithinTolerance),
    ])
  }
}

extension GoldenCase {
  /// Compares a run with what is expected.
  public func compare(_ result: GoldenResult, _ numeric: Numeric) -> GoldenComparison {
    GoldenComparison(result, to: self, numeric: numeric)
  }
}
