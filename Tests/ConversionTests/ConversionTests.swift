import CanonicalJSON
import Conversion
import FileAccess
import Glibc
import ModelPacks
import PackedTiles
import Testing

@Suite struct ConversionTests {
  static func convert(
    _ checkpoint: TestCheckpoint, _ scratch: Scratch, encoding: TensorEncoding = .int8(groupSize: 8),
    edit: (inout Converter.Options) -> Void = { _ in }
  ) throws -> ModelPack {
    let directory = try scratch.directory("checkpoint-\(UInt64.random(in: .min ... .max))")
    try checkpoint.write(to: directory)
    var options = Converter.Options()
    options.encoding = encoding
    edit(&options)
    let converter = try Converter(directory: directory, options: options)
    let output = "\(directory).spk"
    var seen: [Int] = []
    let summary = try converter.run(output: output) { progress in seen.append(progress.byteCount) }
    #expect(seen.last == converter.plan.sourceByteCount && seen == seen.sorted())
    let pack = try ModelPack(opening: output)
    try pack.verify()
    #expect(pack.identity == summary.identity && pack.byteCount == converter.plan.packByteCount)
    #expect(pack.provenance.sources == summary.sources)
    for source in summary.sources {
      let bytes = try SequentialFile.contents("\(directory)/\(source.name)", limit: 1 << 24)
      #expect(source.byteCount == bytes.count && source.digest == Digest256(of: bytes))
    }
    return pack
  }

  static func floats(_ pack: ModelPack, _ tensor: PackTensor) -> [Float] {
    unsafe pack.unsafeBytes(of: tensor).withMemoryRebound(to: Float.self) { unsafe Array($0) }
  }

  /// Every source type, one file or several: float32 packs hold exactly the same numbers.
  @Test(arguments: TestCheckpoint.Element.allCases, [false, true])
  func wideningIsExact(element: TestCheckpoint.Element, isSharded: Bool) throws {
    let scratch = try Scratch()
    var checkpoint = TestCheckpoint(element)
    if isSharded { checkpoint.split() }
    let pack = try Self.convert(checkpoint, scratch, encoding: .float32)
    #expect(pack.configuration == TestCheckpoint.llama && pack.sharedLLM == nil)
    for (number, tensor) in pack.tensors.enumerated() {
      #expect(Self.floats(pack, tensor) == TestCheckpoint.values(number, count: tensor.rows * tensor.columns))
    }
  }

  @Test func float16PacksKeepFloat16() throws {
    let checkpoint = TestCheckpoint(.float16)
    let pack = try Self.convert(checkpoint, Scratch(), encoding: .float16)
    for (tensor, source) in zip(pack.tensors, checkpoint.tensors) where tensor.rows > 1 {
      #expect(unsafe Array(pack.unsafeBytes(of: tensor)) == source.bytes)
    }
  }

  /// int8: every value within half a step of its group, whose step is its largest value / 127.
  @Test(arguments: [4, 8, 128])
  func int8IsWithinHalfAStep(groupSize: Int) throws {
    let pack = try Self.convert(TestCheckpoint(.bfloat16), Scratch(), encoding: .int8(groupSize: groupSize))
    for (number, tensor) in pack.tensors.enumerated() where tensor.rows > 1 {
      #expect(tensor.encoding == .int8(groupSize: groupSize))
      let values = TestCheckpoint.values(number, count: tensor.rows * tensor.columns)
      let bytes = unsafe Array(pack.unsafeBytes(of: tensor))
      let groupStride = { (columns: Int) in (columns + 3) / 4 * 64 + 64 }
      for row in 0..<tensor.rows {
        var offset = row / 16 * (bytes.count / ((tensor.rows + 15) / 16))
        for start in stride(from: 0, to: tensor.columns, by: groupSize) {
          let columns = min(groupSize, tensor.columns - start)
          let scaleOffset = offset + (columns + 3) / 4 * 64 + row % 16 * 4
          let bits = (0..<4).reduce(UInt32(0)) { $0 | UInt32(bytes[scaleOffset + $1]) << (8 * UInt32($1)) }
          let scale = Float(bitPattern: bits)
          let source = values[row * tensor.columns + start..<row * tensor.columns + start + columns]
          #expect(scale == (source.map(abs).max() ?? 0) / 127)
          for (column, value) in source.enumerated() {
            let byte = bytes[offset + column / 4 * 64 + row % 16 * 4 + column % 4]
            #expect(abs((Float(byte) - 128) * scale - value) <= scale * 0.5001)
          }
          offset += groupStride(columns)
        }
      }
    }
  }

