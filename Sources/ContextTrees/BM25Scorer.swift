import Glibc

/// Scores parts of a context by the tokens that they share with a query: the rarer a token is in the context, the more it
/// counts.
///
/// Okapi BM25 with k1 1.5 and b 0.75, and the idf that is never negative, ln(1 + (N − df + 0.5) / (df + 0.5)).
/// Source: S. Robertson and H. Zaragoza, The Probabilistic Relevance Framework: BM25 and Beyond, 2009, section 3.
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
    inverseFrequencies = counts.mapValues { log(1 + (total - Double($0) + 0.5) / (Double($0) + 0.5)) }
    meanCount = max(Double(parts.reduce(0) { $0 + $1.count }) / max(total, 1), 1)
  }

  /// How well a part fits the query: greater is better, and 0 means that they have no token in common.
  package func score(of part: ArraySlice<Int32>, for query: [Int32]) -> Float {
    let (saturation, lengthShare) = (1.5, 0.75)
    var counts: [Int32: Double] = [:]
    for token in part { counts[token, default: 0] += 1 }
    let damping = saturation * (1 - lengthShare + lengthShare * Double(part.count) / meanCount)
    // In the order of the query, so that sums are the same in every run.
    var seen: Set<Int32> = []
    var sum = 0.0
    for token in query where seen.insert(token).inserted {
      guard let count = counts[token], let weight = inverseFrequencies[token] else { continue }
      sum += weight * count * (saturation + 1) / (count + damping)
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
