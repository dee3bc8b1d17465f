import LlamaRuntime
import ModelPacks
import Testing

/// StreamingLLM's cache against its definition (arXiv 2309.17453): what a token sees, and at which positions.
@Suite struct StreamingTests {
  static let policies: [CachePolicy] = [
    .streaming(sinks: 4, recent: 60), .streaming(sinks: 0, recent: 33), .streaming(sinks: 5, recent: 1),
    .streaming(sinks: 70, recent: 100), .streaming(sinks: 4, recent: 3),
  ]

  /// Every token of a text longer than the cache's memory, with floats, against a computation that knows nothing of
  /// caches, blocks and spans.
  @Test(arguments: policies)
  func logitsAreTheDefinitions(_ policy: CachePolicy) throws {
    guard case .streaming(let sinks, let recent) = policy else { return }
    let pack = try TestPack(.small)
    let tokens = LlamaConfiguration.small.tokens("streaming", 800)
    let actual = Session(pack.model, capacity: .max, cachePolicy: policy, threads: ThreadPool(threadCount: 2)).readAll(
      tokens)
    // The cache, in order: the index in it is the position.
    let reference = ReferenceLlama { _, _, t in
      let seen = t < sinks + recent ? Array(0...t) : Array(0..<sinks) + Array(t - recent + 1...t)
      return ReferenceLlama.Seen(tokens: seen, positions: Array(seen.indices), position: seen.count - 1)
    }
    let expected = reference.logits(tokens)
    let difference = zip(actual, expected).map { abs(Double($0) - $1) }.max() ?? .infinity
    #expect(actual.count == expected.count && difference < 1e-4)
  }

  /// What fits the cache is read as without a policy; what does not is read the same at once, in pieces and token by
  /// token.
  @Test(arguments: InvarianceTests.encodings)
  func bitsDoNotDependOnTheCut(_ quantization: TensorEncoding) throws {
    let pack = try TestPack(.small, quantization: quantization)
    let vocabulary = LlamaConfiguration.small.vocabularySize
    let tokens = LlamaConfiguration.small.tokens("streaming", 800)
    let full = Session(pack.model, capacity: 800, threads: ThreadPool(threadCount: 1)).readAll(tokens)
    for policy in Self.policies.prefix(4) {
      func session() -> Session {
        Session(pack.model, capacity: .max, cachePolicy: policy, threads: ThreadPool(threadCount: 1))
      }
      let streamed = session().readAll(tokens)
      let slots = policy.positionCount ?? 0
      #expect(streamed.prefix(slots * vocabulary) == full.prefix(slots * vocabulary))
      #expect(streamed.suffix(vocabulary) != full.suffix(vocabulary))
      let stepwise = session()
      var steps: [Float] = []
      for token in tokens { steps += stepwise.read(CollectionOfOne(token)) }
      #expect(steps == streamed)
      let piecewise = session()
      #expect(piecewise.readAll(tokens[..<301]) + piecewise.readAll(tokens[301...]) == streamed)
    }
  }

  /// Injected rows are read as before, at distances that do not grow: what they give is finite far beyond the window.
  @Test(arguments: SharedLLMConfiguration.Injection.allCases)
  func contextsStay(_ injection: SharedLLMConfiguration.Injection) throws {
    var shared = SharedLLMConfiguration.small(.local)
    shared.injection = injection
    let pack = try TestPack(.small, sharedLLM: shared)
    let chunks = [LlamaConfiguration.small.tokens("chunk", 32)]
    let text = LlamaConfiguration.small.tokens("streaming", 500)
    let policy = CachePolicy.streaming(sinks: 4, recent: 28)
    let full = try PositionModeTests.logits(pack, chunks: chunks, text: text)
    let streamed = try PositionModeTests.logits(pack, chunks: chunks, text: text, cachePolicy: policy)
    let without = try PositionModeTests.logits(pack, chunks: [], text: text, cachePolicy: policy)
    let vocabulary = LlamaConfiguration.small.vocabularySize
    #expect(streamed.prefix(32 * vocabulary) == full.prefix(32 * vocabulary))
    #expect(streamed.suffix(vocabulary) != without.suffix(vocabulary))
    #expect(!streamed.contains { !$0.isFinite })
  }

  @Test func memoryDoesNotGrow() throws {
    let pack = try TestPack(.small, quantization: .int8(groupSize: 32))
    let policy = CachePolicy.streaming(sinks: 4, recent: 252)
    let session = Session(pack.model, capacity: .max, cachePolicy: policy, threads: ThreadPool(threadCount: 1))
    #expect(
      session.cacheByteCount < 2
        * Session(pack.model, capacity: 1024, threads: ThreadPool(threadCount: 1)).cacheByteCount)
  }
}
