import CanonicalJSON
import Conversion
import FileAccess
import ModelPacks
import Testing
import TinyCheckpoint
import Tokenization

/// Checkpoints that are not Hugging Face's: a conversion knows nothing but the protocols of its sources.
@Suite struct SourceTests {
  /// The same files, read from memory by another source, make the same pack to the last byte.
  @Test func sameBytesFromMemory() throws {
    let scratch = try Scratch()
    let directory = try scratch.directory("in")
    try TinyCheckpoint.write(to: directory)
    _ = try Converter(directory: directory).run(output: "\(scratch.path)/files.spk")
    let files = try ModelPack(opening: "\(scratch.path)/files.spk")

    func bytes(_ name: String) throws -> [UInt8] {
      try SequentialFile.contents("\(directory)/\(name)", limit: 1 << 24)
    }
    let weights = try bytes("model.safetensors")
    let headerByteCount = weights[..<8].reversed().reduce(0) { $0 << 8 | Int($1) }
    let header = try JSONValue(parsing: Array(weights[8..<8 + headerByteCount]))
    let tensors = try #require(header.object).map { member in
      let offsets = try #require(member.value["data_offsets"]?.array?.compactMap { $0.integer })
      return SourceTensor(
        name: member.key, shape: try #require(member.value["shape"]?.array?.compactMap { $0.integer }),
        byteRange: 8 + headerByteCount + offsets[0]..<8 + headerByteCount + offsets[1], typeName: "float",
        blocks: .float32)
    }
    let checkpoint = Checkpoint(
      path: "memory",
      configuration: MemoryConfiguration(
        files.configuration, files.sharedLLM, provenance: [source("config.json", try bytes("config.json"))]),
      tokenizer: MemoryTokenizer(
        tokenizer: try Tokenizer(model: try bytes("tokenizer.model"), configuration: nil),
        provenance: [source("tokenizer.model", try bytes("tokenizer.model"))]),
      weights: MemoryWeights([
        (
          WeightFile(
            name: "model.safetensors", path: "memory", byteCount: weights.count,
            tensors: tensors.sorted { $0.byteRange.lowerBound < $1.byteRange.lowerBound }), weights
        )
      ]))
    _ = try Converter(checkpoint).run(output: "\(scratch.path)/memory.spk")
    #expect(
      try SequentialFile.contents("\(scratch.path)/memory.spk", limit: 1 << 24)
        == SequentialFile.contents("\(scratch.path)/files.spk", limit: 1 << 24))
  }

  private func source(_ name: String, _ bytes: [UInt8]) -> PackProvenance.Source {
    PackProvenance.Source(name: name, byteCount: bytes.count, digest: Digest256(of: bytes))
  }

  /// Blocks of four numbers with a scale, in another order, with gaps, in two files: the same numbers make the same
  /// tensors.
  @Test(arguments: [TensorEncoding.float32, .int8(groupSize: 8)]) func blocks(encoding: TensorEncoding) throws {
    let scratch = try Scratch()
    let plain = try ConversionTests.convert(TestCheckpoint(), scratch, encoding: encoding)
    var options = Converter.Options()
    options.encoding = encoding
    let converter = try Converter(Self.checkpoint(MemoryWeights(Self.blockFiles())), options: options)
    let summary = try converter.run(output: "\(scratch.path)/blocks.spk")
    let pack = try ModelPack(opening: "\(scratch.path)/blocks.spk")
    #expect(pack.tensors.map(\.name) == plain.tensors.map(\.name))
    #expect(pack.tensors.map(\.digest) == plain.tensors.map(\.digest))
    #expect(summary.sources.map(\.name) == ["first", "second"])
    for (source, file) in zip(summary.sources, Self.blockFiles()) {
      #expect(source.digest == Digest256(of: file.bytes) && source.byteCount == file.bytes.count)
    }
  }

  /// What a source says of its tensors is checked before anything is read.
  @Test func lyingSources() throws {
    func refused(_ edit: (inout [SourceTensor]) -> Void) -> String? {
      var files = Self.blockFiles()
      var tensors = files[0].file.tensors
      edit(&tensors)
      files[0].file = WeightFile(
        name: "first", path: "first", byteCount: files[0].bytes.count, tensors: tensors)
      do {
        _ = try Converter(Self.checkpoint(MemoryWeights(files)))
        return nil
      } catch {
        return error.name.text
      }
    }
    func changed(
      _ tensor: SourceTensor, shape: [Int]? = nil, byteRange: Range<Int>? = nil, blocks: NumberBlocks?
    ) -> SourceTensor {
      SourceTensor(
        name: tensor.name, shape: shape ?? tensor.shape, byteRange: byteRange ?? tensor.byteRange, typeName: "block",
        blocks: blocks)
    }
    let blocks = Self.fourByteBlocks
    #expect(refused { _ in } == nil)
    #expect(refused { $0.append($0[0]) } == "duplicate-tensor")
    #expect(refused { $0.removeLast() } == "missing-tensor")
    #expect(refused { $0.swapAt(0, 1) } == "misplaced-tensor")
    #expect(refused { $0[0] = changed($0[0], blocks: nil) } == "unsupported-element-type")
    #expect(refused { $0[0] = changed($0[0], shape: [1, 2, 3], blocks: blocks) } == "wrong-shape")
    #expect(
      refused { $0[0] = changed($0[0], byteRange: $0[0].byteRange.dropLast(), blocks: blocks) } == "wrong-size")
    // A block would cross the end of a row.
    #expect(
      refused { $0[0] = changed($0[0], blocks: NumberBlocks(length: 3, byteCount: 8) { _, _ in }) } == "wrong-size")
    let last = Self.blockFiles()[0].bytes.count
    #expect(
      refused { $0[$0.count - 1] = changed($0[$0.count - 1], byteRange: last..<last + 8, blocks: blocks) }
        == "misplaced-tensor")
  }

  /// A file that is longer or shorter than it was when the conversion was planned.
  @Test(arguments: [-1, 1]) func changedFiles(by difference: Int) throws {
    let scratch = try Scratch()
    var files = Self.blockFiles()
    files[1].bytes = difference < 0 ? files[1].bytes.dropLast() : files[1].bytes + [0]
    let converter = try Converter(Self.checkpoint(MemoryWeights(files)))
    let error = #expect(throws: Refusal.self) { try converter.run(output: "\(scratch.path)/a.spk") }
    #expect(error?.name == .inputOutput)
    #expect(try Directory.names(in: scratch.path).isEmpty)
  }

  // MARK: A checkpoint in memory.

  private static func checkpoint(_ weights: MemoryWeights) -> Checkpoint {
    Checkpoint(
      path: "memory", configuration: MemoryConfiguration(TestCheckpoint.llama, nil, provenance: []),
      tokenizer: MemoryTokenizer(tokenizer: nil, provenance: []), weights: weights)
  }

  /// Four numbers in eight bytes: a scale and four integers.
  private static let fourByteBlocks = NumberBlocks(length: 4, byteCount: 8) { blocks, numbers in
    for block in 0..<blocks.byteCount / 8 {
      let scale = unsafe Float(bitPattern: blocks.unsafeLoadUnaligned(fromByteOffset: block * 8, as: UInt32.self))
      for index in 0..<4 {
        numbers[block * 4 + index] =
          unsafe scale * Float(blocks.unsafeLoad(fromByteOffset: block * 8 + 4 + index, as: Int8.self))
      }
    }
  }

  /// The tensors of `TestCheckpoint`, the last ones in the first file.
  private static func blockFiles() -> [(file: WeightFile, bytes: [UInt8])] {
    let needed = Array(TestCheckpoint.llama.tensors(sharedLLM: nil).enumerated())
    let middle = needed.count / 2
    return [("first", needed[middle...]), ("second", needed[..<middle])].map { name, part in
      var writer = ByteWriter()
      var tensors: [SourceTensor] = []
      for (number, tensor) in part.reversed() {
        writer.append([UInt8](repeating: 0xEE, count: 5))
        let start = writer.bytes.count
        let values = TestCheckpoint.values(number, count: tensor.rows * tensor.columns)
        for block in stride(from: 0, to: values.count, by: 4) {
          writer.integer(Float(1.0 / 128).bitPattern)
          for value in values[block..<block + 4] { writer.integer(Int8(value * 128)) }
        }
        tensors.append(
          SourceTensor(
            name: tensor.name, shape: tensor.isVector ? [tensor.columns] : [tensor.rows, tensor.columns],
            byteRange: start..<writer.bytes.count, typeName: "block", blocks: fourByteBlocks))
      }
      writer.append([UInt8](repeating: 0xEE, count: 3))
      return (
        WeightFile(name: name, path: name, byteCount: writer.bytes.count, tensors: tensors), writer.bytes
      )
    }
  }
}

