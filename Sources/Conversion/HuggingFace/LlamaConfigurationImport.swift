import CanonicalJSON
import FileAccess
import Glibc
import ModelPacks

extension LlamaConfiguration {
  /// Reads `config.json`, with transformers' defaults for keys that are absent.
  /// - Parameter isSharedLLM: whether the checkpoint has what only SharedLLM has; then its class may have any name.
  /// - Throws: `Refusal` `unsupported-architecture`, `unsupported-configuration` or `invalid-configuration`.
  init(_ reader: ConfigurationReader, isSharedLLM: Bool) throws(Refusal) {
    try Self.checkArchitecture(reader, isSharedLLM: isSharedLLM)
    let hiddenSize = try reader.required("hidden_size", reader.integer("hidden_size"))
    let headCount = try reader.required("num_attention_heads", reader.integer("num_attention_heads"))
    var headDim = try reader.integer("head_dim")
    if headDim == nil {
      guard headCount > 0, hiddenSize % headCount == 0 else {
        throw reader.fault("num_attention_heads \(headCount) does not divide hidden_size \(hiddenSize)")
      }
      headDim = hiddenSize / headCount
    }
    let maxPositionCount = try reader.integer("max_position_embeddings") ?? 2048
    // transformers 5 keeps the base among the other parameters of the rotary positions.
    let rope = try reader.object("rope_parameters", "rope_scaling")
    let ropeTheta = try reader.number("rope_theta")
    self.init(
      hiddenSize: hiddenSize,
      intermediateSize: try reader.required("intermediate_size", reader.integer("intermediate_size")),
      layerCount: try reader.required("num_hidden_layers", reader.integer("num_hidden_layers")),
      headCount: headCount,
      kvHeadCount: try reader.integer("num_key_value_heads") ?? headCount,
      headDim: headDim ?? 0,
      vocabularySize: try reader.required("vocab_size", reader.integer("vocab_size")),
      rmsNormEpsilon: Float(try reader.number("rms_norm_eps") ?? 1e-6),
      ropeTheta: try rope?.number("rope_theta") ?? ropeTheta ?? 10_000,
      ropeScaling: try rope.map { rope throws(Refusal) in
        try RopeScaling(rope, maxPositionCount: maxPositionCount)
      } ?? .none,
      maxPositionCount: maxPositionCount,
      tiesWordEmbeddings: try reader.boolean("tie_word_embeddings") ?? false,
      beginOfTextToken: try Self.tokens(reader, "bos_token_id", default: 1).first,
      endOfTextTokens: try Self.tokens(reader, "eos_token_id", default: 2))
    if let fault = fault(sharedLLM: nil) { throw reader.fault(fault) }
  }

  private static func checkArchitecture(_ reader: ConfigurationReader, isSharedLLM: Bool) throws(Refusal) {
    let type = try reader.string("model_type") ?? "llama"
    let names = try reader.strings("architectures") ?? []
    guard isSharedLLM || (type == "llama" && (names.isEmpty || names.contains("LlamaForCausalLM"))) else {
      throw reader.fault(
        .unsupportedArchitecture,
        "the architecture is \(names.first ?? type) (\(type)); only LlamaForCausalLM (llama) can be converted")
    }
    let activation = try reader.string("hidden_act") ?? "silu"
    guard activation == "silu" else {
      throw reader.fault(.unsupportedConfiguration, "hidden_act is \(activation); only silu can be run")
    }
    for key in ["attention_bias", "mlp_bias"] {
      guard try reader.boolean(key) ?? false else { continue }
      throw reader.fault(.unsupportedConfiguration, "\(key) is true; only projections without bias can be run")
    }
    if reader.has("quantization_config") {
      throw reader.fault(
        .unsupportedConfiguration, "quantization_config is present; convert the checkpoint it was made from")
    }
  }

  /// The tokens of a key. An explicit null means none; an absent key means transformers' default.
  private static func tokens(
    _ reader: ConfigurationReader, _ key: String, default token: Int
  ) throws(Refusal) -> [Int32] {
    guard reader.json[key] != nil else { return [Int32(token)] }
    var tokens: [Int32] = []
    for value in try reader.integers(key) ?? [] {
      // Some checkpoints write -1 where they have none.
      if value == -1 { continue }
      guard let token = Int32(exactly: value) else { throw reader.fault("\(key): \(value) is not a token") }
      tokens.append(token)
    }
    return tokens
  }
}

extension RopeScaling {
  /// Reads `rope_scaling` or `rope_parameters` as transformers does.
  init(_ reader: ConfigurationReader, maxPositionCount: Int) throws(Refusal) {
    func number(_ key: String) throws(Refusal) -> Double { try reader.required(key, reader.number(key)) }
    let kind = try reader.string("rope_type", "type") ?? "default"
    let original = try reader.integer("original_max_position_embeddings")
    switch kind {
    case "default": self = .none
    case "linear": self = .linear(factor: try number("factor"))
    case "dynamic":
      self = .dynamic(factor: try number("factor"), originalPositionCount: original ?? maxPositionCount)
    case "yarn":
      self = .yarn(
        try Yarn(reader, originalPositionCount: original ?? maxPositionCount, maxPositionCount: maxPositionCount))
    case "llama3":
      self = .llama3(
        factor: try number("factor"), lowFrequencyFactor: try number("low_freq_factor"),
        highFrequencyFactor: try number("high_freq_factor"),
        originalPositionCount: try reader.required("original_max_position_embeddings", original))
    default:
      throw reader.fault(
        .unsupportedConfiguration,
        "rope_type is \(kind); default, linear, dynamic, yarn and llama3 can be run")
    }
  }
}

extension RopeScaling.Yarn {
  fileprivate init(
    _ reader: ConfigurationReader, originalPositionCount: Int, maxPositionCount: Int
  ) throws(Refusal) {
    let factor = try reader.number("factor") ?? Double(maxPositionCount) / Double(max(originalPositionCount, 1))
    func scale(_ mscale: Double) -> Double { factor <= 1 ? 1 : 0.1 * mscale * log(factor) + 1 }
    var attentionFactor = try reader.number("attention_factor")
    if attentionFactor == nil, let mscale = try reader.number("mscale"), mscale != 0,
      let mscaleAllDim = try reader.number("mscale_all_dim"), mscaleAllDim != 0
    {
      attentionFactor = scale(mscale) / scale(mscaleAllDim)
    }
    self.init(
      factor: factor, originalPositionCount: originalPositionCount,
      betaFast: try reader.number("beta_fast") ?? 32, betaSlow: try reader.number("beta_slow") ?? 1,
      attentionFactor: attentionFactor ?? scale(1), truncates: try reader.boolean("truncate") ?? true)
  }
}
