internal import CKernels
public import ContextTrees
internal import FileAccess
public import ModelPacks
public import NodeBlocks
internal import PackedTiles

/// A LLaMA in a mapped pack, with the lower model that encodes its chunks.
///
/// Immutable; any number of sessions and encoders use it at the same time.
public final class LlamaModel: Sendable {
  public let pack: ModelPack
  /// The pack's, with the scaling of positions that texts are read with.
  public let configuration: LlamaConfiguration
  /// Nil for the pack's own scaling.
  public let positions: PositionScaling?
  /// How context trees are read: the pack's own way, or another one that its weights allow. Nil for a plain pack.
  public let sharedLLM: SharedLLMConfiguration?
  let weights: LlamaWeights
  /// Nil for a plain pack.
  let lowerWeights: LlamaWeights?

  /// Which weights stay in memory.
  public let residency: WeightResidency

  /// Threads that share the work of all sessions and encoders.
  public let threads: ThreadPool

  /// - Parameters:
  ///   - positions: how they are scaled; nil as the pack says.
  ///   - memoryLimit: bytes that the process may take. A pack that does not fit is read for every pass.
  /// - Precondition: the pack can be read with such positions.
  public convenience init(
    _ pack: ModelPack, positions: PositionScaling? = nil, threads: ThreadPool = .shared, memoryLimit: Int = .max
  ) {
    self.init(pack, pack.sharedLLM, positions: positions, threads: threads, memoryLimit: memoryLimit)
  }

  /// Reads the trees of a pack in another way than it was trained for, to measure the effect: another shape of the
  /// trees, another position mode, fewer injected layers.
  /// - Returns: nil when the pack is plain, has no weights for it, or no tree has such a shape.
  public convenience init?(
    _ pack: ModelPack, reading sharedLLM: SharedLLMConfiguration, positions: PositionScaling? = nil,
    threads: ThreadPool = .shared, memoryLimit: Int = .max
  ) {
    guard let own = pack.sharedLLM, sharedLLM.injection == own.injection,
      sharedLLM.injectionPlace == own.injectionPlace,
      sharedLLM.lowerModel == own.lowerModel, sharedLLM.encoder == own.encoder,
      sharedLLM.injectedLayerCount > 0,
      sharedLLM.injectedLayerCount == own.injectedLayerCount
        || own.injectionPlace == .bottom && sharedLLM.injectedLayerCount <= own.injectedLayerCount
        || own.injection == .mergedSoftmax && own.lowerModel == .shared
          && sharedLLM.injectedLayerCount <= pack.configuration.layerCount,
      TreeShape(chunkSize: sharedLLM.chunkSize, depth: sharedLLM.treeDepth, leafRatio: sharedLLM.leafRatio) != nil
    else { return nil }
    self.init(pack, sharedLLM, positions: positions, threads: threads, memoryLimit: memoryLimit)
  }

  private init(
    _ pack: ModelPack, _ sharedLLM: SharedLLMConfiguration?, positions: PositionScaling?, threads: ThreadPool,
    memoryLimit: Int
  ) {
    self.threads = threads
    self.pack = pack
    self.positions = positions
    if let fault = positions?.fault(of: pack.configuration) { preconditionFailure(fault) }
    configuration = positions?.applied(to: pack.configuration) ?? pack.configuration
    self.sharedLLM = sharedLLM
    weights = .upper(pack)
    lowerWeights = .lower(pack, sharedLLM, upper: weights)
    residency = WeightResidency(weights, in: pack, memoryLimit: memoryLimit)
  }

  /// The form of the context trees; nil for a plain pack.
  public var treeShape: TreeShape? {
    sharedLLM.flatMap { TreeShape(chunkSize: $0.chunkSize, depth: $0.treeDepth, leafRatio: $0.leafRatio) }
  }

  /// How nodes of this model's trees are laid out; nil for a plain pack. The states of an encoder stand as the keys and
  /// values of one layer.
  public func nodeLayout(_ encoding: RowEncoding) -> NodeBlockLayout? {
    guard let encoder = sharedLLM?.encoder else { return injectedLayout(encoding) }
    return StateRows.layout(encoder, encoding)
  }

  /// How the rows are laid out that layers read of nodes; nil for a plain pack.
  public func injectedLayout(_ encoding: RowEncoding) -> NodeBlockLayout? {
    sharedLLM.flatMap {
      NodeBlockLayout(
        layerCount: $0.injectedLayerCount, kvHeadCount: configuration.kvHeadCount, headDim: configuration.headDim,
        encoding: encoding)
    }
  }

  /// Floats of the vectors that nodes and queries are compared by.
  public var nodeEmbeddingSize: Int { sharedLLM?.encoder?.hiddenSize ?? configuration.hiddenSize }

