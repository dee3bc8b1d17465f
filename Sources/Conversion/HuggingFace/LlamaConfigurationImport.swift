import CanonicalJSON
import FileAccess
import Glibc
import ModelPacks

extension LlamaConfiguration {
  /// Reads `config.json`, with transformers' defaults for keys that are absent.
  /// - Parameters:
  ///   - generation: reads `generation_config.json`; nil when there is none.
  ///   - isSharedLLM: whether the checkpoint has what only SharedLLM has; then its class may have any name.
  /// - Throws: `Refusal` `unsupported-architecture`, `unsupported-configuration` or `invalid-configuration`.
  init(
    _ reader: ConfigurationReader, generation: ConfigurationReader?, isSharedLLM: Bool
  ) throws(Refusal) {
    let family = try LlamaFamily(reader, isSharedLLM: isSharedLLM)
    try Self.checkWays(reader)
    let hiddenSize = try reader.required("hidden_size", reader.integer("hidden_size"))
    let headCount = try reader.required("num_attention_heads", reader.integer("num_attention_heads"))
    var headDim = try reader.integer("head_dim")
    if headDim == nil {
      guard headCount > 0, hiddenSize % headCount == 0 else {
        throw reader.fault("num_attention_heads \(headCount) does not divide hidden_size \(hiddenSize)")
      }
      headDim = hiddenSize / headCount
    }
    let maxPositionCount = try reader.integer("max_position_embeddings") ?? family.usualMaxPositionCount
    var kvHeadCount = try reader.integer("num_key_value_heads")
    if kvHeadCount == nil, !reader.isNull("num_key_value_heads") { kvHeadCount = family.usualKVHeadCount }
    let attentionBias = family == .llama ? try reader.boolean("attention_bias") ?? false : false
    let mlpBias = family == .llama ? try reader.boolean("mlp_bias") ?? false : false
    // transformers 5 keeps the base among the other parameters of the rotary positions.
    let rope = try reader.object("rope_parameters", "rope_scaling")
    let ropeTheta = try reader.number("rope_theta")
    self.init(
      hiddenSize: hiddenSize,
      intermediateSize: try reader.required("intermediate_size", reader.integer("intermediate_size")),
      layerCount: try reader.required("num_hidden_layers", reader.integer("num_hidden_layers")),
      headCount: headCount,
      kvHeadCount: kvHeadCount ?? headCount,
      headDim: headDim ?? 0,
      vocabularySize: try reader.required("vocab_size", reader.integer("vocab_size")),
      rmsNormEpsilon: Float(try reader.number("rms_norm_eps") ?? 1e-6),
      ropeTheta: try rope?.number("rope_theta") ?? ropeTheta ?? 10_000,
      ropeScaling: try rope.map { rope throws(Refusal) in
        try RopeScaling(rope, maxPositionCount: maxPositionCount)
      } ?? .none,
      // Up to there, a sliding window hides nothing.
      maxPositionCount: min(maxPositionCount, try family.slidingWindow(reader) ?? maxPositionCount),
      tiesWordEmbeddings: try reader.boolean("tie_word_embeddings") ?? false,
      beginOfTextToken: try Self.tokens(reader, "bos_token_id", default: family.usualBeginOfTextToken).first,
      endOfTextTokens: try Self.endOfTextTokens(reader, generation, default: family.usualEndOfTextToken),
      attentionInputBias: attentionBias || family == .qwen2, attentionOutputBias: attentionBias, mlpBias: mlpBias)
    if let fault = fault(sharedLLM: nil) { throw reader.fault(fault) }
  }

  private static func checkWays(_ reader: ConfigurationReader) throws(Refusal) {
    let activation = try reader.string("hidden_act") ?? "silu"
    guard activation == "silu" else {
      throw reader.fault(.unsupportedConfiguration, "hidden_act is \(activation); only silu can be run")
    }
    if reader.has("quantization_config") {
      let method = try reader.object("quantization_config")?.string("quant_method")
      throw reader.fault(
        .unsupportedConfiguration,
        "quantization_config\(method.map { " (\($0))" } ?? "") is present; convert the checkpoint it was made from")
    }
  }

  /// The tokens that end a text by either file: chat models are often given theirs in `generation_config.json` only.
  private static func endOfTextTokens(
    _ reader: ConfigurationReader, _ generation: ConfigurationReader?, default token: Int?
  ) throws(Refusal) -> [Int32] {
    let key = "eos_token_id"
    guard let generation, generation.has(key) else { return try tokens(reader, key, default: token) }
    // The default is for a checkpoint that is silent.
    var result = try tokens(reader, key, default: nil)
    let vocabularySize = try reader.integer("vocab_size") ?? .max
    for token in try tokens(generation, key, default: nil) where !result.contains(token) {
      guard 0..<vocabularySize ~= Int(token) else {
        throw generation.fault("\(key): \(token) is not in the vocabulary of \(vocabularySize)")
      }
      result.append(token)
    }
    return result
  }

  /// The tokens of a key. An explicit null means none; an absent key means transformers' default.
  private static func tokens(
    _ reader: ConfigurationReader, _ key: String, default token: Int?
  ) throws(Refusal) -> [Int32] {
    guard reader.json[key] != nil else { return token.map { [Int32($0)] } ?? [] }
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
