public import ContextTrees
public import FileAccess
internal import ModelPacks
public import NodeBlocks

/// The lower model: encodes chunks into the nodes of their trees.
///
/// Source: arXiv 2410.19318, section 3.2. Every node is encoded alone, from position 0; the nodes of a left spine share
/// one pass. An encoder reads a chunk as a whole, and nodes have parts of its states. Not thread-safe: one task or thread
/// at a time.
public final class TreeEncoder {
  private let model: LlamaModel
  private let weights: LlamaWeights
  private let shape: TreeShape
  public let layout: NodeBlockLayout
  private let forward: ForwardPass
  private let rotary: RotaryCache
  /// Nil where all weights stay in memory.
  private let weightStream: WeightStream?
  /// Nil where keys and values of the layers are kept.
  private let states: StateEncoder?

  /// An encoded node.
  public struct EncodedNode: Sendable {
    public let node: TreeNode
    /// The vector that searches compare with the query's: (`LlamaModel.nodeEmbeddingSize`).
    public let embedding: [Float]
    public let block: NodeBlock
  }

  /// - Parameters:
  ///   - threads: share the work; nil takes the model's. Results do not depend on it.
  ///   - moments: collects the second moments of the inputs of the lower model's matrices.
  /// - Returns: nil for a plain pack, which has no lower model.
  public init?(_ model: LlamaModel, encoding: RowEncoding, threads: ThreadPool? = nil, moments: SecondMoments? = nil) {
    guard let weights = model.lowerWeights, let shape = model.treeShape, let layout = model.nodeLayout(encoding)
    else { return nil }
    self.model = model
    self.weights = weights
    self.shape = shape
    self.layout = layout
    states = StateEncoder(model, threads: threads ?? model.threads, moments: moments)
    forward = ForwardPass(
      model.configuration, blockSize: states == nil ? model.longestPass : 0, threads: threads ?? model.threads)
    rotary = RotaryCache(model.inNodeRotary)
    forward.compute.moments = moments
    weightStream = states == nil ? model.makeWeightStream(weights) : nil
  }

  /// Encodes one chunk.
  /// - Parameter tokens: 1 … chunk size tokens of the vocabulary.
  /// - Returns: all nodes of the chunk's tree.
  /// - Throws: `Refusal` `not-finite` when the weights make keys or values overflow, `file-changed`.
  public func encode(_ tokens: [Int32]) throws(Refusal) -> EncodedChunk {
    let tree = ContextTree(shape: shape, tokenCount: tokens.count)
    var nodes: [EncodedNode] = []
    if let states {
      nodes = try states.encode(tokens, nodes: tree.nodes, layout: layout)
    } else {
      for pass in tree.spinePasses { nodes += try encode(Array(tokens[pass.range]), nodes: pass.nodes) }
    }
    try model.pack.requireWhole()
    nodes.sort { $0.node.number < $1.node.number }
    return EncodedChunk(tokens: tokens, embeddings: nodes.flatMap(\.embedding), blocks: nodes.map(\.block))
  }

  /// Encodes one node in a pass of its own, which gives the same bits as `encode(_:)`.
  /// - Parameter tokens: the tokens of the node's chunk.
  /// - Throws: `Refusal` `not-finite`.
  public func encode(alone node: TreeNode, of tokens: [Int32]) throws(Refusal) -> EncodedNode {
    if let states { return try states.encode(tokens, nodes: [node], layout: layout)[0] }
    return try encode(Array(tokens[node.range]), nodes: [node])[0]
  }

  /// One pass over the longest node of a left spine.
  /// - Parameters:
  ///   - tokens: the longest node's tokens.
  ///   - nodes: nodes that start where the tokens start.
  private func encode(_ tokens: [Int32], nodes: [TreeNode]) throws(Refusal) -> [EncodedNode] {
    let cache = model.makeCache(layerCount: 1, capacity: tokens.count, blockSize: tokens.count)
    let writers = nodes.map { node in
      NodeBlockWriter(layout: layout, keeping: (0..<node.rowCount).map(node.position(row:)))
    }
    var embeddings: [[Float]] = []
    func keep(layer: Int) throws(Refusal) {
      for writer in writers {
        guard unsafe writer.write(layer: layer, keys: forward.key.base, values: forward.value.base) else {
          try model.pack.requireWhole()
          throw Refusal(
            .notFinite, file: model.pack.path, structure: "lower model, layer \(layer)",
            "its keys or values overflow")
        }
      }
    }

    forward.embed(tokens[...], weights)
    let deepest = layout.layerCount - 1
    for (index, layer) in weights.layers.enumerated() {
      weightStream?.enter(index)
      // The deepest layer's attention and MLP feed nothing but, in a lower model of one layer, the embeddings.
      if index == deepest, index > 0 {
        forward.projectKeysAndValues(layer, tokens: tokens.count)
        if model.storedKeysCarryPosition {
          forward.compute.rotate(forward.key, rows: tokens.indices, from: 0, rotary)
        }
        try keep(layer: index)
        break
      }
      forward.project(layer, tokens: tokens.count)
      if !model.storedKeysCarryPosition { try keep(layer: index) }
      forward.selfAttend(layer, index: 0, tokens: tokens.count, cache: cache, rotary)
      if model.storedKeysCarryPosition { try keep(layer: index) }
      forward.feedForward(layer, tokens: tokens.count)
      if index == 0 {
        embeddings = nodes.map { forward.finalState(weights, token: $0.range.count - 1) }
      }
    }
    return zip(nodes, zip(embeddings, writers)).map { EncodedNode(node: $0, embedding: $1.0, block: $1.1.finish()) }
  }
}

extension Refusal.Name {
  public static let notFinite = Refusal.Name("not-finite", .badInput)
}
