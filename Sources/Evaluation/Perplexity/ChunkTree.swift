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
          "is not in the store: build it of the same texts with --chunk-borders fixed")
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
struct ChunkTree: SearchableChunk {
  fileprivate enum Origin {
    case stored(StoredChunk)
    /// All nodes, or none.
    case encoded(TreeEncoder, [TreeNode: TreeEncoder.EncodedNode])
  }

  let tree: ContextTree
  let tokens: [Int32]
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

extension Refusal.Name {
  static let chunkNotStored = Refusal.Name("chunk-not-stored", .badInput)
}
