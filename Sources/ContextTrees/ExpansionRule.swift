/// Which nodes of one tree are expanded, decided by scores.
///
/// A node that is expanded is replaced by its children, and any other node is kept, so the kept nodes partition the chunk
/// whatever the scores. Source of `path`: arXiv 2410.19318, section 3.2; the others are alternatives to it.
package enum ExpansionRule: Sendable, Hashable {
  /// One child of every level, the one with the higher score; the left one of equals.
  case path
  /// Both children where their scores differ by less than this.
  case both(below: Float)
  /// No child where neither score reaches this.
  case none(below: Float)
}

extension ContextTree {
  /// The nodes that are kept of a chunk.
  /// - Parameter score: how well a node fits the query; not called for nodes of the deepest level.
  /// - Returns: coarse nodes first; of two nodes of one level, the left one first.
  package func preservedNodes<Failure: Error>(
    rule: ExpansionRule, score: (TreeNode) throws(Failure) -> Float
  ) throws(Failure) -> [TreeNode] {
    var preserved: [TreeNode] = []
    var frontier: [TreeNode?] = [nil]
    while let node = frontier.popLast() {
      let (left, right) = children(of: node)
      guard let left, let right, left.level < shape.depth else {
        for child in [left, right].compactMap({ $0 }) {
          // A lone child has the same tokens as its parent, and is expanded as the parent was.
          if child.level < shape.depth { frontier.append(child) } else { preserved.append(child) }
        }
        continue
      }
      let (scoreOfLeft, scoreOfRight) = (try score(left), try score(right))
      let expandsBoth: Bool
      let expandsNone: Bool
      switch rule {
      case .path: (expandsBoth, expandsNone) = (false, false)
      case .both(let limit): (expandsBoth, expandsNone) = (abs(scoreOfLeft - scoreOfRight) < limit, false)
      case .none(let limit): (expandsBoth, expandsNone) = (false, max(scoreOfLeft, scoreOfRight) < limit)
      }
      for (child, isBetter) in [(left, !(scoreOfRight > scoreOfLeft)), (right, scoreOfRight > scoreOfLeft)] {
        if expandsBoth || isBetter && !expandsNone { frontier.append(child) } else { preserved.append(child) }
      }
    }
    return preserved.sorted { $0.number < $1.number }
  }

  /// The nodes that are kept of several chunks when the nodes with the highest scores among all chunks are expanded, as
  /// long as the number of kept rows stays within a budget.
  /// - Parameters:
  ///   - rowBudget: rows of all chunks. The root's children are kept at least.
  ///   - score: given a tree's index and a node of it.
  /// - Returns: for each chunk, in the order of `preservedNodes(rule:score:)`.
  package static func preservedNodes<Failure: Error>(
    of trees: [ContextTree], rowBudget: Int, score: (Int, TreeNode) throws(Failure) -> Float
  ) throws(Failure) -> [[TreeNode]] {
    var preserved: [Set<TreeNode>] = trees.map { tree in
      let (left, right) = tree.children(of: nil)
      return Set([left, right].compactMap { $0 })
    }
    var rowCount = preserved.reduce(0) { $0 + $1.reduce(0) { $0 + $1.rowCount } }
    var frontier: [(index: Int, node: TreeNode, score: Float)] = []
    for (index, nodes) in preserved.enumerated() {
      for node in nodes where node.level < trees[index].shape.depth {
        frontier.append((index, node, try score(index, node)))
      }
    }
    /// In ascending order, so the best is the last; of equals, the one that comes first in the text is better.
    func isWorse(
      _ one: (index: Int, node: TreeNode, score: Float), _ other: (index: Int, node: TreeNode, score: Float)
    ) -> Bool {
      if one.score != other.score { return one.score < other.score }
      return (one.index, one.node.number) > (other.index, other.node.number)
    }
    frontier.sort(by: isWorse)
    while let best = frontier.popLast() {
      let (left, right) = trees[best.index].children(of: best.node)
      let children = [left, right].compactMap { $0 }
      let added = children.reduce(-best.node.rowCount) { $0 + $1.rowCount }
      guard rowCount + added <= rowBudget else { continue }
      rowCount += added
      preserved[best.index].remove(best.node)
      for child in children {
        preserved[best.index].insert(child)
        guard child.level < trees[best.index].shape.depth else { continue }
        let entry = (best.index, child, try score(best.index, child))
        // Most children score about as well as their parent, so that few entries have to make room.
        var (low, high) = (frontier.startIndex, frontier.endIndex)
        while low < high {
          let middle = low + (high - low) / 2
          if isWorse(frontier[middle], entry) { low = middle + 1 } else { high = middle }
        }
        frontier.insert(entry, at: low)
      }
    }
    return preserved.map { $0.sorted { $0.number < $1.number } }
  }
}
