import CanonicalJSON
import FileAccess
import ModelPacks

/// `config.json`, and `generation_config.json` if there is one.
///
/// Of SharedLLM it declares, in this order:
/// - a block `sharedllm`: `injected_layers`, `injection_place`, `chunk_size`, `tree_depth`, `leaf_ratio`,
///   `position_mode`;
/// - the authors' keys at the top level: `segment_tree_depth` (h), `chunk_size` or `context_size` (L), `last_p` (rows
///   kept of a node), `num_encoder_layers` or `encoder_layers` (M). Their code computes position mode `local`.
///
/// In both, M may be absent: then it is the number of layers with `cross_attn`.
///
/// Of CEPE it declares, as its authors do, `encoder_config`, the configuration of the encoder, and
/// `num_cross_attn_layers` (M).
struct HuggingFaceConfiguration: ConfigurationSource {
  let path: String
  let provenance: [PackProvenance.Source]
  private let reader: ConfigurationReader
  private let generation: ConfigurationReader?

  /// - Throws: `Refusal` `missing-file`, `malformed-json`, `invalid-configuration`, `too-large`.
  init(directory: String) throws(Refusal) {
    path = "\(directory)/config.json"
    var provenance: [PackProvenance.Source] = []
    reader = try Self.read("config.json", in: directory, &provenance)
    let generationName = "generation_config.json"
    generation =
      try Directory.kind(of: "\(directory)/\(generationName)") == nil
      ? nil : Self.read(generationName, in: directory, &provenance)
    self.provenance = provenance
  }

  private static func read(
    _ name: String, in directory: String, _ provenance: inout [PackProvenance.Source]
  ) throws(Refusal) -> ConfigurationReader {
    let path = "\(directory)/\(name)"
    let text = try SequentialFile.contents(path, limit: 1 << 20)
    let json = try JSONValue(parsing: text, file: path)
    guard json.object != nil else { throw Refusal(.invalidConfiguration, file: path, "is not a JSON object") }
    provenance.append(PackProvenance.Source(name: name, byteCount: text.count, digest: Digest256(of: text)))
    return ConfigurationReader(json: json, file: path)
  }

  func llama(isSharedLLM: Bool) throws(Refusal) -> LlamaConfiguration {
    try LlamaConfiguration(reader, generation: generation, isSharedLLM: isSharedLLM)
  }

  /// A faulty configuration is for `llama(isSharedLLM:)` to refuse.
  var notes: [String] {
    guard let family = try? LlamaFamily(reader, isSharedLLM: true), let window = try? family.slidingWindow(reader),
      let trained = try? reader.integer("max_position_embeddings") ?? family.usualMaxPositionCount, window < trained
    else { return [] }
    return [
      "\(path): sliding_window \(window) is shorter than max_position_embeddings \(trained): the model's window is "
        + "\(window) tokens, up to which the sliding window hides nothing"
    ]
  }

  func sharedLLM() throws(Refusal) -> SharedLLMDeclaration {
    var result = SharedLLMDeclaration()
    if let block = try reader.object("sharedllm") {
      result.isSharedLLM = true
      result.injectedLayerCount = try block.integer("injected_layers")
      result.chunkSize = try block.integer("chunk_size")
      result.treeDepth = try block.integer("tree_depth")
      result.leafRatio = try block.integer("leaf_ratio")
      result.injectionPlace = try choice("injection_place", of: block)
      result.positionMode = try choice("position_mode", of: block)
    } else {
      result.isSharedLLM = reader.has("segment_tree_depth")
      result.injectedLayerCount = try reader.integer("num_encoder_layers", "encoder_layers")
      if result.isSharedLLM { result.chunkSize = try reader.integer("chunk_size", "context_size") }
      result.treeDepth = try reader.integer("segment_tree_depth")
    }
    result.nodeRows = try reader.integer("last_p")
    if let encoder = try reader.object("encoder_config") { try declare(encoder, in: &result) }
    return result
  }

  private func declare(_ encoder: ConfigurationReader, in result: inout SharedLLMDeclaration) throws(Refusal) {
    func unsupported(_ words: String) -> Refusal { reader.fault(.unsupportedConfiguration, words) }
    if try reader.boolean("encoder_is_model") ?? false {
      throw unsupported("encoder_is_model: a model that is its own encoder cannot be converted")
    }
    if let mode = try reader.string("encode_mode"), mode != "context_only" {
      throw unsupported("encode_mode is \"\(mode)\"; chunks can only be encoded alone (\"context_only\")")
    }
    if let count = try reader.integer("num_cross_attn_hidden_states"), count != 1 {
      throw unsupported("num_cross_attn_hidden_states is \(count); only the encoder's last states can be read")
    }
    var configuration = try LlamaConfiguration(encoder, generation: nil, isSharedLLM: true)
    // It writes nothing, so that these say nothing of it.
    configuration.tiesWordEmbeddings = true
    configuration.beginOfTextToken = nil
    configuration.endOfTextTokens = []
    result.isSharedLLM = true
    result.encoder = configuration
    result.injectedLayerCount = try reader.integer("num_cross_attn_layers")
    result.injectionPlace = .top
  }

  private func choice<Value: RawRepresentable<String> & CaseIterable>(
    _ key: String, of block: ConfigurationReader
  ) throws(Refusal) -> Value? {
    guard let text = try block.string(key) else { return nil }
    guard let value = Value(rawValue: text) else {
      let choices = Value.allCases.map(\.rawValue).joined(separator: ", ")
      throw reader.fault("sharedllm: \(key) is \"\(text)\"; it must be one of \(choices)")
    }
    return value
  }
}
