import CanonicalJSON
import FileAccess
import ModelPacks

/// A small checkpoint in memory that tests change before it is written.
struct TestCheckpoint {
  struct Tensor {
    var name: String
    var elementType: String
    var shape: [Int]
    var bytes: [UInt8]
  }

  enum Element: String, CaseIterable {
    case float64 = "F64"
    case float32 = "F32"
    case float16 = "F16"
    case bfloat16 = "BF16"
  }

  var configuration: [String: JSONValue] = [
    "architectures": .array([.string("LlamaForCausalLM")]), "model_type": .string("llama"),
    "hidden_size": .integer(8), "intermediate_size": .integer(20), "num_hidden_layers": .integer(2),
    "num_attention_heads": .integer(2), "num_key_value_heads": .integer(1), "vocab_size": .integer(24),
    "max_position_embeddings": .integer(64), "rms_norm_eps": .number(1e-5),
  ]
  var tensors: [Tensor] = []
  /// Files and the tensors in them; nil is one `model.safetensors`.
  var shards: [(name: String, tensors: Range<Int>)]?
  /// Changes a header before it is written.
  var editHeader: (inout [UInt8]) -> Void = { _ in }
  /// Changes the finished bytes of a file of weights.
  var editFile: (inout [UInt8]) -> Void = { _ in }
  /// `generation_config.json`; nil is none.
  var generation: JSONValue?
  /// Whether shards have an index.
  var hasIndex = true
  /// Changes the map of the index: tensor and file.
  var editMap: (inout [(String, String)]) -> Void = { _ in }

  static let llama = LlamaConfiguration(
    hiddenSize: 8, intermediateSize: 20, layerCount: 2, headCount: 2, kvHeadCount: 1, headDim: 4, vocabularySize: 24,
    rmsNormEpsilon: 1e-5, ropeTheta: 10000, ropeScaling: .none, maxPositionCount: 64, tiesWordEmbeddings: false,
    beginOfTextToken: 1, endOfTextTokens: [2])

  /// - Parameter element: of all tensors. The values are multiples of 1/128 below 2, which all types hold.
  init(_ element: Element = .float32, llama: LlamaConfiguration = llama, sharedLLM: SharedLLMConfiguration? = nil) {
    for (number, tensor) in llama.tensors(sharedLLM: sharedLLM).enumerated() {
      let values = Self.values(number, count: tensor.rows * tensor.columns)
      tensors.append(
        Tensor(
          name: tensor.name, elementType: element.rawValue,
          shape: tensor.isVector ? [tensor.columns] : [tensor.rows, tensor.columns],
          bytes: Self.bytes(of: values, element)))
    }
  }

  static func values(_ tensor: Int, count: Int) -> [Float] {
    (0..<count).map { Float(($0 * 37 + tensor * 11) % 255 - 127) / 128 }
  }

  static func bytes(of values: [Float], _ element: Element) -> [UInt8] {
    var writer = ByteWriter()
    for value in values {
      switch element {
      case .float64: writer.integer(Double(value).bitPattern)
      case .float32: writer.integer(value.bitPattern)
      case .float16: writer.integer(Float16(value).bitPattern)
      case .bfloat16: writer.integer(UInt16(value.bitPattern >> 16))
      }
    }
    return writer.bytes
  }

  func safetensors(_ range: Range<Int>) -> [UInt8] {
    var members: [JSONValue.Member] = [.init("__metadata__", .members(["format": .string("pt")]))]
    var data: [UInt8] = []
    for tensor in tensors[range] {
      members.append(
        .init(
          tensor.name,
          .members([
            "dtype": .string(tensor.elementType), "shape": .array(tensor.shape.map { .integer($0) }),
            "data_offsets": .array([.integer(data.count), .integer(data.count + tensor.bytes.count)]),
          ])))
      data += tensor.bytes
    }
    var header = JSONValue.object(members).canonical
    editHeader(&header)
    var writer = ByteWriter()
    writer.integer(UInt64(header.count))
    writer.append(header)
    writer.append(data)
    var bytes = writer.bytes
    editFile(&bytes)
    return bytes
  }

  /// Writes the checkpoint into a directory.
  func write(to directory: String) throws {
    try Self.write(
      JSONValue.object(configuration.sorted { $0.key < $1.key }.map { .init($0.key, $0.value) }).canonical,
      to: "\(directory)/config.json")
    if let generation { try Self.write(generation.canonical, to: "\(directory)/generation_config.json") }
    guard let shards else {
      try Self.write(safetensors(tensors.indices), to: "\(directory)/model.safetensors")
      return
    }
    var map: [(String, String)] = []
    for shard in shards {
      try Self.write(safetensors(shard.tensors), to: "\(directory)/\(shard.name)")
      map += tensors[shard.tensors].map { ($0.name, shard.name) }
    }
    guard hasIndex else { return }
    editMap(&map)
    let index = JSONValue.members(["weight_map": .object(map.map { .init($0.0, .string($0.1)) })])
    try Self.write(index.canonical, to: "\(directory)/model.safetensors.index.json")
  }

  static func write(_ bytes: [UInt8], to path: String) throws {
    var file = try PublishedFile(creating: path)
    try file.append(bytes)
    try file.publish()
  }

  mutating func split() {
    let middle = tensors.count / 2
    shards = [
      ("model-00001-of-00002.safetensors", 0..<middle), ("model-00002-of-00002.safetensors", middle..<tensors.count),
    ]
  }
}

/// A directory that is removed with its last user.
final class Scratch: Sendable {
  let path: String

  init() throws { path = try Directory.temporary("sharedpack-tests") }

  deinit { try? Directory.removeTree(path) }

  /// An empty directory in it.
  func directory(_ name: String) throws -> String {
    try Directory.create("\(path)/\(name)")
    return "\(path)/\(name)"
  }
}
