/// How nodes are picked from the trees of a context for a query.
public struct TreeSearch: Sendable, Hashable {
  public let policy: SearchPolicy
  public let expansion: TreeExpansion
  /// Rows of all chunks, at most, where the best nodes are expanded; nil for no limit but the expansion's. Where that is
  /// less than the expansion takes of all chunks, the chunks that score best are read, as finely as they would be without
  /// the limit, and nothing of the others.
  public let rowLimit: Int?

  /// - Parameters:
  ///   - policy: how nodes are compared.
  ///   - expansion: a policy that does not look at the query has no scores, and always expands a path.
  ///   - rowLimit: rows of all chunks, at most; only `bestNodes` keeps to it.
  public init(_ policy: SearchPolicy, expansion: TreeExpansion = .path, rowLimit: Int? = nil) {
    self.policy = policy
    self.expansion = policy.looksAtQuery ? expansion : .path
    self.rowLimit = rowLimit
  }

  /// The default for questions: with as many rows as paths keep, it finds more.
  public static let standard = TreeSearch(.cosine, expansion: .bestFirst)

  /// Whether the nodes kept of a chunk also depend on the other chunks.
  public var isJoint: Bool { expansion != .path || policy == .bm25 }
}

/// How many nodes of a context's trees are expanded. A share is a fraction of all nodes that could be expanded; each
/// search turns it into a threshold for scores, by a quantile. Source of `path`: arXiv 2410.19318, section 3.2; the
/// others are alternatives to it.
public enum TreeExpansion: Sendable, Hashable {
  /// One child of every level of every tree.
  case path
  /// Both children of the share of nodes whose children's scores differ least.
  case both(share: Double)
  /// No child of the share of nodes whose better child scores least.
  case none(share: Double)
  /// The best nodes of all trees together, until the rows are this many times those of one path for each tree. Where an
  /// answer is likely, everything is read finely; elsewhere, coarsely.
  case bestNodes(rows: Double)

  /// The best nodes, with the rows of paths.
  public static let bestFirst = TreeExpansion.bestNodes(rows: 1)
}

extension TreeExpansion: CustomStringConvertible {
  /// `path`, `both:0.25`, `none:0.25`, `best-first`, `best-first:0.5`: shares between 0 and 1, rows above 0, at most 64 times
  /// those of paths.
  public init?(name: String) {
    let parts = name.split(separator: ":", omittingEmptySubsequences: false)
    let number = parts.count == 2 ? Double(parts[1]) : nil
    switch (parts.first, parts.count) {
    case ("path", 1): self = .path
    case ("best-first", 1): self = .bestFirst
    case ("best-first", 2):
      guard let number, number > 0, number <= 64 else { return nil }
      self = .bestNodes(rows: number)
    case ("both", 2), ("none", 2):
      guard let number, number > 0, number < 1 else { return nil }
      self = parts[0] == "both" ? .both(share: number) : .none(share: number)
    default: return nil
    }
  }

  public var description: String {
    switch self {
    case .path: "path"
    case .both(let share): "both:\(share)"
    case .none(let share): "none:\(share)"
    case .bestNodes(let rows): rows == 1 ? "best-first" : "best-first:\(rows)"
    }
  }
}

/// The query that trees are searched for.
package struct SearchQuery: Sendable {
  package var tokens: [Int32]
  /// (hidden); empty for a policy that does not look at embeddings.
  package var embedding: [Float]

  package init(tokens: [Int32], embedding: [Float] = []) {
    self.tokens = tokens
    self.embedding = embedding
  }
}

/// A chunk of a context as a search sees it.
package protocol SearchableChunk {
  associatedtype SearchFailure: Error
  var tokens: [Int32] { get }
  var tree: ContextTree { get }
  /// (hidden).
  func embedding(of node: TreeNode) throws(SearchFailure) -> [Float]
}

