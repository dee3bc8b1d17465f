import CanonicalJSON
import FileAccess
import Foundation
import LlamaRuntime
import ModelPacks
import Testing

/// The plain model against transformers; the fixture is written by Tools/verify/reference/plain_llama.py.
@Suite struct PlainLlamaTests {
  struct Case: Sendable, CustomTestStringConvertible {
    let testDescription: String
    let configuration: LlamaConfiguration
    let tokens: [Int32]
    let positions: [Int]
    let logits: [[Float]]
  }

  static let cases: [Case] = {
    guard let url = Bundle.module.url(forResource: "plain-llama", withExtension: "json", subdirectory: "Fixtures"),
      let data = try? Data(contentsOf: url), let json = try? JSONValue(parsing: Array(data)),
      let cases = json["cases"]?.array
    else { return [] }
    return cases.compactMap(Self.read)
  }()

  static func read(_ json: JSONValue) -> Case? {
    guard let config = json["config"], let name = json["name"]?.string else { return nil }
    func integer(_ key: String) -> Int { config[key]?.integer ?? 0 }
    let window = integer("max_position_embeddings")
    let scaling = config["rope_scaling"]
    let factor = scaling?["factor"]?.number ?? 1
    let ropeScaling: RopeScaling =
      switch scaling?["rope_type"]?.string {
      case "linear": .linear(factor: factor)
      case "dynamic": .dynamic(factor: factor, originalPositionCount: window)
      case "yarn":
        .yarn(
          RopeScaling.Yarn(
            factor: factor, originalPositionCount: window, betaFast: 32, betaSlow: 1,
            attentionFactor: 0.1 * log(factor) + 1, truncates: true))
      case "llama3":
        .llama3(factor: factor, lowFrequencyFactor: 1, highFrequencyFactor: 4, originalPositionCount: window)
      default: .none
      }
    return Case(
      testDescription: name,
      configuration: LlamaConfiguration(
        hiddenSize: integer("hidden_size"), intermediateSize: integer("intermediate_size"),
        layerCount: integer("num_hidden_layers"), headCount: integer("num_attention_heads"),
        kvHeadCount: integer("num_key_value_heads"),
        headDim: config["head_dim"]?.integer ?? integer("hidden_size") / integer("num_attention_heads"),
        vocabularySize: integer("vocab_size"), rmsNormEpsilon: 1e-5, ropeTheta: config["rope_theta"]?.number ?? 0,
        ropeScaling: ropeScaling, maxPositionCount: window,
        tiesWordEmbeddings: config["tie_word_embeddings"]?.boolean ?? false, beginOfTextToken: 1,
        endOfTextTokens: [2],
        attentionInputBias: config["attention_bias"]?.boolean ?? (config["model_type"]?.string == "qwen2"),
        attentionOutputBias: config["attention_bias"]?.boolean ?? false, mlpBias: config["mlp_bias"]?.boolean ?? false),
      tokens: (json["tokens"]?.array ?? []).compactMap { $0.integer.map { Int32($0) } },
      positions: (json["positions"]?.array ?? []).compactMap(\.integer),
      logits: (json["logits"]?.array ?? []).map { ($0.array ?? []).compactMap { $0.number.map { Float($0) } } })
  }

  @Test func thereAreCases() {
    // Two shapes, five scalings, within the window and four times beyond it; three sets of biases, Qwen2 and Mistral.
    #expect(Self.cases.count == 25)
  }

  @Test(arguments: cases)
  func logitsAreTransformers(_ reference: Case) throws {
    try expectLogits(of: reference, from: reference.configuration)
  }

  /// LLaMA 3.1's rule, when only what it does to each pair is known.
  @Test(arguments: cases.filter { if case .llama3 = $0.configuration.ropeScaling { true } else { false } })
  func divisorsStandForARule(_ reference: Case) throws {
    var configuration = reference.configuration
    guard case .llama3(let factor, let low, let high, let original) = configuration.ropeScaling else { return }
    configuration.ropeScaling = .divisors(
      (0..<configuration.headDim / 2).map { pair in
        let frequency = pow(configuration.ropeTheta, -2 * Double(pair) / Double(configuration.headDim))
        let turns = Double(original) * frequency / (2 * Double.pi)
        let kept = min(max((turns - low) / (high - low), 0), 1)
        return 1 / (kept + (1 - kept) / factor)
      })
    try expectLogits(of: reference, from: configuration)
  }

  /// A pack that is read with another scaling than its own is one that was converted with that scaling, bit for bit.
  @Test(arguments: cases)
  func anotherScalingIsThatOfAPack(_ reference: Case) throws {
    let configuration = reference.configuration
    let positions: PositionScaling
    switch configuration.ropeScaling {
    case .none: positions = PositionScaling(.none)
    case .linear(let factor): positions = PositionScaling(.linear, factor: factor)
    case .dynamic(let factor, let original):
      positions = PositionScaling(.dynamicNTK, factor: factor, originalPositionCount: original)
    case .yarn(let yarn): positions = PositionScaling(.yarn, factor: yarn.factor)
    case .llama3(let factor, _, _, _): positions = PositionScaling(.llama3, factor: factor)
    case .divisors: return
    }
    var other = configuration
    other.ropeScaling = configuration.ropeScaling == .none ? .linear(factor: 3) : .none
    let pack = try TestPack(other)
    let model = LlamaModel(pack.model.pack, positions: positions)
    #expect(model.window == Int(positions.factor * Double(configuration.maxPositionCount)))
    #expect(try logits(model, reference.tokens) == logits(TestPack(configuration).model, reference.tokens))
    // Within the window the dynamic rule does nothing.
    if case .dynamic = configuration.ropeScaling, reference.tokens.count <= configuration.maxPositionCount { return }
    #expect(try logits(model, reference.tokens) != logits(pack.model, reference.tokens))
  }

  /// Static NTK is another base, and nothing else.
  @Test func ntkIsAnotherBase() throws {
    let reference = try #require(Self.cases.first { $0.configuration.ropeScaling == .none })
    var configuration = reference.configuration
    let pack = try TestPack(configuration)
    let model = LlamaModel(pack.model.pack, positions: PositionScaling(.ntk, factor: 4))
    let dimension = Double(configuration.headDim)
    configuration.ropeTheta *= pow(4, dimension / (dimension - 2))
    #expect(try logits(model, reference.tokens) == logits(TestPack(configuration).model, reference.tokens))
    #expect(try logits(model, reference.tokens) != logits(pack.model, reference.tokens))
    #expect(model.window == 4 * configuration.maxPositionCount)
  }

  private func logits(_ model: LlamaModel, _ tokens: [Int32]) throws -> [Float] {
    Session(model, capacity: tokens.count, threads: ThreadPool(threadCount: 2)).readAll(tokens)
  }

  private func expectLogits(of reference: Case, from configuration: LlamaConfiguration) throws {
    let pack = try TestPack(configuration)
    let session = Session(pack.model, capacity: reference.tokens.count, threads: ThreadPool(threadCount: 2))
    let logits = session.readAll(reference.tokens)
    let vocabulary = reference.configuration.vocabularySize
    for (position, expected) in zip(reference.positions, reference.logits) {
      let actual = Array(logits[position * vocabulary..<(position + 1) * vocabulary])
      let difference = zip(actual, expected).map { abs($0 - $1) }.max() ?? .infinity
      #expect(difference < 1e-4)
    }
  }
}
