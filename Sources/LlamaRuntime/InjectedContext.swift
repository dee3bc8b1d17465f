public import FileAccess
public import ModelPacks
public import NodeBlocks

/// What is injected into the upper model: the rows of the preserved nodes of every chunk, chunks in order, as its layers
/// read them.
/// Source: arXiv 2410.19318, section 3.3.
public struct InjectedContext: Sendable {
  public let layout: NodeBlockLayout
  /// The preserved nodes of each chunk.
  public let chunks: [[NodeBlock]]

  /// - Precondition: all blocks have the layout.
  public init(layout: NodeBlockLayout, chunks: [[NodeBlock]]) {
    precondition(chunks.allSatisfy { $0.allSatisfy { $0.layout == layout } }, "a context has rows of one layout")
    self.layout = layout
    self.chunks = chunks
  }

  /// Rows of all nodes.
  public var rowCount: Int { chunks.reduce(0) { $0 + $1.reduce(0) { $0 + $1.rowCount } } }

  /// Bytes of the rows that lie in memory of their own, not in mapped files: those that were made of an encoder's states,
  /// and those of texts that are not in a store.
  public var memoryByteCount: Int {
    chunks.joined().reduce(0) { $0 + ($1.storage.isMapped ? 0 : $1.byteCount) }
  }

  /// The files that the rows are mapped from.
  var mappings: [MappedFile] { chunks.flatMap { $0.compactMap(\.storage.mapping) }.distinct }

  /// The rows of a layer, with the angles that the position mode gives each chunk.
  func rows(layer: Int, angle: (_ chunk: Int) -> RowSpan.QueryAngle) -> InjectedRows {
    InjectedRows(
      chunks.enumerated().flatMap { chunk, nodes in
        nodes.map { RowSpan.node($0, layer: layer, queryAngle: angle(chunk)) }
      })
  }
}

extension PositionMode {
  /// Whether a stored key is turned by its in-node position.
  public var storedKeysCarryPosition: Bool { self != .replace }

  /// The angle by which a query is turned before it meets the stored keys of a chunk: the query's angle less the
  /// chunk's part of the key's. Rotating the query back replaces rotating every key.
  func queryAngle(chunk: Int, of chunkCount: Int) -> Int {
    switch self {
    case .replace, .compose: chunkCount - chunk
    case .composePlusOne: chunkCount + 1 - chunk
    case .local: chunkCount + 1
    case .none: 0
    }
  }
}

extension LlamaModel {
  /// What a session reads of some nodes: their rows as they are or, of an encoder's states, the keys and values that the
  /// layers make of them, in the form in which caches keep rows.
  /// - Parameter chunks: the nodes of each chunk, in the form of `nodeLayout`.
  /// - Returns: nil for a plain pack.
  /// - Throws: `Refusal` `not-finite` when the weights make keys or values overflow, `file-changed`.
  public func makeContext(_ chunks: [[NodeBlock]], encoding: RowEncoding) throws(Refusal) -> InjectedContext? {
    guard let layout = nodeLayout(encoding), let sharedLLM else { return nil }
    let stored = InjectedContext(layout: layout, chunks: chunks)
    guard sharedLLM.encoder != nil, let injected = injectedLayout(cacheEncoding) else { return stored }
    let compute = Compute(threads: threads)
    let weightStream = makeWeightStream(weights)
    let nodes = chunks.flatMap(\.self)
    let writers = nodes.map { NodeBlockWriter(layout: injected, keeping: Array(0..<$0.rowCount)) }
    let states = nodes.map(StateRows.states(of:))
    let rowCount = nodes.map(\.rowCount).max() ?? 0
    let width = injected.kvHeadCount * injected.headDim
    let (keys, values) = (FloatBuffer(rows: rowCount, columns: width), FloatBuffer(rows: rowCount, columns: width))
    for (index, layer) in sharedLLM.injectedLayers(of: configuration.layerCount).enumerated() {
      weightStream?.enter(layer)
      guard let (key, value) = weights.layers[layer].crossAttention?.keysAndValues else {
        preconditionFailure("the pack was checked to have them when it was opened")
      }
      for (states, writer) in zip(states, writers) {
        compute.multiply(states, tokens: states.rows, by: (key, keys), (value, values))
        guard unsafe writer.write(layer: index, keys: keys.base, values: values.base) else {
          try pack.requireWhole()
          throw Refusal(
            .notFinite, file: pack.path, structure: "cross-attention, layer \(layer)", "its keys or values overflow")
        }
      }
    }
    try pack.requireWhole()
    for file in stored.mappings { try file.requireWhole() }
    let blocks = writers.map { $0.finish() }
    var first = 0
    return InjectedContext(
      layout: injected,
      chunks: chunks.map { nodes in
        defer { first += nodes.count }
        return Array(blocks[first..<first + nodes.count])
      })
  }
}