extension TreeSearch {
  /// The nodes that are kept of the chunks of a context.
  /// - Parameter firstNumber: the first chunk's, which only the random policy uses.
  /// - Returns: for each chunk, coarse nodes first; of two of a level the left one first. None of a chunk for which there
  ///   are no rows left.
  /// - Throws: what `embedding(of:)` throws.
  package func preservedNodes<Chunk: SearchableChunk>(
    of chunks: [Chunk], query: SearchQuery, firstNumber: Int = 0
  ) throws(Chunk.SearchFailure) -> [[TreeNode]] {
    let bm25 = policy == .bm25 ? BM25Scorer(parts: chunks.flatMap { $0.tree.leaves(of: $0.tokens) }) : nil
    var scored: [ScoredChunk<Chunk>] = []
    for chunk in chunks { scored.append(try ScoredChunk(chunk, policy, query: query, bm25: bm25)) }

    func each(_ rule: ExpansionRule) throws(Chunk.SearchFailure) -> [[TreeNode]] {
      var nodes: [[TreeNode]] = []
      for chunk in scored {
        nodes.append(
          try chunk.chunk.tree.preservedNodes(rule: rule) { (node) throws(Chunk.SearchFailure) in
            try chunk.score(node)
          })
      }
      return nodes
    }
    /// The value below which a share of all values lies.
    func threshold(
      _ share: Double, _ value: (_ left: Float, _ right: Float) -> Float
    ) throws(Chunk.SearchFailure) -> Float {
      var values: [Float] = []
      for chunk in scored { values += try chunk.pairs().map { value($0.left, $0.right) } }
      values.sort()
      return values.isEmpty ? 0 : values[min(Int((Double(values.count) * share).rounded()), values.count - 1)]
    }

    switch expansion {
    case .path where policy.looksAtQuery: return try each(.path)
    case .path:
      return chunks.enumerated().map { number, chunk in
        chunk.tree.preservedNodes(policy: policy, chunk: firstNumber + number) { _ in 0 }
      }
    case .both(let share): return try each(.both(below: try threshold(share) { abs($0 - $1) }))
    case .none(let share): return try each(.none(below: try threshold(share) { max($0, $1) }))
    case .bestNodes(let rows):
      let trees = chunks.map(\.tree)
      // All paths of a tree have about the same rows.
      let ofPaths = trees.map { tree in
        tree.preservedNodes(policy: .right, chunk: 0) { _ in 0 }.reduce(0) { $0 + $1.rowCount }
      }
      let wanted = Int(Double(ofPaths.reduce(0, +)) * rows)
      let budget = min(wanted, rowLimit ?? .max)
      let fitting =
        budget == wanted
        ? Array(trees.indices) : try fitting(scored, rowBudget: budget, ofPaths.map { Double($0) * rows })
      let nodes = try ContextTree.preservedNodes(of: fitting.map { trees[$0] }, rowBudget: budget) {
        (index, node) throws(Chunk.SearchFailure) in
        try scored[fitting[index]].score(node)
      }
      var result = trees.map { _ in [TreeNode]() }
      for (index, nodes) in zip(fitting, nodes) { result[index] = nodes }
      return result
    }
  }

  /// The chunks that fit a budget together, those with the best nodes first. If not even the best one fits as it is to be
  /// read, its coarsest nodes may.
  /// - Parameter wanted: rows that are to be read of each chunk.
  /// - Returns: indexes, ascending.
  private func fitting<Chunk>(
    _ chunks: [ScoredChunk<Chunk>], rowBudget: Int, _ wanted: [Double]
  ) throws(Chunk.SearchFailure) -> [Int] {
    var best: [(index: Int, score: Float)] = []
    for (index, chunk) in chunks.enumerated() { best.append((index, try chunk.bestScore(chunk.coarseNodes))) }
    best.sort { ($0.score, $1.index) > ($1.score, $0.index) }
    var left = Double(rowBudget)
    var fitting: [Int] = []
    for (index, _) in best {
      let coarse = Double(chunks[index].coarseNodes.reduce(0) { $0 + $1.rowCount })
      let rows = max(wanted[index], coarse)
      guard left >= (fitting.isEmpty ? coarse : rows) else { break }
      left -= rows
      fitting.append(index)
    }
    return fitting.sorted()
  }