  /// How the rows of a text are laid out, in the form of a session's own.
  public var textRowLayout: TextRowLayout {
    guard
      let layout = TextRowLayout(
        layerCount: configuration.layerCount, kvHeadCount: configuration.kvHeadCount, headDim: configuration.headDim,
        encoding: cacheEncoding)
    else { preconditionFailure("a pack's sizes have been checked") }
    return layout
  }

  /// Packs keep keys and values as they keep weights. The dynamic scaling rotates keys repeatedly, for which only
  /// float32 is precise enough. Biases make some numbers of a key very much larger than the others, which eight bits with
  /// one scale would lose.
  var cacheEncoding: RowEncoding {
    if case .dynamic = configuration.ropeScaling { return .float32 }
    switch weights.layers.first?.query.element {
    case .float16: return .float16
    case .int8, .int4: return configuration.attentionInputBias ? .float16 : .int8
    default: return .float32
    }
  }

  /// A cache for this model's shape of heads.
  /// - Parameter encoding: of the rows; nil for the one that is usual.
  func makeCache(
    layerCount: Int, capacity: Int, blockSize: Int, policy: any RowPolicy = FullRows(), firstPosition: Int = 0,
    encoding: RowEncoding? = nil, scratch: ScratchMapping? = nil
  ) -> KeyValueCache {
    KeyValueCache(
      layerCount: layerCount, kvHeadCount: configuration.kvHeadCount, headDim: configuration.headDim,
      capacity: capacity, encoding: encoding ?? usualEncoding(choosing: policy.chooser != nil),
      blockSize: blockSize, policy: policy, firstPosition: firstPosition,
      packsPrompt: cacheEncoding == .int8 && encoding ?? .int8 == .int8, scratch: scratch)
  }

  /// Bytes that a session of a batch takes, at most: its keys and values, and what is beside them.
  /// - Parameters:
  ///   - capacity: tokens that the running text may grow to.
  ///   - cachePolicy: which of them stay.
  ///   - batchTokens: tokens that are read together, at most.
  public func sessionByteCount(capacity: Int, cachePolicy: CachePolicy, batchTokens: Int) -> Int {
    let rows = KeyValueCache.byteCount(
      layerCount: configuration.layerCount, kvHeadCount: configuration.kvHeadCount, headDim: configuration.headDim,
      capacity: capacity, encoding: cacheEncoding, blockSize: batchTokens, policy: rowPolicy(cachePolicy))
    // Logits, and the angles of positions.
    let positions = min(capacity, configuration.maxPositionCount)
    return rows + 4 * configuration.vocabularySize + 4 * configuration.headDim * positions
  }

  /// Bytes of what a policy keeps beyond its window, for a text of a number of tokens; 0 for nothing.
  /// - Parameter encoding: of the session's rows; nil for the one that is usual.
  public func scratchByteCount(_ policy: CachePolicy, capacity: Int, encoding: RowEncoding? = nil) -> Int {
    guard let blocks = rowPolicy(policy).blocks else { return 0 }
    return DistantRows.blockByteCount(
      blocks, layerCount: configuration.layerCount, kvHeadCount: configuration.kvHeadCount,
      headDim: configuration.headDim, tokens: capacity, encoding: encoding ?? cacheEncoding)
  }

  /// Where a policy chooses among rows, they stand one by one, and with one scale for all channels of a value int8 is
  /// coarser.
  private func usualEncoding(choosing: Bool) -> RowEncoding {
    choosing && cacheEncoding == .int8 ? .float16 : cacheEncoding
  }

  /// How a policy's cache keeps rows where nothing else is said.
  public func usualEncoding(_ policy: CachePolicy) -> RowEncoding { usualEncoding(choosing: policy.choosesRows) }

  /// The encodings that a session's rows can have: any, but for a scaling that turns keys again.
  public var rowEncodings: [RowEncoding] {
    if case .dynamic = configuration.ropeScaling { return [.float32] }
    return RowEncoding.ofCaches
  }

  /// Bytes of a row of every head of every layer, in the form that a policy's cache keeps.
  /// - Parameter encoding: of the rows; nil for the one that is usual.
  public func rowByteCount(_ policy: CachePolicy, encoding: RowEncoding? = nil) -> Int {
    let heads = configuration.layerCount * configuration.kvHeadCount
    let encoding = encoding ?? usualEncoding(policy)
    guard encoding == .int8 else { return heads * 2 * configuration.headDim * encoding.element.byteCount }
    // One scale a key, and one a value or one a channel for the values of each block.
    let scales = policy.choosesRows ? 8 : 4 + 4 * configuration.headDim / TextRowLayout.rowsTogether
    return heads * (2 * configuration.headDim + scales)
  }

