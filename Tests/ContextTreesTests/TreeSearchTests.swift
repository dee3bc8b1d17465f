import ContextTrees
import Testing

/// What searches of a whole context keep, by vectors and words that the tests make up.
@Suite struct TreeSearchTests {
  private struct Chunk: SearchableChunk {
    var tokens: [Int32]
    var tree: ContextTree
    var vectors: [Int: [Float]]

    func embedding(of node: TreeNode) -> [Float] { vectors[node.number] ?? [] }
  }

  /// Chunks of 64 tokens, whose nodes point somewhere between the two axes; the nodes that hold the answer point along
  /// the first.
  private func chunks(_ count: Int, holding answer: (chunk: Int, token: Int)) throws -> [Chunk] {
    let shape = try #require(TreeShape(chunkSize: 64, depth: 3, leafRatio: 4))
    return (0..<count).map { number in
      let tree = ContextTree(shape: shape, tokenCount: 64)
      let vectors = tree.nodes.map { node -> (Int, [Float]) in
        let holds = number == answer.chunk && node.range.contains(answer.token)
        return (node.number, holds ? [1, 0] : [Float((number + node.number) % 3) / 4, 1])
      }
      let tokens = (0..<64).map { number == answer.chunk && $0 == answer.token ? 7 : Int32(8 + $0 % 2) }
      return Chunk(tokens: tokens, tree: tree, vectors: Dictionary(uniqueKeysWithValues: vectors))
    }
  }

  private func rows(_ nodes: [[TreeNode]]) -> Int { nodes.joined().reduce(0) { $0 + $1.rowCount } }

  private static let policies: [SearchPolicy] = [
    .right, .left, .random(seed: 1), .cosine, .dot, .distance, .centred, .bm25,
  ]
  private static let expansions: [TreeExpansion] = [
    .path, .both(share: 0.25), .none(share: 0.25), .bestFirst, .bestNodes(rows: 0.75), .bestNodes(rows: 2),
  ]

  /// Where rows are limited, fewer chunks are read, and those as finely as without the limit: the answer among them.
  @Test(arguments: [SearchPolicy.cosine, .bm25], [3, 4, 8, 10, 16, 24, 39]) func limitsLeaveOutChunks(
    policy: SearchPolicy, limit: Int
  ) throws {
    let search = TreeSearch(policy, expansion: .bestFirst, rowLimit: limit)
    let kept = search.preservedNodes(
      of: try chunks(5, holding: (3, 20)), query: SearchQuery(tokens: [7], embedding: [1, 0]))
    #expect(rows(kept) <= limit)
    // A path of each has eight rows, and its two coarsest nodes four.
    #expect(kept.count { !$0.isEmpty } == (limit < 4 ? 0 : max(limit / 8, 1)))
    if limit >= 4 {
      let node = try #require(kept[3].first { $0.range.contains(20) })
      #expect(node.level == (limit < 8 ? 1 : 3))
    }
  }

  /// Whatever the search, the nodes of every chunk partition it; and what the query points at is found.
  @Test(arguments: policies, expansions) func findsWhatTheQueryPointsAt(
    policy: SearchPolicy, expansion: TreeExpansion
  ) throws {
    let search = TreeSearch(policy, expansion: expansion)
    #expect(policy.looksAtQuery || search.expansion == .path)
    for answer in [(0, 0), (2, 31), (4, 63)] {
      let chunks = try chunks(5, holding: answer)
      let kept = search.preservedNodes(of: chunks, query: SearchQuery(tokens: [7], embedding: [1, 0]))
      #expect(kept.count == chunks.count)
      for nodes in kept {
        #expect(nodes == nodes.sorted { $0.number < $1.number })
        let ranges = nodes.map(\.range).sorted { $0.lowerBound < $1.lowerBound }
        #expect(ranges.first?.lowerBound == 0 && ranges.last?.upperBound == 64)
        #expect(zip(ranges, ranges.dropFirst()).allSatisfy { $0.upperBound == $1.lowerBound })
      }
      if policy.looksAtQuery {
        let node = try #require(kept[answer.0].first { $0.range.contains(answer.1) })
        #expect(node.level == 3, "\(answer)")
      }
    }
  }

