import CanonicalJSON
import FileAccess
import Foundation
import ModelPacks
import NodeBlocks
import Testing

@testable import LlamaRuntime

/// The cache policies against a computation that shares nothing with them; the fixture is written by
/// Tools/verify/reference/cache_policies.py.
@Suite struct CachePolicyTests {
  struct Case: Sendable, CustomTestStringConvertible {
    let testDescription: String
    let json: JSONValue

    /// The weights are derived from their names, or those of a checkpoint of this repository.
    func pack() throws -> TestPack {
      guard let checkpoint = json["checkpoint"]?.string else {
        guard let model = PlainLlamaTests.read(json) else { throw CocoaError(.coderReadCorrupt) }
        let scale = json["scale"]
        return try TestPack(
          model.configuration,
          edit: { name, values in
            for kind in ["q_proj", "k_proj"] where name.contains(".\(kind).") {
              let factor = Float(scale?[kind]?.number ?? 1)
              values = values.map { factor * $0 }
            }
          })
      }
      let root = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "../../\(checkpoint)")
      let tensors = try Tensors(reading: root.appending(path: "model.safetensors"))
      let config = try JSONValue(parsing: Array(Data(contentsOf: root.appending(path: "config.json"))))
      guard let model = PlainLlamaTests.read(.members(["name": .string(checkpoint), "config": config])) else {
        throw CocoaError(.coderReadCorrupt)
      }
      return try TestPack(
        model.configuration,
        edit: { name, values in
          if let actual = tensors.values(name) { values = actual }
        })
    }

    func policy() -> CachePolicy? {
      guard let policy = json["policy"] else { return nil }
      func count(_ key: String) -> Int { policy[key]?.integer ?? -1 }
      switch policy["name"]?.string.flatMap(CachePolicy.Name.init(rawValue:)) {
      case .full: return .full
      case .streaming: return .streaming(sinks: count("sinks"), recent: count("recent"))
      case .lmInfinite: return .lmInfinite(start: count("start"), recent: count("recent"))
      case .h2o: return .h2o(heavy: count("heavy"), recent: count("recent"))
      case .snapKV: return .snapKV(rows: count("rows"), window: count("window"), kernel: count("kernel"))
      case .pyramidKV:
        return .pyramidKV(
          rows: count("rows"), window: count("window"), kernel: count("kernel"), beta: count("beta"))
      case .tova: return .tova(rows: count("rows"))
      case .fastGen:
        return .fastGen(
          recovery: policy["recovery"]?.number ?? 0, recent: policy["local"]?.number ?? 0,
          frequent: policy["frequent"]?.number ?? 0, window: count("window"))
      case .infLLM:
        return .infLLM(
          initial: count("initial"), recent: count("local"), block: count("block"), chosen: count("chosen"),
          representatives: count("representatives"))
      case nil: return nil
      }
    }

    func tokens(_ json: JSONValue?) -> [Int32] { json?.array?.compactMap { $0.integer.map(Int32.init) } ?? [] }

