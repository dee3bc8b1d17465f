/// Which child of a node is expanded on the way from the root to the leaves.
/// Source: arXiv 2410.19318, section 3.2.
public enum PathPolicy: Sendable, Hashable {
  /// The child nearest to the running text; the paper's choice for language modelling.
  case right
  case left
  /// Decided by the seed, the chunk and the level alone.
  case random(seed: UInt64)
  /// The child whose embedding is most similar to the query's; the left one of equals.
  case cosine
}

extension ContextTree {
  /// The nodes that are kept of a chunk: at every level the sibling of the expanded one, at the deepest level both.
  /// They partition the chunk.
  ///
  /// - Parameters:
  ///   - chunk: the chunk's number, which only the random policy uses.
  ///   - score: how well a node fits the query; asked only by the cosine policy.
  /// - Returns: coarse nodes first; of the deepest two, the left one first.
  public func preservedNodes<Failure: Error>(
    policy: PathPolicy, chunk: Int, score: (TreeNode) throws(Failure) -> Float
  ) throws(Failure) -> [TreeNode] {
    var preserved: [TreeNode] = []
    var current: TreeNode?
    for level in 1...shape.depth {
      let (left, right) = children(of: current)
      guard level < shape.depth, let left, let right else {
        // The deepest level, or a node too short to split: what is empty is dropped, and a lone child is walked down.
        if level < shape.depth, let only = left ?? right {
          current = only
          continue
        }
        preserved += [left, right].compactMap { $0 }
        break
      }
      let expandsRight: Bool
      switch policy {
      case .right: expandsRight = true
      case .left: expandsRight = false
      case .random(let seed): expandsRight = Self.coin(seed: seed, chunk: chunk, level: level)
      case .cosine: expandsRight = try score(right) > score(left)
      }
      preserved.append(expandsRight ? left : right)
      current = expandsRight ? right : left
    }
    return preserved
  }

  /// A fair coin from the finalizer of SplitMix64.
  private static func coin(seed: UInt64, chunk: Int, level: Int) -> Bool {
    var state = seed &+ 0x9E37_79B9_7F4A_7C15 &* (UInt64(chunk) << 8 | UInt64(level) &+ 1)
    state = (state ^ state >> 30) &* 0xBF58_476D_1CE4_E5B9
    state = (state ^ state >> 27) &* 0x94D0_49BB_1331_11EB
    return (state ^ state >> 31) & 1 == 1
  }
}

/// The cosine of the angle between two vectors; 0 for one that is shorter than 1e-6.
/// Source: arXiv 2410.19318, section 3.2; the floor is the authors' code's.
public func cosineSimilarity(_ x: [Float], _ y: [Float]) -> Float {
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
