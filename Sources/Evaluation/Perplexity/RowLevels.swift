import ContextTrees

/// How rows are distributed over the levels of a tree, with about as many rows in all as in the paper.
enum RowLevels: String, CaseIterable {
  /// Each level up doubles the ratio, so that every kept node has the same number of rows: the paper's way.
  case geometric
  /// One ratio for all.
  case flat
  /// Each level up halves the ratio: rows are densest where the search did not descend.
  case inverse
  /// The deepest level alone has rows; what is beside the path is not seen.
  case leaves
}

extension RowLevels {
  /// The nodes with the ratios of this profile; those without rows are left out.
  /// - Parameter nodes: the kept nodes of a chunk, with the ratios of the paper.
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