  func rowPolicy(_ policy: CachePolicy, kinds: TokenKinds = TokenKinds()) -> any RowPolicy {
    policy.makeRowPolicy(
      layerCount: configuration.layerCount, kvHeadCount: configuration.kvHeadCount, kinds: kinds)
  }

  /// Tokens that the running text may have: the trained window, as far as positions stretch it, less the positions that
  /// merged rows take.
  public var window: Int {
    configuration.maxPositionCount - (sharedLLM?.injection == .mergedSoftmax ? mergedPositionOffset : 0)
  }

  /// What, besides the weights and the layout, decides the bytes of a stored row.
  public var rowNumerics: String {
    guard let sharedLLM else { return "" }
    if sharedLLM.encoder != nil { return "rows=states;" + textRowNumerics }
    return "keys=\(storedKeysCarryPosition ? "in-node-position" : "unrotated");" + textRowNumerics
  }

  /// What, besides the weights and the layout, decides the bytes of a text's row.
  public var textRowNumerics: String {
    let kernels = "kernels=\(SP_NUMERICS_VERSION)"
    let own = pack.configuration
    // The pack's identity stands for its own angles.
    guard let positions, configuration.ropeScaling != own.ropeScaling || configuration.ropeTheta != own.ropeTheta else {
      return kernels
    }
    return "\(kernels);rope=\(positions.numerics(of: own))"
  }

  /// Keys of a node as they were before any rotation: (rows, kv heads, head dim).
  /// - Parameter keys: as they are stored, in floats.
  public func unrotatedKeys(_ keys: [Float], node: TreeNode, layout: NodeBlockLayout) -> [Float] {
    guard storedKeysCarryPosition else { return keys }
    let frequencies = inNodeRotary.frequencies
    let half = layout.headDim / 2
    var result = keys
    for row in 0..<node.rowCount {
      let angles = RotaryTable.angles(frequencies, position: -node.position(row: row))
      for head in 0..<layout.kvHeadCount {
        let start = (row * layout.kvHeadCount + head) * layout.headDim
        for i in 0..<half {
          let (a, b) = (keys[start + i], keys[start + half + i])
          result[start + i] = a * angles[i] - b * angles[half + i]
          result[start + half + i] = b * angles[i] + a * angles[half + i]
        }
      }
    }
    return result
  }

  /// Whether a stored key is turned by its in-node position.
  var storedKeysCarryPosition: Bool {
    guard sharedLLM?.encoder == nil else { return false }
    return sharedLLM.map { $0.injection == .mergedSoftmax || $0.positionMode.storedKeysCarryPosition } ?? false
  }

  /// The angles of in-node positions. A pass is at most the longer half of a chunk.
  var inNodeRotary: RotaryTable { RotaryTable(configuration, sequenceLength: longestPass) }

  /// Tokens of the longest node below the root; 0 for a plain pack.
  var longestPass: Int { sharedLLM.map { ($0.chunkSize + 1) / 2 } ?? 0 }

  /// Merged rows stand before the running text, whose first token gets the position behind the longest node.
  var mergedPositionOffset: Int { longestPass }

  /// The vector that nodes are compared with: the state of the last token after one whole layer of the upper model
  /// and the final norm; with an encoder, the mean of its states.
  /// Source: arXiv 2410.19318, section 3.2.
  /// - Parameter tokens: the query, at positions from 0; not empty. An encoder reads no more of its end than a chunk.
  /// - Returns: (`nodeEmbeddingSize`).
  public func queryEmbedding(_ tokens: [Int32], threads: ThreadPool? = nil) -> [Float] {
    precondition(!tokens.isEmpty)
    if let encoder = StateEncoder(self, threads: threads ?? self.threads) {
      return encoder.states(Array(tokens.suffix(encoder.longestPass))).mean
    }
    let forward = ForwardPass(
      configuration, blockSize: min(tokens.count, promptBlockSize), threads: threads ?? self.threads)
    let rotary = RotaryCache(RotaryTable(configuration, sequenceLength: tokens.count))
    let cache = makeCache(layerCount: 1, capacity: tokens.count, blockSize: forward.blockSize)
    let layer = weights.layers[0]
    // Of the tokens before the last one, nothing but their keys and values goes into the last one's state.
    let last = tokens.count - 1
    for start in stride(from: 0, to: last, by: forward.blockSize) {
      let block = tokens[start..<min(start + forward.blockSize, last)]
      forward.embed(block, weights)
      forward.projectKeysAndValues(layer, tokens: block.count)
      forward.enter(cache, layer: 0, rows: 0..<block.count, rotary)
      cache.advance(block.count)
    }
    forward.embed(tokens[last...], weights)
    forward.project(layer, tokens: 1)
    forward.selfAttend(layer, index: 0, tokens: 1, cache: cache, rotary)
    forward.feedForward(layer, tokens: 1)
    return forward.finalState(weights, token: 0)
  }
}
