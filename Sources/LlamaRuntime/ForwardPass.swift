internal import CKernels
internal import ModelPacks

/// The passes of tokens through layers, with the buffers that they need.
final class ForwardPass {
  let configuration: LlamaConfiguration
  let compute: Compute
  let attention: Attention
  let rotary: RotaryCache
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

  /// - Parameter firstPosition: the smallest that anything is turned by.
  init(
    _ configuration: LlamaConfiguration, rotary: RotaryTable, firstPosition: Int = 0, blockSize: Int,
    threads: ThreadPool
  ) {
    self.configuration = configuration
    self.blockSize = blockSize
    compute = Compute(threads: threads)
    attention = Attention(
      compute: compute, headCount: configuration.headCount, kvHeadCount: configuration.kvHeadCount,
      headDim: configuration.headDim)
    self.rotary = RotaryCache(rotary, from: firstPosition)
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

  /// x = embedding of the tokens.
  func embed(_ tokens: some Collection<Int32>, _ weights: LlamaWeights) {
    compute.embed(tokens, weights.embedding, into: x)
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

  /// x += attention of the projected queries to the running text, whose new rows enter the cache, and to merged rows.
  /// - Parameters:
  ///   - merged: injected rows that share the softmax with the running text.
  ///   - endsPrompt: whether the prompt ends with these tokens, which some cache policies wait for.
  func selfAttend(
    _ layer: LayerWeights, index: Int, tokens: Int, cache: KeyValueCache, merged: InjectedRows = .none,
    endsPrompt: Bool = true
  ) {
    enter(cache, layer: index, tokens: tokens)
    attention.attend(
      query, tokens: tokens, to: merged, runningText: cache.rows(layer: index, tokens: tokens), rotary: rotary,
      into: attended)
    cache.chooseRows(layer: index, tokens: tokens, endsPrompt: endsPrompt)
    compute.multiply(attended, tokens: tokens, by: (layer.output, x), adding: true)
  }

  /// The projected keys and values enter the cache.
  func enter(_ cache: KeyValueCache, layer index: Int, tokens: Int) {
    compute.rotate(key, tokens: tokens, from: cache.firstPosition + cache.count, rotary)
    cache.write(layer: index, tokens: tokens, rotatedKeys: key, values: value, compute)
  }

  /// x += cross-attention of x to injected rows.
  /// Source: arXiv 2410.19318, section 3.3.
  func crossAttend(_ cross: LayerWeights.CrossAttention, tokens: Int, to injected: InjectedRows) {
    normalize(x, cross.norm, tokens: tokens)
    compute.multiply(normed, tokens: tokens, by: (cross.query, query))
    attention.attend(query, tokens: tokens, to: injected, rotary: rotary, into: attended)
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

  /// logits[i] = head · norm(x) of the last `count` of the tokens: (count, vocabulary).
  func logits(_ weights: LlamaWeights, tokens: Int, last count: Int, into logits: FloatBuffer) {
    guard let head = weights.head else { preconditionFailure("a lower model has no output") }
    for t in tokens - count..<tokens {
      unsafe compute.kernels.pointee.rms_norm(
        x.row(t), weights.norm.base, configuration.hiddenSize, configuration.rmsNormEpsilon,
        normed.row(t - (tokens - count)))
    }
    compute.multiply(normed, tokens: count, by: (head, logits))
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
