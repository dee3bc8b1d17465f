/// A tensor that an architecture needs.
public struct LlamaTensor: Sendable, Hashable {
  /// The Hugging Face name.
  public let name: String
  /// 1 for the weights of a norm and for a bias.
  public let rows: Int
  public let columns: Int
  public let kind: Kind

  public enum Kind: Sendable, Hashable {
    /// The weights of a norm, which stay float32 in every pack.
    case norm
    /// What a projection adds to its product, which stays float32 in every pack.
    case bias
    /// A projection inside a layer.
    case projection
    /// An embedding or the output projection: a row for each token of the vocabulary.
    case vocabulary
  }

  /// Whether it has one dimension only, and stays float32 in every pack.
  public var isVector: Bool { kind == .norm || kind == .bias }

  /// The same tensor under the name that it has elsewhere.
  package func renamed(_ name: String) -> LlamaTensor {
    LlamaTensor(name: name, rows: rows, columns: columns, kind: kind)
  }
}

extension LlamaConfiguration {
  /// Every tensor of the model, in the order of use in one pass: the order of a pack.
  ///
  /// The configuration must have passed `fault(sharedLLM:)`.
  /// Format: `Formats/model-pack.md` §Tensors.
  package func tensors(sharedLLM: SharedLLMConfiguration?) -> [LlamaTensor] {
    var list = TensorList(configuration: self)
    list.vocabulary("model.embed_tokens")
    if let sharedLLM, sharedLLM.lowerModel == .own {
      var lower = TensorList(configuration: sharedLLM.encoder ?? self)
      lower.vocabulary("encoder.embed_tokens")
      for layer in 0..<sharedLLM.lowerLayerCount { lower.layer("encoder.layers.\(layer)", crossAttention: .none) }
      lower.norm("encoder.norm")
      list.tensors += lower.tensors
    }
    var crossed: [Int] = []
    if let sharedLLM, sharedLLM.injection == .crossAttention { crossed = sharedLLM.injectedLayers(of: layerCount) }
    let injected = sharedLLM?.encoder.map { CrossAttention.toStates($0.hiddenSize) } ?? .toRows
    for layer in 0..<layerCount {
      list.layer("model.layers.\(layer)", crossAttention: crossed.contains(layer) ? injected : .none)
    }
    list.norm("model.norm")
    if !tiesWordEmbeddings { list.vocabulary("lm_head") }
    return list.tensors
  }
}

/// What a layer's cross-attention reads, if it has one.
private enum CrossAttention {
  case none
  /// Keys and values as the lower model's layers make them.
  case toRows
  /// States of an encoder of some width, of which it makes keys and values.
  case toStates(Int)
}

private struct TensorList {
  let configuration: LlamaConfiguration
  var tensors: [LlamaTensor] = []

  init(configuration: LlamaConfiguration) { self.configuration = configuration }

  mutating func matrix(_ name: String, _ rows: Int, _ columns: Int, hasBias: Bool = false) {
    tensors.append(LlamaTensor(name: name + ".weight", rows: rows, columns: columns, kind: .projection))
    if hasBias { tensors.append(LlamaTensor(name: name + ".bias", rows: 1, columns: rows, kind: .bias)) }
  }

  mutating func vocabulary(_ name: String) {
    tensors.append(
      LlamaTensor(
        name: name + ".weight", rows: configuration.vocabularySize, columns: configuration.hiddenSize,
        kind: .vocabulary))
  }

  mutating func norm(_ name: String) {
    tensors.append(LlamaTensor(name: name + ".weight", rows: 1, columns: configuration.hiddenSize, kind: .norm))
  }

  mutating func layer(_ prefix: String, crossAttention: CrossAttention) {
    let hiddenSize = configuration.hiddenSize
    let querySize = configuration.headCount * configuration.headDim
    let keySize = configuration.kvHeadCount * configuration.headDim
    let inputBias = configuration.attentionInputBias
    norm("\(prefix).input_layernorm")
    matrix("\(prefix).self_attn.q_proj", querySize, hiddenSize, hasBias: inputBias)
    matrix("\(prefix).self_attn.k_proj", keySize, hiddenSize, hasBias: inputBias)
    matrix("\(prefix).self_attn.v_proj", keySize, hiddenSize, hasBias: inputBias)
    matrix("\(prefix).self_attn.o_proj", hiddenSize, querySize, hasBias: configuration.attentionOutputBias)
    switch crossAttention {
    case .none: break
    case .toRows, .toStates:
      norm("\(prefix).cross_attn.layernorm")
      matrix("\(prefix).cross_attn.q_proj", querySize, hiddenSize)
      if case .toStates(let width) = crossAttention {
        matrix("\(prefix).cross_attn.k_proj", keySize, width)
        matrix("\(prefix).cross_attn.v_proj", keySize, width)
      }
      matrix("\(prefix).cross_attn.o_proj", hiddenSize, querySize)
    }
    norm("\(prefix).post_attention_layernorm")
    let mlpBias = configuration.mlpBias
    matrix("\(prefix).mlp.gate_proj", configuration.intermediateSize, hiddenSize, hasBias: mlpBias)
    matrix("\(prefix).mlp.up_proj", configuration.intermediateSize, hiddenSize, hasBias: mlpBias)
    matrix("\(prefix).mlp.down_proj", hiddenSize, configuration.intermediateSize, hasBias: mlpBias)
  }
}