private struct MemoryConfiguration: ConfigurationSource {
  let path = "memory"
  let provenance: [PackProvenance.Source]
  private let configuration: LlamaConfiguration
  private let shared: SharedLLMConfiguration?

  init(_ configuration: LlamaConfiguration, _ shared: SharedLLMConfiguration?, provenance: [PackProvenance.Source]) {
    self.configuration = configuration
    self.shared = shared
    self.provenance = provenance
  }

  func llama(isSharedLLM: Bool) -> LlamaConfiguration { configuration }

  func sharedLLM() -> SharedLLMDeclaration {
    var result = SharedLLMDeclaration()
    result.isSharedLLM = shared != nil
    result.injectedLayerCount = shared?.injectedLayerCount
    result.injectionPlace = shared?.injectionPlace
    result.chunkSize = shared?.chunkSize
    result.treeDepth = shared?.treeDepth
    result.leafRatio = shared?.leafRatio
    result.positionMode = shared?.positionMode
    return result
  }
}

private struct MemoryTokenizer: TokenizerSource {
  let tokenizer: Tokenizer?
  let provenance: [PackProvenance.Source]

}

private struct MemoryWeights: WeightSource {
  let path = "memory"
  let files: [WeightFile]
  private let bytes: [[UInt8]]

  init(_ files: [(file: WeightFile, bytes: [UInt8])]) {
    self.files = files.map(\.file)
    bytes = files.map(\.bytes)
  }

  func open(_ number: Int) -> any WeightReader { MemoryReader(bytes: bytes[number]) }
}

private struct MemoryReader: WeightReader {
  let bytes: [UInt8]
  var byteCount: Int { bytes.count }

  func read(at byteOffset: Int, into buffer: inout MutableRawSpan) {
    for index in 0..<buffer.byteCount {
      buffer.storeBytes(of: bytes[byteOffset + index], toByteOffset: index, as: UInt8.self)
    }
  }

  func prefetch(_ range: Range<Int>) {}
  func release(_ range: Range<Int>) {}
}
