import FileAccess
import Glibc
import ModelPacks

/// The configuration that a GGUF file has among its keys, under the name of its architecture: `llama.block_count`.
struct GGUFConfiguration: ConfigurationSource {
  let path: String
  let licence: String?
  private let configuration: LlamaConfiguration

  /// The architectures that are LLaMAs.
  enum Architecture: String, CaseIterable {
    case llama
    case qwen2

    /// Whether the rows of queries and keys are in the order of turned pairs, not of halves.
    var hasRotatedPairs: Bool { self == .llama }
  }

  /// What each pair's angle is divided by: LLaMA 3.1's rule, worked out.
  static let divisorsName = "rope_freqs.weight"

  var provenance: [PackProvenance.Source] { [] }
  let hasRotatedPairs: Bool
  var headDim: Int { configuration.headDim }

  /// - Throws: `Refusal` `unsupported-architecture`, `unsupported-configuration`, `invalid-configuration`.
  init(_ files: GGUFFiles) throws(Refusal) {
    let metadata = files.metadata
    let architecture = try Self.architecture(metadata)
    path = metadata.file
    hasRotatedPairs = architecture.hasRotatedPairs
    licence = try Self.licence(metadata)
    let keys = Keys(metadata: metadata, prefix: architecture.rawValue)
    try Self.checkWays(keys, architecture)
    var configuration = try LlamaConfiguration(keys, files)
    configuration.ropeScaling = try RopeScaling(
      keys, divisors: Self.divisors(files, headDim: configuration.headDim),
      maxPositionCount: configuration.maxPositionCount)
    if let fault = configuration.fault(sharedLLM: nil) {
      throw Refusal(.invalidConfiguration, file: metadata.file, fault)
    }
    self.configuration = configuration
  }

  func llama(isSharedLLM: Bool) -> LlamaConfiguration { configuration }

  func sharedLLM() -> SharedLLMDeclaration { SharedLLMDeclaration() }

  private static func architecture(_ metadata: GGUFMetadata) throws(Refusal) -> Architecture {
    let key = "general.architecture"
    let name = try metadata.required(key, metadata.string(key))
    if let type = try metadata.string("general.type"), type != "model" {
      throw metadata.fault("general.type", "is \(type.printable), not model", name: .unsupportedArchitecture)
    }
    guard let architecture = Architecture(rawValue: name) else {
      let known = Architecture.allCases.map(\.rawValue).joined(separator: " and ")
      throw metadata.fault(
        key, "is \(name.printable); \(known) can be converted", name: .unsupportedArchitecture)
    }
    return architecture
  }

  /// The name of the licence; of one without a common name, what the file calls it or where it can be read.
  private static func licence(_ metadata: GGUFMetadata) throws(Refusal) -> String? {
    let licence = try metadata.string("general.license")
    let name = try metadata.string("general.license.name")
    let link = try metadata.string("general.license.link")
    let best = licence == nil || licence == "other" ? name ?? link ?? licence : licence
    return best.map { String($0.printable.prefix(200)) }
  }

  /// Keys whose effect a LLaMA does not have.
  private static func checkWays(_ keys: Keys, _ architecture: Architecture) throws(Refusal) {
    func refuse(_ key: String, unless usual: Double) throws(Refusal) {
      guard let value = try keys.number(key), value != usual else { return }
      throw keys.fault(key, "is \(value), which cannot be run", name: .unsupportedConfiguration)
    }
    if let count = try keys.integer("expert_count"), count > 0 {
      throw keys.fault(
        "expert_count", "is \(count): a mixture of experts cannot be run", name: .unsupportedArchitecture)
    }
    for key in ["logit_scale", "residual_scale", "embedding_scale", "attention.max_alibi_bias", "attention.clamp_kqv"] {
      // 0 is none as well.
      if try keys.number(key) != 0 { try refuse(key, unless: 1) }
    }
    for key in ["attn_logit_softcapping", "final_logit_softcapping", "rope.scaling.yarn_log_multiplier"] {
      try refuse(key, unless: 0)
    }
    if try keys.boolean("attention.causal") == false {
      throw keys.fault("attention.causal", "is false, which cannot be run", name: .unsupportedConfiguration)
    }
    if let scale = try keys.number("attention.scale"), scale != 0 {
      throw keys.fault("attention.scale", "is \(scale), which cannot be run", name: .unsupportedConfiguration)
    }
  }

