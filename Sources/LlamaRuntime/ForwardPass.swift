internal import CKernels
internal import ModelPacks
internal import NodeBlocks

/// The passes of tokens through layers, with the buffers that they need.
final class ForwardPass {
  let configuration: LlamaConfiguration
  let compute: Compute
  let attention: Attention
  /// Tokens of a block, at most.
  let blockSize: Int

  // Activations of a block: (tokens, width).
  let x: FloatBuffer
  private let normed: FloatBuffer
  let query: FloatBuffer
  let key: FloatBuffer
  let value: FloatBuffer
  private let attended: FloatBuffer
  private let gate: FloatBuffer
  private let up: FloatBuffer

  init(_ configuration: LlamaConfiguration, blockSize: Int, threads: ThreadPool) {
    self.configuration = configuration
    self.blockSize = blockSize
    compute = Compute(threads: threads)
    attention = Attention(
      compute: compute, headCount: configuration.headCount, kvHeadCount: configuration.kvHeadCount,
      headDim: configuration.headDim)
    func buffer(_ columns: Int) -> FloatBuffer { FloatBuffer(rows: blockSize, columns: columns) }
    x = buffer(configuration.hiddenSize)
    normed = buffer(configuration.hiddenSize)
    query = buffer(configuration.headCount * configuration.headDim)
    key = buffer(configuration.kvHeadCount * configuration.headDim)
    value = buffer(configuration.kvHeadCount * configuration.headDim)
    attended = buffer(configuration.headCount * configuration.headDim)
    gate = buffer(configuration.intermediateSize)
    up = buffer(configuration.intermediateSize)
  }

  /// x = embedding of the tokens, from some row on.
  func embed(_ tokens: some Collection<Int32>, _ weights: LlamaWeights, at row: Int = 0) {
    compute.embed(tokens, weights.embedding, into: x, at: row)
  }

  /// query, key, value = projections of the normalized x, not rotated.
  func project(_ layer: LayerWeights, tokens: Int) {
    normalize(x, layer.inputNorm, tokens: tokens)
    compute.multiply(normed, tokens: tokens, by: (layer.query, query), (layer.key, key), (layer.value, value))
  }

  /// The same without the queries, for tokens that are only attended to.
  func projectKeysAndValues(_ layer: LayerWeights, tokens: Int) {
    normalize(x, layer.inputNorm, tokens: tokens)
    compute.multiply(normed, tokens: tokens, by: (layer.key, key), (layer.value, value))
  }

  /// x += attention of the projected queries to their texts, whose new rows enter the caches, and to merged rows: those
  /// that share the softmax with a text.
  func selfAttend(_ layer: LayerWeights, index: Int, _ slices: [TextSlice]) {
    for slice in slices {
      let text = slice.text
      text.cache.begin(layer: index, rows: slice.rows, queries: query, keys: key, values: value, compute)
      enter(text.cache, layer: index, rows: slice.rows, text.rotary)
      attention.add(
        query, rows: slice.rows, to: text.mergedRows(layer: index),
        runningText: text.cache.rows(layer: index, tokens: slice.rows.count), rotary: text.rotary, into: attended,
        peaks: text.prefixPeaks?[index])
    }
    attention.attend()
    for slice in slices { slice.text.cache.settle(layer: index, tokens: slice.rows.count) }
    compute.multiply(attended, tokens: slices.tokenCount, by: (layer.output, x), adding: true)
  }

  /// The same for one text that has nothing but a cache.
  func selfAttend(_ layer: LayerWeights, index: Int, tokens: Int, cache: KeyValueCache, _ rotary: RotaryCache) {
    enter(cache, layer: index, rows: 0..<tokens, rotary)
    attention.add(
      query, rows: 0..<tokens, to: .none, runningText: cache.rows(layer: index, tokens: tokens), rotary: rotary,
      into: attended)
    attention.attend()
    compute.multiply(attended, tokens: tokens, by: (layer.output, x), adding: true)
  }

