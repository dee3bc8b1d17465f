import ContextTrees
import Testing

/// The geometry that every stored row depends on.
@Suite struct GeometryTests {
  static let shapes = [(1024, 3, 4), (512, 3, 4), (64, 3, 4), (600, 1, 1), (600, 4, 2), (601, 5, 7), (700, 8, 1)]

  private func shape(_ numbers: (Int, Int, Int)) throws -> TreeShape {
    try #require(TreeShape(chunkSize: numbers.0, depth: numbers.1, leafRatio: numbers.2))
  }

  static let policies: [SearchPolicy] = [.right, .left, .random(seed: 1), .random(seed: 2), .cosine, .bm25]

  /// The nodes kept of a chunk cover it once, whatever its length and the scores.
  @Test(arguments: shapes.indices, policies)
  func preservedNodesPartitionTheChunk(shape number: Int, policy: SearchPolicy) throws {
    let shape = try shape(Self.shapes[number])
    for length in 1...min(600, shape.chunkSize) {
      let tree = ContextTree(shape: shape, tokenCount: length)
      let kept = tree.preservedNodes(policy: policy, chunk: length) { Float($0.number * 7919 % 13) }
      let ranges = kept.map(\.range).sorted { $0.lowerBound < $1.lowerBound }
      var end = 0
      for range in ranges {
        #expect(range.lowerBound == end && !range.isEmpty)
        end = range.upperBound
      }
      #expect(end == length)
      #expect(kept.count <= shape.depth + 1)
      // Coarse nodes come first; of two at a level the left one.
      #expect(zip(kept, kept.dropFirst()).allSatisfy { $0.level < $1.level || $0.number < $1.number })
      #expect(kept.allSatisfy(tree.nodes.contains))
    }
  }

  static let rules: [ExpansionRule] = [
    .path, .both(below: 5), .both(below: 100), .none(below: 7), .none(below: 100),
  ]

  private func score(_ node: TreeNode) -> Float { Float(node.number * 7919 % 13) }

  private func expectPartition(_ kept: [TreeNode], length: Int) {
    var end = 0
    for range in kept.map(\.range).sorted(by: { $0.lowerBound < $1.lowerBound }) {
      #expect(range.lowerBound == end && !range.isEmpty)
      end = range.upperBound
    }
    #expect(end == length)
  }

  @Test(arguments: shapes.indices, rules)
  func rulesPartitionTheChunk(shape number: Int, rule: ExpansionRule) throws {
    let shape = try shape(Self.shapes[number])
    for length in [1, 2, 3, 5, 17, 63, 64, 255, 599, 600] where length <= shape.chunkSize {
      let tree = ContextTree(shape: shape, tokenCount: length)
      let kept = tree.preservedNodes(rule: rule, score: score)
      expectPartition(kept, length: length)
      if rule == .path {
        #expect(kept == tree.preservedNodes(policy: .cosine, chunk: 0, score: score))
      }
      // What is longer than a token is expanded to the leaves, or not at all.
      if rule == .both(below: 100), length >= 1 << shape.depth {
        #expect(kept == tree.nodes.filter { $0.level == shape.depth })
      }
      if rule == .none(below: 100), shape.depth > 1, length > 1 {
        #expect(kept == tree.nodes.filter { $0.level == 1 })
      }
    }
  }

  /// The best nodes of all chunks are expanded first, and the budget holds.
  @Test func bestFirst() throws {
    let shape = try #require(TreeShape(chunkSize: 64, depth: 3, leafRatio: 4))
    let trees = [64, 64, 10, 1].map { ContextTree(shape: shape, tokenCount: $0) }
    func kept(_ budget: Int, _ score: (Int, TreeNode) -> Float) -> [[TreeNode]] {
      ContextTree.preservedNodes(of: trees, rowBudget: budget, score: score)
    }
    let least = kept(0) { _, _ in 1 }
    #expect(least == trees.map { tree in tree.nodes.filter { $0.level == 1 } })
    func rows(_ nodes: [[TreeNode]]) -> Int { nodes.reduce(0) { $0 + $1.reduce(0) { $0 + $1.rowCount } } }
    for budget in [rows(least), rows(least) + 1, rows(least) + 2, 14, 17, 40] {
      let nodes = kept(budget) { Float(($0 + 1) * ($1.number + 3) % 7) }
      #expect(rows(nodes) <= budget)
      for (kept, tree) in zip(nodes, trees) { expectPartition(kept, length: tree.tokenCount) }
    }
    // All of it goes where the scores are.
    let second = kept(rows(least) + 4) { index, _ in index == 1 ? 1 : 0 }
    #expect(second[0] == least[0] && second[2] == least[2])
    #expect(second[1].map(\.path) == ["LL", "LR", "RL", "RR"])
    let all = kept(1000) { _, _ in 0 }
    #expect(all[0] == trees[0].nodes.filter { $0.level == 3 })
  }