  /// The divisors' numbers, from the tensor.
  private static func divisors(_ files: GGUFFiles, headDim: Int) throws(Refusal) -> [Double]? {
    for name in ["rope_factors_long.weight", "rope_factors_short.weight"] {
      if let (_, part) = files.tensor(name) {
        throw Refusal(
          .unsupportedConfiguration, file: part.path, structure: name, "LongRoPE cannot be run")
      }
    }
    guard let (tensor, part) = files.tensor(divisorsName) else { return nil }
    guard tensor.type == .f32, headDim > 0, tensor.shape == [headDim / 2] else {
      throw Refusal(
        .wrongShape, file: part.path, structure: divisorsName,
        "has \(tensor.shape) numbers of \(tensor.type.name); \(headDim / 2) of F32 are expected")
    }
    var bytes = [UInt8](repeating: 0, count: tensor.byteRange.count)
    let file = try SequentialFile(part.path)
    var span = bytes.mutableSpan
    var raw = unsafe span.mutableBytes
    try file.read(at: tensor.byteRange.lowerBound, into: &raw)
    var reader = unsafe ByteReader(bytes.span.bytes, file: part.path, structure: divisorsName)
    var divisors: [Double] = []
    for _ in 0..<headDim / 2 { divisors.append(Double(Float(bitPattern: try reader.integer()))) }
    return divisors
  }

  /// Reads keys of the architecture.
  struct Keys {
    let metadata: GGUFMetadata
    let prefix: String

    private func full(_ key: String) -> String { "\(prefix).\(key)" }

    func integer(_ key: String) throws(Refusal) -> Int? { try metadata.uniformInteger(full(key)) }
    func number(_ key: String) throws(Refusal) -> Double? { try metadata.number(full(key)) }
    func string(_ key: String) throws(Refusal) -> String? { try metadata.string(full(key)) }
    func boolean(_ key: String) throws(Refusal) -> Bool? { try metadata.boolean(full(key)) }

    func required(_ key: String) throws(Refusal) -> Int { try metadata.required(full(key), integer(key)) }

    func fault(_ key: String, _ words: String, name: Refusal.Name = .invalidConfiguration) -> Refusal {
      metadata.fault(full(key), words, name: name)
    }
  }
}

extension LlamaConfiguration {
  /// Everything but the scaling of the rotary positions.
  fileprivate init(_ keys: GGUFConfiguration.Keys, _ files: GGUFFiles) throws(Refusal) {
    let metadata = keys.metadata
    let hiddenSize = try keys.required("embedding_length")
    let headCount = try keys.required("attention.head_count")
    var headDim = try keys.integer("attention.key_length")
    if headDim == nil {
      guard headCount > 0, hiddenSize % headCount == 0 else {
        throw keys.fault("attention.head_count", "\(headCount) does not divide embedding_length \(hiddenSize)")
      }
      headDim = hiddenSize / headCount
    }
    for key in ["attention.value_length", "rope.dimension_count"] {
      guard let value = try keys.integer(key), value != headDim else { continue }
      throw keys.fault(
        key, "is \(value) and a key has \(headDim ?? 0) numbers; only the same can be run",
        name: .unsupportedConfiguration)
    }
    let maxPositionCount = try keys.required("context_length")
    func has(_ name: String) -> Bool { files.tensor(name) != nil }
    self.init(
      hiddenSize: hiddenSize, intermediateSize: try keys.required("feed_forward_length"),
      layerCount: try keys.required("block_count"), headCount: headCount,
      kvHeadCount: try keys.integer("attention.head_count_kv") ?? headCount, headDim: headDim ?? 0,
      vocabularySize: try Self.vocabularySize(keys, files),
      rmsNormEpsilon: Float(
        try metadata.required(
          "\(keys.prefix).attention.layer_norm_rms_epsilon", keys.number("attention.layer_norm_rms_epsilon"))),
      ropeTheta: try keys.number("rope.freq_base") ?? 10_000, ropeScaling: .none,
      // Up to there, a sliding window hides nothing.
      maxPositionCount: min(maxPositionCount, try keys.integer("attention.sliding_window") ?? maxPositionCount),
      tiesWordEmbeddings: !has("output.weight"),
      beginOfTextToken: try Self.token(metadata, "tokenizer.ggml.bos_token_id"),
      endOfTextTokens: try Self.endOfTextTokens(metadata),
      attentionInputBias: has("blk.0.attn_q.bias"), attentionOutputBias: has("blk.0.attn_output.bias"),
      mlpBias: has("blk.0.ffn_up.bias"))
  }

