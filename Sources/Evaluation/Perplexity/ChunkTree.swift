import ContextTrees
import FileAccess
import LlamaRuntime
import SharedPack
import TreeStore

/// Rows of a node that are ready to be injected.
struct KeptNode {
  var node: TreeNode
  var injected: InjectedNode
  var byteCount: Int
}

/// Where the trees of chunks come from: a store, or the lower model.
enum TreeSource {
  case store(DocumentStore)
  case encoder(TreeEncoder)

  var layout: NodeBlockLayout {
    switch self {
    case .store(let store): store.store.configuration.layout
    case .encoder(let encoder): encoder.layout
    }
  }

  /// - Parameters:
  ///   - isSearched: whether embeddings will be asked for; else nodes are encoded one by one as they are asked for.
  ///   - domain: of the chunk, for the message when a store does not have it.
  /// - Throws: `Refusal` `chunk-not-stored`, `not-finite`, or what a damaged store throws.
  func tree(of tokens: [Int32], shape: TreeShape, isSearched: Bool, domain: String) throws(Refusal) -> ChunkTree {
    switch self {
    case .store(let store):
      guard let chunk = try store.store.chunk(store.store.chunkKey(tokens: tokens)) else {
        throw Refusal(
          .chunkNotStored, file: store.store.path, structure: "\(domain), a chunk of \(tokens.count) tokens",
          "is not in the store: build it of the same texts")
      }
      return ChunkTree(tree: chunk.tree, tokens: tokens, origin: .stored(chunk))
    case .encoder(let encoder):
      let nodes = isSearched ? try encoder.encode(tokens) : []
      return ChunkTree(
        tree: ContextTree(shape: shape, tokenCount: tokens.count), tokens: tokens,
        origin: .encoded(encoder, Dictionary(uniqueKeysWithValues: nodes.map { ($0.node, $0) })))
    }
  }
}

/// The tree of one chunk, whose nodes are taken as they are needed.
struct ChunkTree {
  fileprivate enum Origin {
    case stored(StoredChunk)
    /// All nodes, or none.
    case encoded(TreeEncoder, [TreeNode: TreeEncoder.EncodedNode])
  }

  let tree: ContextTree
  fileprivate let tokens: [Int32]
  fileprivate let origin: Origin

  /// - Precondition: the tree is one that is searched.
  func embedding(of node: TreeNode) throws(Refusal) -> [Float] {
    switch origin {
    case .stored(let chunk): return try chunk.embedding(of: node)
    case .encoded(_, let nodes):
      guard let node = nodes[node] else { preconditionFailure("a tree that is searched has all nodes") }
      return node.embedding
    }
  }

  /// - Parameter node: of the tree; of a fresh one also with another ratio.
  func rows(of node: TreeNode) throws(Refusal) -> KeptNode {
    switch origin {
    case .stored(let chunk):
      let block = try chunk.block(of: node)
      guard let base = unsafe block.unsafeBytes.baseAddress else { preconditionFailure("a node has rows") }
      return KeptNode(
        node: node, injected: unsafe InjectedNode(rows: node.rowCount, block: base, owner: block),
        byteCount: block.bytes.byteCount)
    case .encoded(let encoder, let nodes):
      let encoded: TreeEncoder.EncodedNode
      if let known = nodes[node] { encoded = known } else { encoded = try encoder.encode(alone: node, of: tokens) }
      return KeptNode(
        node: node, injected: InjectedNode(copying: encoded), byteCount: encoded.block.count)
    }
  }
}

/// A chunk's tree beside a query.
struct SearchedTree {
  let chunk: ChunkTree
  private let similarity: TreeSearch.Similarity
  private let query: SearchQuery
  /// Of all chunks, where the similarity is of words.
  private let words: WordStatistics?
  /// Of the vectors of all nodes, where the similarity needs it.
  private let mean: [Float]

  init(
    _ chunk: ChunkTree, _ similarity: TreeSearch.Similarity, query: SearchQuery, words: WordStatistics?
  ) throws(Refusal) {
    self.chunk = chunk
    self.similarity = similarity
    self.query = query
    self.words = words
    var mean = [Float](repeating: 0, count: similarity == .centred ? query.embedding.count : 0)
    if similarity == .centred {
      for node in chunk.tree.nodes {
        for (index, value) in try chunk.embedding(of: node).enumerated() {
          mean[index] += value / Float(chunk.tree.nodes.count)
        }
      }
    }
    self.mean = mean
  }

  func score(_ node: TreeNode) throws(Refusal) -> Float {
    if let words { return words.score(query.tokens, chunk.tokens[node.range]) }
    return similarity.score(query.embedding, try chunk.embedding(of: node), mean: mean)
  }

  /// The scores of both children of every node, and of the root, that could be opened further.
  func pairs() throws(Refusal) -> [(left: Float, right: Float)] {
    var pairs: [(left: Float, right: Float)] = []
    let depth = chunk.tree.shape.depth
    for left in chunk.tree.nodes where left.number % 2 == 0 && left.level < depth {
      guard let right = chunk.tree.node(left.number + 1) else { continue }
      pairs.append((try score(left), try score(right)))
    }
    return pairs
  }
}

extension TreeSearch {
  /// What the cosine policy keeps of the chunks of a context.
  func preservedNodes(of chunks: [ChunkTree], query: SearchQuery) throws(Refusal) -> [[TreeNode]] {
    let words = similarity == .words ? WordStatistics(chunks.flatMap { $0.tree.leaves(of: $0.tokens) }) : nil
    var searched: [SearchedTree] = []
    for chunk in chunks { searched.append(try SearchedTree(chunk, similarity, query: query, words: words)) }
    return try preservedNodes(of: searched)
  }

  private func preservedNodes(of chunks: [SearchedTree]) throws(Refusal) -> [[TreeNode]] {
    func each(_ expansion: TreeExpansion) throws(Refusal) -> [[TreeNode]] {
      var nodes: [[TreeNode]] = []
      for chunk in chunks {
        nodes.append(
          try chunk.chunk.tree.preservedNodes(expansion: expansion) { (node) throws(Refusal) in try chunk.score(node) })
      }
      return nodes
    }
    /// The threshold that a share of values is below.
    func threshold(_ share: Double, _ value: (_ left: Float, _ right: Float) -> Float) throws(Refusal) -> Float {
      var values: [Double] = []
      for chunk in chunks { values += try chunk.pairs().map { Double(value($0.left, $0.right)) } }
      return values.isEmpty ? 0 : Float(Bootstrap.quantile(share, ofSorted: values.sorted()))
    }
    switch expansion {
    case .path: return try each(.path)
    case .both(let share): return try each(.both(below: try threshold(share) { abs($0 - $1) }))
    case .none(let share): return try each(.none(below: try threshold(share) { max($0, $1) }))
    case .bestFirst:
      let trees = chunks.map(\.chunk.tree)
      let budget = trees.reduce(0) { sum, tree in
        sum + tree.preservedNodes(policy: .right, chunk: 0) { _ in 0 }.reduce(0) { $0 + $1.rowCount }
      }
      return try ContextTree.preservedNodes(of: trees, rowBudget: budget) { (place, node) throws(Refusal) in
        try chunks[place].score(node)
      }
    }
  }
}

extension Refusal.Name {
  static let chunkNotStored = Refusal.Name("chunk-not-stored", .badInput)
}
