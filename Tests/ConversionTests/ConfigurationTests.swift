import CanonicalJSON
import Conversion
import FileAccess
import ModelPacks
import Testing

/// `config.json` as transformers reads it.
@Suite struct ConfigurationTests {
  static func configuration(
    _ changes: [String: JSONValue?], base: TestCheckpoint = TestCheckpoint()
  ) throws -> LlamaConfiguration {
    let scratch = try Scratch()
    var checkpoint = base
    for (key, value) in changes { checkpoint.configuration[key] = value }
    try checkpoint.write(to: scratch.path)
    return try Converter(directory: scratch.path).plan.configuration
  }

  static func scaling(_ members: KeyValuePairs<String, JSONValue?>, key: String = "rope_scaling") throws -> RopeScaling
  {
    try configuration([key: .members(members)]).ropeScaling
  }

  @Test func absentKeysHaveTransformersDefaults() throws {
    let minimal = try Self.configuration(
      ["max_position_embeddings": nil, "rms_norm_eps": nil, "architectures": nil, "model_type": nil])
    #expect(minimal.maxPositionCount == 2048 && minimal.rmsNormEpsilon == 1e-6 && minimal.ropeTheta == 10000)
    #expect(minimal.beginOfTextToken == 1 && minimal.endOfTextTokens == [2] && !minimal.tiesWordEmbeddings)
  }

  @Test func tokens() throws {
    let several = try Self.configuration(["eos_token_id": .array([.integer(3), .integer(5)]), "bos_token_id": .null])
    #expect(several.endOfTextTokens == [3, 5] && several.beginOfTextToken == nil)
    #expect(try Self.configuration(["bos_token_id": .integer(-1)]).beginOfTextToken == nil)
  }

  @Test func scalingOfRotaryPositions() throws {
    #expect(try Self.scaling(["type": .string("linear"), "factor": .number(2)]) == .linear(factor: 2))
    #expect(
      try Self.scaling(["rope_type": .string("dynamic"), "factor": .integer(4)])
        == .dynamic(factor: 4, originalPositionCount: 64))
    #expect(try Self.scaling(["rope_type": .string("default"), "type": .string("linear")]) == RopeScaling.none)
    #expect(
      try Self.scaling([
        "rope_type": .string("llama3"), "factor": .number(8), "low_freq_factor": .number(1),
        "high_freq_factor": .number(4), "original_max_position_embeddings": .integer(32),
      ])
        == .llama3(factor: 8, lowFrequencyFactor: 1, highFrequencyFactor: 4, originalPositionCount: 32))
    // 0.1 · ln 2 + 1.
    #expect(
      try Self.scaling([
        "type": .string("yarn"), "factor": .number(2), "original_max_position_embeddings": .integer(32),
      ])
        == .yarn(
          .init(
            factor: 2, originalPositionCount: 32, betaFast: 32, betaSlow: 1, attentionFactor: 1.0693147180559945,
            truncates: true)))
    #expect(
      try Self.scaling([
        "type": .string("yarn"), "original_max_position_embeddings": .integer(32), "mscale": .number(1),
        "mscale_all_dim": .number(1), "beta_fast": .integer(16), "beta_slow": .number(2), "truncate": .boolean(false),
      ])
        == .yarn(
          .init(
            factor: 2, originalPositionCount: 32, betaFast: 16, betaSlow: 2, attentionFactor: 1, truncates: false)))
  }

  /// transformers 5 puts the base beside the scaling.
  @Test func ropeParameters() throws {
    let configuration = try Self.configuration([
      "rope_parameters": .members([
        "rope_type": .string("linear"), "factor": .number(2), "rope_theta": .number(500_000),
      ]),
      "dtype": .string("bfloat16"), "rope_theta": .number(1234),
    ])
    #expect(configuration.ropeTheta == 500_000 && configuration.ropeScaling == .linear(factor: 2))
  }

  static let refused: [(String, JSONValue?, Refusal.Name)] = [
    ("architectures", .array([.string("MistralForCausalLM")]), .unsupportedArchitecture),
    ("model_type", .string("gpt2"), .unsupportedArchitecture),
    ("hidden_act", .string("gelu"), .unsupportedConfiguration),
    ("attention_bias", .boolean(true), .unsupportedConfiguration),
    ("mlp_bias", .boolean(true), .unsupportedConfiguration),
    ("quantization_config", .members(["quant_method": .string("gptq")]), .unsupportedConfiguration),
    ("rope_scaling", .members(["type": .string("longrope")]), .unsupportedConfiguration),
    ("rope_scaling", .members(["type": .string("linear")]), .invalidConfiguration),
    ("rope_scaling", .members(["type": .string("linear"), "factor": .number(0)]), .invalidConfiguration),
    ("rope_scaling", .string("linear"), .invalidConfiguration),
    ("hidden_size", nil, .invalidConfiguration),
    ("hidden_size", .string("8"), .invalidConfiguration),
    ("hidden_size", .integer(9), .invalidConfiguration),
    ("num_attention_heads", .integer(0), .invalidConfiguration),
    ("num_key_value_heads", .integer(3), .invalidConfiguration),
    ("num_hidden_layers", .integer(1 << 40), .invalidConfiguration),
    ("vocab_size", .integer(-1), .invalidConfiguration),
    ("rms_norm_eps", .number(0), .invalidConfiguration),
    ("eos_token_id", .integer(24), .invalidConfiguration),
    ("eos_token_id", .integer(1 << 40), .invalidConfiguration),
    ("head_dim", .integer(3), .invalidConfiguration),
    ("head_dim", .integer(8), .wrongShape),
    ("num_hidden_layers", .integer(3), .missingTensor),
    ("num_hidden_layers", .integer(1), .unexpectedTensor),
    ("sharedllm", .members(["position_mode": .string("sideways")]), .invalidConfiguration),
    ("sharedllm", .members(["injected_layers": .integer(3)]), .invalidConfiguration),
    ("segment_tree_depth", .integer(9), .invalidConfiguration),
  ]

  @Test(arguments: refused.indices)
  func isRefused(_ number: Int) throws {
    let (key, value, name) = Self.refused[number]
    do {
      _ = try Self.configuration([key: value])
      Issue.record("\(key) was accepted")
    } catch let refusal as Refusal {
      #expect(refusal.name == name, "\(refusal)")
      #expect(!refusal.description.contains("\n"))
    }
  }
}