  /// The default is int8, and small models have small groups.
  @Test func usualGroups() throws {
    for (hidden, group) in [(8, 32), (64, 32), (256, 32), (300, 32), (576, 64), (960, 64), (1024, 128), (4096, 128)] {
      #expect(TensorEncoding.usual(hiddenSize: hidden) == .int8(groupSize: group))
    }
    let pack = try Self.convert(TestCheckpoint(.bfloat16), Scratch()) { $0.encoding = nil }
    #expect(pack.quantization == .int8(groupSize: 32))
  }

  /// int4: every value within half the widest gap between levels, which is 29 of 127, of its group's largest.
  @Test(arguments: [8, 64]) func int4IsNear(groupSize: Int) throws {
    let pack = try Self.convert(TestCheckpoint(.bfloat16), Scratch(), encoding: .int4(groupSize: groupSize))
    for (number, tensor) in pack.tensors.enumerated() where tensor.rows > 1 {
      let isVocabulary = tensor.rows == TestCheckpoint.llama.vocabularySize
      #expect(tensor.encoding == (isVocabulary ? .int8(groupSize: 128) : .int4(groupSize: groupSize)))
      let layout = try #require(tensor.encoding.packedTiles(rows: tensor.rows, columns: tensor.columns))
      let values = TestCheckpoint.values(number, count: tensor.rows * tensor.columns)
      for row in 0..<tensor.rows {
        var restored = [Float](repeating: 0, count: tensor.columns)
        unsafe restored.withUnsafeMutableBufferPointer {
          unsafe PackedTiles.dequantize(row: row, of: pack.unsafeBytes(of: tensor), layout: layout, into: $0)
        }
        for (x, y) in zip(values[row * tensor.columns..<(row + 1) * tensor.columns], restored) {
          #expect(abs(x - y) < 0.13)
        }
      }
    }
  }

