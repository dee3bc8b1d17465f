import FileAccess
import ModelPacks

/// The parts of SharedLLM, or of CEPE, that a checkpoint has, from what its configuration declares and which tensors there
/// are. The tensors decide whether it has trained cross-attention, a lower model of its own (`encoder.`) or neither, and
/// whether that is CEPE's encoder, whose states have to be made into keys and values.
struct SharedLLMImport {
  private let configurationPath: String
  private let declared: SharedLLMDeclaration
  private let hasEncoder: Bool
  /// Layers that have cross-attention, ascending.
  private let crossAttentionLayers: [Int]
  /// Whether cross-attention makes keys and values of its own.
  private let readsStates: Bool

  init(_ checkpoint: Checkpoint) throws(Refusal) {
    configurationPath = checkpoint.configuration.path
    declared = try checkpoint.configuration.sharedLLM()
    let names = checkpoint.weights.files.flatMap(\.tensors).map(\.name)
    hasEncoder = names.contains { $0.hasPrefix("encoder.") }
    readsStates = names.contains { $0.hasSuffix(".cross_attn.k_proj.weight") }
    let (prefix, suffix) = ("model.layers.", ".cross_attn.q_proj.weight")
    crossAttentionLayers = names.compactMap { name in
      guard name.hasPrefix(prefix), name.hasSuffix(suffix) else { return nil }
      return Int(name.dropFirst(prefix.count).dropLast(suffix.count))
    }.sorted()
  }

  /// Whether the checkpoint is one of SharedLLM without any option.
  var isPresent: Bool { declared.isSharedLLM || !crossAttentionLayers.isEmpty }

  private func refusal(_ name: Refusal.Name, _ fault: String) -> Refusal {
    Refusal(name, file: configurationPath, fault)
  }

  /// - Returns: nil for a plain pack.
  /// - Throws: `Refusal` `invalid-configuration`, `unsupported-configuration` or `invalid-option`.
  func configuration(
    _ llama: LlamaConfiguration, options: Converter.Options
  ) throws(Refusal) -> SharedLLMConfiguration? {
    guard isPresent || options.injectedLayers != nil else {
      if let parameter = options.treeParameters.first {
        throw Refusal(
          .invalidOption, file: configurationPath, parameter: parameter,
          "needs a number of injected layers, as this is a plain checkpoint")
      }
      return nil
    }
    guard readsStates == (declared.encoder != nil) else {
      throw refusal(
        .invalidConfiguration,
        readsStates
          ? "cross_attn has k_proj, which reads an encoder's states, and encoder_config is missing"
          : "encoder_config declares an encoder, and no cross_attn has k_proj to read its states")
    }
    let isTrained = !crossAttentionLayers.isEmpty
    if let wanted = options.injectedLayers, isTrained, wanted != crossAttentionLayers.count {
      throw Refusal(
        .invalidOption, file: configurationPath, parameter: "injectedLayers",
        "is \(wanted), and \(crossAttentionLayers.count) layers have trained cross-attention")
    }
    // A token's state is kept whole: the two halves of a chunk are all that its tree has to say.
    let usual: (chunkSize: Int, depth: Int, ratio: Int) =
      if let encoder = declared.encoder {
        (min(256, encoder.maxPositionCount), 1, 1)
      } else {
        (max(min(1024, llama.maxPositionCount / 2), 1), 3, 4)
      }
    let chunkSize = options.chunkSize ?? declared.chunkSize ?? usual.chunkSize
    let treeDepth = options.treeDepth ?? declared.treeDepth ?? usual.depth
    let declaredRatio = options.leafRatio == nil ? try leafRatio(chunkSize: chunkSize, treeDepth: treeDepth) : nil
    let result = SharedLLMConfiguration(
      injectedLayerCount: options.injectedLayers ?? declared.injectedLayerCount ?? crossAttentionLayers.count,
      injectionPlace: declared.injectionPlace ?? .bottom, chunkSize: chunkSize, treeDepth: treeDepth,
      leafRatio: options.leafRatio ?? declaredRatio ?? usual.ratio,
      positionMode: options.positionMode ?? declared.positionMode ?? (isTrained && !readsStates ? .local : .none),
      injection: isTrained ? .crossAttention : .mergedSoftmax,
      lowerModel: hasEncoder ? .own : .shared, encoder: declared.encoder)
    if let fault = llama.fault(sharedLLM: result) {
      throw options.refusal(fault, file: configurationPath) ?? refusal(.invalidConfiguration, fault)
    }
    let injected = result.injectedLayers(of: llama.layerCount)
    if isTrained, injected != crossAttentionLayers {
      throw refusal(
        .invalidConfiguration,
        "layers \(Self.list(injected)) are declared to read injected rows and \(Self.list(crossAttentionLayers)) have "
          + "cross_attn")
    }
    return result
  }

  private static func list(_ layers: [Int]) -> String { layers.map(String.init).joined(separator: ", ") }

  private func leafRatio(chunkSize: Int, treeDepth: Int) throws(Refusal) -> Int? {
    if let ratio = declared.leafRatio { return ratio }
    guard let rows = declared.nodeRows else { return nil }
    guard rows > 0, (0...16).contains(treeDepth), let leafRows = CheckedSize.product(rows, 1 << treeDepth),
      chunkSize % leafRows == 0, chunkSize >= leafRows
    else {
      throw refusal(
        .unsupportedConfiguration,
        "\(rows) rows of each node are not a whole fraction of the \(chunkSize) tokens of a chunk in \(treeDepth) levels"
      )
    }
    return chunkSize / leafRows
  }
}

extension Converter.Options {
  /// The names of the options for trees that are given.
  fileprivate var treeParameters: [String] {
    [
      chunkSize.map { _ in "chunkSize" }, treeDepth.map { _ in "treeDepth" }, leafRatio.map { _ in "leafRatio" },
      positionMode.map { _ in "positionMode" },
    ].compactMap(\.self)
  }

  /// The refusal of the option behind a fault of `SharedLLMConfiguration`: the one that the fault names, or else the
  /// first that is given.
  /// - Returns: nil when none is given.
  fileprivate func refusal(_ fault: String, file: String) -> Refusal? {
    let given = (injectedLayers == nil ? [] : ["injectedLayers"]) + treeParameters
    let fault = fault.hasPrefix("sharedLLM: ") ? String(fault.dropFirst(11)) : fault
    for parameter in given {
      let name = parameter == "injectedLayers" ? "injectedLayerCount " : "\(parameter) "
      guard fault.hasPrefix(name) else { continue }
      return Refusal(.invalidOption, file: file, parameter: parameter, String(fault.dropFirst(name.count)))
    }
    return given.first.map { Refusal(.invalidOption, file: file, parameter: $0, "does not fit: \(fault)") }
  }
}
