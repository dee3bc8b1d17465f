import CanonicalJSON
import Conversion
import FileAccess
import ModelPacks
import PackedTiles
import Testing

/// A GGUF file of a checkpoint makes the same pack as the checkpoint.
@Suite struct GGUFConversionTests {
  private static func convert(
    _ path: String, _ encoding: TensorEncoding, edit: (inout Converter.Options) -> Void = { _ in }
  ) throws -> ModelPack {
    var options = Converter.Options()
    options.encoding = encoding
    edit(&options)
    let output = "\(path)-\(UInt64.random(in: .min ... .max)).spk"
    let converter = try Converter(directory: path, options: options)
    _ = try converter.run(output: output)
    let pack = try ModelPack(opening: output)
    try pack.verify()
    #expect(pack.byteCount == converter.plan.packByteCount)
    return pack
  }

  private static func expectSame(_ pack: ModelPack, _ other: ModelPack) {
    #expect(pack.configuration == other.configuration)
    #expect(pack.tensors.map(\.name) == other.tensors.map(\.name))
    #expect(pack.tensors.map(\.digest) == other.tensors.map(\.digest))
    #expect(pack.tokenizer == other.tokenizer)
  }

  @Test(arguments: TestCheckpoint.Element.allCases, [TensorEncoding.float32, .float16, .int8(groupSize: 8)])
  func sameTensors(element: TestCheckpoint.Element, encoding: TensorEncoding) throws {
    let scratch = try Scratch()
    let checkpoint = TestCheckpoint(element)
    try TestGGUF(checkpoint).write(to: "\(scratch.path)/model.gguf")
    Self.expectSame(
      try Self.convert("\(scratch.path)/model.gguf", encoding),
      try ConversionTests.convert(checkpoint, scratch, encoding: encoding))
  }

  /// Heads that are no multiple of a tile's rows, in several pieces, with biases of queries, keys and values.
  @Test(arguments: ["llama", "qwen2"]) func rowsOfLargeHeads(architecture: String) throws {
    let scratch = try Scratch()
    let llama = LlamaConfiguration(
      hiddenSize: 1024, intermediateSize: 20, layerCount: 1, headCount: 20, kvHeadCount: 10, headDim: 24,
      vocabularySize: 24, rmsNormEpsilon: 1e-5, ropeTheta: 10000, ropeScaling: .none, maxPositionCount: 64,
      tiesWordEmbeddings: true, beginOfTextToken: 1, endOfTextTokens: [2], attentionInputBias: true,
      attentionOutputBias: architecture == "llama")
    var checkpoint = TestCheckpoint(llama: llama)
    checkpoint.configuration["hidden_size"] = .integer(1024)
    checkpoint.configuration["num_hidden_layers"] = .integer(1)
    checkpoint.configuration["num_attention_heads"] = .integer(20)
    checkpoint.configuration["num_key_value_heads"] = .integer(10)
    checkpoint.configuration["head_dim"] = .integer(24)
    checkpoint.configuration["tie_word_embeddings"] = .boolean(true)
    checkpoint.configuration["bos_token_id"] = .integer(1)
    checkpoint.configuration["eos_token_id"] = .integer(2)
    if architecture == "qwen2" {
      checkpoint.configuration["architectures"] = .array([.string("Qwen2ForCausalLM")])
      checkpoint.configuration["model_type"] = .string("qwen2")
    } else {
      checkpoint.configuration["attention_bias"] = .boolean(true)
    }
    try TestGGUF(checkpoint, llama: llama, architecture: architecture).write(to: "\(scratch.path)/model.gguf")
    for encoding in [TensorEncoding.float32, .int4(groupSize: 32)] {
      Self.expectSame(
        try Self.convert("\(scratch.path)/model.gguf", encoding),
        try ConversionTests.convert(checkpoint, scratch, encoding: encoding))
    }
  }

  /// Rows whose places are wrong make other weights: the test above can fail.
  @Test func pairsMatter() throws {
    let scratch = try Scratch()
    let checkpoint = TestCheckpoint()
    var file = TestGGUF(checkpoint)
    let turned = try #require(file.tensors.firstIndex { $0.name == "blk.1.attn_q.weight" })
    let plain = try #require(checkpoint.tensors.first { $0.name == "model.layers.1.self_attn.q_proj.weight" })
    #expect(file.tensors[turned].bytes != plain.bytes)
    file.tensors[turned].bytes = plain.bytes
    try file.write(to: "\(scratch.path)/model.gguf")
    let pack = try Self.convert("\(scratch.path)/model.gguf", .float32)
    let other = try ConversionTests.convert(checkpoint, scratch, encoding: .float32)
    let different = zip(pack.tensors, other.tensors).filter { $0.digest != $1.digest }.map(\.0.name)
    #expect(different == ["model.layers.1.self_attn.q_proj.weight"])
  }

