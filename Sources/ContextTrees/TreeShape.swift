/// The form of the context trees of a model.
/// Source: arXiv 2410.19318, section 3.2; `ContextTree` gives the rules for chunks of any length.
public struct TreeShape: Sendable, Hashable {
  /// Tokens of a whole chunk.
  public let chunkSize: Int
  /// h: levels below the root.
  public let depth: Int
  /// Tokens for each row kept of a node at the deepest level.
  public let leafRatio: Int

  public static let depths = 1...8
  public static let chunkSizes = 1...65536

  /// - Returns: nil when a number is out of range.
  public init?(chunkSize: Int, depth: Int, leafRatio: Int) {
    guard Self.chunkSizes.contains(chunkSize), Self.depths.contains(depth), (1...chunkSize).contains(leafRatio)
    else { return nil }
    self.chunkSize = chunkSize
    self.depth = depth
    self.leafRatio = leafRatio
  }

  /// 2^(h+1) - 2: the nodes below the root of a chunk's tree.
  public var nodeCount: Int { (1 << (depth + 1)) - 2 }

  /// Tokens for each row kept of a node at a level (1 … h): doubles with every level upwards.
  public func ratio(level: Int) -> Int { leafRatio << (depth - level) }

  /// The chunks of a text, in order: whole ones, then the remainder.
  package func chunks(tokenCount: Int) -> [Range<Int>] {
    stride(from: 0, to: tokenCount, by: chunkSize).map { $0..<min($0 + chunkSize, tokenCount) }
  }

  /// The chunks of a text, in order, each cut at the best boundary in the last quarter of a whole one, the last of equals.
  /// - Parameter boundary: how well the text can be cut before a token; greater is better.
  package func chunks<Boundary: Comparable>(tokenCount: Int, boundary: (_ token: Int) -> Boundary) -> [Range<Int>] {
    var chunks: [Range<Int>] = []
    var start = 0
    while tokenCount - start > chunkSize {
      var end = start + chunkSize
      var best = boundary(end)
      for token in stride(from: end - 1, to: end - max(chunkSize / 4, 1), by: -1) {
        let other = boundary(token)
        if other > best { (end, best) = (token, other) }
      }
      chunks.append(start..<end)
      start = end
    }
    if start < tokenCount { chunks.append(start..<tokenCount) }
    return chunks
  }
}
