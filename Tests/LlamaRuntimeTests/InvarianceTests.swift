import ContextTrees
import FileAccess
import LlamaRuntime
import ModelPacks
import NodeBlocks
import Testing

/// What must not change a single bit: threads, the cut into blocks and steps, spines, and where a tree comes from.
@Suite struct InvarianceTests {
  static let encodings: [TensorEncoding] = [.float32, .float16, .int8(groupSize: 32), .int4(groupSize: 16)]

  @Test(arguments: encodings, [LlamaConfiguration.small, .biased])
  func threadsAndStepsChangeNothing(_ quantization: TensorEncoding, _ configuration: LlamaConfiguration) throws {
    let pack = try TestPack(configuration, quantization: quantization)
    // More than one block of a prompt.
    let tokens = LlamaConfiguration.small.tokens("text", 300)
    let expected = Session(pack.model, capacity: 300, threads: ThreadPool(threadCount: 1)).readAll(tokens)
    #expect(!expected.contains { !$0.isFinite })
    for threadCount in [2, 3] {
      #expect(
        Session(pack.model, capacity: 300, threads: ThreadPool(threadCount: threadCount)).readAll(tokens) == expected)
    }
    let stepwise = Session(pack.model, capacity: 300, threads: ThreadPool(threadCount: 2))
    var logits: [Float] = []
    for token in tokens { logits += stepwise.read(CollectionOfOne(token)) }
    #expect(logits == expected)
  }

  /// Qwen2's biases make one or two numbers of every key a hundred times as large as the others, which must not be lost
  /// beside them.
  @Test func largeBiasesHideNoKeys() throws {
    let tokens = LlamaConfiguration.biased.tokens("text", 200)
    func logits(_ quantization: TensorEncoding, bias: Float) throws -> [Float] {
      func edit(_ name: String, _ values: inout [Float]) {
        guard name.hasSuffix("k_proj.bias") else { return }
        for head in 0..<2 { values[8 * head + 3] = head == 0 ? bias : -bias }
      }
      let pack = try TestPack(.biased, quantization: quantization, edit: edit)
      return Session(pack.model, capacity: tokens.count, threads: ThreadPool(threadCount: 2)).readAll(tokens)
    }
    func error(bias: Float) throws -> Float {
      let exact = try logits(.float32, bias: bias)
      let squares = zip(exact, try logits(.int8(groupSize: 16), bias: bias)).map { ($0 - $1) * ($0 - $1) }
      return (squares.reduce(0, +) / Float(squares.count)).squareRoot()
    }
    let (small, large) = (try error(bias: 0.1), try error(bias: 100))
    #expect(large < 1.5 * small, "\(small) without large biases, \(large) with them")
  }

  /// More rows than a part of them holds, of the running text and injected: single tokens share the parts out among
  /// threads, prompts do not.
  @Test(arguments: encodings)
  func partsChangeNothing(_ quantization: TensorEncoding) throws {
    let pack = try TestPack(.small, sharedLLM: .small(.compose), quantization: quantization)
    let encoder = try #require(TreeEncoder(pack.model, encoding: .int8, threads: ThreadPool(threadCount: 1)))
    let chunk = try encoder.encode(LlamaConfiguration.small.tokens("chunk", 32)).blocks
    let context = InjectedContext(layout: encoder.layout, chunks: [[NodeBlock]](repeating: chunk, count: 40))
    #expect(context.rowCount > 1024)
    let tokens = LlamaConfiguration.small.tokens("text", 1090)
    func session(_ threadCount: Int) -> Session {
      Session(pack.model, capacity: 1090, context: context, threads: ThreadPool(threadCount: threadCount))
    }
    let expected = session(1).read(tokens)
    #expect(session(3).read(tokens) == expected)
    let stepwise = session(3)
    _ = stepwise.read(tokens.prefix(1000))
    var logits: [Float] = []
    for token in tokens.dropFirst(1000) { stepwise.read(token, into: &logits) }
    #expect(logits == expected)
  }

  @Test(arguments: encodings)
  func leftSpinesEqualNodesAlone(_ quantization: TensorEncoding) throws {
    for mode in [PositionMode.replace, .compose] {
      let pack = try TestPack(.small, sharedLLM: .small(mode), quantization: quantization)
      for encoding in RowEncoding.allCases {
        let encoder = try #require(TreeEncoder(pack.model, encoding: encoding, threads: ThreadPool(threadCount: 2)))
        for length in [1, 2, 11, 31, 32] {
          let tokens = LlamaConfiguration.small.tokens("chunk \(length)", length)
          let tree = ContextTree(shape: try #require(pack.model.treeShape), tokenCount: length)
          let together = try encoder.encode(tokens)
          #expect(together.blocks.count == tree.nodes.count)
          for (index, node) in tree.nodes.enumerated() {
            let alone = try encoder.encode(alone: node, of: tokens)
            #expect(alone.block.copy == together.blocks[index].copy)
            #expect(alone.embedding == together.embedding(index))
          }
        }
      }
    }
  }

  /// With a shared lower model a query and a node of the same tokens have the same vector, although a long query is
  /// read in blocks.
  @Test(arguments: encodings)
  func queriesAreEmbeddedLikeNodes(_ quantization: TensorEncoding) throws {
    for layers in [1, 2] {
      let shared = SharedLLMConfiguration(
        injectedLayerCount: layers, chunkSize: 1200, treeDepth: 1, leafRatio: 8, positionMode: .local,
        injection: .mergedSoftmax, lowerModel: .shared)
      let pack = try TestPack(.small, sharedLLM: shared, quantization: quantization)
      let encoder = try #require(TreeEncoder(pack.model, encoding: .int8, threads: ThreadPool(threadCount: 2)))
      let tokens = LlamaConfiguration.small.tokens("chunk", 1200)
      let encoded = try encoder.encode(tokens)
      for (index, range) in [0..<600, 600..<1200].enumerated() {
        let query = Array(tokens[range])
        #expect(pack.model.queryEmbedding(query, threads: ThreadPool(threadCount: 1)) == encoded.embedding(index))
      }
    }
  }

  @Test func anEmptyContextIsThePlainModel() throws {
    let shared = try TestPack(.small, sharedLLM: .small(.replace))
    let plain = try TestPack(.small)
    let tokens = LlamaConfiguration.small.tokens("text", 40)
    let layout = try #require(shared.model.nodeLayout(.int8))
    let session = Session(
      shared.model, capacity: 40, context: InjectedContext(layout: layout, chunks: []),
      threads: ThreadPool(threadCount: 1))
    #expect(
      session.readAll(tokens) == Session(plain.model, capacity: 40, threads: ThreadPool(threadCount: 1)).readAll(tokens)
    )
  }

  @Test func truncatedRereadingIsTheSame() throws {
    let pack = try TestPack(.small)
    let tokens = LlamaConfiguration.small.tokens("text", 60)
    let first = Session(pack.model, capacity: 60, threads: ThreadPool(threadCount: 1))
    let expected = first.read(tokens)
    let second = Session(pack.model, capacity: 60, threads: ThreadPool(threadCount: 1))
    _ = second.read(tokens.prefix(17))
    #expect(second.read(tokens.dropFirst(17)) == expected)
  }
}