  /// x += attention of the projected queries of one text's first tokens to all of them, before and behind.
  /// - Parameter encoding: of the keys and values.
  /// - Returns: false when a key or a value is not finite.
  func attendBothWays(_ layer: LayerWeights, tokens: Int, encoding: RowEncoding, _ rotary: RotaryCache) -> Bool {
    compute.rotate(query, rows: 0..<tokens, from: 0, rotary)
    compute.rotate(key, rows: 0..<tokens, from: 0, rotary)
    guard
      let layout = NodeBlockLayout(
        layerCount: 1, kvHeadCount: configuration.kvHeadCount, headDim: configuration.headDim, encoding: encoding)
    else { preconditionFailure("a pack's sizes have been checked") }
    let writer = NodeBlockWriter(layout: layout, keeping: Array(0..<tokens))
    let isFinite = unsafe writer.write(layer: 0, keys: key.base, values: value.base)
    let block = writer.finish()
    withExtendedLifetime(block) {
      attention.add(
        query, rows: 0..<tokens, to: InjectedRows([.node(block, layer: 0, queryAngle: .fixed(0))]), rotary: rotary,
        into: attended)
      attention.attend()
    }
    compute.multiply(attended, tokens: tokens, by: (layer.output, x), adding: true)
    return isFinite
  }

  /// The projected keys and values of some rows enter a cache.
  func enter(_ cache: KeyValueCache, layer index: Int, rows: Range<Int>, _ rotary: RotaryCache) {
    compute.rotate(key, rows: rows, from: cache.firstPosition + cache.count, rotary)
    cache.write(layer: index, rows: rows, rotatedKeys: key, values: value, compute)
  }

  /// x += cross-attention of x to the rows that are injected into each of the texts, which are the first ones of a pass.
  /// Source: arXiv 2410.19318, section 3.3.
  func crossAttend(_ cross: LayerWeights.CrossAttention, index: Int, _ slices: ArraySlice<TextSlice>) {
    let tokens = slices.tokenCount
    normalize(x, cross.norm, tokens: tokens)
    compute.multiply(normed, tokens: tokens, by: (cross.query, query))
    for slice in slices {
      attention.add(
        query, rows: slice.rows, to: slice.text.injectedRows[index], rotary: slice.text.rotary, into: attended)
    }
    attention.attend()
    compute.multiply(attended, tokens: tokens, by: (cross.output, x), adding: true)
  }

  /// x += down · (silu(gate · x) · (up · x)).
  func feedForward(_ layer: LayerWeights, tokens: Int) {
    normalize(x, layer.postAttentionNorm, tokens: tokens)
    compute.multiplyGated(normed, tokens: tokens, gate: (layer.gate, gate), up: (layer.up, up))
    compute.multiply(gate, tokens: tokens, by: (layer.down, x), adding: true)
  }

  /// The output of the final norm at one token: (hidden).
  func finalState(_ weights: LlamaWeights, token: Int) -> [Float] {
    let state = FloatBuffer(rows: 1, columns: configuration.hiddenSize)
    unsafe compute.kernels.pointee.rms_norm(
      x.row(token), weights.norm.base, configuration.hiddenSize, configuration.rmsNormEpsilon, state.base)
    return state.array(rows: 0..<1)
  }

  /// The outputs of the final norm: (tokens, hidden). They stay until the next call.
  func finalStates(_ weights: LlamaWeights, tokens: Int) -> FloatBuffer {
    normalize(x, weights.norm, tokens: tokens)
    return normed
  }

  /// logits[i] = head · norm(x) of some rows: (rows, vocabulary).
  func logits(_ weights: LlamaWeights, rows: some Collection<Int>, into logits: FloatBuffer) {
    guard let head = weights.head else { preconditionFailure("a lower model has no output") }
    for (index, row) in rows.enumerated() {
      unsafe compute.kernels.pointee.rms_norm(
        x.row(row), weights.norm.base, configuration.hiddenSize, configuration.rmsNormEpsilon, normed.row(index))
    }
    if !rows.isEmpty { compute.multiply(normed, tokens: rows.count, by: (head, logits)) }
  }

  /// Adds the moments of the output matrix's inputs, one for each token, where moments are collected.
  func collectOutputMoments(_ weights: LlamaWeights, tokens: Int) {
    guard let moments = compute.moments, let head = weights.head else { return }
    normalize(x, weights.norm, tokens: tokens)
    moments.add(normed, tokens: tokens, of: head, compute)
  }

  private func normalize(_ x: FloatBuffer, _ weight: WeightVector, tokens: Int) {
    compute.normalize(x, tokens: tokens, weight, epsilon: configuration.rmsNormEpsilon, into: normed)
  }
}
