import Glibc
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
    let expected = StreamingReference(sinks: sinks, recent: recent).logits(tokens)
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
      let slots = policy.slotCount ?? 0
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

/// LLaMA over the float weights of a `TestPack`, in double precision, where every token looks for the keys and values
/// of the tokens that it sees and turns them to their slots.
private struct StreamingReference {
  let sinks: Int
  let recent: Int
  private let configuration = LlamaConfiguration.small
  /// Cosines and sines of every slot.
  private let angles: [[(cosine: Double, sine: Double)]]

  init(sinks: Int, recent: Int) {
    self.sinks = sinks
    self.recent = recent
    let (headDim, theta) = (configuration.headDim, configuration.ropeTheta)
    angles = (0..<sinks + recent).map { slot in
      (0..<headDim / 2).map { i in
        let angle = Double(slot) * pow(theta, -2 * Double(i) / Double(headDim))
        return (cos(angle), sin(angle))
      }
    }
  }

  func logits(_ tokens: [Int32]) -> [Double] {
    let c = configuration
    let embedding = matrix("model.embed_tokens.weight", c.vocabularySize, c.hiddenSize, scale: 1)
    var states = tokens.map { embedding[Int($0)] }
    for layer in 0..<c.layerCount {
      let name = "model.layers.\(layer)"
      let normed = states.map { normalize($0, "\(name).input_layernorm.weight") }
      let queries = multiply(normed, "\(name).self_attn.q_proj.weight", c.headCount * c.headDim)
      let keys = multiply(normed, "\(name).self_attn.k_proj.weight", c.kvHeadCount * c.headDim)
      let values = multiply(normed, "\(name).self_attn.v_proj.weight", c.kvHeadCount * c.headDim)
      let attended = tokens.indices.map { attend($0, queries, keys, values) }
      states = add(states, multiply(attended, "\(name).self_attn.o_proj.weight", c.hiddenSize))
      let inner = states.map { normalize($0, "\(name).post_attention_layernorm.weight") }
      let gate = multiply(inner, "\(name).mlp.gate_proj.weight", c.intermediateSize)
      let up = multiply(inner, "\(name).mlp.up_proj.weight", c.intermediateSize)
      let activated = zip(gate, up).map { zip($0, $1).map { $0 / (1 + exp(-$0)) * $1 } }
      states = add(states, multiply(activated, "\(name).mlp.down_proj.weight", c.hiddenSize))
    }
    return multiply(states.map { normalize($0, "model.norm.weight") }, "lm_head.weight", c.vocabularySize).flatMap(
      \.self)
  }

  private func attend(_ t: Int, _ queries: [[Double]], _ keys: [[Double]], _ values: [[Double]]) -> [Double] {
    let c = configuration
    // The cache, in order: the place in it is the position.
    let seen = t < sinks + recent ? Array(0...t) : Array(0..<sinks) + Array(t - recent + 1...t)
    return (0..<c.kvHeadCount).flatMap { kvHead -> [Double] in
      let kv = kvHead * c.headDim..<(kvHead + 1) * c.headDim
      let turned = seen.enumerated().map { slot, token in rotate(keys[token][kv], slot) }
      let group = c.headCount / c.kvHeadCount
      return (kvHead * group..<(kvHead + 1) * group).flatMap { head -> [Double] in
        let query = rotate(queries[t][head * c.headDim..<(head + 1) * c.headDim], seen.count - 1)
        let scores = turned.map { zip(query, $0).reduce(0) { $0 + $1.0 * $1.1 } / Double(c.headDim).squareRoot() }
        let largest = scores.max() ?? 0
        let weights = scores.map { exp($0 - largest) }
        let sum = weights.reduce(0, +)
        return kv.map { d in zip(seen, weights).reduce(0) { $0 + values[$1.0][d] * $1.1 } / sum }
      }
    }
  }

  private func rotate(_ x: ArraySlice<Double>, _ slot: Int) -> [Double] {
    var result = Array(x)
    let half = x.count / 2
    for (i, angle) in angles[slot].enumerated() {
      let (a, b) = (result[i], result[half + i])
      result[i] = a * angle.cosine - b * angle.sine
      result[half + i] = b * angle.cosine + a * angle.sine
    }
    return result
  }

  private func normalize(_ x: [Double], _ name: String) -> [Double] {
    let weight = TestPack.uniform(name, x.count).map { 1 + 0.25 * Double($0) }
    let scale = 1 / (x.reduce(0) { $0 + $1 * $1 } / Double(x.count) + Double(configuration.rmsNormEpsilon)).squareRoot()
    return zip(x, weight).map { $0 * scale * $1 }
  }

  private func multiply(_ x: [[Double]], _ name: String, _ rows: Int) -> [[Double]] {
    let weights = matrix(name, rows, x[0].count, scale: 0.25)
    return x.map { x in weights.map { zip($0, x).reduce(0) { $0 + $1.0 * $1.1 } } }
  }

  private func matrix(_ name: String, _ rows: Int, _ columns: Int, scale: Double) -> [[Double]] {
    let values = TestPack.uniform(name, rows * columns).map { Double($0) * scale }
    return (0..<rows).map { Array(values[$0 * columns..<($0 + 1) * columns]) }
  }

  private func add(_ x: [[Double]], _ y: [[Double]]) -> [[Double]] {
    zip(x, y).map { zip($0, $1).map { $0 + $1 } }
  }
}
