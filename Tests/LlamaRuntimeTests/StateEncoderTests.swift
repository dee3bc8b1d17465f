import CanonicalJSON
import ContextTrees
import FileAccess
import Foundation
import LlamaRuntime
import ModelPacks
import NodeBlocks
import Testing

/// CEPE against plain PyTorch; the fixture is written by Tools/verify/reference/cepe.py.
@Suite struct StateEncoderTests {
  struct Case: Sendable, CustomTestStringConvertible {
    let testDescription: String
    let configuration: LlamaConfiguration
    let sharedLLM: SharedLLMConfiguration
    let context: [Int32]
    let tokens: [Int32]
    let positions: [Int]
    let logits: [[Float]]

    var chunks: [[Int32]] {
      stride(from: 0, to: context.count, by: sharedLLM.chunkSize).map {
        Array(context[$0..<min($0 + sharedLLM.chunkSize, context.count)])
      }
    }
  }

  static let cases: [Case] = {
    guard let url = Bundle.module.url(forResource: "cepe", withExtension: "json", subdirectory: "Fixtures"),
      let data = try? Data(contentsOf: url), let json = try? JSONValue(parsing: Array(data))
    else { return [] }
    return (json["cases"]?.array ?? []).compactMap(read)
  }()

  private static func read(_ json: JSONValue) -> Case? {
    guard let config = json["config"], let encoder = config["encoder_config"], let name = json["name"]?.string else {
      return nil
    }
    func tokens(_ key: String) -> [Int32] { (json[key]?.array ?? []).compactMap { $0.integer.map { Int32($0) } } }
    return Case(
      testDescription: name, configuration: configuration(config, tied: false),
      sharedLLM: SharedLLMConfiguration(
        injectedLayerCount: config["num_cross_attn_layers"]?.integer ?? 0, injectionPlace: .top,
        chunkSize: json["chunk_size"]?.integer ?? 0, treeDepth: 1, leafRatio: 1, positionMode: .none,
        injection: .crossAttention, lowerModel: .own, encoder: configuration(encoder, tied: true)),
      context: tokens("context"), tokens: tokens("tokens"),
      positions: (json["positions"]?.array ?? []).compactMap(\.integer),
      logits: (json["logits"]?.array ?? []).map { ($0.array ?? []).compactMap { $0.number.map { Float($0) } } })
  }

  private static func configuration(_ json: JSONValue, tied: Bool) -> LlamaConfiguration {
    func integer(_ key: String) -> Int { json[key]?.integer ?? 0 }
    return LlamaConfiguration(
      hiddenSize: integer("hidden_size"), intermediateSize: integer("intermediate_size"),
      layerCount: integer("num_hidden_layers"), headCount: integer("num_attention_heads"),
      kvHeadCount: integer("num_key_value_heads"),
      headDim: integer("hidden_size") / max(integer("num_attention_heads"), 1),
      vocabularySize: integer("vocab_size"), rmsNormEpsilon: 1e-5, ropeTheta: json["rope_theta"]?.number ?? 0,
      ropeScaling: .none, maxPositionCount: integer("max_position_embeddings"), tiesWordEmbeddings: tied,
      beginOfTextToken: nil, endOfTextTokens: [])
  }

  private func logits(
    _ reference: Case, _ model: LlamaModel, encoding: RowEncoding = .float32, threads: Int = 2
  ) throws -> [Float] {
    let pool = ThreadPool(threadCount: threads)
    let encoder = try #require(TreeEncoder(model, encoding: encoding, threads: pool))
    let chunks = try reference.chunks.map { try encoder.encode($0).blocks }
    let context = try #require(try model.makeContext(chunks, encoding: encoding))
    #expect(context.rowCount == reference.context.count)
    return Session(model, capacity: reference.tokens.count, context: context, threads: pool).readAll(reference.tokens)
  }

