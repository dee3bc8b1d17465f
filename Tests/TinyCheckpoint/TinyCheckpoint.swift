import CanonicalJSON
import Conversion
public import FileAccess
public import ModelPacks

/// A whole Hugging Face directory of made-up numbers, with a tokenizer, for end-to-end tests.
public enum TinyCheckpoint {
  static let llama = LlamaConfiguration(
    hiddenSize: 32, intermediateSize: 48, layerCount: 3, headCount: 4, kvHeadCount: 2, headDim: 8, vocabularySize: 288,
    rmsNormEpsilon: 1e-5, ropeTheta: 10000, ropeScaling: .none, maxPositionCount: 128, tiesWordEmbeddings: true,
    beginOfTextToken: 1, endOfTextTokens: [2])

  static let sharedLLM = SharedLLMConfiguration(
    injectedLayerCount: 2, chunkSize: 32, treeDepth: 2, leafRatio: 4, positionMode: .local, injection: .crossAttention,
    lowerModel: .shared)

  /// As CEPE has it: an encoder of other sizes, whose states the layers at the top read.
  static let encoder = SharedLLMConfiguration(
    injectedLayerCount: 2, injectionPlace: .top, chunkSize: 32, treeDepth: 1, leafRatio: 1, positionMode: .none,
    injection: .crossAttention, lowerModel: .own,
    encoder: LlamaConfiguration(
      hiddenSize: 24, intermediateSize: 40, layerCount: 2, headCount: 3, kvHeadCount: 3, headDim: 8,
      vocabularySize: llama.vocabularySize, rmsNormEpsilon: 1e-5, ropeTheta: 10000, ropeScaling: .none,
      maxPositionCount: 32, tiesWordEmbeddings: true, beginOfTextToken: nil, endOfTextTokens: []))

  /// Fills an empty directory.
  /// - Parameters:
  ///   - injectionPlace: of the layers that read documents; nil for a checkpoint without them.
  ///   - window: tokens that the model was trained for.
  ///   - hasEncoder: whether they read the states of an encoder, at the top, and no trees.
  public static func write(
    to directory: String, injectionPlace: SharedLLMConfiguration.InjectionPlace? = .bottom, window: Int = 128,
    hasEncoder: Bool = false
  ) throws(Refusal) {
    var shared: SharedLLMConfiguration?
    if hasEncoder {
      shared = encoder
    } else if let injectionPlace {
      shared = sharedLLM
      shared?.injectionPlace = injectionPlace
    }
    try write(configuration(shared, window: window).canonical, to: "\(directory)/config.json")
    var tensors: [String: SafetensorsFile.Tensor] = [:]
    for (number, tensor) in llama.tensors(sharedLLM: shared).enumerated() {
      tensors[tensor.name] = SafetensorsFile.Tensor(
        shape: tensor.isVector ? [tensor.columns] : [tensor.rows, tensor.columns],
        values: .float32((0..<tensor.rows * tensor.columns).map { tensor.kind == .norm ? 1 : value($0, of: number) }))
    }
    try SafetensorsFile(tensors).write(to: "\(directory)/model.safetensors")
    try write(tokenizer, to: "\(directory)/tokenizer.model")
  }

  /// Scattered between -0.25 and 0.25, the same on every machine.
  private static func value(_ index: Int, of tensor: Int) -> Float {
    let mixed = (UInt64(index) &+ UInt64(tensor) << 32) &* 0x9E37_79B9_7F4A_7C15
    return Float((mixed ^ mixed >> 29) >> 40) / Float(1 << 25) - 0.25
  }

  private static func configuration(_ shared: SharedLLMConfiguration?, window: Int) -> JSONValue {
    .members([
      "architectures": .array([.string("LlamaForCausalLM")]), "model_type": .string("llama"),
      "hidden_act": .string("silu"), "hidden_size": .integer(llama.hiddenSize),
      "intermediate_size": .integer(llama.intermediateSize), "num_hidden_layers": .integer(llama.layerCount),
      "num_attention_heads": .integer(llama.headCount), "num_key_value_heads": .integer(llama.kvHeadCount),
      "vocab_size": .integer(llama.vocabularySize), "max_position_embeddings": .integer(window),
      "rms_norm_eps": .number(1e-5), "tie_word_embeddings": .boolean(true), "bos_token_id": .integer(1),
      "eos_token_id": .integer(2),
      "num_cross_attn_layers": shared?.encoder == nil ? nil : .integer(encoder.injectedLayerCount),
      "encoder_config": shared?.encoder.map { encoder in
        .members([
          "hidden_size": .integer(encoder.hiddenSize), "intermediate_size": .integer(encoder.intermediateSize),
          "num_hidden_layers": .integer(encoder.layerCount), "num_attention_heads": .integer(encoder.headCount),
          "vocab_size": .integer(encoder.vocabularySize), "rms_norm_eps": .number(1e-5),
          "max_position_embeddings": .integer(encoder.maxPositionCount),
        ])
      },
      "sharedllm": shared.flatMap {
        $0.encoder != nil
          ? nil
          : .members([
            "injected_layers": .integer($0.injectedLayerCount), "chunk_size": .integer($0.chunkSize),
            "tree_depth": .integer($0.treeDepth), "leaf_ratio": .integer($0.leafRatio),
            "position_mode": .string($0.positionMode.rawValue), "injection_place": .string($0.injectionPlace.rawValue),
          ])
      },
    ])
  }

  /// A SentencePiece model of the bytes and the letters: its protocol buffer, by hand.
  private static var tokenizer: [UInt8] {
    var pieces: [(text: String, type: Int)] = [("<unk>", 2), ("<s>", 3), ("</s>", 3)]
    for byte in 0..<256 {
      let digits = String(byte, radix: 16, uppercase: true)
      pieces.append(("<0x\(digits.count == 1 ? "0" : "")\(digits)>", 6))
    }
    pieces += "\u{2581}abcdefghijklmnopqrstuvwxyz ,".prefix(llama.vocabularySize - pieces.count)
      .map { (String($0), 1) }
    var bytes: [UInt8] = []
    for piece in pieces { bytes += field(1, field(1, Array(piece.text.utf8)) + field(3, piece.type)) }
    bytes += field(2, field(3, 2) + field(35, 1))
    return bytes + field(3, field(1, Array("identity".utf8)))
  }

  private static func field(_ number: Int, _ value: Int) -> [UInt8] { varint(number << 3) + varint(value) }

  private static func field(_ number: Int, _ bytes: [UInt8]) -> [UInt8] {
    varint(number << 3 | 2) + varint(bytes.count) + bytes
  }

  private static func varint(_ value: Int) -> [UInt8] {
    value < 0x80 ? [UInt8(value)] : [UInt8(value & 0x7F | 0x80)] + varint(value >> 7)
  }

  private static func write(_ bytes: [UInt8], to path: String) throws(Refusal) {
    var file = try PublishedFile(creating: path)
    try file.append(bytes)
    try file.publish()
  }
}
