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

  /// The tokens of both files end a text; what is missing in one is not made up.
  @Test func endTokensOfBothFiles() throws {
    func tokens(_ configuration: JSONValue?, _ generation: JSONValue?) throws -> [Int32] {
      var checkpoint = TestCheckpoint()
      checkpoint.generation = .members(["eos_token_id": generation, "temperature": .number(0.6)])
      return try Self.configuration(["eos_token_id": configuration], base: checkpoint).endOfTextTokens
    }
    #expect(try tokens(.integer(3), .array([.integer(5), .integer(3), .integer(4)])) == [3, 5, 4])
    #expect(try tokens(.array([.integer(3), .integer(7)]), .integer(7)) == [3, 7])
    #expect(try tokens(.integer(3), nil) == [3])
    #expect(try tokens(.null, .integer(9)) == [9])
    // Not transformers' default of 2 as well: it is another token of this model.
    #expect(try tokens(nil, .integer(9)) == [9])
    #expect(try tokens(nil, nil) == [2])
    #expect(try tokens(nil, .null) == [2])
    #expect(try tokens(.integer(3), .integer(-1)) == [3])
    for (generation, name) in [
      (JSONValue.integer(24), Refusal.Name.invalidConfiguration), (.string("</s>"), .invalidConfiguration),
    ] {
      let refusal = #expect(throws: Refusal.self) { try tokens(.integer(3), generation) }
      #expect(refusal?.name == name && refusal?.file.hasSuffix("/generation_config.json") == true)
    }
  }

  static func family(
    _ type: String, _ className: String, _ changes: [String: JSONValue?] = [:],
    edit: (inout LlamaConfiguration) -> Void = { _ in }
  ) throws -> LlamaConfiguration {
    var llama = TestCheckpoint.llama
    edit(&llama)
    var all = changes
    all["model_type"] = .string(type)
    all["architectures"] = .array([.string(className)])
    return try configuration(all, base: TestCheckpoint(llama: llama))
  }

  @Test func mistral() throws {
    func mistral(_ changes: [String: JSONValue?]) throws -> LlamaConfiguration {
      try Self.family("mistral", "MistralForCausalLM", changes)
    }
    // Where the key is absent, transformers' window of 4,096 tokens slides; null is none.
    #expect(try mistral([:]).maxPositionCount == 64)
    #expect(try mistral(["max_position_embeddings": nil]).maxPositionCount == 4096)
    #expect(
      try mistral(["max_position_embeddings": .integer(32768), "sliding_window": .integer(1024)]).maxPositionCount
        == 1024)
    #expect(try mistral(["max_position_embeddings": nil, "sliding_window": .null]).maxPositionCount == 131_072)
    #expect(try mistral(["sliding_window": .integer(64)]).maxPositionCount == 64)
    let usual = try mistral(["rms_norm_eps": nil, "bos_token_id": nil, "sliding_window": .null])
    #expect(usual.rmsNormEpsilon == 1e-6 && usual.beginOfTextToken == 1 && usual.endOfTextTokens == [2])
    // Not the class's: it has no such keys.
    let unbiased = try mistral(["attention_bias": .boolean(true), "mlp_bias": .boolean(true)])
    #expect(!unbiased.attentionInputBias && !unbiased.attentionOutputBias && !unbiased.mlpBias)
    #expect(throws: Refusal.self) { try mistral(["sliding_window": .integer(0)]) }
    // Eight heads that share keys and values, when nothing is said: more than this one has.
    #expect(throws: Refusal.self) { try mistral(["num_key_value_heads": nil]) }
    let eight = try Self.family(
      "mistral", "MistralForCausalLM",
      ["num_key_value_heads": nil, "num_attention_heads": .integer(16), "head_dim": .integer(2)]
    ) {
      ($0.headCount, $0.kvHeadCount, $0.headDim) = (16, 8, 2)
    }
    #expect(eight.kvHeadCount == 8)
  }

  @Test func qwen2() throws {
    func qwen2(_ changes: [String: JSONValue?], input: Bool = true) throws -> LlamaConfiguration {
      try Self.family("qwen2", "Qwen2ForCausalLM", changes) { $0.attentionInputBias = input }
    }
    let usual = try qwen2(["max_position_embeddings": nil, "rms_norm_eps": nil])
    #expect(usual.attentionInputBias && !usual.attentionOutputBias && !usual.mlpBias)
    #expect(usual.maxPositionCount == 32768 && usual.rmsNormEpsilon == 1e-6 && usual.ropeTheta == 10000)
    #expect(usual.beginOfTextToken == nil && usual.endOfTextTokens == [] && !usual.tiesWordEmbeddings)
    // The window slides only where it is asked for, in the layers from a certain one on.
    let long: [String: JSONValue?] = ["max_position_embeddings": .integer(1024), "sliding_window": .integer(128)]
    func window(_ changes: [String: JSONValue?]) throws -> Int {
      try qwen2(long.merging(changes) { $1 }).maxPositionCount
    }
    #expect(try window([:]) == 1024)
    #expect(try window(["use_sliding_window": .boolean(false)]) == 1024)
    #expect(try window(["use_sliding_window": .boolean(true)]) == 1024)
    #expect(try window(["use_sliding_window": .boolean(true), "max_window_layers": .integer(1)]) == 128)
    #expect(try window(["use_sliding_window": .boolean(true), "max_window_layers": .integer(2)]) == 1024)
    let kinds = { (name: String) in JSONValue.array([.string("full_attention"), .string(name)]) }
    #expect(try window(["use_sliding_window": .boolean(true), "layer_types": kinds("sliding_attention")]) == 128)
    #expect(try window(["use_sliding_window": .boolean(true), "layer_types": kinds("full_attention")]) == 1024)
    let refusal = #expect(throws: Refusal.self) { try qwen2([:], input: false) }
    #expect(refusal?.name == .missingTensor)
  }

  @Test func biasesOfLlama() throws {
    for (attention, mlp) in [(true, false), (false, true), (true, true)] {
      let configuration = try Self.family(
        "llama", "LlamaForCausalLM", ["attention_bias": .boolean(attention), "mlp_bias": .boolean(mlp)]
      ) {
        $0.attentionInputBias = attention
        $0.attentionOutputBias = attention
        $0.mlpBias = mlp
      }
      #expect(configuration.attentionInputBias == attention && configuration.attentionOutputBias == attention)
      #expect(configuration.mlpBias == mlp)
    }
  }

  /// Without `model_type`, the class says which kind it is.
  @Test func classesWithoutType() throws {
    let names: [String: JSONValue?] = ["model_type": nil, "architectures": .array([.string("MistralForCausalLM")])]
    #expect(try Self.configuration(names).maxPositionCount == 64)
    let refusal = #expect(throws: Refusal.self) {
      try Self.configuration([
        "model_type": .string("gemma2"), "architectures": .array([.string("Gemma2ForCausalLM")]),
      ])
    }
    #expect(
      refusal?.fault
        == "the architecture is Gemma2ForCausalLM (gemma2); LlamaForCausalLM (llama), MistralForCausalLM (mistral), "
        + "Qwen2ForCausalLM (qwen2) can be converted")
  }

  static let refused: [(String, JSONValue?, Refusal.Name)] = [
    ("architectures", .array([.string("MistralForCausalLM")]), .unsupportedArchitecture),
    ("architectures", .array([.string("LlamaModel")]), .unsupportedArchitecture),
    ("model_type", .string("gpt2"), .unsupportedArchitecture),
    ("hidden_act", .string("gelu"), .unsupportedConfiguration),
    ("attention_bias", .string("yes"), .invalidConfiguration),
    ("attention_bias", .boolean(true), .missingTensor),
    ("mlp_bias", .boolean(true), .missingTensor),
    ("model_type", .string("qwen2"), .unsupportedArchitecture),
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