  /// How well the best of some nodes of each chunk fits the query; 0 for a policy that does not look at it.
  /// - Parameter nodes: of each chunk.
  /// - Throws: what `embedding(of:)` throws.
  package func scores<Chunk: SearchableChunk>(
    of nodes: [[TreeNode]], in chunks: [Chunk], query: SearchQuery
  ) throws(Chunk.SearchFailure) -> [Float] {
    guard policy.looksAtQuery else { return chunks.map { _ in 0 } }
    let bm25 = policy == .bm25 ? BM25Scorer(parts: chunks.flatMap { $0.tree.leaves(of: $0.tokens) }) : nil
    var scores: [Float] = []
    for (chunk, nodes) in zip(chunks, nodes) {
      scores.append(try ScoredChunk(chunk, policy, query: query, bm25: bm25).bestScore(nodes))
    }
    return scores
  }
}

/// A chunk that is compared with a query.
private struct ScoredChunk<Chunk: SearchableChunk> {
  let chunk: Chunk
  private let policy: SearchPolicy
  private let query: SearchQuery
  /// Of all chunks; nil unless the policy compares tokens.
  private let bm25: BM25Scorer?
  /// The mean of the embeddings of all nodes, if the policy needs it; else empty.
  private let mean: [Float]

  init(
    _ chunk: Chunk, _ policy: SearchPolicy, query: SearchQuery, bm25: BM25Scorer?
  ) throws(Chunk.SearchFailure) {
    self.chunk = chunk
    self.policy = policy
    self.query = query
    self.bm25 = bm25
    var mean = [Float](repeating: 0, count: policy == .centred ? query.embedding.count : 0)
    if policy == .centred {
      for node in chunk.tree.nodes {
        for (index, value) in try chunk.embedding(of: node).enumerated() {
          mean[index] += value / Float(chunk.tree.nodes.count)
        }
      }
    }
    self.mean = mean
  }

  func score(_ node: TreeNode) throws(Chunk.SearchFailure) -> Float {
    if let bm25 { return bm25.score(of: chunk.tokens[node.range], for: query.tokens) }
    return policy.similarity(query.embedding, try chunk.embedding(of: node), mean: mean)
  }

  /// The root's children.
  var coarseNodes: [TreeNode] {
    let (left, right) = chunk.tree.children(of: nil)
    return [left, right].compactMap { $0 }
  }

  /// The best score of some nodes; 0 for none.
  func bestScore(_ nodes: [TreeNode]) throws(Chunk.SearchFailure) -> Float {
    var best: Float?
    for node in nodes {
      let score = try score(node)
      best = best.map { max($0, score) } ?? score
    }
    return best ?? 0
  }

  /// The scores of both children of every node, and of the root, that could be expanded further.
  func pairs() throws(Chunk.SearchFailure) -> [(left: Float, right: Float)] {
    var pairs: [(left: Float, right: Float)] = []
    let depth = chunk.tree.shape.depth
    for left in chunk.tree.nodes where left.number % 2 == 0 && left.level < depth {
      guard let right = chunk.tree.node(left.number + 1) else { continue }
      pairs.append((try score(left), try score(right)))
    }
    return pairs
  }
}

extension SearchPolicy {
  /// How similar a query's and a node's embedding are.
  /// - Parameters:
  ///   - query, node: (hidden).
  ///   - mean: of the embeddings of the chunk's nodes; only `centred` looks at it.
  /// - Precondition: the policy looks at embeddings.
  func similarity(_ query: [Float], _ node: [Float], mean: [Float]) -> Float {
    switch self {
    case .cosine: cosineSimilarity(query, node)
    case .dot: Float(zip(query, node).reduce(0.0) { $0 + Double($1.0) * Double($1.1) })
    case .distance: -Float(zip(query, node).reduce(0.0) { $0 + Double($1.0 - $1.1) * Double($1.0 - $1.1) })
    case .centred: cosineSimilarity(zip(query, mean).map { $0 - $1 }, zip(node, mean).map { $0 - $1 })
    case .right, .left, .random, .bm25: preconditionFailure("has no vectors to compare")
    }
  }
}
