public import ContextTrees
public import FileAccess
public import LlamaRuntime
public import TreeStore

/// A chunk of a document with its tree: from a store, or encoded a moment ago. Both answer alike, to the last bit.
public struct ContextChunk: SearchableChunk, Sendable {
  private enum Source: Sendable {
    case stored(StoredChunk)
    /// By node number.
    case fresh([Int: (embedding: [Float], block: NodeBlock)])
  }

  public let tokens: [Int32]
  public let tree: ContextTree
  private let source: Source

  public init(_ stored: StoredChunk) {
    tokens = stored.tokens
    tree = stored.tree
    source = .stored(stored)
  }

  /// - Throws: `Refusal` `not-finite`.
  init(encoding tokens: [Int32], shape: TreeShape, with encoder: TreeEncoder) throws(Refusal) {
    self.tokens = tokens
    tree = ContextTree(shape: shape, tokenCount: tokens.count)
    var nodes: [Int: (embedding: [Float], block: NodeBlock)] = [:]
    for encoded in try encoder.encode(tokens) {
      nodes[encoded.node.number] = (encoded.embedding, NodeBlock(bytes: encoded.block))
    }
    source = .fresh(nodes)
  }

  /// What a store keeps of a fresh chunk; nil for a stored one.
  var encoded: EncodedChunk? {
    guard case .fresh(let nodes) = source else { return nil }
    let ordered = tree.nodes.compactMap { nodes[$0.number] }
    return EncodedChunk(
      tokens: tokens, embeddings: ordered.flatMap(\.embedding), blocks: ordered.map(\.block))
  }

  /// The vector that a query is compared with: (hidden).
  /// - Throws: `Refusal` when a stored one is damaged.
  public func embedding(of node: TreeNode) throws(Refusal) -> [Float] {
    switch source {
    case .stored(let chunk): return try chunk.embedding(of: node)
    case .fresh(let nodes):
      guard let node = nodes[node.number] else { preconditionFailure("the node is of another tree") }
      return node.embedding
    }
  }

  /// A node's keys and values.
  /// - Throws: `Refusal` when a stored block is damaged.
  public func block(of node: TreeNode) throws(Refusal) -> NodeBlock {
    switch source {
    case .stored(let chunk): return try chunk.block(of: node)
    case .fresh(let nodes):
      guard let node = nodes[node.number] else { preconditionFailure("the node is of another tree") }
      return node.block
    }
  }
}

/// A text that can be asked about.
public struct ContextDocument: Sendable {
  public let name: String
  public let chunks: [ContextChunk]
  public let layout: NodeBlockLayout

  public var tokenCount: Int { chunks.reduce(0) { $0 + $1.tokens.count } }

  public init(name: String, chunks: [ContextChunk], layout: NodeBlockLayout) {
    self.name = name
    self.chunks = chunks
    self.layout = layout
  }
}

extension LanguageModel {
  /// Encodes tokens into the chunks of a document, in memory.
  /// - Parameters:
  ///   - borders: where it is cut; a store's chunks are the same if it was built alike.
  ///   - moments: takes in what the lower model's matrices are multiplied with.
  ///   - progress: called with the number of tokens done; throws to stop.
  /// - Throws: `Refusal` `no-injection`, `not-finite`, and what `progress` throws.
  public func encode(
    name: String, tokens: [Int32], encoding: RowEncoding = .int8, borders: ChunkBorders = .sentences,
    moments: InputMoments? = nil, progress: (_ done: Int) throws(Refusal) -> Void = { _ in }
  ) throws(Refusal) -> ContextDocument {
    let (shape, layout) = try requireTrees(encoding)
    guard let encoder = TreeEncoder(runtime, encoding: encoding, threadCount: threadCount, moments: moments) else {
      preconditionFailure("a model with trees has an encoder")
    }
    var chunks: [ContextChunk] = []
    for range in self.chunks(of: tokens, shape: shape, borders: borders) {
      chunks.append(try ContextChunk(encoding: Array(tokens[range]), shape: shape, with: encoder))
      try progress(range.upperBound)
    }
    return ContextDocument(name: name, chunks: chunks, layout: layout)
  }
}
