import ContextTrees
import ModelPacks
import NodeBlocks
import Testing

@testable import LlamaRuntime

@Suite struct WeightResidencyTests {
  /// 40 bytes of layers in a pack of 60, of which an eighth of the memory is kept for other things.
  @Test func decision() {
    func residency(_ limit: Int) -> WeightResidency {
      WeightResidency(layerByteCounts: [10, 10, 10, 10], packByteCount: 60, memoryLimit: limit)
    }
    #expect(!residency(.max).streams)
    #expect(!residency(68).streams)
    #expect(residency(67).streams)
    // Three quarters, less three layers that are on their way.
    #expect(residency(67).residentLayerCount == 2)
    #expect(residency(54).residentLayerCount == 1)
    #expect(residency(52).residentLayerCount == 0)
    #expect(residency(0) == residency(1))
    #expect(residency(0).streams && residency(0).residentLayerCount == 0)
  }

  /// A LLaMA-2-7B of int8 tiles: nothing stays under 1 GiB, four injected layers do under 2 GiB.
  @Test func sevenBillionWeights() {
    func resident(_ limit: Int) -> Int {
      WeightResidency(
        layerByteCounts: Array(repeating: 209_000_000, count: 32), packByteCount: 6_950_000_000, memoryLimit: limit
      ).residentLayerCount
    }
    #expect(resident(1 << 30) == 0)
    #expect(resident(2 << 30) == 4)
  }

  /// Layers of several pieces of what is read at once.
  private static let wide = LlamaConfiguration(
    hiddenSize: 256, intermediateSize: 1024, layerCount: 8, headCount: 4, kvHeadCount: 4, headDim: 64,
    vocabularySize: 300, rmsNormEpsilon: 1e-5, ropeTheta: 10000, ropeScaling: .none, maxPositionCount: 1024,
    tiesWordEmbeddings: false, beginOfTextToken: 1, endOfTextTokens: [2])

  @Test(arguments: [SharedLLMConfiguration.LowerModel.shared, .own])
  func hintsChangeNothing(_ lowerModel: SharedLLMConfiguration.LowerModel) throws {
    let pack = try TestPack(Self.wide, sharedLLM: .small(.local, lowerModel: lowerModel))
    // Several blocks of a prompt.
    let tokens = Self.wide.tokens("text", 530)
    let chunk = Self.wide.tokens("chunk", 32)
    func logits(_ model: LlamaModel) -> [Float] {
      let session = Session(model, capacity: 600, threads: ThreadPool(threadCount: 2))
      return session.read(tokens) + session.read(tokens.prefix(1)) + session.readAll(tokens.prefix(2))
    }
    let expected = logits(pack.model)
    func nodes(_ model: LlamaModel) throws -> EncodedChunk {
      let encoder = try #require(TreeEncoder(model, encoding: .int8, threads: ThreadPool(threadCount: 2)))
      return try encoder.encode(chunk)
    }
    let expectedNodes = try nodes(pack.model)
    let packByteCount = pack.model.pack.byteCount
    for limit in [0, packByteCount / 4 * 5, packByteCount] {
      let model = LlamaModel(pack.model.pack, memoryLimit: limit)
      #expect(model.residency.streams == (limit <= packByteCount))
      #expect(logits(model) == expected)
      let encoded = try nodes(model)
      #expect(encoded.blocks.map(\.copy) == expectedNodes.blocks.map(\.copy))
      #expect(encoded.embeddings == expectedNodes.embeddings)
    }
    // Both kinds of streams were tried.
    #expect(LlamaModel(pack.model.pack, memoryLimit: packByteCount).residency.residentLayerCount > 0)
  }
}