  /// Parts under any of their names; the first has the keys.
  @Test func splitFiles() throws {
    let scratch = try Scratch()
    let whole = TestGGUF(TestCheckpoint())
    try whole.write(to: "\(scratch.path)/whole.gguf")
    let expected = try Self.convert("\(scratch.path)/whole.gguf", .float32)
    func write(_ edit: (Int, inout TestGGUF) -> Void = { _, _ in }) throws -> [String] {
      let directory = try scratch.directory("\(UInt64.random(in: .min ... .max))")
      return try (0..<3).map { part in
        var file = whole
        if part > 0 { file.values = [("general.architecture", .string("llama"))] }
        file["split.no"] = .uint16(UInt16(part))
        file["split.count"] = .uint16(3)
        file["split.tensors.count"] = .int32(Int32(whole.tensors.count))
        let size = (whole.tensors.count + 2) / 3
        file.tensors = Array(whole.tensors[part * size..<min((part + 1) * size, whole.tensors.count)])
        edit(part, &file)
        let path = "\(directory)/model-0000\(part + 1)-of-00003.gguf"
        try file.write(to: path)
        return path
      }
    }
    let parts = try write()
    for part in parts { Self.expectSame(try Self.convert(part, .float32), expected) }
    Self.expectSame(try Self.convert(Directory.split(parts[0]).directory, .float32), expected)
    let sources = try Self.convert(parts[1], .float32).provenance.sources
    #expect(sources.map(\.name) == (1...3).map { "model-0000\($0)-of-00003.gguf" })

    func refused(_ words: String, _ name: Refusal.Name, _ paths: [String]) {
      let refusal = #expect(throws: Refusal.self) { try Converter(directory: paths[0]) }
      #expect(refusal?.name == name && refusal?.description.contains(words) == true, "\(refusal?.description ?? "")")
    }
    let name = Refusal.Name.malformedGGUFSplit
    refused("part 2 of 3", name, try write { part, file in if part == 1 { file["split.no"] = .uint16(0) } })
    refused("part 3 of 3", name, try write { part, file in if part == 2 { file["split.count"] = .uint16(4) } })
    refused(
      "is in another part", name,
      try write { part, file in if part == 2 { file.tensors[0].name = "token_embd.weight" } })
    refused("is 7", name, try write { _, file in file["split.tensors.count"] = .int32(7) })
    try Directory.removeFile(parts[2])
    refused("model-00003-of-00003.gguf", .missingFile, parts)
    try whole.write(to: "\(scratch.path)/other.gguf")
    var renamed = whole
    renamed["split.count"] = .uint16(3)
    try renamed.write(to: "\(scratch.path)/renamed.gguf")
    refused("-00001-of-00003.gguf", .malformedGGUFSplit, ["\(scratch.path)/renamed.gguf"])
  }

  /// The licence of the file is the pack's, unless an option names one.
  @Test func licence() throws {
    let scratch = try Scratch()
    var file = TestGGUF(TestCheckpoint())
    let path = "\(scratch.path)/model.gguf"
    func licence(_ option: String? = nil) throws -> String? {
      try file.write(to: path)
      return try Self.convert(path, .float32) { $0.licence = option }.provenance.licence
    }
    #expect(try licence() == nil)
    file["general.license"] = .string("apache-2.0")
    #expect(try licence() == "apache-2.0")
    #expect(try licence("mine") == "mine")
    file["general.license"] = .string("other")
    file["general.license.link"] = .string("https://example.org/licence")
    #expect(try licence() == "https://example.org/licence")
    file["general.license.name"] = .string("llama3.1")
    #expect(try licence() == "llama3.1")
  }

  /// What a path is taken for.
  @Test func opening() throws {
    let scratch = try Scratch()
    let directory = try scratch.directory("folder")
    try TestGGUF(TestCheckpoint()).write(to: "\(directory)/model")
    _ = try Converter(directory: "\(directory)/model")
    func fault(_ path: String) -> String {
      do {
        _ = try Converter(directory: path)
        return ""
      } catch { return error.description }
    }
    #expect(fault(directory).contains("config.json"))
    try TestGGUF(TestCheckpoint()).write(to: "\(directory)/a.gguf")
    #expect(fault(directory) == "")
    try TestGGUF(TestCheckpoint()).write(to: "\(directory)/b.gguf")
    #expect(fault(directory).contains("a.gguf, b.gguf; name the file"))
    // Beside Hugging Face's files, those are taken.
    try TestCheckpoint().write(to: directory)
    #expect(fault(directory) == "")
    let kinds: [(String, String)] = [
      ("FUGG\0\0\0\u{3}", "big-endian"), ("PK\u{3}\u{4}", "ZIP"), ("{}", "JSON"), ("", "no checkpoint"),
      ("version https://git-lfs.github.com/spec/v1", "Git LFS"),
    ]
    for (text, words) in kinds {
      try TestCheckpoint.write(Array(text.utf8), to: "\(scratch.path)/file")
      #expect(fault("\(scratch.path)/file").contains(words), "\(fault("\(scratch.path)/file"))")
    }
    #expect(fault("\(directory)/model.safetensors").contains("name its directory"))
    #expect(fault("\(scratch.path)/nothing").contains("missing-file"))
  }
}
