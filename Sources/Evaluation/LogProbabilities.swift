import Glibc

/// The logarithms of the softmax of logits, in double precision.
public enum LogProbabilities {
  public static func of(_ logits: some Collection<Float>) -> [Double] {
    let normalizer = normalizer(logits)
    return logits.map { Double($0) - normalizer }
  }

  /// The log probability of one token.
  public static func of(_ token: Int, in logits: ArraySlice<Float>) -> Double {
    Double(logits[logits.startIndex + token]) - normalizer(logits)
  }

  private static func normalizer(_ logits: some Collection<Float>) -> Double {
    let largest = Double(logits.max() ?? 0)
    return largest + log(logits.reduce(0.0) { $0 + exp(Double($1) - largest) })
  }
}
