import FileAccess
import Glibc
import SharedPack

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

  /// The mean negative log probability of tokens.
  /// - Parameter logits: a row for each token, which expects it, as many of them or more: (tokens, vocabulary).
  /// - Throws: `Refusal` `not-finite`.
  static func meanLoss(
    of tokens: some Collection<Int32>, in logits: [Float], _ model: LanguageModel
  ) throws(Refusal) -> Double {
    let vocabulary = model.configuration.vocabularySize
    var sum = 0.0
    for (index, token) in tokens.enumerated() {
      sum -= of(Int(token), in: logits[index * vocabulary..<(index + 1) * vocabulary])
    }
    guard sum.isFinite else {
      throw Refusal(.notFinite, file: model.pack.path, "its probabilities for a text are not finite")
    }
    return sum / Double(tokens.count)
  }

  private static func normalizer(_ logits: some Collection<Float>) -> Double {
    let largest = Double(logits.max() ?? 0)
    return largest + log(logits.reduce(0.0) { $0 + exp(Double($1) - largest) })
  }
}
