internal import ModelPacks

/// The weights of one layer, under their Llama names.
struct LayerWeights: Sendable {
  let inputNorm: WeightVector
  let query: WeightMatrix
  let key: WeightMatrix
  let value: WeightMatrix
  let output: WeightMatrix
  let postAttentionNorm: WeightVector
  let gate: WeightMatrix
  let up: WeightMatrix
  let down: WeightMatrix
  /// Only in layers that read injected rows, and only in packs that were trained to.
  let crossAttention: CrossAttention?
  /// The bytes of the tensors in the pack, where they follow one another.
  let byteRange: Range<Int>

  struct CrossAttention: Sendable {
    let norm: WeightVector
    let query: WeightMatrix
    /// Make keys and values of an encoder's states; nil where a lower model's keys and values are read.
    let keysAndValues: (key: WeightMatrix, value: WeightMatrix)?
    let output: WeightMatrix
  }
}

/// A stack of layers with what is below and above it: the upper model, or a lower model of its own.
struct LlamaWeights: Sendable {
  let embedding: WeightMatrix
  let layers: [LayerWeights]
  let norm: WeightVector
  /// Nil for a lower model.
  let head: WeightMatrix?
}

extension LlamaWeights {
  /// The upper model of a pack.
  static func upper(_ pack: ModelPack) -> LlamaWeights {
    let find = TensorFinder(pack: pack)
    let embedding = find.matrix("model.embed_tokens.weight")
    return LlamaWeights(
      embedding: embedding,
      layers: (0..<pack.configuration.layerCount).map { find.layer("model.layers.\($0)") },
      norm: find.vector("model.norm.weight"),
      head: pack.configuration.tiesWordEmbeddings ? embedding : find.matrix("lm_head.weight"))
  }

  /// The model that encodes chunks: the bottom of the upper model, or its own under `encoder.`. Nil for a plain pack.
  static func lower(
    _ pack: ModelPack, _ sharedLLM: SharedLLMConfiguration?, upper: LlamaWeights
  ) -> LlamaWeights? {
    guard let shared = sharedLLM else { return nil }
    switch shared.lowerModel {
    case .shared:
      return LlamaWeights(
        embedding: upper.embedding, layers: Array(upper.layers.prefix(shared.lowerLayerCount)), norm: upper.norm,
        head: nil)
    case .own:
      let find = TensorFinder(pack: pack)
      return LlamaWeights(
        embedding: find.matrix("encoder.embed_tokens.weight"),
        layers: (0..<shared.lowerLayerCount).map { find.layer("encoder.layers.\($0)") },
        norm: find.vector("encoder.norm.weight"), head: nil)
    }
  }
}

/// Finds tensors that the pack was checked to have.
private struct TensorFinder {
  let pack: ModelPack

  func matrix(_ name: String) -> WeightMatrix { WeightMatrix(tensor(name), in: pack) }

  /// A matrix with the bias that the pack may have for it.
  func projection(_ name: String) -> WeightMatrix {
    WeightMatrix(tensor("\(name).weight"), bias: pack.tensor(named: "\(name).bias"), in: pack)
  }

  func vector(_ name: String) -> WeightVector { WeightVector(tensor(name), in: pack) }

  func layer(_ prefix: String) -> LayerWeights {
    // The first and the last of a layer's tensors. Format: Formats/model-pack.md §Tensors.
    let input = tensor("\(prefix).input_layernorm.weight")
    let last = pack.tensor(named: "\(prefix).mlp.down_proj.bias") ?? tensor("\(prefix).mlp.down_proj.weight")
    var crossAttention: LayerWeights.CrossAttention?
    if pack.tensor(named: "\(prefix).cross_attn.q_proj.weight") != nil {
      crossAttention = LayerWeights.CrossAttention(
        norm: vector("\(prefix).cross_attn.layernorm.weight"),
        query: matrix("\(prefix).cross_attn.q_proj.weight"),
        keysAndValues: pack.tensor(named: "\(prefix).cross_attn.k_proj.weight") == nil
          ? nil : (matrix("\(prefix).cross_attn.k_proj.weight"), matrix("\(prefix).cross_attn.v_proj.weight")),
        output: matrix("\(prefix).cross_attn.o_proj.weight"))
    }
    return LayerWeights(
      inputNorm: WeightVector(input, in: pack),
      query: projection("\(prefix).self_attn.q_proj"),
      key: projection("\(prefix).self_attn.k_proj"),
      value: projection("\(prefix).self_attn.v_proj"),
      output: projection("\(prefix).self_attn.o_proj"),
      postAttentionNorm: vector("\(prefix).post_attention_layernorm.weight"),
      gate: projection("\(prefix).mlp.gate_proj"),
      up: projection("\(prefix).mlp.up_proj"),
      down: projection("\(prefix).mlp.down_proj"),
      crossAttention: crossAttention,
      byteRange: input.byteOffset..<last.byteOffset + last.byteCount)
  }

  private func tensor(_ name: String) -> PackTensor {
    guard let tensor = pack.tensor(named: name) else {
      preconditionFailure("the pack was checked to have \(name) when it was opened")
    }
    return tensor
  }
}