/// The position modes and what they promise.
@Suite struct PositionModeTests {
  /// Logits of a text with chunks injected in some order.
  static func logits(
    _ pack: TestPack, chunks: [[Int32]], text: [Int32], cachePolicy: CachePolicy = .full
  ) throws -> [Float] {
    let encoder = try #require(TreeEncoder(pack.model, encoding: .float32, threads: ThreadPool(threadCount: 1)))
    let context = InjectedContext(
      layout: encoder.layout,
      chunks: try chunks.map { tokens in
        let encoded = try encoder.encode(tokens)
        let tree = ContextTree(shape: try #require(pack.model.treeShape), tokenCount: tokens.count)
        return tree.preservedNodes(policy: .right, chunk: 0) { _ in 0 }.map { encoded.blocks[tree.index(of: $0)] }
      })
    return Session(
      pack.model, capacity: text.count, context: context, cachePolicy: cachePolicy, threads: ThreadPool(threadCount: 1)
    ).readAll(text)
  }

  @Test(arguments: PositionMode.allCases)
  func orderOfChunksCountsWhereItShould(_ mode: PositionMode) throws {
    let pack = try TestPack(.small, sharedLLM: .small(mode))
    let configuration = LlamaConfiguration.small
    let chunks = (0..<3).map { configuration.tokens("chunk \($0)", 32) }
    let text = configuration.tokens("text", 12)
    let forward = try Self.logits(pack, chunks: chunks, text: text)
    let backward = try Self.logits(pack, chunks: chunks.reversed(), text: text)
    let difference = zip(forward, backward).map { abs($0 - $1) }.max() ?? 0
    switch mode {
    case .local, .none: #expect(difference < 1e-4)
    case .replace, .compose, .composePlusOne: #expect(difference > 1e-3)
    }
  }

  @Test func mergedRowsOfAWholeModelAreParallelWindows() throws {
    // With every layer injected, one row for each token and nodes of half a chunk, the running text reads two windows
    // that stand at the same position: what two plain caches joined would give. Checked with a window of one node.
    let shared = SharedLLMConfiguration(
      injectedLayerCount: 3, chunkSize: 16, treeDepth: 1, leafRatio: 1, positionMode: .none, injection: .mergedSoftmax,
      lowerModel: .shared)
    let pack = try TestPack(.small, sharedLLM: shared)
    let configuration = LlamaConfiguration.small
    let window = configuration.tokens("window", 8)
    let text = configuration.tokens("text", 10)
    let encoder = try #require(TreeEncoder(pack.model, encoding: .float32, threads: ThreadPool(threadCount: 1)))
    // The right half of a chunk of 16 tokens is a node of 8; the left half is not injected.
    let encoded = try encoder.encode(configuration.tokens("other", 8) + window)
    let context = InjectedContext(layout: encoder.layout, chunks: [[encoded.blocks[1]]])
    let injected = Session(pack.model, capacity: 10, context: context, threads: ThreadPool(threadCount: 1)).readAll(
      text)
    let plain = Session(pack.model, capacity: 18, threads: ThreadPool(threadCount: 1)).readAll(window + text)
    let expected = plain.suffix(10 * configuration.vocabularySize)
    let difference = zip(injected, expected).map { abs($0 - $1) }.max() ?? .infinity
    #expect(difference < 1e-4)
  }
}

extension EncodedChunk {
  /// A node's embedding, by its index in the tree's nodes.
  func embedding(_ index: Int) -> [Float] {
    let size = embeddings.count / blocks.count
    return Array(embeddings[index * size..<(index + 1) * size])
  }
}

extension NodeBlock {
  var copy: [UInt8] { storage.bytes.array }
}