    var kinds: TokenKinds {
      TokenKinds(
        special: Set(tokens(json["policy"]?["special"])), punctuation: Set(tokens(json["policy"]?["punctuation"])))
    }
  }

  static let cases: [Case] = {
    guard let url = Bundle.module.url(forResource: "cache-policies", withExtension: "json", subdirectory: "Fixtures"),
      let data = try? Data(contentsOf: url), let json = try? JSONValue(parsing: Array(data)),
      let cases = json["cases"]?.array
    else { return [] }
    return cases.map { Case(testDescription: $0["name"]?.string ?? "", json: $0) }
  }()

  @Test func thereAreCases() {
    #expect(Set(Self.cases.compactMap { $0.policy()?.name }) == Set(CachePolicy.Name.allCases))
    #expect(Self.cases.count >= 60)
  }

  /// The rows of every layer and head after every step, what a piece chooses, and logits.
  @Test(arguments: cases)
  func rowsAndLogitsAreTheReferences(_ reference: Case) throws {
    let pack = try reference.pack()
    guard let policy = reference.policy(), let reads = reference.json["reads"]?.array else {
      Issue.record("the case is not understood")
      return
    }
    let rowPolicy = pack.model.rowPolicy(policy, kinds: reference.kinds)
    let length = reads.reduce(0) {
      $0 + ($1["prompt"]?.array?.count ?? 0) + ($1["singles"]?.array?.count ?? 0)
    }
    let session = Session(
      pack.model, capacity: length, rowPolicy: rowPolicy, threads: ThreadPool(threadCount: 2))
    let cache = session.text.cache
    let heads = pack.model.configuration.kvHeadCount
    var kept: [[Int32]] = []
    for read in reads {
      var expected: [Int: [Float]] = [:]
      for logits in read["logits"]?.array ?? [] {
        expected[logits["position"]?.integer ?? -1] = logits["values"]?.array?.compactMap { $0.number.map(Float.init) }
      }
      func compare(_ logits: [Float]) throws {
        guard let expected = expected.removeValue(forKey: session.tokenCount - 1) else { return }
        let stride = reference.json["logit_stride"]?.integer ?? 1
        let actual = Swift.stride(from: 0, to: logits.count, by: stride).map { logits[$0] }
        #expect(actual.count == expected.count)
        let difference = zip(actual, expected).map { abs($0 - $1) }.max() ?? .infinity
        #expect(difference < 1e-3, "token \(session.tokenCount - 1)")
      }
      let prompt = reference.tokens(read["prompt"])
      if !prompt.isEmpty { try compare(session.read(prompt)) }
      if let rows = read["kept"]?.array {
        kept = rows.flatMap { $0.array ?? [] }.map(reference.tokens)
        #expect(cache.lists.map { $0.positions.sorted() } == kept)
      }
      for (step, token) in reference.tokens(read["singles"]).enumerated() {
        try compare(session.read(CollectionOfOne(token)))
        guard let dropped = read["dropped"]?.array?[step].array else { continue }
        let latest = Int32(session.tokenCount - 1)
        for (list, gone) in dropped.flatMap({ $0.array ?? [] }).map(reference.tokens).enumerated() {
          kept[list] = (kept[list] + [latest]).filter { !gone.contains($0) }
        }
        #expect(cache.lists.map { $0.positions.sorted() } == kept, "token \(latest)")
        guard cache.lists.map({ $0.positions.sorted() }) == kept else { return }
      }
      #expect(expected.isEmpty, "logits of all steps were compared")
    }
    if let profiles = reference.json["profiles"]?.array {
      let chooser = rowPolicy.chooser as? ProfiledHeads
      #expect(chooser?.profiles.map { $0?.rawValue } == profiles.flatMap { ($0.array ?? []).map(\.integer) })
    }
    if let last = reference.json["pieces"]?.array?.last, last["end"]?.integer == session.tokenCount {
      for (layer, chosen) in (last["chosen"]?.array ?? []).enumerated() {
        #expect(cache.chosenBlocks(layer: layer) == chosen.array?.compactMap(\.integer))
      }
    }
    #expect(heads > 0)
  }

  /// A budget that is as large as the text changes no bit of what the same rows give without a policy.
  @Test(arguments: InvarianceTests.encodings, CachePolicy.Name.allCases)
  func roomForAllIsFull(_ quantization: TensorEncoding, _ name: CachePolicy.Name) throws {
    let pack = try TestPack(.small, quantization: quantization)
    let tokens = LlamaConfiguration.small.tokens("policy", 300)
    // Where rows are chosen one by one, those of an int8 pack are float16.
    if pack.model.cacheEncoding == .int8, CachePolicy(name, rows: 16).choosesRows { return }
    func logits(_ policy: CachePolicy) -> [Float] {
      let session = Session(pack.model, capacity: 300, cachePolicy: policy, threads: ThreadPool(threadCount: 2))
      var logits = session.read(tokens.prefix(257))
      for token in tokens.dropFirst(257) { logits += session.read(CollectionOfOne(token)) }
      return logits
    }
    let isFull = logits(CachePolicy(name, rows: 700, recovery: 1)) == logits(.full)
    #expect(isFull)
  }

  /// Rows in int8 are as good as floats, but for a little: the Kullback-Leibler divergence of what is expected, in nats, is
  /// below 0.002 on average, with weights that make attention peaked. Where rows are chosen, other ones may stay of those
  /// that are nearly as good as each other.
  @Test(arguments: [CachePolicy.full, .h2o(heavy: 24, recent: 24), .tova(rows: 48), .streaming(sinks: 4, recent: 44)])
  func int8RowsAreClose(_ policy: CachePolicy) throws {
    let pack = try TestPack(
      .small,
      edit: { name, values in
        if name.contains("q_proj") { values = values.map { 4 * $0 } }
      })
    let tokens = LlamaConfiguration.small.tokens("int8", 180)
    func probabilities(_ encoding: RowEncoding) -> [[Double]] {
      let session = Session(pack.model, capacity: 180, cachePolicy: policy, rowEncoding: encoding)
      var logits = [session.read(tokens.prefix(150))]
      for token in tokens.dropFirst(150) { logits.append(session.read(CollectionOfOne(token))) }
      return logits.map { logits in
        let largest = Double(logits.max() ?? 0)
        let weights = logits.map { exp(Double($0) - largest) }
        let sum = weights.reduce(0, +)
        return weights.map { $0 / sum }
      }
    }
    let divergences = zip(probabilities(.float32), probabilities(.int8)).map { exact, rounded in
      zip(exact, rounded).reduce(0) { $0 + $1.0 * log($1.0 / $1.1) }
    }
    let mean = divergences.reduce(0, +) / Double(divergences.count)
    #expect(mean < (policy.choosesRows ? 0.02 : 0.002) && mean > 0, "\(mean)")
  }

  /// What stays in memory is what the policy says, whatever the length of the text.
  @Test(arguments: [CachePolicy.Name.h2o, .tova, .snapKV, .pyramidKV, .streaming, .lmInfinite])
  func bytesAreTheBudgets(_ name: CachePolicy.Name) throws {
    let pack = try TestPack(.small, quantization: .float16)
    let policy = CachePolicy(name, rows: 48)
    let session = Session(pack.model, capacity: 400, cachePolicy: policy)
    _ = session.read(LlamaConfiguration.small.tokens("policy", 390))
    let budget = 48 * pack.model.rowByteCount(policy)
    if policy.positionCount == nil {
      #expect(session.rowByteCount <= budget && session.rowByteCount > budget * 9 / 10)
    } else {
      // Windows move in blocks.
      #expect(session.cacheByteCount <= (48 + 256 + 7 * 64) * pack.model.rowByteCount(policy))
    }
  }
}

/// The tensors of a safetensors file, in float32.
private struct Tensors {
  private let bytes: Data
  private let header: JSONValue
  private let start: Int

  init(reading url: URL) throws {
    bytes = try Data(contentsOf: url)
    start = 8 + bytes.prefix(8).enumerated().reduce(0) { $0 + Int($1.element) << (8 * $1.offset) }
    header = try JSONValue(parsing: Array(bytes[8..<start]))
  }

  func values(_ name: String) -> [Float]? {
    guard let range = header[name]?["data_offsets"]?.array?.compactMap(\.integer), range.count == 2 else { return nil }
    let data = Array(bytes[start + range[0]..<start + range[1]])
    switch header[name]?["dtype"]?.string {
    case "F32":
      return stride(from: 0, to: data.count, by: 4).map { at in
        Float(bitPattern: (0..<4).reduce(0) { $0 | UInt32(data[at + $1]) << (8 * $1) })
      }
    case "F16":
      return stride(from: 0, to: data.count, by: 2).map { at in
        Float(Float16(bitPattern: UInt16(data[at]) | UInt16(data[at + 1]) << 8))
      }
    default: return nil
    }
  }
}
