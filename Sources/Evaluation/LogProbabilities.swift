import Glibc

/// The logarithms of the softmax of logits, in double precision.
public enum LogProbabilities {
  public static func of(_ logits: some Collection<Float>) -> [Double] {
    let largest = Double(logits.max() ?? 0)
    let sum = logits.reduce(0.0) { $0 + exp(Double($1) - largest) }
    let normalizer = largest + log(sum)
    return logits.map { Double($0) - normalizer }
  }
}
