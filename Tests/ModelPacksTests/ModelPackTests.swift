import CanonicalJSON
import FileAccess
import ModelPacks
import Testing

@Suite struct ModelPackTests {
  static let tiny = LlamaConfiguration(
    hiddenSize: 2, intermediateSize: 2, layerCount: 1, headCount: 1, kvHeadCount: 1, headDim: 2, vocabularySize: 2,
    rmsNormEpsilon: 1e-5, ropeTheta: 10000, ropeScaling: .none, maxPositionCount: 8, tiesWordEmbeddings: true,
    beginOfTextToken: 0, endOfTextTokens: [1])

  static func contents(
    _ configuration: LlamaConfiguration, sharedLLM: SharedLLMConfiguration? = nil,
    quantization: TensorEncoding = .float32
  ) -> PackContents {
    PackContents(
      metadata: PackMetadata(
        configuration: configuration, sharedLLM: sharedLLM, quantization: quantization,
        provenance: PackProvenance(converter: "example", licence: nil, sources: [])))
  }

  /// Fills every tensor with what `bytes` gives for its number.
  static func write(
    _ contents: PackContents, to path: String, backwards: Bool = false, bytes: (Int, Int) -> [UInt8]
  ) throws -> Digest256 {
    var writer = try ModelPackWriter(creating: path, contents: contents)
    let numbers = Array(writer.tensors.indices)
    for number in backwards ? numbers.reversed() : numbers {
      let content = bytes(number, writer.tensors[number].byteCount)
      let half = content.count / 2
      try unsafe writer.append(content.span.bytes.extracting(0..<half), toTensor: number)
      try unsafe writer.append(content.span.bytes.extracting(half..<content.count), toTensor: number)
    }
    return try writer.publish()
  }

  /// The writer and the independent assembler agree on every byte, whatever the order of writing.
  @Test(arguments: [false, true])
  func writerFollowsTheSpecification(backwards: Bool) throws {
    let scratch = try Scratch()
    let raw = RawPack.example()
    var contents = Self.contents(Self.tiny)
    contents.tokenizer = Array("tokens".utf8)
    contents.chatTemplate = "{{ messages }}"
    let path = "\(scratch.path)/written.spk"
    let identity = try Self.write(contents, to: path, backwards: backwards) { number, byteCount in
      let start = Int(raw.entries[number].byteOffset)
      return Array(raw.data[start..<start + byteCount])
    }
    #expect(try SequentialFile.contents(path, limit: 1 << 20) == raw.assembled())
    let pack = try ModelPack(opening: path)
    #expect(pack.identity == identity && pack.byteCount == raw.assembled().count)
    #expect(pack.configuration == Self.tiny && pack.sharedLLM == nil && pack.quantization == .float32)
    #expect(pack.tokenizer == Array("tokens".utf8) && pack.chatTemplate == "{{ messages }}")
    let norm = try #require(pack.tensor(named: "model.norm.weight"))
    #expect(norm.rows == 1 && norm.columns == 2 && norm == pack.tensors.last)
    #expect(unsafe Array(pack.unsafeBytes(of: norm)) == Array(raw.data[640..<648]))
    #expect(pack.tensor(named: "lm_head.weight") == nil)
    try pack.verify()
    #expect(try Directory.names(in: scratch.path) == ["written.spk"])
  }