  @Test(arguments: [TensorEncoding.int8(groupSize: 8), .int4(groupSize: 8)])
  func sameInputSameBytes(encoding: TensorEncoding) throws {
    let scratch = try Scratch()
    let checkpoint = TestCheckpoint(.float16)
    let first = try Self.convert(checkpoint, scratch, encoding: encoding)
    let second = try Self.convert(checkpoint, scratch, encoding: encoding)
    #expect(
      try SequentialFile.contents(first.path, limit: 1 << 24) == SequentialFile.contents(second.path, limit: 1 << 24))
  }

  /// Directories of the Hugging Face cache hold links to blobs.
  @Test func linksAreFollowed() throws {
    let scratch = try Scratch()
    let blobs = try scratch.directory("blobs")
    try TestCheckpoint().write(to: blobs)
    let snapshot = try scratch.directory("snapshot")
    for name in ["config.json", "model.safetensors"] {
      #expect(unsafe symlink("../blobs/\(name)", "\(snapshot)/\(name)") == 0)
    }
    _ = try Converter(directory: snapshot).run(output: "\(scratch.path)/a.spk")
    try ModelPack(opening: "\(scratch.path)/a.spk").verify()
  }

  @Test func tiedEmbeddingsAndCachedAnglesNeedNoTensors() throws {
    var llama = TestCheckpoint.llama
    llama.tiesWordEmbeddings = true
    var checkpoint = TestCheckpoint(llama: llama)
    checkpoint.configuration["tie_word_embeddings"] = .boolean(true)
    checkpoint.tensors.append(
      .init(
        name: "model.layers.0.self_attn.rotary_emb.inv_freq", elementType: "F64", shape: [2],
        bytes: [UInt8](repeating: 0, count: 16)))
    checkpoint.tensors.append(
      .init(name: "lm_head.weight", elementType: "F32", shape: [1], bytes: [UInt8](repeating: 0, count: 4)))
    let pack = try Self.convert(checkpoint, Scratch())
    #expect(pack.configuration.tiesWordEmbeddings && pack.tensor(named: "lm_head.weight") == nil)
  }

  /// safetensors' own functions keep one name of a tensor that has two, and that may be either.
  @Test func tiedEmbeddingsMayBeCalledOutputProjection() throws {
    var llama = TestCheckpoint.llama
    llama.tiesWordEmbeddings = true
    var checkpoint = TestCheckpoint(llama: llama)
    checkpoint.configuration["tie_word_embeddings"] = .boolean(true)
    let scratch = try Scratch()
    let plain = try Self.convert(checkpoint, scratch)
    checkpoint.tensors[0].name = "lm_head.weight"
    #expect(try Self.convert(checkpoint, scratch).tensors == plain.tensors)
    checkpoint.configuration["tie_word_embeddings"] = .boolean(false)
    let refusal = #expect(throws: Refusal.self) { try Self.convert(checkpoint, scratch) }
    #expect(refusal?.name.text == "missing-tensor")
  }

  static let shared = SharedLLMConfiguration(
    injectedLayerCount: 1, chunkSize: 32, treeDepth: 2, leafRatio: 4, positionMode: .compose,
    injection: .crossAttention, lowerModel: .shared)

  @Test(arguments: SharedLLMConfiguration.LowerModel.allCases)
  func trainedCrossAttentionIsRecognised(lowerModel: SharedLLMConfiguration.LowerModel) throws {
    var shared = Self.shared
    shared.lowerModel = lowerModel
    var checkpoint = TestCheckpoint(sharedLLM: shared)
    checkpoint.configuration["architectures"] = .array([.string("SharedLLMForCausalLM")])
    checkpoint.configuration["sharedllm"] = .members([
      "injected_layers": .integer(1), "chunk_size": .integer(32), "tree_depth": .integer(2), "leaf_ratio": .integer(4),
      "position_mode": .string("compose"),
    ])
    #expect(try Self.convert(checkpoint, Scratch()).sharedLLM == shared)
  }

  /// CEPE as its authors publish it: an encoder of other sizes, and cross-attention that makes keys and values.
  @Test func encodersAreRecognised() throws {
    let encoder = LlamaConfiguration(
      hiddenSize: 12, intermediateSize: 16, layerCount: 3, headCount: 3, kvHeadCount: 3, headDim: 4, vocabularySize: 24,
      rmsNormEpsilon: 1e-6, ropeTheta: 10000, ropeScaling: .none, maxPositionCount: 512, tiesWordEmbeddings: true,
      beginOfTextToken: nil, endOfTextTokens: [])
    let shared = SharedLLMConfiguration(
      injectedLayerCount: 1, injectionPlace: .top, chunkSize: 256, treeDepth: 1, leafRatio: 1, positionMode: .none,
      injection: .crossAttention, lowerModel: .own, encoder: encoder)
    var checkpoint = TestCheckpoint(sharedLLM: shared)
    let config: [String: JSONValue] = [
      "architectures": .array([.string("LlamaForMLM")]), "model_type": .string("llama"), "hidden_size": .integer(12),
      "intermediate_size": .integer(16), "num_hidden_layers": .integer(3), "num_attention_heads": .integer(3),
      "vocab_size": .integer(24), "max_position_embeddings": .integer(512), "rms_norm_eps": .number(1e-6),
      "is_encoder": .boolean(true),
    ]
    checkpoint.configuration["architectures"] = .array([.string("LlamaForCausalContextLM")])
    checkpoint.configuration["num_cross_attn_layers"] = .integer(1)
    checkpoint.configuration["encoder_config"] = Self.object(config)
    let pack = try Self.convert(checkpoint, Scratch())
    #expect(pack.sharedLLM == shared)
    let key = try #require(pack.tensor(named: "model.layers.1.cross_attn.k_proj.weight"))
    #expect(key.rows == 4 && key.columns == 12)
    #expect(pack.tensor(named: "model.layers.0.cross_attn.k_proj.weight") == nil)
    #expect(pack.tensor(named: "encoder.layers.2.mlp.down_proj.weight")?.columns == 16)
    #expect(try Self.convert(checkpoint, Scratch()) { $0.chunkSize = 128 }.sharedLLM?.chunkSize == 128)

    for (key, value, name) in [
      ("encoder_is_model", JSONValue.boolean(true), "unsupported-configuration"),
      ("encode_mode", .string("with_query-32"), "unsupported-configuration"),
      ("num_cross_attn_hidden_states", .integer(2), "unsupported-configuration"),
      ("num_cross_attn_layers", .integer(2), "invalid-configuration"),
      ("encoder_config", .null, "invalid-configuration"),
      ("encoder_config", Self.object(config.merging(["vocab_size": .integer(25)]) { $1 }), "invalid-configuration"),
    ] {
      var other = checkpoint
      other.configuration[key] = value
      let refusal = #expect(throws: Refusal.self) { try Self.convert(other, Scratch()) }
      #expect(refusal?.name.text == name)
    }
    var refusal = #expect(throws: Refusal.self) { try Self.convert(checkpoint, Scratch()) { $0.chunkSize = 1024 } }
    #expect(refusal?.name.text == "invalid-option" && refusal?.parameter == "chunkSize")
    checkpoint.tensors.removeAll { $0.name.contains("cross_attn.k_proj") }
    refusal = #expect(throws: Refusal.self) { try Self.convert(checkpoint, Scratch()) }
    #expect(refusal?.name.text == "invalid-configuration")
  }

  private static func object(_ members: [String: JSONValue]) -> JSONValue {
    .object(members.sorted { $0.key < $1.key }.map { JSONValue.Member($0.key, $0.value) })
  }

  @Test(arguments: SharedLLMConfiguration.InjectionPlace.allCases)
  func placesAreRecognised(place: SharedLLMConfiguration.InjectionPlace) throws {
    var shared = Self.shared
    shared.injectionPlace = place
    var checkpoint = TestCheckpoint(sharedLLM: shared)
    var block: [(String, JSONValue)] = [
      ("injected_layers", .integer(1)), ("chunk_size", .integer(32)), ("tree_depth", .integer(2)),
      ("leaf_ratio", .integer(4)), ("position_mode", .string("compose")), ("injection_place", .string(place.rawValue)),
    ]
    checkpoint.configuration["sharedllm"] = .object(block.map { JSONValue.Member($0.0, $0.1) })
    let scratch = try Scratch()
    let pack = try Self.convert(checkpoint, scratch)
    #expect(pack.sharedLLM == shared)
    let layers = shared.injectedLayers(of: pack.configuration.layerCount)
    for layer in 0..<pack.configuration.layerCount {
      #expect((pack.tensor(named: "model.layers.\(layer).cross_attn.q_proj.weight") != nil) == layers.contains(layer))
    }
    // Weights of one injection place are not read as another's.
    block.removeLast()
    checkpoint.configuration["sharedllm"] = .object(block.map { JSONValue.Member($0.0, $0.1) })
    if place == .top {
      #expect(throws: Refusal.self) { try Self.convert(checkpoint, Scratch()) }
    } else {
      #expect(try Self.convert(checkpoint, Scratch()).sharedLLM?.injectionPlace == .bottom)
    }
    checkpoint.configuration["sharedllm"] = .members([
      "injected_layers": .integer(1), "injection_place": .string("middle"),
    ])
    #expect(throws: Refusal.self) { try Self.convert(checkpoint, Scratch()) }
  }

  @Test func layersOfPlaces() {
    func layers(_ count: Int, _ place: SharedLLMConfiguration.InjectionPlace, of all: Int) -> [Int] {
      var shared = Self.shared
      shared.injectedLayerCount = count
      shared.injectionPlace = place
      return shared.injectedLayers(of: all)
    }
    #expect(layers(3, .bottom, of: 8) == [0, 1, 2])
    #expect(layers(3, .top, of: 8) == [5, 6, 7])
    #expect(layers(3, .interleave, of: 8) == [0, 2, 5])
    #expect(layers(4, .interleave, of: 32) == [0, 8, 16, 24])
    for place in SharedLLMConfiguration.InjectionPlace.allCases { #expect(layers(5, place, of: 5) == [0, 1, 2, 3, 4]) }
  }

  @Test func authorsKeysAreRecognised() throws {
    var checkpoint = TestCheckpoint(sharedLLM: Self.shared)
    checkpoint.configuration["segment_tree_depth"] = .integer(2)
    checkpoint.configuration["context_size"] = .integer(32)
    checkpoint.configuration["last_p"] = .integer(2)
    var expected = Self.shared
    expected.positionMode = .local
    #expect(try Self.convert(checkpoint, Scratch()).sharedLLM == expected)
  }

  @Test func plainCheckpointsReadTreesOnRequest() throws {
    let pack = try Self.convert(TestCheckpoint(), Scratch()) {
      $0.injectedLayers = 2
      $0.leafRatio = 2
      $0.licence = "mit"
    }
    #expect(
      pack.sharedLLM
        == SharedLLMConfiguration(
          injectedLayerCount: 2, chunkSize: 32, treeDepth: 3, leafRatio: 2, positionMode: .none,
          injection: .mergedSoftmax, lowerModel: .shared))
    #expect(pack.provenance.licence == "mit")
  }
}
