import ContextTrees
import Testing

/// Which nodes are kept: the golden cases of an independent implementation, and the policies' own rules.
@Suite struct PathTests {
  private struct Node: Equatable, CustomStringConvertible {
    let path: String
    let range: Range<Int>
    let ratio: Int

    init(_ path: String, _ range: Range<Int>, _ ratio: Int) {
      self.path = path
      self.range = range
      self.ratio = ratio
    }

    init(_ node: TreeNode) { self.init(node.path, node.range, node.ratio) }

    var description: String { "\(path) \(range) /\(ratio)" }
  }

  /// Follows the given path with a score that prefers its nodes; the policy `right` needs none.
  private func expect(
    _ nodes: [Node], chunkSize: Int, tokenCount: Int, policy: SearchPolicy
  ) throws {
    let tree = ContextTree(
      shape: try #require(TreeShape(chunkSize: chunkSize, depth: 3, leafRatio: 4)), tokenCount: tokenCount)
    let expanded = try #require(nodes.last).path.dropLast()
    let kept = tree.preservedNodes(policy: policy, chunk: 0) { expanded.hasPrefix($0.path) ? 1 : 0.5 }
    #expect(kept.map(Node.init) == nodes)
  }

  /// Case `mha-right`: chunks of 32, always right.
  @Test func right() throws {
    let nodes = [Node("L", 0..<16, 16), Node("RL", 16..<24, 8), Node("RRL", 24..<28, 4), Node("RRR", 28..<32, 4)]
    try expect(nodes, chunkSize: 32, tokenCount: 32, policy: .right)
    // Case `authors-local`: the same, chosen by similarity.
    try expect(nodes, chunkSize: 32, tokenCount: 32, policy: .cosine)
  }

  /// Case `gqa-cosine`: chunks of 64, chosen by similarity.
  @Test func cosine() throws {
    let chunks = [
      [Node("R", 32..<64, 16), Node("LL", 0..<16, 8), Node("LRL", 16..<24, 4), Node("LRR", 24..<32, 4)],
      [Node("L", 0..<32, 16), Node("RR", 48..<64, 8), Node("RLL", 32..<40, 4), Node("RLR", 40..<48, 4)],
      [Node("L", 0..<32, 16), Node("RL", 32..<48, 8), Node("RRL", 48..<56, 4), Node("RRR", 56..<64, 4)],
    ]
    for nodes in chunks { try expect(nodes, chunkSize: 64, tokenCount: 64, policy: .cosine) }
  }

  /// Case `partial-chunk`: chunks of 32, the last one of 11 tokens.
  @Test func partialChunk() throws {
    try expect(
      [Node("R", 16..<32, 16), Node("LL", 0..<8, 8), Node("LRL", 8..<12, 4), Node("LRR", 12..<16, 4)],
      chunkSize: 32, tokenCount: 32, policy: .cosine)
    try expect(
      [Node("R", 16..<32, 16), Node("LR", 8..<16, 8), Node("LLL", 0..<4, 4), Node("LLR", 4..<8, 4)],
      chunkSize: 32, tokenCount: 32, policy: .cosine)
    try expect(
      [Node("L", 0..<5, 16), Node("RL", 5..<8, 8), Node("RRL", 8..<9, 4), Node("RRR", 9..<11, 4)],
      chunkSize: 32, tokenCount: 11, policy: .cosine)
  }

  private func tree() throws -> ContextTree {
    ContextTree(shape: try #require(TreeShape(chunkSize: 64, depth: 3, leafRatio: 4)), tokenCount: 64)
  }

  @Test func tiesGoLeft() throws {
    let kept = try tree().preservedNodes(policy: .cosine, chunk: 0) { _ in 0.25 }
    #expect(kept.map(\.path) == ["R", "LR", "LLL", "LLR"])
    // NaN is no reason to go right.
    let strange = try tree().preservedNodes(policy: .cosine, chunk: 0) { _ in .nan }
    #expect(strange.map(\.path) == ["R", "LR", "LLL", "LLR"])
  }

  /// Only policies that look at the query ask for scores, at most two a level and none at the deepest.
  @Test(arguments: GeometryTests.policies) func scoresAreAsked(policy: SearchPolicy) throws {
    var asked: [Int] = []
    _ = try tree().preservedNodes(policy: policy, chunk: 3) { node in
      asked.append(node.level)
      return 0
    }
    #expect(asked == (policy.looksAtQuery ? [1, 1, 2, 2] : []))
  }

  /// The seed, the chunk and the level decide, nothing else; and both ways are taken.
  @Test func random() throws {
    let tree = try tree()
    func paths(_ seed: UInt64) -> [[String]] {
      (0..<200).map { tree.preservedNodes(policy: .random(seed: seed), chunk: $0) { _ in 0 }.map(\.path) }
    }
    #expect(paths(1) == paths(1))
    #expect(paths(1) != paths(2))
    for level in 0..<2 {
      let lefts = paths(7).count { $0[level].hasSuffix("L") }
      #expect((60...140).contains(lefts))
    }
  }

  @Test func similarity() {
    #expect(cosineSimilarity([1, 0], [0, 1]) == 0)
    #expect(cosineSimilarity([1, 2, 3], [2, 4, 6]) == 1)
    #expect(cosineSimilarity([1, 2], [-1, -2]) == -1)
    #expect(cosineSimilarity([0, 0], [1, 2]) == 0)
    // The floor of the length: a vector that is nearly nothing is similar to nothing.
    #expect(cosineSimilarity([1e-9, 0], [1, 0]) < 0.01)
    #expect(cosineSimilarity([3e19, 0], [3e19, 0]) == 1)
  }
}
