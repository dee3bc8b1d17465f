/// A node below the root of a chunk's tree.
public struct TreeNode: Sendable, Hashable {
  /// The number in breadth-first order: 0 and 1 are the root's children, 2 is the left child of 0.
  public let number: Int
  /// 1 for the root's children.
  public let level: Int
  /// The node's tokens in its chunk.
  public let range: Range<Int>
  /// Tokens for each kept row.
  public let ratio: Int

  /// The number of rows that are kept of the node: its tokens divided by its ratio, rounded up, and at least one.
  public var rowCount: Int { max(1, (range.count + ratio - 1) / ratio) }

  /// The in-node position of a kept row: rows are spread evenly from the node's first token on.
  public func position(row: Int) -> Int { row * range.count / rowCount }

  /// The same node with another number of tokens for each kept row.
  /// - Precondition: `ratio` is positive.
  package func keeping(ratio: Int) -> TreeNode {
    precondition(ratio > 0, "a row is kept of some tokens")
    return TreeNode(number: number, level: level, range: range, ratio: ratio)
  }

  /// The path from the root, such as `RL`.
  public var path: String {
    let index = number + 2 - (1 << level)
    return String((0..<level).reversed().map { index >> $0 & 1 == 0 ? "L" : "R" })
  }
}

/// All nodes of one chunk's tree.
///
/// Every node splits at half its length, rounded down; nodes without tokens do not exist. A chunk that is shorter than
/// the others has a tree by the same rules.
public struct ContextTree: Sendable, Hashable {
  public let shape: TreeShape
  public let tokenCount: Int
  /// The nodes that have tokens, by ascending number.
  public let nodes: [TreeNode]
  /// The index in `nodes` of each number; -1 where a node has no tokens.
  private let indices: [Int]

  /// - Precondition: `tokenCount` is 1 … `shape.chunkSize`.
  public init(shape: TreeShape, tokenCount: Int) {
    precondition((1...shape.chunkSize).contains(tokenCount), "a chunk has tokens, and no more than its size")
    self.shape = shape
    self.tokenCount = tokenCount
    var nodes: [TreeNode] = []
    var indices: [Int] = []
    var level = [0..<tokenCount]
    for depth in 1...shape.depth {
      level = level.flatMap { parent in
        let middle = parent.lowerBound + parent.count / 2
        return [parent.lowerBound..<middle, middle..<parent.upperBound]
      }
      for range in level {
        let number = indices.count
        indices.append(range.isEmpty ? -1 : nodes.count)
        if !range.isEmpty {
          nodes.append(TreeNode(number: number, level: depth, range: range, ratio: shape.ratio(level: depth)))
        }
      }
    }
    self.nodes = nodes
    self.indices = indices
  }

  /// - Returns: nil when the node has no tokens.
  public func node(_ number: Int) -> TreeNode? {
    indices[number] < 0 ? nil : nodes[indices[number]]
  }

  /// The index of a node in `nodes`.
  /// - Precondition: the node is one of this tree's.
  public func index(of node: TreeNode) -> Int {
    let index = indices[node.number]
    precondition(index >= 0 && nodes[index] == node, "a node of another tree")
    return index
  }

  /// The children of a node, or of the root for nil.
  func children(of node: TreeNode?) -> (left: TreeNode?, right: TreeNode?) {
    let left = node.map { 2 * $0.number + 2 } ?? 0
    return (self.node(left), self.node(left + 1))
  }
}

extension ContextTree {
  /// One pass of the lower model, and the nodes that it yields.
  ///
  /// A node is encoded alone, causally, from position 0. A left child is a prefix of its parent, so a pass over the
  /// longest node of a left spine has the states of every node on it.
  package struct SpinePass: Sendable, Hashable {
    /// The pass's tokens in the chunk.
    package let range: Range<Int>
    /// The nodes of the spine, longest first. All start where the pass starts.
    package let nodes: [TreeNode]

    /// - Parameter nodes: a node and left children of it, each of the one before.
    package init(_ nodes: [TreeNode]) {
      range = nodes[0].range
      self.nodes = nodes
    }
  }

  /// The passes that encode the whole tree: 2^h of them for a chunk that is long enough.
  package var spinePasses: [SpinePass] {
    nodes.filter { $0.level == 1 || $0.number % 2 == 1 }.map { head in
      var spine = [head]
      while let last = spine.last, last.level < shape.depth, let left = children(of: last).left { spine.append(left) }
      return SpinePass(spine)
    }
  }
}