  @Test func thereAreCases() { #expect(Self.cases.count == 5) }

  @Test(arguments: cases)
  func logitsAreThoseOfPyTorch(_ reference: Case) throws {
    let pack = try TestPack(reference.configuration, sharedLLM: reference.sharedLLM)
    let logits = try logits(reference, pack.model)
    let vocabulary = reference.configuration.vocabularySize
    for (position, expected) in zip(reference.positions, reference.logits) {
      let actual = Array(logits[position * vocabulary..<(position + 1) * vocabulary])
      let difference = zip(actual, expected).map { abs($0 - $1) }.max() ?? .infinity
      #expect(difference < 1e-4)
    }
  }

  /// Threads and passes change no bit, and what the encoder read matters.
  @Test(arguments: cases.filter { !$0.context.isEmpty })
  func bitsDependOnTheContextAlone(_ reference: Case) throws {
    let pack = try TestPack(reference.configuration, sharedLLM: reference.sharedLLM, quantization: .int8(groupSize: 16))
    let one = try logits(reference, pack.model, encoding: .int8, threads: 1)
    #expect(try logits(reference, pack.model, encoding: .int8, threads: 3) == one)
    let without = Session(pack.model, capacity: reference.tokens.count).readAll(reference.tokens)
    #expect(without != one)
  }

  /// States that are kept in eight bits, and rows made of them.
  @Test(arguments: cases.filter { !$0.context.isEmpty })
  func eightBitsAreNearlyEnough(_ reference: Case) throws {
    let pack = try TestPack(reference.configuration, sharedLLM: reference.sharedLLM)
    let exact = try logits(reference, pack.model)
    let rounded = try logits(reference, pack.model, encoding: .int8)
    let error = zip(exact, rounded).map { ($0 - $1) * ($0 - $1) }.reduce(0, +)
    let size = exact.map { $0 * $0 }.reduce(0, +)
    #expect(error < 1e-4 * size && error > 0)
  }

  /// A node has the states of its tokens in the chunk, whichever tree it belongs to.
  @Test func nodesArePartsOfAChunk() throws {
    let reference = try #require(Self.cases.first { $0.testDescription == "grouped heads, some layers" })
    var deep = reference.sharedLLM
    (deep.treeDepth, deep.leafRatio) = (2, 2)
    let pack = try TestPack(reference.configuration, sharedLLM: reference.sharedLLM)
    let model = try #require(LlamaModel(pack.model.pack, reading: deep))
    let encoder = try #require(TreeEncoder(model, encoding: .float32))
    let whole = try #require(TreeEncoder(pack.model, encoding: .float32))
    let chunk = reference.chunks[0]
    let width = reference.sharedLLM.encoder.map { $0.hiddenSize / 2 } ?? 0
    let halves = try whole.encode(chunk).blocks.map { $0.rows(layer: 0) }
    let (keys, values) = (halves.flatMap(\.keys), halves.flatMap(\.values))
    let tree = ContextTree(shape: try #require(model.treeShape), tokenCount: chunk.count)
    let encoded = try encoder.encode(chunk)
    for (node, block) in zip(tree.nodes, encoded.blocks) {
      let rows = block.rows(layer: 0)
      for row in 0..<node.rowCount {
        let token = node.range.lowerBound + node.position(row: row)
        #expect(rows.keys[row * width..<(row + 1) * width] == keys[token * width..<(token + 1) * width])
        #expect(rows.values[row * width..<(row + 1) * width] == values[token * width..<(token + 1) * width])
      }
      let alone = try encoder.encode(alone: node, of: chunk)
      #expect(alone.block.rows(layer: 0) == rows)
    }
    #expect(encoded.embeddings.count == tree.nodes.count * model.nodeEmbeddingSize)
    #expect(model.queryEmbedding(chunk).count == model.nodeEmbeddingSize)
  }

  /// Weights whose states overflow are refused, not kept.
  @Test func overflowIsRefused() throws {
    let reference = try #require(Self.cases.first)
    let pack = try TestPack(
      reference.configuration, sharedLLM: reference.sharedLLM,
      edit: { name, values in
        if name == "encoder.layers.1.self_attn.k_proj.weight" { values = values.map { _ in 3e38 } }
      })
    let encoder = try #require(TreeEncoder(pack.model, encoding: .float32))
    let refusal = #expect(throws: Refusal.self) { try encoder.encode(reference.chunks[0]) }
    #expect(refusal?.name.text == "not-finite" && refusal?.structure == "encoder, layer 1")
    #expect(pack.model.queryEmbedding([1, 2]).allSatisfy { $0 == 0 })
  }
}