  /// Nodes halve their parent, left half rounded down, and only those with tokens exist.
  @Test(arguments: shapes.indices) func nodesHalve(number: Int) throws {
    let shape = try shape(Self.shapes[number])
    for length in [1, 2, 3, 5, 17, 63, 64, 255, 256, 257, 511, 512, 599, 600] where length <= shape.chunkSize {
      let tree = ContextTree(shape: shape, tokenCount: length)
      #expect(tree.nodes.count <= shape.nodeCount)
      #expect(tree.nodes.map(\.number) == tree.nodes.map(\.number).sorted())
      for level in 1...shape.depth {
        let nodes = tree.nodes.filter { $0.level == level }
        #expect(nodes.reduce(0) { $0 + $1.range.count } == length)
        #expect(nodes.allSatisfy { $0.path.count == level && $0.ratio == shape.ratio(level: level) })
      }
      for node in tree.nodes {
        #expect(tree.node(node.number) == node)
        #expect(!node.range.isEmpty)
        let isLeft = node.path.hasSuffix("L")
        let parent = node.level == 1 ? 0..<length : try #require(tree.node((node.number - 2) / 2)).range
        let middle = parent.lowerBound + parent.count / 2
        #expect(node.range == (isLeft ? parent.lowerBound..<middle : middle..<parent.upperBound))
      }
    }
  }

  /// There is at least one row; rows start at the node's first token, ascend and stay inside.
  @Test(arguments: shapes.indices) func rows(number: Int) throws {
    let shape = try shape(Self.shapes[number])
    for length in 1...min(600, shape.chunkSize) {
      for node in ContextTree(shape: shape, tokenCount: length).nodes {
        let rows = node.rowCount
        #expect(rows == max(1, Int((Double(node.range.count) / Double(node.ratio)).rounded(.up))))
        let positions = (0..<rows).map(node.position)
        #expect(positions.first == 0)
        #expect(positions.allSatisfy { $0 < node.range.count })
        #expect(zip(positions, positions.dropFirst()).allSatisfy { $0 < $1 })
      }
    }
  }

  /// The passes yield every node once; what a pass yields starts where it starts, so it is a prefix.
  @Test(arguments: shapes.indices) func spinePasses(number: Int) throws {
    let shape = try shape(Self.shapes[number])
    for length in 1...min(600, shape.chunkSize) {
      let tree = ContextTree(shape: shape, tokenCount: length)
      let passes = tree.spinePasses
      #expect(passes.flatMap(\.nodes).map(\.number).sorted() == tree.nodes.map(\.number))
      #expect(passes.count <= 1 << shape.depth)
      for pass in passes {
        #expect(pass.nodes.first?.range == pass.range)
        for (longer, shorter) in zip(pass.nodes, pass.nodes.dropFirst()) {
          #expect(shorter.range.lowerBound == longer.range.lowerBound)
          #expect(shorter.range.upperBound <= longer.range.upperBound)
          #expect(shorter.path == longer.path + "L")
        }
      }
    }
  }

  /// 2^h passes for a long chunk; for h = 3 two thirds of the tokens that encoding each node alone takes.
  @Test func spinesSaveAThird() throws {
    let tree = ContextTree(shape: try shape((1024, 3, 4)), tokenCount: 1024)
    #expect(tree.spinePasses.count == 8)
    let alone = tree.nodes.reduce(0) { $0 + $1.range.count }
    let passes = tree.spinePasses.reduce(0) { $0 + $1.range.count }
    #expect(alone == 3 * 1024)
    #expect(passes == 2 * 1024)
  }

  /// A whole chunk keeps (h + 1) · κ rows, κ = chunk size / (2^h · leaf ratio), where that divides.
  @Test(arguments: [(1024, 3, 4, 128), (512, 3, 4, 64), (1024, 2, 4, 192), (1024, 1, 4, 256), (64, 3, 4, 8)])
  func keptRows(chunkSize: Int, depth: Int, leafRatio: Int, rows: Int) throws {
    let tree = ContextTree(shape: try shape((chunkSize, depth, leafRatio)), tokenCount: chunkSize)
    for policy in Self.policies {
      let kept = tree.preservedNodes(policy: policy, chunk: 0) { Float($0.number) }
      #expect(kept.count == depth + 1)
      #expect(Set(kept.map(\.rowCount)).count == 1)
      #expect(kept.reduce(0) { $0 + $1.rowCount } == rows)
    }
  }