  /// The worked example of `Formats/model-pack.md`, read from there.
  @Test func workedExample() throws {
    let text = try SequentialFile.contents(
      #filePath.replacing("Tests/ModelPacksTests/ModelPackTests.swift", with: "Formats/model-pack.md"), limit: 1 << 20)
    let blocks = String(decoding: text, as: UTF8.self).split(separator: "```", omittingEmptySubsequences: false)
    let example = try #require(blocks.enumerated().first { $0.offset % 2 == 1 && $0.element.hasPrefix("hex\n") })
      .element
    var bytes: [UInt8] = []
    for line in example.split(separator: "\n").dropFirst() {
      let fields = line.split(separator: " ", omittingEmptySubsequences: true)
      let offset = try #require(Int(fields[0], radix: 16))
      bytes += [UInt8](repeating: 0, count: offset - bytes.count)
      for field in fields.dropFirst() { bytes.append(try #require(UInt8(field, radix: 16))) }
    }
    let raw = RawPack.example()
    #expect(bytes == raw.assembled())
    #expect(try refusal(of: bytes, in: Scratch()) == nil)
  }

  static let scalings: [RopeScaling] = [
    .none, .linear(factor: 2.5), .dynamic(factor: 2, originalPositionCount: 8),
    .yarn(
      .init(
        factor: 16, originalPositionCount: 8, betaFast: 32, betaSlow: 1, attentionFactor: 1.2772588722239782,
        truncates: true)),
    .llama3(factor: 8, lowFrequencyFactor: 1, highFrequencyFactor: 4, originalPositionCount: 8192),
    .divisors([8.125]),
  ]

  @Test(arguments: scalings)
  func configurationsSurvive(scaling: RopeScaling) throws {
    var configuration = Self.tiny
    configuration.ropeScaling = scaling
    configuration.ropeTheta = 500_000.125
    configuration.rmsNormEpsilon = 1.1920929e-07
    configuration.beginOfTextToken = nil
    configuration.endOfTextTokens = []
    let scratch = try Scratch()
    let path = "\(scratch.path)/a.spk"
    _ = try Self.write(Self.contents(configuration), to: path) { [UInt8](repeating: UInt8($0), count: $1) }
    #expect(try ModelPack(opening: path).configuration == configuration)
  }

  @Test(arguments: SharedLLMConfiguration.LowerModel.allCases, SharedLLMConfiguration.Injection.allCases)
  func tensorsStandInTheOrderOfUse(
    lowerModel: SharedLLMConfiguration.LowerModel, injection: SharedLLMConfiguration.Injection
  ) throws {
    let configuration = LlamaConfiguration(
      hiddenSize: 12, intermediateSize: 20, layerCount: 3, headCount: 4, kvHeadCount: 2, headDim: 2,
      vocabularySize: 33, rmsNormEpsilon: 1e-6, ropeTheta: 10000, ropeScaling: .none, maxPositionCount: 64,
      tiesWordEmbeddings: false, beginOfTextToken: 1, endOfTextTokens: [2, 32])
    let sharedLLM = SharedLLMConfiguration(
      injectedLayerCount: 2, chunkSize: 32, treeDepth: 3, leafRatio: 4, positionMode: .composePlusOne,
      injection: injection, lowerModel: lowerModel)
    let scratch = try Scratch()
    let path = "\(scratch.path)/a.spk"
    _ = try Self.write(
      Self.contents(configuration, sharedLLM: sharedLLM, quantization: .int8(groupSize: 8)), to: path
    ) { [UInt8](repeating: UInt8($0), count: $1) }
    let pack = try ModelPack(opening: path)
    try pack.verify()
    #expect(pack.sharedLLM == sharedLLM && pack.configuration == configuration)
    let names = pack.tensors.map(\.name)
    let layerTensors = injection == .crossAttention ? 12 : 9
    #expect(names.count == 3 + 2 * layerTensors + 9 + (lowerModel == .own ? 2 + 2 * 9 : 0))
    #expect(names.first == "model.embed_tokens.weight")
    #expect(names[1] == (lowerModel == .own ? "encoder.embed_tokens.weight" : "model.layers.0.input_layernorm.weight"))
    #expect(names.suffix(2) == ["model.norm.weight", "lm_head.weight"])
    let query = try #require(pack.tensor(named: "model.layers.1.self_attn.q_proj.weight"))
    #expect(query.rows == 8 && query.columns == 12 && query.encoding == .int8(groupSize: 8))
    #expect(query.byteOffset % 64 == 0 && query.byteCount == 16 * 12 + 2 * 64)
    #expect((pack.tensor(named: "model.layers.0.cross_attn.q_proj.weight") != nil) == (injection == .crossAttention))
    #expect(pack.tensor(named: "model.layers.2.cross_attn.q_proj.weight") == nil)
    #expect(pack.tensor(named: "model.layers.0.input_layernorm.weight")?.encoding == .float32)
  }

  /// A bias stands behind its matrix, in float32, in the layers of both models; cross-attention has none.
  @Test(arguments: [(true, false, false), (false, true, false), (false, false, true), (true, true, true)])
  func biasesStandBehindTheirMatrices(input: Bool, output: Bool, mlp: Bool) throws {
    var configuration = Self.tiny
    configuration.intermediateSize = 6
    configuration.attentionInputBias = input
    configuration.attentionOutputBias = output
    configuration.mlpBias = mlp
    let sharedLLM = SharedLLMConfiguration(
      injectedLayerCount: 1, chunkSize: 8, treeDepth: 1, leafRatio: 1, positionMode: .local,
      injection: .crossAttention, lowerModel: .own)
    let scratch = try Scratch()
    let path = "\(scratch.path)/a.spk"
    _ = try Self.write(
      Self.contents(configuration, sharedLLM: sharedLLM, quantization: .int4(groupSize: 8)), to: path
    ) { [UInt8](repeating: UInt8($0), count: $1) }
    let pack = try ModelPack(opening: path)
    try pack.verify()
    #expect(pack.configuration == configuration)
    let biases = pack.tensors.filter { $0.name.hasSuffix(".bias") }
    #expect(biases.count == 2 * ((input ? 3 : 0) + (output ? 1 : 0) + (mlp ? 3 : 0)))
    for (tensor, before) in zip(pack.tensors.dropFirst(), pack.tensors) where tensor.name.hasSuffix(".bias") {
      #expect(before.name == tensor.name.dropLast(4) + "weight" && tensor.encoding == .float32)
      #expect(tensor.rows == 1 && tensor.columns == before.rows && !tensor.name.contains("cross_attn"))
    }
    // Without biases, the metadata does not speak of them.
    #expect(String(describing: pack.metadata).contains("mlpBias") == mlp)
  }

  /// What has a row for each token stays int8 in packs of int4.
  @Test func vocabularyStaysInt8() throws {
    let scratch = try Scratch()
    let path = "\(scratch.path)/a.spk"
    let quantization = TensorEncoding.int4(groupSize: 8)
    _ = try Self.write(Self.contents(Self.tiny, quantization: quantization), to: path) {
      [UInt8](repeating: UInt8($0), count: $1)
    }
    let pack = try ModelPack(opening: path)
    try pack.verify()
    #expect(pack.quantization == quantization)
    for tensor in pack.tensors {
      let isVocabulary = tensor.name.contains("embed_tokens") || tensor.name == "lm_head.weight"
      #expect(
        tensor.encoding == (tensor.rows == 1 ? .float32 : isVocabulary ? .int8(groupSize: 128) : quantization))
      // One row block, one pair of groups, one tile.
      if tensor.encoding == quantization { #expect(tensor.byteCount == 64 + 64) }
    }
  }

  @Test func sourcesMayComeLast() throws {
    let scratch = try Scratch()
    var contents = Self.contents(Self.tiny)
    let zero = try #require(Digest256(bytes: [UInt8](repeating: 0, count: 32)))
    contents.metadata.provenance.sources = [.init(name: "model.safetensors", byteCount: 12, digest: zero)]
    contents.metadata.provenance.licence = "llama2"
    let path = "\(scratch.path)/a.spk"
    var writer = try ModelPackWriter(creating: path, contents: contents)
    for (number, tensor) in writer.tensors.enumerated() {
      try unsafe writer.append([UInt8](repeating: 1, count: tensor.byteCount).span.bytes, toTensor: number)
    }
    let sources = [PackProvenance.Source(name: "model.safetensors", byteCount: 12, digest: Digest256(of: [1]))]
    let identity = try writer.publish(sources: sources)
    let pack = try ModelPack(opening: path)
    #expect(pack.provenance.sources == sources && pack.provenance.licence == "llama2" && pack.identity == identity)
    #expect(pack.metadata["provenance"]?["sources"]?.array?.count == 1)
  }

  @Test func abandonedWritersLeaveNothing() throws {
    let scratch = try Scratch()
    do {
      var writer = try ModelPackWriter(creating: "\(scratch.path)/a.spk", contents: Self.contents(Self.tiny))
      try unsafe writer.append([UInt8](repeating: 1, count: 16).span.bytes, toTensor: 0)
    }
    #expect(try Directory.names(in: scratch.path) == [])
  }

  @Test func implausibleConfigurationsAreNotWritten() throws {
    let scratch = try Scratch()
    var configuration = Self.tiny
    configuration.headDim = 3
    do {
      _ = try ModelPackWriter(creating: "\(scratch.path)/a.spk", contents: Self.contents(configuration))
      Issue.record("it was written")
    } catch {
      #expect(error.name == .invalidMetadata)
    }
  }
}
