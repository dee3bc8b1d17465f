internal import ContextTrees
internal import FileAccess
internal import ModelPacks
internal import NodeBlocks

/// An encoder: a lower model whose tokens see each other before and behind, and of which the last states are kept.
///
/// Source: arXiv 2402.16617, section 2. A chunk is read from position 0. Not thread-safe: one task or thread at a time.
final class StateEncoder: NodeEncoder {
  private let model: LlamaModel
  private let weights: LlamaWeights
  private let forward: ForwardPass
  private let rotary: RotaryCache
  /// Nil where all weights stay in memory.
  private let weightStream: WeightStream?
  /// Tokens that can be read together, those of a chunk.
  let longestPass: Int

  /// - Returns: nil for a model without an encoder.
  init?(_ model: LlamaModel, threads: ThreadPool, moments: SecondMoments? = nil) {
    guard let shared = model.sharedLLM, let encoder = shared.encoder, let weights = model.lowerWeights else {
      return nil
    }
    self.model = model
    self.weights = weights
    longestPass = shared.chunkSize
    forward = ForwardPass(encoder, blockSize: longestPass, threads: threads)
    forward.compute.moments = moments
    rotary = RotaryCache(RotaryTable(encoder, sequenceLength: longestPass))
    weightStream = model.makeWeightStream(weights)
  }

  /// The last states of some tokens.
  struct States {
    /// (tokens, hidden of the encoder); they stay until the next tokens are read.
    let rows: FloatBuffer
    let tokenCount: Int
    /// The first layer that had a key or a value that is not finite; nil if all are.
    let faultyLayer: Int?

    var mean: [Float] { mean(of: 0..<tokenCount) }

    /// The mean of some tokens' states: (hidden); zeros where states are of no use.
    func mean(of tokens: Range<Int>) -> [Float] {
      var mean = [Float](repeating: 0, count: rows.columns)
      guard faultyLayer == nil else { return mean }
      for token in tokens {
        let row = unsafe rows.row(token)
        for i in mean.indices { mean[i] += unsafe row[i] / Float(tokens.count) }
      }
      return mean
    }
  }

  /// - Parameter tokens: 1 … chunk size tokens of the vocabulary.
  func states(_ tokens: [Int32]) -> States {
    var faultyLayer: Int?
    forward.embed(tokens, weights)
    for (index, layer) in weights.layers.enumerated() {
      weightStream?.enter(index)
      forward.project(layer, tokens: tokens.count)
      let isFinite = forward.attendBothWays(layer, tokens: tokens.count, encoding: model.cacheEncoding, rotary)
      if !isFinite, faultyLayer == nil { faultyLayer = index }
      forward.feedForward(layer, tokens: tokens.count)
    }
    return States(
      rows: forward.finalStates(weights, tokens: tokens.count), tokenCount: tokens.count, faultyLayer: faultyLayer)
  }

  func encode(
    _ tokens: [Int32], _ passes: [ContextTree.SpinePass], _ layout: NodeBlockLayout
  ) throws(Refusal) -> [TreeEncoder.EncodedNode] {
    let states = states(tokens)
    let (keys, values) = StateRows.halves(of: states.rows, count: tokens.count, layout)
    var encoded: [TreeEncoder.EncodedNode] = []
    for node in passes.flatMap(\.nodes) {
      let kept = (0..<node.rowCount).map { node.range.lowerBound + node.position(row: $0) }
      let writer = NodeBlockWriter(layout: layout, keeping: kept)
      let isFinite = unsafe writer.write(layer: 0, keys: keys.base, values: values.base)
      guard states.faultyLayer == nil, isFinite else {
        try model.pack.requireWhole()
        throw Refusal(
          .notFinite, file: model.pack.path,
          structure: "encoder, \(states.faultyLayer.map { "layer \($0)" } ?? "final norm")", "its numbers overflow")
      }
      encoded.append(
        TreeEncoder.EncodedNode(node: node, embedding: states.mean(of: node.range), block: writer.finish()))
    }
    return encoded
  }
}
