import CanonicalJSON
import FileAccess
import ModelPacks

/// `config.json`.
///
/// Of SharedLLM it declares, in this order:
/// - a block `sharedllm`: `injected_layers`, `injection_place`, `chunk_size`, `tree_depth`, `leaf_ratio`,
///   `position_mode`;
/// - the authors' keys at the top level: `segment_tree_depth` (h), `chunk_size` or `context_size` (L), `last_p` (rows
///   kept of a node), `num_encoder_layers` or `encoder_layers` (M). Their code computes position mode `local`.
///
/// In both, M may be absent: then it is the number of layers with `cross_attn`.
struct HuggingFaceConfiguration: ConfigurationSource {
  let path: String
  let provenance: [PackProvenance.Source]
  private let reader: ConfigurationReader

  /// - Throws: `Refusal` `missing-file`, `malformed-json`, `invalid-configuration`, `too-large`.
  init(directory: String) throws(Refusal) {
    path = "\(directory)/config.json"
    let text = try SequentialFile.contents(path, limit: 1 << 20)
    let json = try JSONValue(parsing: text, file: path)
    guard json.object != nil else { throw Refusal(.invalidConfiguration, file: path, "is not a JSON object") }
    reader = ConfigurationReader(json: json, file: path)
    provenance = [PackProvenance.Source(name: "config.json", byteCount: text.count, digest: Digest256(of: text))]
  }

  func llama(isSharedLLM: Bool) throws(Refusal) -> LlamaConfiguration {
    try LlamaConfiguration(reader, isSharedLLM: isSharedLLM)
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
    return result
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