  /// The shape of the paper's language model: 448 rows stored of a chunk, 512, 256, 128, 128 tokens kept of it.
  @Test func languageModelShape() throws {
    let tree = ContextTree(shape: try shape((1024, 3, 4)), tokenCount: 1024)
    #expect(tree.nodes.count == 14)
    #expect(tree.nodes.reduce(0) { $0 + $1.rowCount } == 448)
    let kept = tree.preservedNodes(policy: .right, chunk: 0) { _ in 0 }
    #expect(kept.map(\.range) == [0..<512, 512..<768, 768..<896, 896..<1024])
    #expect(kept.map(\.ratio) == [16, 8, 4, 4])
  }

  /// The shape of the paper's fine-tuned model: chunks of 512, 16 rows a node.
  @Test func instructionShape() throws {
    let tree = ContextTree(shape: try shape((512, 3, 4)), tokenCount: 512)
    let kept = tree.preservedNodes(policy: .right, chunk: 0) { _ in 0 }
    #expect(kept.map(\.range.count) == [256, 128, 64, 64])
    #expect(kept.map(\.rowCount) == [16, 16, 16, 16])
  }

  @Test func oddLengths() throws {
    let tree = ContextTree(shape: try shape((32, 3, 4)), tokenCount: 11)
    #expect(
      tree.nodes.map(\.path) == [
        "L", "R", "LL", "LR", "RL", "RR", "LLL", "LLR", "LRL", "LRR", "RLL", "RLR", "RRL", "RRR",
      ])
    #expect(
      tree.nodes.map(\.range) == [
        0..<5, 5..<11, 0..<2, 2..<5, 5..<8, 8..<11, 0..<1, 1..<2, 2..<3, 3..<5, 5..<6, 6..<8, 8..<9, 9..<11,
      ])
    // One token goes right all the way: it is every node of that path, kept once.
    let one = ContextTree(shape: tree.shape, tokenCount: 1)
    #expect(one.nodes.map(\.path) == ["R", "RR", "RRR"])
    #expect(one.preservedNodes(policy: .left, chunk: 0) { _ in 0 }.map(\.path) == ["RRR"])
    #expect(one.spinePasses.map(\.range) == [0..<1, 0..<1, 0..<1])
  }

  @Test func shapesAreBounded() {
    #expect(TreeShape(chunkSize: 0, depth: 3, leafRatio: 1) == nil)
    #expect(TreeShape(chunkSize: 65537, depth: 3, leafRatio: 1) == nil)
    #expect(TreeShape(chunkSize: 64, depth: 0, leafRatio: 1) == nil)
    #expect(TreeShape(chunkSize: 64, depth: 9, leafRatio: 1) == nil)
    #expect(TreeShape(chunkSize: 64, depth: 3, leafRatio: 0) == nil)
    #expect(TreeShape(chunkSize: 64, depth: 3, leafRatio: 65) == nil)
    let shape = TreeShape(chunkSize: 32, depth: 3, leafRatio: 4)
    #expect(shape?.chunks(tokenCount: 75) == [0..<32, 32..<64, 64..<75])
    #expect(shape?.chunks(tokenCount: 64) == [0..<32, 32..<64])
    #expect(shape?.chunks(tokenCount: 0) == [])
    #expect(shape?.nodeCount == 14)
  }

  /// The best boundary in the last quarter of a whole chunk, the last of equals; none is nearer to the start.
  @Test func chunksEndAtBoundaries() throws {
    let shape = try #require(TreeShape(chunkSize: 32, depth: 3, leafRatio: 1))
    func chunks(_ count: Int, _ boundaries: [Int: Int]) -> [Range<Int>] {
      shape.chunks(tokenCount: count) { boundaries[$0] ?? 0 }
    }
    #expect(chunks(75, [:]) == [0..<32, 32..<64, 64..<75])
    #expect(chunks(64, [:]) == [0..<32, 32..<64])
    #expect(chunks(0, [:]) == [])
    // A better one counts, however far before; of equals the last; those before the last quarter do not.
    #expect(chunks(40, [24: 2, 25: 2, 31: 1]) == [0..<25, 25..<40])
    #expect(chunks(40, [26: 1, 29: 1]) == [0..<29, 29..<40])
    #expect(chunks(40, [24: 1]) == [0..<32, 32..<40])
    // The next chunk starts where this one ended, and what is left is not cut.
    #expect(chunks(60, [30: 1, 55: 1, 59: 1]) == [0..<30, 30..<60])
    let tiny = try #require(TreeShape(chunkSize: 2, depth: 1, leafRatio: 1))
    #expect(tiny.chunks(tokenCount: 5) { $0 } == [0..<2, 2..<4, 4..<5])
    for seed in 0..<20 {
      let all = shape.chunks(tokenCount: 500) { $0 &* 2_654_435_761 &+ seed &* 40_503 & 7 }
      #expect(all.first?.lowerBound == 0 && all.last?.upperBound == 500)
      #expect(zip(all, all.dropFirst()).allSatisfy { $0.upperBound == $1.lowerBound })
      #expect(all.dropLast().allSatisfy { (25...32).contains($0.count) })
    }
  }
}
