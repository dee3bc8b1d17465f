import ContextTrees
import LlamaRuntime
import ModelPacks
import NodeBlocks
import Testing

/// Sessions that are read together give the bits that each gives alone.
@Suite struct SessionBatchTests {
  /// A session, made alone or for a batch, and what it reads.
  private struct Case {
    let tokens: [Int32]
    let make: (SessionBatch?) -> Session
  }

  /// Logits after every token from `first` on, of a session that reads alone.
  private static func alone(_ test: Case, from first: Int) -> [[Float]] {
    let session = test.make(nil)
    var logits: [[Float]] = []
    if first > 0 { session.skim(Array(test.tokens[..<first])) }
    for token in test.tokens[first...] { logits.append(session.read(CollectionOfOne(token))) }
    return logits
  }

  private static let threads = ThreadPool(threadCount: 2)

  /// Plain texts of several lengths, texts with trees in both manners, a text behind stored rows, and streams.
  private static func cases(_ pack: TestPack) throws -> [Case] {
    let configuration = LlamaConfiguration.small
    var cases: [Case] = []
    func add(_ count: Int, _ make: @escaping (SessionBatch, Int) -> Session) {
      cases.append(
        Case(tokens: configuration.tokens("text \(cases.count)", count)) { batch in
          make(batch ?? SessionBatch(pack.model, tokens: 256, threads: threads), count)
        })
    }
    for count in [70, 9, 141, 1100] { add(count) { Session(in: $0, capacity: $1) } }
    add(150) { Session(in: $0, capacity: $1, cachePolicy: .streaming(sinks: 4, recent: 60)) }
    let beginning = Session(pack.model, capacity: 128, threads: threads)
    beginning.skim(configuration.tokens("beginning", 128))
    var prefix = TextPrefix(layout: pack.model.textRowLayout)
    prefix.append(try beginning.rows(0..<128), readAt: 0)
    add(40) { Session(in: $0, capacity: $1, behind: prefix) }
    if let encoder = TreeEncoder(pack.model, encoding: .int8, threads: threads) {
      for chunkCount in [1, 40] {
        let blocks = try encoder.encode(configuration.tokens("chunk", 32)).blocks
        let context = InjectedContext(
          layout: encoder.layout, chunks: [[NodeBlock]](repeating: blocks, count: chunkCount))
        add(80) { Session(in: $0, capacity: $1, context: context) }
        add(33) {
          Session(in: $0, capacity: $1, context: context, cachePolicy: .streaming(sinks: 4, recent: 12))
        }
      }
    }
    return cases
  }

  /// One token of some sessions and slices of others' prompts in every pass, in changing company and order.
  @Test(arguments: InvarianceTests.encodings, [nil, SharedLLMConfiguration.Injection.crossAttention, .mergedSoftmax])
  func companyChangesNothing(
    _ quantization: TensorEncoding, _ injection: SharedLLMConfiguration.Injection?
  ) throws {
    var shared = SharedLLMConfiguration.small(.compose)
    if let injection { shared.injection = injection }
    let pack = try TestPack(.small, sharedLLM: injection == nil ? nil : shared, quantization: quantization)
    let cases = try Self.cases(pack)
    let batch = SessionBatch(pack.model, tokens: 100, threads: Self.threads)
    let sessions = cases.map { $0.make(batch) }
    // All but the last 30 tokens are read in slices, the others one by one.
    let starts = cases.map { max($0.tokens.count - 30, 0) }
    var logits = cases.map { _ in [[Float]]() }
    var round = 0
    while sessions.indices.contains(where: { sessions[$0].tokenCount < cases[$0].tokens.count }) {
      round += 1
      var numbers: [(index: Int, number: Int)] = []
      for index in sessions.indices.shuffled(round) where index % 3 != round % 4 {
        let (session, tokens) = (sessions[index], cases[index].tokens)
        let next = session.tokenCount
        guard next < tokens.count else { continue }
        let isPrompt = next < starts[index]
        let count = isPrompt ? min(starts[index] - next, 1 + (37 * round) % 60, batch.tokenLimit - batch.tokenCount) : 1
        guard count > 0, batch.tokenCount < batch.tokenLimit else { continue }
        let number = batch.add(session, tokens[next..<next + count], wantsLogits: !isPrompt)
        if !isPrompt { numbers.append((index, number)) }
      }
      guard batch.tokenCount > 0 else { continue }
      batch.read()
      for (index, number) in numbers {
        var new: [Float] = []
        batch.copyLogits(number, into: &new)
        logits[index].append(new)
      }
    }
    for index in cases.indices {
      #expect(logits[index] == Self.alone(cases[index], from: starts[index]), "case \(index)")
    }
    #expect(!logits.joined().joined().contains { !$0.isFinite })
  }

  /// A session of a batch is a session: what it reads by itself between passes counts.
  @Test func aSessionReadsByItselfToo() throws {
    let pack = try TestPack(.small, quantization: .int8(groupSize: 32))
    let tokens = LlamaConfiguration.small.tokens("text", 90)
    let expected = Session(pack.model, capacity: 90, threads: Self.threads).read(tokens)
    let batch = SessionBatch(pack.model, tokens: 16, threads: Self.threads)
    let (first, second) = (Session(in: batch, capacity: 90), Session(in: batch, capacity: 90))
    batch.add(first, tokens[..<10], wantsLogits: false)
    second.skim(Array(tokens[..<40]))
    batch.read()
    _ = first.read(tokens[10..<71])
    batch.add(first, tokens[71..<80], wantsLogits: false)
    batch.add(second, tokens[40..<47], wantsLogits: false)
    batch.read()
    #expect(first.read(tokens[80...]) == expected)
    #expect(second.read(tokens[47...]) == expected)
  }

  /// Dynamic scaling turns a text's keys when it grows, and those of no other.
  @Test func scalingIsEachTextsOwn() throws {
    var configuration = LlamaConfiguration.small
    configuration.ropeScaling = .dynamic(factor: 2, originalPositionCount: 40)
    let pack = try TestPack(configuration)
    let tokens = configuration.tokens("text", 70)
    let batch = SessionBatch(pack.model, tokens: 8, threads: Self.threads)
    let (long, short) = (Session(in: batch, capacity: 70), Session(in: batch, capacity: 70))
    let (longAlone, shortAlone) = (
      Session(pack.model, capacity: 70, threads: Self.threads), Session(pack.model, capacity: 70, threads: Self.threads)
    )
    long.skim(Array(tokens[..<35]))
    longAlone.skim(Array(tokens[..<35]))
    for step in 0..<30 {
      let numbers = [
        batch.add(long, tokens[35 + step..<36 + step], wantsLogits: true),
        batch.add(short, tokens[step..<step + 1], wantsLogits: true),
      ]
      batch.read()
      var logits: [Float] = []
      batch.copyLogits(numbers[0], into: &logits)
      #expect(logits == longAlone.read(tokens[35 + step..<36 + step]))
      batch.copyLogits(numbers[1], into: &logits)
      #expect(logits == shortAlone.read(tokens[step..<step + 1]))
    }
  }
}

extension Range<Int> {
  /// Another order for every number.
  fileprivate func shuffled(_ number: Int) -> [Int] {
    sorted { ($0 &* 7919 &+ number &* 104729) % 101 < ($1 &* 7919 &+ number &* 104729) % 101 }
  }
}
