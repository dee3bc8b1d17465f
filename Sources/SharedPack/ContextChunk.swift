public import ContextTrees
public import FileAccess
import LlamaRuntime
package import NodeBlocks
package import TreeStore

/// A chunk of a document with its tree: from a store or freshly encoded. Both give the same answers, to the last bit.
public struct ContextChunk: SearchableChunk, Sendable {
  private enum Source: Sendable {
    case stored(StoredChunk)
    case fresh(EncodedChunk)
    case unencoded
  }

  /// In the order of the text.
  public let tokens: [Int32]
  /// The form of the chunk's tree.
  public let tree: ContextTree
  private let source: Source

  package init(_ stored: StoredChunk) {
    tokens = stored.tokens
    tree = stored.tree
    source = .stored(stored)
  }

  /// - Precondition: the chunk was encoded with trees of this shape.
  package init(_ encoded: EncodedChunk, shape: TreeShape) {
    tokens = encoded.tokens
    tree = ContextTree(shape: shape, tokenCount: encoded.tokens.count)
    precondition(encoded.blocks.count == tree.nodes.count, "a tree has a block for every node")
    source = .fresh(encoded)
  }

  /// A chunk that is searched without embeddings, whose rows the caller encodes as it needs them.
  package init(unencoded tokens: [Int32], shape: TreeShape) {
    self.tokens = tokens
    tree = ContextTree(shape: shape, tokenCount: tokens.count)
    source = .unencoded
  }

  /// Whether it lies in a store.
  var isStored: Bool { if case .stored = source { true } else { false } }

  /// Whether the chunk has its nodes' embeddings and rows.
  package var hasRows: Bool { if case .unencoded = source { false } else { true } }

  /// The vector that a query is compared with: (hidden).
  /// - Throws: `Refusal` when a stored one is damaged.
  public func embedding(of node: TreeNode) throws(Refusal) -> [Float] {
    switch source {
    case .stored(let chunk): return try chunk.embedding(of: node)
    case .fresh(let chunk):
      let size = chunk.embeddings.count / tree.nodes.count
      let start = tree.index(of: node) * size
      return Array(chunk.embeddings[start..<start + size])
    case .unencoded: preconditionFailure("the chunk was not encoded")
    }
  }

  /// A node's keys and values.
  /// - Throws: `Refusal` when a stored block is damaged.
  package func block(of node: TreeNode) throws(Refusal) -> NodeBlock {
    switch source {
    case .stored(let chunk): return try chunk.block(of: node)
    case .fresh(let chunk): return chunk.blocks[tree.index(of: node)]
    case .unencoded: preconditionFailure("the chunk was not encoded")
    }
  }
}
