import FileAccess
import ModelPacks

/// What of SharedLLM a checkpoint has.
///
/// Recognised in `config.json`, in this order:
/// - a block `sharedllm`: `injected_layers`, `injection_place`, `chunk_size`, `tree_depth`, `leaf_ratio`,
///   `position_mode`;
/// - the authors' keys at the top level: `segment_tree_depth` (h), `chunk_size` or `context_size` (L), `last_p` (rows
///   kept of a node, so the leaf ratio is L / (2^h · last_p)), `num_encoder_layers` or `encoder_layers` (M). Their
///   code computes position mode `local`.
///
/// In both, M may be absent: then it is the number of layers with `cross_attn`. Trained cross-attention, an own lower
/// model (`encoder.`) or neither are told by the tensors that are there.
struct SharedLLMImport {
  let reader: ConfigurationReader
  let block: ConfigurationReader?
  let hasAuthorsKeys: Bool
  let hasEncoder: Bool
  /// Layers that have cross-attention, ascending.
  let crossAttentionLayers: [Int]

  init(_ reader: ConfigurationReader, checkpoint: Checkpoint) throws(Refusal) {
    self.reader = reader
    block = try reader.object("sharedllm")
    hasAuthorsKeys = reader.has("segment_tree_depth")
    hasEncoder = checkpoint.places.keys.contains { $0.hasPrefix("encoder.") }
    let (prefix, suffix) = ("model.layers.", ".cross_attn.q_proj.weight")
    crossAttentionLayers = checkpoint.places.keys.compactMap { name in
      guard name.hasPrefix(prefix), name.hasSuffix(suffix) else { return nil }
      return Int(name.dropFirst(prefix.count).dropLast(suffix.count))
    }.sorted()
  }

  /// Whether the checkpoint is one of SharedLLM without any option.
  var isPresent: Bool { block != nil || hasAuthorsKeys || !crossAttentionLayers.isEmpty }

  /// - Returns: nil for a plain pack.
  /// - Throws: `Refusal` `invalid-configuration`, `unsupported-configuration` or `invalid-option`.
  func configuration(
    _ llama: LlamaConfiguration, options: Converter.Options
  ) throws(Refusal) -> SharedLLMConfiguration? {
    guard isPresent || options.injectedLayers != nil else {
      guard !options.hasTreeOptions else {
        throw reader.fault(
          .invalidOption, "chunk size, tree depth, leaf ratio and position mode need the number of injected layers")
      }
      return nil
    }
    let isTrained = !crossAttentionLayers.isEmpty
    let declared = try injectedLayers()
    if let wanted = options.injectedLayers, isTrained, wanted != crossAttentionLayers.count {
      throw reader.fault(
        .invalidOption,
        "\(wanted) injected layers are asked for and \(crossAttentionLayers.count) have trained cross-attention")
    }
    let declaredChunkSize = try declaredChunkSize()
    let declaredTreeDepth = try declaredTreeDepth()
    let declaredMode: PositionMode? = try choice("position_mode")
    let place: SharedLLMConfiguration.Place? = try choice("injection_place")
    let chunkSize = options.chunkSize ?? declaredChunkSize ?? max(min(1024, llama.maxPositionCount / 2), 1)
    let treeDepth = options.treeDepth ?? declaredTreeDepth ?? 3
    let declaredRatio =
      options.leafRatio == nil ? try leafRatio(chunkSize: chunkSize, treeDepth: treeDepth) : nil
    let result = SharedLLMConfiguration(
      injectedLayerCount: options.injectedLayers ?? declared ?? crossAttentionLayers.count,
      place: place ?? .bottom, chunkSize: chunkSize, treeDepth: treeDepth,
      leafRatio: options.leafRatio ?? declaredRatio ?? 4,
      positionMode: options.positionMode ?? declaredMode ?? (isTrained ? .local : .none),
      injection: isTrained ? .crossAttention : .mergedSoftmax,
      lowerModel: hasEncoder ? .own : .shared)
    if let fault = llama.fault(sharedLLM: result) {
      throw reader.fault(
        options.injectedLayers != nil || options.hasTreeOptions ? .invalidOption : .invalidConfiguration, fault)
    }
    let injected = result.injectedLayers(of: llama.layerCount)
    if isTrained, injected != crossAttentionLayers {
      throw reader.fault(
        "layers \(Self.list(injected)) are declared to read injected rows and \(Self.list(crossAttentionLayers)) have "
          + "cross_attn")
    }
    return result
  }

  private static func list(_ layers: [Int]) -> String { layers.map(String.init).joined(separator: ", ") }

  private func injectedLayers() throws(Refusal) -> Int? {
    if let block { return try block.integer("injected_layers") }
    return try reader.integer("num_encoder_layers", "encoder_layers")
  }

  private func declaredChunkSize() throws(Refusal) -> Int? {
    if let block { return try block.integer("chunk_size") }
    return hasAuthorsKeys ? try reader.integer("chunk_size", "context_size") : nil
  }

  private func declaredTreeDepth() throws(Refusal) -> Int? {
    if let block { return try block.integer("tree_depth") }
    return try reader.integer("segment_tree_depth")
  }

  private func choice<Value: RawRepresentable<String> & CaseIterable>(_ key: String) throws(Refusal) -> Value? {
    guard let text = try block?.string(key) else { return nil }
    guard let value = Value(rawValue: text) else {
      let choices = Value.allCases.map(\.rawValue).joined(separator: ", ")
      throw reader.fault("sharedllm: \(key) is \"\(text)\"; it must be one of \(choices)")
    }
    return value
  }

  private func leafRatio(chunkSize: Int, treeDepth: Int) throws(Refusal) -> Int? {
    if let ratio = try block?.integer("leaf_ratio") { return ratio }
    guard let rows = try reader.integer("last_p") else { return nil }
    guard rows > 0, (0...16).contains(treeDepth), let leafRows = CheckedSize.product(rows, 1 << treeDepth),
      chunkSize % leafRows == 0, chunkSize >= leafRows
    else {
      throw reader.fault(
        .unsupportedConfiguration,
        "last_p \(rows) is not a whole fraction of the \(chunkSize) tokens of a chunk in \(treeDepth) levels")
    }
    return chunkSize / leafRows
  }
}
