import Glibc

/// A token and how likely the model holds it to be next.
public struct TokenProbability: Sendable, Hashable {
  public var token: Int32
  /// The natural logarithm of its probability.
  public var logProbability: Float

  public init(token: Int32, logProbability: Float) {
    self.token = token
    self.logProbability = logProbability
  }
}

/// The probabilities that logits stand for, before any sampling option changes them.
public struct TokenProbabilities: Sendable {
  private let logits: [Float]
  /// The logarithm of the sum of all tokens' weights.
  private let logSum: Double

  /// - Parameter logits: (vocabulary); one that is not a number counts as impossible.
  public init(_ logits: [Float]) {
    self.logits = logits
    let largest = logits.reduce(-Float.infinity) { $1 > $0 ? $1 : $0 }
    guard largest.isFinite else {
      logSum = Double(largest)
      return
    }
    logSum = Double(largest) + log(logits.reduce(0.0) { $1.isNaN ? $0 : $0 + exp(Double($1 - largest)) })
  }

  /// How likely a token is.
  public func probability(of token: Int32) -> TokenProbability {
    let logit = logits[Int(token)]
    guard logSum.isFinite, !logit.isNaN else { return TokenProbability(token: token, logProbability: -.infinity) }
    return TokenProbability(token: token, logProbability: Float(min(Double(logit) - logSum, 0)))
  }

  /// The most likely tokens, most likely first; of equals the first of the vocabulary.
  public func mostLikely(_ count: Int) -> [TokenProbability] {
    var best: [Int] = []
    for (token, logit) in logits.enumerated() where !logit.isNaN {
      guard best.count < count || best.last.map({ logit > logits[$0] }) ?? false else { continue }
      if best.count == count { best.removeLast() }
      let place = best.firstIndex { logit > logits[$0] } ?? best.count
      best.insert(token, at: place)
    }
    return best.map { probability(of: Int32($0)) }
  }
}
