import ContextTrees
import FileAccess
import LlamaRuntime
import NodeBlocks
import SharedPack
import TreeStore

/// Where the chunks of evaluated texts come from: a store, or the lower model.
enum ChunkSource {
  case store(DocumentStore, NodeBlockLayout)
  case encoder(TreeEncoder)

  /// The lower model of a model.
  /// - Throws: `Refusal` `no-injection` for a plain pack.
  init(encoding model: LanguageModel, _ encoding: RowEncoding) throws(Refusal) {
    self = .encoder(try model.makeTreeEncoder(encoding))
  }

  var layout: NodeBlockLayout {
    switch self {
    case .store(_, let layout): layout
    case .encoder(let encoder): encoder.layout
    }
  }

  /// - Parameters:
  ///   - isSearched: whether embeddings will be compared; otherwise nodes are encoded one by one in `block(of:in:)`.
  ///   - domain: of the chunk, for the message when a store does not have it.
  /// - Throws: `Refusal` `chunk-not-stored`, `not-finite`, or what a damaged store throws.
  func chunk(
    of tokens: [Int32], shape: TreeShape, isSearched: Bool, domain: String
  ) throws(Refusal) -> ContextChunk {
    switch self {
    case .store(let store, _):
      guard let chunk = try store.store.chunk(store.store.chunkKey(tokens: tokens)) else {
        throw Refusal(
          .chunkNotStored, file: store.store.path, structure: "\(domain), a chunk of \(tokens.count) tokens",
          "is not in the store, which must be built of the same texts with fixed borders of chunks")
      }
      return ContextChunk(chunk)
    case .encoder(let encoder):
      return isSearched
        ? ContextChunk(try encoder.encode(tokens), shape: shape) : ContextChunk(unencoded: tokens, shape: shape)
    }
  }

  /// The rows of a node of a chunk. The lower model also makes them with another ratio than the tree has.
  func block(of node: TreeNode, in chunk: ContextChunk) throws(Refusal) -> NodeBlock {
    if case .encoder(let encoder) = self, !chunk.hasRows || chunk.tree.node(node.number) != node {
      return try encoder.encode(alone: node, of: chunk.tokens).block
    }
    return try chunk.block(of: node)
  }
}

extension Refusal.Name {
  static let chunkNotStored = Refusal.Name("chunk-not-stored", .badInput)
}
