import ContextTrees
import LlamaRuntime
import ModelPacks
import NodeBlocks
import Testing

/// Nodes in int4 are read as what they restore to, but for the rounding of queries and weights.
@Suite struct InjectedRowsTests {
  /// The same numbers in float32.
  private func restored(_ block: NodeBlock) throws -> NodeBlock {
    let layout = block.layout
    let exact = try #require(
      NodeBlockLayout(
        layerCount: layout.layerCount, kvHeadCount: layout.kvHeadCount, headDim: layout.headDim, encoding: .float32))
    let writer = NodeBlockWriter(layout: exact, keeping: Array(0..<block.rowCount))
    for layer in 0..<layout.layerCount {
      let (keys, values) = block.rows(layer: layer)
      unsafe keys.withUnsafeBufferPointer { keys in
        unsafe values.withUnsafeBufferPointer { values in
          #expect(unsafe writer.write(layer: layer, keys: keys.baseAddress!, values: values.baseAddress!))
        }
      }
    }
    return writer.finish()
  }

  /// Nodes of one row and of more than are packed together; each layer with its own weights of injection, and in the
  /// softmax of the running text.
  @Test(
    arguments: [TensorEncoding.float32, .int8(groupSize: 16)],
    [SharedLLMConfiguration.Injection.crossAttention, .mergedSoftmax])
  func int4(_ quantization: TensorEncoding, _ injection: SharedLLMConfiguration.Injection) throws {
    let shared = SharedLLMConfiguration(
      injectedLayerCount: 2, chunkSize: 600, treeDepth: 2, leafRatio: 1, positionMode: .compose, injection: injection,
      lowerModel: .shared)
    let pack = try TestPack(.small, sharedLLM: shared, quantization: quantization)
    let encoder = try #require(TreeEncoder(pack.model, encoding: .int4, threads: ThreadPool(threadCount: 2)))
    let chunks = try [600, 600, 3].map { try encoder.encode(LlamaConfiguration.small.tokens("chunk \($0)", $0)).blocks }
    let rowCounts = chunks.joined().map(\.rowCount)
    #expect(rowCounts.contains { $0 > NodeBlockLayout.valueGroupSize } && rowCounts.contains(1))
    let exact = try chunks.map { try $0.map(restored) }
    let text = LlamaConfiguration.small.tokens("text", 70)
    func session(_ chunks: [[NodeBlock]], threads: Int = 1) throws -> Session {
      let layout = try #require(chunks.first?.first?.layout)
      return Session(
        pack.model, capacity: 70, context: InjectedContext(layout: layout, chunks: chunks),
        threads: ThreadPool(threadCount: threads))
    }
    let (actual, expected) = (try session(chunks).readAll(text), try session(exact).readAll(text))
    let difference = zip(actual, expected).map { abs($0 - $1) }.max() ?? .infinity
    #expect(difference < 0.1 && difference > 0)
    #expect(try session(chunks, threads: 3).readAll(text) == actual)
    let stepwise = try session(chunks, threads: 2)
    var logits: [Float] = []
    for token in text { logits += stepwise.read(CollectionOfOne(token)) }
    #expect(logits == actual)
  }
}
