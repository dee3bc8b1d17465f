import ContextTrees

/// How the cosine policy compares and opens nodes, and how rows are shared out among levels: the paper's way, and what a
/// sweep puts in its place.
struct TreeSearch: Hashable {
  /// What a query and a node are compared by: their vectors or, without a model, their words.
  enum Similarity: String, CaseIterable {
    /// The paper's.
    case cosine
    case dot
    /// The nearer, the more similar.
    case distance
    /// Cosine after the mean of the chunk's nodes is taken from both: hidden states have a direction in common.
    case centred
    /// Okapi BM25 of tokens.
    case words = "bm25"
  }

  /// What is opened. A share is of the nodes that could be opened: it becomes a threshold of scores, anew for every
  /// document, by a quantile.
  enum Expansion: Hashable {
    /// One child of every level: the paper's.
    case path
    /// Both children of the share of nodes whose children's scores differ least.
    case both(share: Double)
    /// No child of the share of nodes whose better child scores least.
    case none(share: Double)
    /// The best nodes of all chunks together, with the rows that one path for each chunk would have.
    case bestFirst
  }

  /// Rows of each level, when their sum is about that of the paper's way.
  enum Levels: String, CaseIterable {
    /// A level upwards has twice the ratio: every kept node has the same rows. The paper's.
    case geometric
    /// One ratio for all.
    case flat
    /// A level upwards has half the ratio: fine where nothing was found.
    case inverse
    /// The deepest level alone has rows; what is beside the path is not seen.
    case leaves
  }

  var similarity = Similarity.cosine
  var expansion = Expansion.path
  var levels = Levels.geometric

  /// What the policy of that name does.
  static let words = TreeSearch(similarity: .words)

  /// Whether what is kept of a chunk depends on the other chunks, too.
  var isJoint: Bool { expansion != .path || similarity == .words }
}

/// What trees are searched for.
struct SearchQuery {
  var tokens: [Int32]
  /// (hidden).
  var embedding: [Float]
}

extension TreeSearch.Similarity {
  /// - Parameters:
  ///   - query, node: (hidden).
  ///   - mean: of the vectors of the chunk's nodes; only `centred` looks at it.
  /// - Precondition: not for `words`, which has no vectors.
  func score(_ query: [Float], _ node: [Float], mean: [Float]) -> Float {
    switch self {
    case .words: preconditionFailure("words are compared by their statistics")
    case .cosine: cosineSimilarity(query, node)
    case .dot: Float(zip(query, node).reduce(0.0) { $0 + Double($1.0) * Double($1.1) })
    case .distance: -Float(zip(query, node).reduce(0.0) { $0 + Double($1.0 - $1.1) * Double($1.0 - $1.1) })
    case .centred: cosineSimilarity(zip(query, mean).map { $0 - $1 }, zip(node, mean).map { $0 - $1 })
    }
  }
}

extension TreeSearch.Expansion: CustomStringConvertible {
  /// `path`, `both 0.25`, `none 0.25`, `best-first`.
  init?(name: String) {
    let words = name.split(separator: " ")
    switch (words.first, words.count) {
    case ("path", 1): self = .path
    case ("best-first", 1): self = .bestFirst
    case ("both", 2), ("none", 2):
      guard let share = Double(words[1]), share > 0, share < 1 else { return nil }
      self = words[0] == "both" ? .both(share: share) : .none(share: share)
    default: return nil
    }
  }

  var description: String {
    switch self {
    case .path: "path"
    case .both(let share): "both \(share)"
    case .none(let share): "none \(share)"
    case .bestFirst: "best-first"
    }
  }
}

extension TreeSearch.Levels {
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
