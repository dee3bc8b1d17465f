internal import ContextTrees
internal import FileAccess
internal import ModelPacks
internal import NodeBlocks

/// The lower model of SharedLLM: the keys and values of its layers are kept.
final class LayerEncoder: NodeEncoder {
  private let model: LlamaModel
  private let weights: LlamaWeights
  private let forward: ForwardPass
  private let rotary: RotaryCache
  /// Nil where all weights stay in memory.
  private let weightStream: WeightStream?

  init(_ model: LlamaModel, _ weights: LlamaWeights, threads: ThreadPool, moments: SecondMoments?) {
    self.model = model
    self.weights = weights
    forward = ForwardPass(model.configuration, blockSize: model.longestPass, threads: threads)
    rotary = RotaryCache(model.inNodeRotary)
    forward.compute.moments = moments
    weightStream = model.makeWeightStream(weights)
  }

  func encode(
    _ tokens: [Int32], _ passes: [ContextTree.SpinePass], _ layout: NodeBlockLayout
  ) throws(Refusal) -> [TreeEncoder.EncodedNode] {
    var nodes: [TreeEncoder.EncodedNode] = []
    for pass in passes { nodes += try encode(Array(tokens[pass.range]), nodes: pass.nodes, layout) }
    return nodes
  }

  /// One pass over the longest node of a left spine.
  /// - Parameters:
  ///   - tokens: the longest node's tokens.
  ///   - nodes: nodes that start where the tokens start.
  private func encode(
    _ tokens: [Int32], nodes: [TreeNode], _ layout: NodeBlockLayout
  ) throws(Refusal) -> [TreeEncoder.EncodedNode] {
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
    return zip(nodes, zip(embeddings, writers)).map {
      TreeEncoder.EncodedNode(node: $0, embedding: $1.0, block: $1.1.finish())
    }
  }
}