  /// A path keeps the same nodes of a chunk whatever the other chunks are, because the chunk's number is given.
  @Test(arguments: policies.filter { $0 != .bm25 }) func pathsAreOfOneChunk(policy: SearchPolicy) throws {
    let chunks = try chunks(5, holding: (3, 20))
    let (search, query) = (TreeSearch(policy), SearchQuery(tokens: [7], embedding: [1, 0]))
    #expect(!search.isJoint)
    let alone = chunks.enumerated().flatMap { number, chunk in
      search.preservedNodes(of: [chunk], query: query, firstNumber: number)
    }
    #expect(search.preservedNodes(of: chunks, query: query) == alone)
  }

  /// The budget of the best nodes counts rows of paths and is not exceeded; a large one expands every chunk to its
  /// leaves.
  @Test func rowsOfTheBestNodes() throws {
    let chunks = try chunks(6, holding: (1, 1))
    let query = SearchQuery(tokens: [7], embedding: [1, 0])
    let path = rows(TreeSearch(.cosine).preservedNodes(of: chunks, query: query))
    for share in [0.5, 0.75, 1, 1.5] {
      let search = TreeSearch(.cosine, expansion: .bestNodes(rows: share))
      #expect(search.isJoint)
      let kept = rows(search.preservedNodes(of: chunks, query: query))
      #expect(Double(kept) <= Double(path) * share && Double(kept) >= Double(path) * (share - 0.1))
    }
    let all = TreeSearch(.cosine, expansion: .bestNodes(rows: 64)).preservedNodes(of: chunks, query: query)
    #expect(all.joined().allSatisfy { $0.level == 3 })
  }

  /// No chunk has to be expanded: where only one scores, the others keep their coarse rows.
  @Test func otherChunksStayClosed() throws {
    var chunks = try chunks(4, holding: (2, 40))
    for number in chunks.indices where number != 2 {
      chunks[number].vectors = chunks[number].vectors.mapValues { _ in [0, 1] }
    }
    // 16 rows of all leaves of one chunk and 4 of each other one, where paths have 8 of each.
    let search = TreeSearch(.cosine, expansion: .bestNodes(rows: 28.0 / 32))
    let kept = search.preservedNodes(of: chunks, query: SearchQuery(tokens: [7], embedding: [1, 0]))
    #expect(kept[2].allSatisfy { $0.level == 3 })
    for number in [0, 1, 3] { #expect(kept[number].allSatisfy { $0.level == 1 }) }
  }

  @Test func expansionNames() {
    for name in ["path", "both:0.25", "none:0.5", "best-first", "best-first:0.75", "best-first:2.0"] {
      #expect(TreeExpansion(name: name)?.description == name)
    }
    #expect(TreeExpansion(name: "best-first:1") == .bestFirst)
    for name in [
      "", "both", "both:0", "none:1", "both:x", "path:1", "best", "best-first:", "best-first:0", "best-first:65",
      "best-first:nan", "both:0.5:1", "none:-1",
    ] {
      #expect(TreeExpansion(name: name) == nil, "\(name)")
    }
  }

  @Test func similarities() throws {
    // Cosine does not see lengths, the inner product does, and distance wants the query's own.
    let shape = try #require(TreeShape(chunkSize: 64, depth: 2, leafRatio: 4))
    func expanded(_ policy: SearchPolicy, _ left: [Float], _ right: [Float]) -> String? {
      let chunk = Chunk(
        tokens: Array(repeating: 0, count: 64), tree: ContextTree(shape: shape, tokenCount: 64),
        vectors: [0: left, 1: right])
      let kept = TreeSearch(policy).preservedNodes(of: [chunk], query: SearchQuery(tokens: [0], embedding: [1, 0]))
      return kept[0].last.map { String($0.path.prefix(1)) }
    }
    #expect(expanded(.cosine, [3, 3], [1, 0]) == "R")
    #expect(expanded(.dot, [3, 3], [1, 0]) == "L")
    #expect(expanded(.distance, [3, 3], [1, 0]) == "R")
    #expect(expanded(.distance, [1, 0.5], [4, 0]) == "L")
    #expect(expanded(.cosine, [1, 0.5], [4, 0]) == "R")
  }
}
