import ContextTrees

/// How much of a range of the context a search of the trees has kept.
struct TreeHits {
  /// Whether all tokens lie in nodes of the deepest level.
  var isInLeaves: Bool
  /// The share of the tokens that have a row of their own. Others may reach the model through rows behind them.
  var rowShare: Double

  /// - Parameters:
  ///   - nodes: the preserved nodes of every chunk.
  ///   - tokens: a range of the context.
  ///   - chunks: of the context.
  ///   - depth: of the trees.
  init(_ nodes: [[TreeNode]], tokens: Range<Int>, chunks: [Range<Int>], depth: Int) {
    var inLeaves = true
    var rows = 0
    for token in tokens {
      guard let chunk = chunks.firstIndex(where: { $0.contains(token) }) else {
        preconditionFailure("a range lies within the context")
      }
      let offset = token - chunks[chunk].lowerBound
      // Where levels are left out, a token may be in no node.
      guard let node = nodes[chunk].first(where: { $0.range.contains(offset) }) else {
        inLeaves = false
        continue
      }
      if node.level < depth { inLeaves = false }
      if (0..<node.rowCount).contains(where: { node.range.lowerBound + node.position(row: $0) == offset }) { rows += 1 }
    }
    isInLeaves = inLeaves
    rowShare = Double(rows) / Double(tokens.count)
  }

  private init(isInLeaves: Bool, rowShare: Double) {
    self.isInLeaves = isInLeaves
    self.rowShare = rowShare
  }

  /// The best of several ranges with the same content.
  /// - Precondition: `ranges` is not empty.
  static func best(_ nodes: [[TreeNode]], ranges: [Range<Int>], chunks: [Range<Int>], depth: Int) -> TreeHits {
    let all = ranges.map { TreeHits(nodes, tokens: $0, chunks: chunks, depth: depth) }
    return TreeHits(
      isInLeaves: all.contains(where: \.isInLeaves), rowShare: all.map(\.rowShare).max() ?? 0)
  }
}