  /// Rows of the embedding: some files state the tokenizer's tokens, which can be fewer.
  private static func vocabularySize(_ keys: GGUFConfiguration.Keys, _ files: GGUFFiles) throws(Refusal) -> Int {
    if let (embedding, _) = files.tensor("token_embd.weight"), embedding.shape.count == 2 { return embedding.shape[0] }
    return try keys.required("vocab_size")
  }

  private static func token(_ metadata: GGUFMetadata, _ key: String) throws(Refusal) -> Int32? {
    guard let value = try metadata.integer(key) else { return nil }
    // Some files write the largest number where they have none.
    if value == -1 || value == Int(UInt32.max) { return nil }
    guard let token = Int32(exactly: value) else { throw metadata.fault(key, "\(value) is not a token") }
    return token
  }

  private static func endOfTextTokens(_ metadata: GGUFMetadata) throws(Refusal) -> [Int32] {
    var tokens: [Int32] = []
    for name in ["eos", "eot", "eom"] {
      let token = try token(metadata, "tokenizer.ggml.\(name)_token_id")
      if let token, !tokens.contains(token) { tokens.append(token) }
    }
    return tokens
  }
}

extension RopeScaling {
  /// - Parameter divisors: from `rope_freqs.weight`.
  fileprivate init(
    _ keys: GGUFConfiguration.Keys, divisors: [Double]?, maxPositionCount: Int
  ) throws(Refusal) {
    // An old key says the same of linear scaling; 0 is none.
    let olderFactor = try keys.number("rope.scale_linear")
    let factor = try keys.number("rope.scaling.factor") ?? olderFactor ?? 0
    let kind = try keys.string("rope.scaling.type") ?? "linear"
    let scaling: RopeScaling
    switch kind {
    case "none": scaling = .none
    case "linear": scaling = factor == 0 || factor == 1 ? .none : .linear(factor: factor)
    case "yarn":
      guard factor >= 1 else { throw keys.fault("rope.scaling.factor", "is \(factor); YaRN needs one of at least 1") }
      // The programs that write this key leave out the part of the factor that follows from the scaling.
      let olderAttention = try keys.number("rope.scaling.yarn_attn_factor")
      let attention = try keys.number("rope.scaling.attn_factor") ?? olderAttention ?? 1
      scaling = .yarn(
        Yarn(
          factor: factor,
          originalPositionCount: try keys.integer("rope.scaling.original_context_length") ?? maxPositionCount,
          betaFast: try keys.number("rope.scaling.yarn_beta_fast") ?? 32,
          betaSlow: try keys.number("rope.scaling.yarn_beta_slow") ?? 1,
          attentionFactor: attention * (0.1 * log(factor) + 1), truncates: true))
    default:
      throw keys.fault(
        "rope.scaling.type", "is \(kind.printable); none, linear and yarn can be run", name: .unsupportedConfiguration)
    }
    guard let divisors, divisors.contains(where: { $0 != 1 }) else {
      self = scaling
      return
    }
    guard scaling == .none else {
      throw keys.fault(
        "rope.scaling.type", "\(kind) together with \(GGUFConfiguration.divisorsName) cannot be run",
        name: .unsupportedConfiguration)
    }
    self = .divisors(divisors)
  }
}

extension String {
  /// On one line of a message, whatever a file says.
  var printable: String {
    String(String.UnicodeScalarView(prefix(200).unicodeScalars.map { 0x20..<0x7F ~= $0.value ? $0 : "?" }))
  }
}
