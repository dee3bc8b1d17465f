import SeededRandom

/// How a search chooses between the two children of a node on the way from the root to the leaves.
/// Source of all but the last four: arXiv 2410.19318, section 3.2; those are alternatives to `cosine`.
public enum SearchPolicy: Sendable, Hashable {
  /// The child nearest to the running text; the paper's choice for language modelling.
  case right
  case left
  /// Decided by the seed, the chunk and the level alone.
  case random(seed: UInt64)
  /// The child whose embedding is most similar to the query's; the left one of equals.
  case cosine
  /// The child whose embedding has the greater inner product with the query's.
  case dot
  /// The child whose embedding is nearer to the query's.
  case distance
  /// Cosine after the mean of the chunk's nodes is subtracted from both, as hidden states have a direction in common.
  case centred
  /// The child that scores higher by Okapi BM25 over tokens (`BM25Scorer`): it has more of the query's rare ones; the
  /// left one of equals. The model need not have been trained to search.
  case bm25

  /// Whether the nodes kept depend on a query.
  public var looksAtQuery: Bool {
    switch self {
    case .right, .left, .random: false
    case .cosine, .dot, .distance, .centred, .bm25: true
    }
  }

  /// Whether nodes are compared by their embeddings.
  public var looksAtEmbeddings: Bool { looksAtQuery && self != .bm25 }

  /// The name that command lines and results use: `right`, `left`, `random`, `cosine`, `dot`, `distance`, `centred` or
  /// `bm25`.
  public var name: String {
    switch self {
    case .right: "right"
    case .left: "left"
    case .random: "random"
    case .cosine: "cosine"
    case .dot: "dot"
    case .distance: "distance"
    case .centred: "centred"
    case .bm25: "bm25"
    }
  }
}

extension ContextTree {
  /// The nodes that are kept of a chunk: at every level the sibling of the expanded one, at the deepest level both.
  /// They partition the chunk.
  ///
  /// - Parameters:
  ///   - chunk: the chunk's number, which only the random policy uses.
  ///   - score: how well a node fits the query; asked only by policies that look at the query.
  /// - Returns: coarse nodes first; of the deepest two, the left one first.
  package func preservedNodes<Failure: Error>(
    policy: SearchPolicy, chunk: Int, score: (TreeNode) throws(Failure) -> Float
  ) throws(Failure) -> [TreeNode] {
    // A right child has an odd number. Of equal children the left one is expanded.
    try preservedNodes(rule: .path) { (node) throws(Failure) in
      switch policy {
      case .right: node.number % 2 == 1 ? 1 : 0
      case .left: 0
      case .random(let seed): node.number % 2 == 1 && Self.coin(seed: seed, chunk: chunk, level: node.level) ? 1 : 0
      case .cosine, .dot, .distance, .centred, .bm25: try score(node)
      }
    }
  }

  /// A fair coin.
  private static func coin(seed: UInt64, chunk: Int, level: Int) -> Bool {
    SplitMix64(state: seed).value(after: UInt64(chunk) << 8 | UInt64(level)) & 1 == 1
  }
}

/// The cosine of the angle between two vectors; 0 for one that is shorter than 1e-6.
/// Source: arXiv 2410.19318, section 3.2; the floor is the authors' code's.
package func cosineSimilarity(_ x: [Float], _ y: [Float]) -> Float {
  var product: Double = 0
  var xx: Double = 0
  var yy: Double = 0
  for i in 0..<min(x.count, y.count) {
    let (a, b) = (Double(x[i]), Double(y[i]))
    product += a * b
    xx += a * a
    yy += b * b
  }
  return Float(product / (max(xx.squareRoot(), 1e-6) * max(yy.squareRoot(), 1e-6)))
}
