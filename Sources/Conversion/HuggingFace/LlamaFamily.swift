import FileAccess
import ModelPacks

/// The kinds of checkpoints that are LLaMAs, by `model_type`.
enum LlamaFamily: String, CaseIterable {
  case llama
  /// A LLaMA whose attention may reach no further back than a window.
  case mistral
  /// A LLaMA with biases of queries, keys and values.
  case qwen2

  /// The class of transformers, as `architectures` names it.
  var className: String {
    switch self {
    case .llama: "LlamaForCausalLM"
    case .mistral: "MistralForCausalLM"
    case .qwen2: "Qwen2ForCausalLM"
    }
  }

  /// - Parameter isSharedLLM: whether the checkpoint has what only SharedLLM has; then it may be of any class.
  /// - Throws: `Refusal` `unsupported-architecture` or `invalid-configuration`.
  init(_ reader: ConfigurationReader, isSharedLLM: Bool) throws(Refusal) {
    let type = try reader.string("model_type")
    let names = try reader.strings("architectures") ?? []
    let ofClass = Self.allCases.first { names.contains($0.className) }
    let family = type.map(Self.init(rawValue:)) ?? (names.isEmpty ? .llama : ofClass)
    if let family, isSharedLLM || names.isEmpty || names.contains(family.className) {
      self = family
    } else if isSharedLLM {
      self = .llama
    } else {
      let known = Self.allCases.map { "\($0.className) (\($0.rawValue))" }.joined(separator: ", ")
      throw reader.fault(
        .unsupportedArchitecture,
        "the architecture is \(names.first ?? "not named") (\(type ?? "no model_type")); \(known) can be converted")
    }
  }

  // What transformers takes for keys that are absent.

  var usualMaxPositionCount: Int {
    switch self {
    case .llama: 2048
    case .mistral: 131_072
    case .qwen2: 32768
    }
  }

  /// nil: as many as there are heads.
  var usualKVHeadCount: Int? {
    switch self {
    case .llama: nil
    case .mistral: 8
    case .qwen2: 32
    }
  }

  var usualBeginOfTextToken: Int? { self == .qwen2 ? nil : 1 }
  var usualEndOfTextToken: Int? { self == .qwen2 ? nil : 2 }

  /// Tokens that a layer attends to at most, the latest one among them; nil when all layers attend to all.
  /// - Throws: `Refusal` `invalid-configuration`.
  func slidingWindow(_ reader: ConfigurationReader) throws(Refusal) -> Int? {
    let window = try reader.integer("sliding_window") ?? (reader.isNull("sliding_window") ? nil : 4096)
    if let window, window < 1 { throw reader.fault("sliding_window is \(window)") }
    switch self {
    case .llama: return nil
    case .mistral: return window
    case .qwen2:
      guard try reader.boolean("use_sliding_window") ?? false else { return nil }
      if let kinds = try reader.strings("layer_types") { return kinds.contains("sliding_attention") ? window : nil }
      // The layers from this one on.
      let first = try reader.integer("max_window_layers") ?? 28
      return first < (try reader.integer("num_hidden_layers") ?? 0) ? window : nil
    }
  }
}
