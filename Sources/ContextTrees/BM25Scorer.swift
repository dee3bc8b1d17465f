import Glibc

/// Okapi BM25 with k1 1.5 and b 0.75, and the idf that is never negative, ln(1 + (N − df + 0.5) / (df + 0.5)).
/// Source: S. Robertson and H. Zaragoza, The Probabilistic Relevance Framework: BM25 and Beyond, 2009, section 3.
enum BM25 {
  private static let saturation = 1.5
  private static let lengthShare = 0.75

  /// The weight of a term that `frequency` of `total` parts have.
  static func weight(frequency: Double, of total: Double) -> Double {
    log(1 + (total - frequency + 0.5) / (frequency + 0.5))
  }

  /// What the length of a part, of so many terms, takes from their scores.
  static func damping(count: Int, mean: Double) -> Double {
    saturation * (1 - lengthShare + lengthShare * Double(count) / mean)
  }

  /// What a term gives to any score is below it.
  static func limit(weight: Double) -> Double { weight * (saturation + 1) }

  /// What a term gives to the score of a part that has it `count` times.
  static func score(weight: Double, count: Double, damping: Double) -> Double {
    weight * count * (saturation + 1) / (count + damping)
  }
}

/// Scores parts of a context by the tokens that they share with a query: the rarer a token is in the context, the more it
/// counts.
package struct BM25Scorer: Sendable {
  private let inverseFrequencies: [Int32: Double]
  private let meanCount: Double

  /// - Parameter parts: of the context, in which tokens are counted.
  package init(parts: [ArraySlice<Int32>]) {
    var counts: [Int32: Int] = [:]
    for part in parts {
      for token in Set(part) { counts[token, default: 0] += 1 }
    }
    let total = Double(parts.count)
    inverseFrequencies = counts.mapValues { BM25.weight(frequency: Double($0), of: total) }
    meanCount = max(Double(parts.reduce(0) { $0 + $1.count }) / max(total, 1), 1)
  }

  /// How well a part fits the query: greater is better, and 0 means that they have no token in common.
  package func score(of part: ArraySlice<Int32>, for query: [Int32]) -> Float {
    var counts: [Int32: Double] = [:]
    for token in part { counts[token, default: 0] += 1 }
    let damping = BM25.damping(count: part.count, mean: meanCount)
    // In the order of the query, so that sums are the same in every run.
    var seen: Set<Int32> = []
    var sum = 0.0
    for token in query where seen.insert(token).inserted {
      guard let count = counts[token], let weight = inverseFrequencies[token] else { continue }
      sum += BM25.score(weight: weight, count: count, damping: damping)
    }
    return Float(sum)
  }
}

extension ContextTree {
  /// The tokens of the nodes of the deepest level, in order.
  /// - Parameter tokens: the chunk's.
  package func leaves(of tokens: [Int32]) -> [ArraySlice<Int32>] {
    nodes.filter { $0.level == shape.depth }.map { tokens[$0.range] }
  }
}
