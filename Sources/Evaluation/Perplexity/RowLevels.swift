import ContextTrees

/// Rows of each level, when their sum is about that of the paper's way.
enum RowLevels: String, CaseIterable {
  /// A level upwards has twice the ratio: every kept node has the same rows. The paper's.
  case geometric
  /// One ratio for all.
  case flat
  /// A level upwards has half the ratio: fine where nothing was found.
  case inverse
  /// The deepest level alone has rows; what is beside the path is not seen.
  case leaves
}

extension RowLevels {
  /// The nodes with the ratios of this profile; those without rows are left out.
  /// - Parameter nodes: what is kept of a chunk, with the ratios of the paper.
  func shared(_ nodes: [TreeNode], depth: Int) -> [TreeNode] {
    if self == .geometric { return nodes }
    let rows = nodes.reduce(0) { $0 + $1.rowCount }
    let seen = self == .leaves ? nodes.filter { $0.level == depth } : nodes
    /// How many times the deepest level's ratio a level has.
    func factor(_ node: TreeNode) -> Double {
      self == .inverse ? 1 / Double(1 << (depth - node.level)) : 1
    }
    // Tokens for each row at the deepest level, so that the rows are as many as before.
    let unit = seen.reduce(0) { $0 + Double($1.range.count) / factor($1) } / Double(max(rows, 1))
    return seen.map { $0.keeping(ratio: max(1, Int((unit * factor($0)).rounded()))) }
  }
}
