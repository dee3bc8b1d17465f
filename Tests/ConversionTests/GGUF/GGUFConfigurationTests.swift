import Conversion
import FileAccess
import ModelPacks
import Testing

/// Keys of a GGUF file, as a configuration.
@Suite struct GGUFConfigurationTests {
  private static func configuration(_ edit: (inout TestGGUF) -> Void) throws -> LlamaConfiguration {
    let scratch = try Scratch()
    var file = TestGGUF(TestCheckpoint())
    edit(&file)
    try file.write(to: "\(scratch.path)/model.gguf")
    return try Converter(directory: "\(scratch.path)/model.gguf").plan.configuration
  }

  @Test func keys() throws {
    #expect(try Self.configuration { _ in } == TestCheckpoint.llama)
    // Absent keys have the values that follow from others.
    #expect(
      try Self.configuration { file in
        for key in ["attention.key_length", "rope.freq_base", "rope.dimension_count"] { file["llama.\(key)"] = nil }
      } == TestCheckpoint.llama)
    #expect(
      try Self.configuration { $0["llama.attention.head_count_kv"] = .array([.uint32(1), .uint32(1)]) }
        == TestCheckpoint.llama)
    let ends = try Self.configuration { file in
      file["tokenizer.ggml.eot_token_id"] = .uint32(5)
      file["tokenizer.ggml.eom_token_id"] = .uint32(2)
      file["tokenizer.ggml.bos_token_id"] = .uint32(.max)
    }
    #expect(ends.endOfTextTokens == [2, 5] && ends.beginOfTextToken == nil)
    #expect(try Self.configuration { $0["llama.attention.sliding_window"] = .uint32(16) }.maxPositionCount == 16)
  }

  @Test func scaling() throws {
    func scaling(_ values: [(String, TestGGUF.Value)]) throws -> RopeScaling {
      try Self.configuration { file in for (key, value) in values { file["llama.rope.\(key)"] = value } }.ropeScaling
    }
    #expect(try scaling([("scaling.type", .string("none")), ("scaling.factor", .float32(4))]) == .none)
    #expect(try scaling([("scaling.type", .string("linear")), ("scaling.factor", .float32(4))]) == .linear(factor: 4))
    // Without a type, a factor is of linear scaling; an old key says the same.
    #expect(try scaling([("scaling.factor", .float32(2))]) == .linear(factor: 2))
    #expect(try scaling([("scale_linear", .float32(2))]) == .linear(factor: 2))
    #expect(try scaling([("scaling.factor", .float32(0))]) == .none)
    let yarn = try scaling([
      ("scaling.type", .string("yarn")), ("scaling.factor", .float32(4)),
      ("scaling.original_context_length", .uint32(32)), ("scaling.attn_factor", .float32(0.5)),
      ("scaling.yarn_beta_fast", .float32(16)),
    ])
    guard case .yarn(let parameters) = yarn else {
      Issue.record("\(yarn)")
      return
    }
    #expect(parameters.factor == 4 && parameters.originalPositionCount == 32 && parameters.betaFast == 16)
    #expect(abs(parameters.attentionFactor - 0.5 * (1 + 0.1 * 1.386294361)) < 1e-8 && parameters.betaSlow == 1)
  }

  /// LLaMA 3.1's divisors are numbers of a tensor.
  @Test func divisors() throws {
    func with(_ divisors: [Float], type: UInt32 = 0) -> (inout TestGGUF) -> Void {
      { file in
        file.tensors.insert(
          .init(
            name: "rope_freqs.weight", shape: [divisors.count], type: type,
            bytes: TestCheckpoint.bytes(of: divisors, .float32)), at: 3)
      }
    }
    #expect(try Self.configuration(with([1, 8])).ropeScaling == .divisors([1, 8]))
    #expect(try Self.configuration(with([1, 1])).ropeScaling == .none)
    #expect(throws: Refusal.self) { try Self.configuration(with([1, 8, 8])) }
    #expect(throws: Refusal.self) { try Self.configuration(with([1, -1])) }
    #expect(throws: Refusal.self) { try Self.configuration(with([1, .nan])) }
    #expect(throws: Refusal.self) {
      try Self.configuration { file in
        with([1, 8])(&file)
        file["llama.rope.scaling.factor"] = .float32(2)
      }
    }
  }

  struct Fault: Sendable, CustomTestStringConvertible {
    let name: Refusal.Name
    let words: String
    let edit: @Sendable (inout TestGGUF) -> Void

    init(_ name: Refusal.Name, _ words: String, _ edit: @escaping @Sendable (inout TestGGUF) -> Void) {
      self.name = name
      self.words = words
      self.edit = edit
    }

    var testDescription: String { "\(name.text): \(words)" }
  }

  static let faults: [Fault] = [
    Fault(.unsupportedArchitecture, "gemma; llama and qwen2") { $0["general.architecture"] = .string("gemma") },
    Fault(.invalidConfiguration, "general.architecture: is missing") { $0["general.architecture"] = nil },
    Fault(.invalidConfiguration, "is not a text in UTF-8") { $0["general.architecture"] = .uint32(3) },
    Fault(.unsupportedArchitecture, "adapter") { $0["general.type"] = .string("adapter") },
    Fault(.unsupportedArchitecture, "mixture of experts") { $0["llama.expert_count"] = .uint32(8) },
    Fault(.unsupportedArchitecture, "mixture of experts") { $0.tensors[5].name = "blk.0.ffn_gate_exps.weight" },
    Fault(.invalidConfiguration, "llama.block_count: is missing") { $0["llama.block_count"] = nil },
    Fault(.invalidConfiguration, "is not an integer") { $0["llama.block_count"] = .float32(2) },
    Fault(.invalidConfiguration, "layerCount is 0") { $0["llama.block_count"] = .uint32(0) },
    Fault(.invalidConfiguration, "hiddenSize is") { $0["llama.embedding_length"] = .uint64(1 << 62) },
    Fault(.invalidConfiguration, "does not divide") { file in
      file["llama.attention.key_length"] = nil
      file["llama.attention.head_count"] = .uint32(0)
    },
    Fault(.unsupportedConfiguration, "differs between layers") {
      $0["llama.attention.head_count_kv"] = .array([.uint32(1), .uint32(2)])
    },
    Fault(.invalidConfiguration, "is empty") { $0["llama.attention.head_count"] = .array([]) },
    Fault(.unsupportedConfiguration, "rope.dimension_count: is 2") { $0["llama.rope.dimension_count"] = .uint32(2) },
    Fault(.unsupportedConfiguration, "value_length: is 8") { $0["llama.attention.value_length"] = .uint32(8) },
    Fault(.unsupportedConfiguration, "longrope; none, linear and yarn") {
      $0["llama.rope.scaling.type"] = .string("longrope")
    },
    Fault(.invalidConfiguration, "YaRN needs") { $0["llama.rope.scaling.type"] = .string("yarn") },
    Fault(.unsupportedConfiguration, "logit_scale: is 16") { $0["llama.logit_scale"] = .float32(16) },
    Fault(.unsupportedConfiguration, "attention.causal") { $0["llama.attention.causal"] = .boolean(false) },
    Fault(.invalidConfiguration, "token 24 is not in the vocabulary") {
      $0["tokenizer.ggml.eos_token_id"] = .uint32(24)
    },
    Fault(.wrongShape, "has the shape [20, 8]") { $0["llama.feed_forward_length"] = .uint32(32) },
    Fault(.missingTensor, "model.layers.0.mlp.up_proj.weight") { file in
      file.tensors.removeAll { $0.name == "blk.0.ffn_up.weight" }
    },
    Fault(.unexpectedTensor, "blk.0.attn_q_norm.weight") { file in
      file.tensors.append(file.tensors[1])
      file.tensors[file.tensors.count - 1].name = "blk.0.attn_q_norm.weight"
    },
    Fault(.unsupportedElementType, "IQ2_XS") { file in
      file.tensors[0] = .init(
        name: "token_embd.weight", shape: [24, 256], type: 17, bytes: [UInt8](repeating: 0, count: 74 * 24))
      file["llama.embedding_length"] = .uint32(256)
    },
  ]

  @Test(arguments: faults) func refused(fault: Fault) throws {
    let refusal = #expect(throws: Refusal.self) { _ = try Self.configuration(fault.edit) }
    let words = refusal?.description ?? ""
    #expect(refusal?.name == fault.name && words.contains(fault.words), "\(words)")
  }
}
