public import ContextTrees
public import FileAccess
internal import ModelPacks
internal import PackedTiles

/// The lower model: encodes chunks into the nodes of their trees.
///
/// Source: arXiv 2410.19318, section 3.2. Every node is encoded alone, from position 0; the nodes of a left spine share
/// one pass. Not thread-safe: one task or thread at a time.
public final class TreeEncoder {
  private let model: LlamaModel
  private let weights: LlamaWeights
  private let shape: TreeShape
  public let layout: NodeBlockLayout
  private let forward: ForwardPass
  /// Nil where all weights stay in memory.
  private let weightStream: WeightStream?
  private let packer: NodePacker

  /// What the encoder makes of a node.
  public struct EncodedNode: Sendable {
    public let node: TreeNode
    /// For retrieval: (hidden).
    public let embedding: [Float]
    /// Keys and values: `layout.byteCount(rows:)` bytes.
    public let block: [UInt8]
  }

  /// - Parameter moments: takes in what the lower model's matrices are multiplied with.
  /// - Returns: nil for a plain pack, which has no lower model.
  public init?(_ model: LlamaModel, encoding: RowEncoding, threadCount: Int, moments: InputMoments? = nil) {
    guard let weights = model.lowerWeights, let shape = model.treeShape, let layout = model.nodeLayout(encoding)
    else { return nil }
    self.model = model
    self.weights = weights
    self.shape = shape
    self.layout = layout
    forward = ForwardPass(
      model.configuration, rotary: model.inNodeRotary, blockSize: model.longestPass,
      crew: ThreadCrew(threadCount: threadCount))
    forward.compute.moments = moments
    weightStream = model.makeWeightStream(weights)
    packer = NodePacker(layout: layout)
  }

  /// Encodes one chunk.
  /// - Parameter tokens: 1 … chunk size tokens of the vocabulary.
  /// - Returns: all nodes of the chunk's tree, by ascending number.
  /// - Throws: `Refusal` `not-finite` when the weights make keys or values overflow.
  public func encode(_ tokens: [Int32]) throws(Refusal) -> [EncodedNode] {
    let tree = ContextTree(shape: shape, tokenCount: tokens.count)
    var nodes: [EncodedNode] = []
    for pass in tree.spinePasses { nodes += try encode(Array(tokens[pass.range]), nodes: pass.nodes) }
    return nodes.sorted { $0.node.number < $1.node.number }
  }

  /// Encodes one node in a pass of its own, which gives the same bits as `encode(_:)`.
  /// - Parameter tokens: the tokens of the node's chunk.
  /// - Throws: `Refusal` `not-finite`.
  public func encode(alone node: TreeNode, of tokens: [Int32]) throws(Refusal) -> EncodedNode {
    try encode(Array(tokens[node.range]), nodes: [node])[0]
  }

  /// One pass over the longest node of a left spine.
  /// - Parameters:
  ///   - tokens: the longest node's tokens.
  ///   - nodes: nodes that start where the tokens start.
  private func encode(_ tokens: [Int32], nodes: [TreeNode]) throws(Refusal) -> [EncodedNode] {
    let cache = model.makeCache(layerCount: 1, capacity: tokens.count, blockSize: tokens.count)
    var blocks = nodes.map { [UInt8](repeating: 0, count: layout.byteCount(rows: $0.rowCount)) }
    var embeddings: [[Float]] = []
    func keep(layer: Int) throws(Refusal) {
      for (index, node) in nodes.enumerated() {
        let isFinite = packer.pack(
          keys: forward.key, values: forward.value, rows: (0..<node.rowCount).map(node.position(row:)), layer: layer,
          into: &blocks[index])
        guard isFinite else {
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
          forward.compute.rotate(forward.key, tokens: tokens.count, from: 0, forward.rotary)
        }
        try keep(layer: index)
        break
      }
      forward.project(layer, tokens: tokens.count)
      if !model.storedKeysCarryPosition { try keep(layer: index) }
      forward.selfAttend(layer, index: 0, tokens: tokens.count, cache: cache)
      if model.storedKeysCarryPosition { try keep(layer: index) }
      forward.feedForward(layer, tokens: tokens.count)
      if index == 0 {
        embeddings = nodes.map { forward.finalState(weights, token: $0.range.count - 1) }
      }
    }
    return zip(nodes, zip(embeddings, blocks)).map { EncodedNode(node: $0, embedding: $1.0, block: $1.1) }
  }
}

/// Writes rows of keys and values into the blocks of nodes.
@safe private final class NodePacker {
  private let layout: NodeBlockLayout

  init(layout: NodeBlockLayout) { self.layout = layout }

  /// - Parameters:
  ///   - keys, values: (tokens, kv heads · head dim).
  ///   - rows: the tokens that are kept.
  /// - Returns: false when a value is not finite.
  func pack(keys: FloatBuffer, values: FloatBuffer, rows: [Int], layer: Int, into block: inout [UInt8]) -> Bool {
    var isFinite = true
    let headDim = layout.headDim
    var keyRows = [Float](repeating: 0, count: rows.count * headDim)
    var valueRows = keyRows
    for head in 0..<layout.kvHeadCount {
      for (i, token) in rows.enumerated() {
        let key = unsafe keys.row(token) + head * headDim
        let value = unsafe values.row(token) + head * headDim
        for d in 0..<headDim {
          keyRows[i * headDim + d] = unsafe key[d]
          // Tiles hold values transposed.
          valueRows[layout.encoding == .int8 ? d * rows.count + i : i * headDim + d] = unsafe value[d]
        }
      }
      let keyOffset = layout.keyByteOffset(layer: layer, head: head, rows: rows.count)
      let valueOffset = layout.valueByteOffset(layer: layer, head: head, rows: rows.count)
      unsafe block.withUnsafeMutableBytes { bytes in
        isFinite =
          unsafe isFinite
          && store(
            keyRows, tiles: layout.keyTiles(rows: rows.count),
            at: UnsafeMutableRawBufferPointer(rebasing: bytes[keyOffset..<valueOffset]))
        isFinite =
          unsafe isFinite
          && store(
            valueRows, tiles: layout.valueTiles(rows: rows.count),
            at: UnsafeMutableRawBufferPointer(
              rebasing: bytes[valueOffset..<valueOffset + layout.valueByteCount(rows: rows.count)]))
      }
    }
    return isFinite
  }

  @unsafe private func store(
    _ floats: [Float], tiles: PackedTileLayout, at target: UnsafeMutableRawBufferPointer
  ) -> Bool {
    unsafe floats.withUnsafeBufferPointer { floats in
      switch layout.encoding {
      case .int8:
        return unsafe PackedTiles.quantizeMatrix(floats, layout: tiles, into: target)
      case .float16:
        unsafe PackedTiles.narrowToFloat16(
          floats, into: UnsafeMutableRawBufferPointer(rebasing: target[0..<floats.count * 2]))
      case .float32:
        unsafe target.copyMemory(from: UnsafeRawBufferPointer(floats))
      }
      return unsafe PackedTiles.allFinite(floats)
    }
  }
}

extension Refusal.Name {
  public static let notFinite = Refusal.Name("not-finite", .badInput)
}
