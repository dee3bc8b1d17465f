import FileAccess
import LlamaRuntime
import ModelPacks
import PackedTiles
import SeededRandom

/// A model of reproducible random weights, in a pack of its own that goes with it.
final class TestPack {
  let directory: String
  let model: LlamaModel

  init(
    _ configuration: LlamaConfiguration, sharedLLM: SharedLLMConfiguration? = nil,
    quantization: TensorEncoding = .float32, name: (String) -> String = { $0 },
    edit: (_ tensor: String, _ values: inout [Float]) -> Void = { _, _ in }
  ) throws {
    directory = try Directory.temporary("runtime-tests")
    let path = "\(directory)/model.spk"
    var writer = try ModelPackWriter(
      creating: path,
      contents: PackContents(
        metadata: PackMetadata(
          configuration: configuration, sharedLLM: sharedLLM, quantization: quantization,
          provenance: PackProvenance(converter: "tests", licence: nil, sources: []))))
    for (number, tensor) in writer.tensors.enumerated() {
      var values = Self.uniform(name(tensor.name), tensor.rows * tensor.columns)
      if tensor.name.contains("norm") {
        values = values.map { 1 + 0.25 * $0 }
      } else if !tensor.name.contains("embed_tokens") {
        values = values.map { 0.25 * $0 }
      }
      edit(tensor.name, &values)
      let bytes = Self.encode(values, tensor)
      try unsafe writer.append(bytes.span.bytes, toTensor: number)
    }
    _ = try writer.publish()
    model = LlamaModel(try ModelPack(opening: path))
  }

  deinit { try? Directory.removeTree(directory) }

  /// Floats in -1 ..< 1 from SplitMix64, seeded with FNV-1a of the name; the same in Tools/verify/reference/plain_llama.py.
  static func uniform(_ name: String, _ count: Int) -> [Float] {
    var random = SplitMix64(name: name)
    return (0..<count).map { _ in Float(random.next() >> 40) / Float(1 << 23) - 1 }
  }

  private static func encode(_ values: [Float], _ tensor: PackTensor) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: tensor.byteCount)
    unsafe values.withUnsafeBufferPointer { values in
      unsafe bytes.withUnsafeMutableBytes { bytes in
        switch tensor.encoding {
        case .float32: unsafe bytes.copyMemory(from: UnsafeRawBufferPointer(values))
        case .float16: unsafe PackedTiles.narrowToFloat16(values, into: bytes)
        case .int8, .int4:
          guard let layout = tensor.encoding.packedTiles(rows: tensor.rows, columns: tensor.columns) else { return }
          _ = unsafe PackedTiles.quantizeMatrix(values, layout: layout, into: bytes)
        }
      }
    }
    return bytes
  }
}

extension LlamaConfiguration {
  /// A small model: grouped heads, odd sizes.
  static let small = LlamaConfiguration(
    hiddenSize: 48, intermediateSize: 76, layerCount: 3, headCount: 6, kvHeadCount: 2, headDim: 8, vocabularySize: 50,
    rmsNormEpsilon: 1e-5, ropeTheta: 10000, ropeScaling: .none, maxPositionCount: 512, tiesWordEmbeddings: false,
    beginOfTextToken: 1, endOfTextTokens: [2])

  /// The same with a bias for every projection.
  static let biased = {
    var configuration = small
    configuration.attentionInputBias = true
    configuration.attentionOutputBias = true
    configuration.mlpBias = true
    return configuration
  }()

  /// Tokens that differ from text to text.
  func tokens(_ name: String, _ count: Int) -> [Int32] {
    TestPack.uniform(name, count).map { Int32(($0 + 1) / 2 * Float(vocabularySize)) }
  }
}

extension SharedLLMConfiguration {
  static func small(_ mode: PositionMode, lowerModel: LowerModel = .shared, layers: Int = 2) -> SharedLLMConfiguration {
    SharedLLMConfiguration(
      injectedLayerCount: layers, chunkSize: 32, treeDepth: 3, leafRatio: 2, positionMode: mode,
      injection: .crossAttention, lowerModel: lowerModel)
  }
}
