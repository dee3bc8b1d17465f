import FileAccess
import Foundation
import LlamaRuntime
import ModelPacks
import Testing

@testable import SharedPack

/// Many answers at once: each is the one that it is alone, and what they share is shared fairly. One test at a time, as
/// answers without end take every processor until their test has a thread to end them with.
@Suite(.serialized) struct AnswerEngineTests {
  let scratch: Scratch

  init() throws { scratch = try Scratch() }

  private func options(_ maxTokens: Int, sampling: SamplingOptions = .greedy) -> GenerationOptions {
    GenerationOptions(maxTokens: maxTokens, sampling: sampling, ignoresEndOfText: true)
  }

  /// An answer without end.
  private let endless = GenerationOptions(
    maxTokens: .max, ignoresEndOfText: true, cachePolicy: .streaming(sinks: 4, recent: 28))

  private func tokens(_ count: Int, from first: Int) -> [Int32] {
    (0..<count).map { Int32(262 + (first + $0 * ($0 + 3)) % 26) }
  }

  /// Returns when a condition holds, which it does soon.
  private func wait(until isTrue: () -> Bool, sourceLocation: SourceLocation = #_sourceLocation) async throws {
    for _ in 0..<6000 {
      if isTrue() { return }
      try await Task.sleep(for: .milliseconds(5))
    }
    Issue.record("it did not come to be", sourceLocation: sourceLocation)
  }

  /// Prompts of many lengths, options of many kinds, contexts and streams, from many tasks, with fewer places than
  /// requests, give what they give one after the other.
  @Test(arguments: [TensorEncoding.int8(groupSize: 32), .float32])
  func companyChangesNoAnswer(_ encoding: TensorEncoding) async throws {
    let model = try TinyModel(window: 700, quantization: encoding).open(in: scratch)
    let document = try model.encode(tokens(40, from: 5), named: "text")
    var requests: [AnswerRequest] = []
    for index in 0..<24 {
      let prompt = tokens([3, 70, 1, 300, 129, 64][index % 6], from: index)
      var request = AnswerRequest(prompt, options: options(20 + index), client: "\(index % 3)")
      if index % 2 == 1 { request.options.sampling = SamplingOptions(temperature: 1.2, seed: UInt64(index)) }
      if index % 5 == 2 { request.options.stopStrings = ["a", "the"] }
      if index % 4 == 3 { request.context = try model.select(from: [document], query: prompt) }
      if index % 8 == 6 { request.options.cachePolicy = .streaming(sinks: 4, recent: 28) }
      if index % 7 == 1 { request.logProbabilities = 3 }
      if index % 11 == 4 { request.options.maxTokens = 0 }
      requests.append(request)
    }
    var expected: [Response] = []
    for request in requests {
      expected.append(
        try await model.generate(request.prompt, context: request.context, options: request.options).collect())
    }
    let engine = AnswerEngine(model, limits: AnswerLimits(parallel: 5, memory: 1 << 28, promptSlice: 37))
    try await withThrowingTaskGroup(of: (Int, Answer).self) { group in
      for (index, request) in requests.enumerated() {
        group.addTask { (index, try await engine.submit(request).collect()) }
      }
      for try await (index, answer) in group {
        let right = expected[index]
        #expect(answer.text == right.text && answer.summary.tokens == right.summary.tokens, "request \(index)")
        #expect(answer.summary.finishReason == right.summary.finishReason)
        #expect(answer.summary.contextRows == right.summary.contextRows)
        let hasTokens = requests[index].logProbabilities != nil
        #expect(answer.tokens.map(\.chosen.token) == (hasTokens ? right.summary.tokens : []))
      }
    }
    let statistics = engine.statistics
    #expect(statistics.finished == 24 && statistics.waiting == 0 && statistics.reservedBytes == 0)
    #expect(statistics.promptTokens + statistics.cachedTokens == requests.reduce(0) { $0 + $1.prompt.count })
    #expect(statistics.answerTokens == expected.reduce(0) { $0 + $1.summary.tokens.count })
    #expect(statistics.passes < statistics.answerTokens)
  }

  /// Turns of a conversation and texts that begin alike are read from where they differ, over the ends of blocks and of
  /// attention's parts, and answered with the same bits: the log probabilities tell.
  @Test(arguments: [TensorEncoding.int8(groupSize: 32), .float16, .float32])
  func whatIsKeptChangesNoAnswer(_ encoding: TensorEncoding) async throws {
    let model = try TinyModel(injection: .none, window: 4096, quantization: encoding).open(in: scratch)
    let keeping = AnswerEngine(model, limits: AnswerLimits(memory: 1 << 28))
    let forgetting = AnswerEngine(model, limits: AnswerLimits(memory: 1 << 28, keptMemory: 0))
    var conversation: [Int32] = []
    var cached: [Int] = []
    for (turn, count) in [70, 63, 1, 400, 64, 530, 130, 5].enumerated() {
      conversation += tokens(count, from: turn)
      // Another conversation that leaves this one somewhere.
      for prompt in [conversation, conversation.dropLast(conversation.count / 3) + tokens(30, from: 7)] {
        let request = AnswerRequest(Array(prompt), options: options(9), logProbabilities: 20)
        let answer = try await keeping.submit(request).collect()
        let right = try await forgetting.submit(request).collect()
        #expect(answer.text == right.text && answer.tokens == right.tokens, "turn \(turn)")
        #expect(right.summary.cachedTokens == 0)
        if prompt.count == conversation.count {
          cached.append(answer.summary.cachedTokens)
          if turn % 2 == 0 { conversation += answer.summary.tokens }
        }
      }
    }
    // All of the last turn's tokens, in whole blocks.
    #expect(cached == [0, 64, 128, 128, 512, 576, 1152, 1280], "\(cached)")
    #expect(forgetting.statistics.keptBytes == 0 && keeping.statistics.keptBytes > 0)
  }

  /// Equal prompts of one scope share, those of others do not; bytes stay within the limit, and what was not used for
  /// longest goes first.
  @Test func keptConversationsHaveTheirLimits() async throws {
    let model = try TinyModel(injection: .none, window: 1024).open(in: scratch)
    let probe = AnswerEngine(model, limits: AnswerLimits(memory: 1 << 28))
    func cached(_ engine: AnswerEngine, _ first: Int, scope: String = "") async throws -> Int {
      let prompt = tokens(200, from: first)
      return try await engine.submit(AnswerRequest(prompt, options: options(4), scope: scope)).collect().summary
        .cachedTokens
    }
    #expect(try await cached(probe, 1, scope: "one") == 0)
    #expect(try await cached(probe, 1, scope: "two") == 0)
    #expect(try await cached(probe, 1, scope: "one") == 192)
    #expect(probe.statistics.keptConversations == 2)
    let each = probe.statistics.keptBytes / 2
    let engine = AnswerEngine(model, limits: AnswerLimits(memory: 1 << 28, keptMemory: 2 * each))
    for first in [1, 2] { #expect(try await cached(engine, first) == 0) }
    #expect(try await cached(engine, 1) == 192)
    #expect(try await cached(engine, 3) == 0)
    #expect(try await cached(engine, 1) == 192)
    #expect(try await cached(engine, 2) == 0)
    #expect(engine.statistics.keptBytes <= 2 * each && engine.statistics.keptConversations == 2)
    // One that does not fit drives no others out.
    let long = tokens(700, from: 9)
    _ = try await engine.submit(AnswerRequest(long, options: options(1))).collect()
    #expect(try await cached(engine, 2) == 192)
  }

  /// Answers wait for memory, what is kept makes room, and what can never fit is refused.
  @Test func memoryIsOneBudget() async throws {
    let model = try TinyModel(injection: .none, window: 2000).open(in: scratch)
    let request = AnswerRequest(tokens(100, from: 1), options: options(900))
    let limits = AnswerLimits(parallel: 8)
    let each = model.reservation(for: request, limits)
    func engine(_ memory: Int) -> AnswerEngine {
      AnswerEngine(model, limits: AnswerLimits(parallel: 8, memory: memory))
    }
    let found = refusal { _ = try engine(each - 1).submit(request) }
    #expect(found?.name.text == "needs-more-memory" && found?.name.exitStatus == .badInput)
    let right = try await model.generate(request.prompt, options: request.options).collect().text
    // Alone, each fits with nothing to spare: what is kept has to go, unless the next one goes on with it.
    for memory in [each, 2 * each + each / 2] {
      let engine = engine(memory)
      let watch = Task {
        var most = (running: 0, bytes: 0)
        while !Task.isCancelled {
          let statistics = engine.statistics
          most.running = max(most.running, statistics.running)
          most.bytes = max(most.bytes, statistics.reservedBytes + statistics.keptBytes)
          try? await Task.sleep(for: .microseconds(200))
        }
        return most
      }
      try await withThrowingTaskGroup(of: String.self) { group in
        for index in 0..<6 {
          group.addTask {
            var request = request
            request.scope = "\(index / 2)"
            return try await engine.submit(request).collect().text
          }
        }
        for try await text in group { #expect(text == right) }
      }
      watch.cancel()
      let most = await watch.value
      #expect(most.running <= memory / each && most.bytes <= memory)
      #expect(engine.statistics.finished == 6)
    }
  }

  /// A queue has an end, and a place in it that is given up is free at once.
  @Test func tooManyAreToldToTryAgain() async throws {
    let model = try TinyModel().open(in: scratch)
    let engine = AnswerEngine(model, limits: AnswerLimits(parallel: 2, queue: 3, memory: 1 << 28))
    var streams: [AnswerStream] = []
    for _ in 0..<5 { streams.append(try engine.submit(AnswerRequest([262, 270], options: endless))) }
    let busy = refusal { _ = try engine.submit(AnswerRequest([262], options: endless)) }
    #expect(busy?.name.text == "busy" && busy?.name.exitStatus == .tryAgain)
    try await wait { engine.statistics.running == 2 }
    #expect(engine.statistics.waiting == 3 && engine.statistics.refused == 1)
    streams.removeLast()
    streams.append(try engine.submit(AnswerRequest([262], options: endless)))
    // Readers that leave free their places, too.
    streams.removeAll()
    try await wait { engine.statistics.running + engine.statistics.waiting == 0 }
    #expect(engine.statistics.abandoned == 6)
    #expect(try await engine.submit(AnswerRequest([262], options: options(3))).collect().summary.tokens.count == 3)
  }

  /// A reader that leaves its loop ends its answer and no other.
  @Test func whoLeavesLeavesAlone() async throws {
    let model = try TinyModel().open(in: scratch)
    let engine = AnswerEngine(model, limits: AnswerLimits(parallel: 4, memory: 1 << 28))
    let prompt = tokens(20, from: 3)
    let right = try await model.generate(prompt, options: options(200)).collect().text
    async let other = engine.submit(AnswerRequest(prompt, options: options(200))).collect().text
    for leaver in 0..<3 {
      var pieces = 0
      for try await event in try engine.submit(AnswerRequest([262, 263], options: endless)) {
        if case .piece = event { pieces += 1 }
        if pieces > leaver * 5 { break }
      }
    }
    #expect(try await other == right)
    try await wait { engine.statistics.running == 0 }
    let task = Task { try await engine.submit(AnswerRequest([262, 263], options: endless)).collect() }
    try await wait { engine.statistics.running == 1 }
    task.cancel()
    #expect((try? await task.value) == nil)
    try await wait { engine.statistics.abandoned == 4 && engine.statistics.running == 0 }
    #expect(engine.statistics.finished == 1)
  }

  /// One request of a client does not wait for all of another's.
  @Test func clientsTakeTurns() async throws {
    let model = try TinyModel().open(in: scratch)
    let engine = AnswerEngine(model, limits: AnswerLimits(parallel: 1, memory: 1 << 28))
    var greedy = try (0..<8).map { _ in try engine.submit(AnswerRequest([262], options: endless, client: "greedy")) }
    try await wait { engine.statistics.running == 1 }
    let modest = try engine.submit(AnswerRequest([263], options: options(2), client: "modest"))
    // The first is being answered, and the second's turn came before the modest one's.
    greedy.removeFirst()
    try await wait { engine.statistics.abandoned == 1 && engine.statistics.running == 1 }
    greedy.removeFirst()
    try await wait { engine.statistics.finished == 1 }
    #expect(engine.statistics.waiting + engine.statistics.running == 6)
    greedy = []
    #expect(try await modest.collect().summary.tokens.count == 2)
  }

  @Test func elementsTakeTurns() {
    var queue = FairQueue<Int>()
    for (key, element) in [("a", 1), ("a", 2), ("b", 3), ("a", 4), ("c", 5), ("b", 6)] {
      queue.append(element, of: key)
    }
    queue.removeAll { $0 == 5 }
    #expect(queue.count == 5)
    var order: [Int] = []
    while let next = queue.popFirst() {
      order.append(next)
      if next == 3 { queue.append(7, of: "b") }
    }
    #expect(order == [1, 3, 2, 6, 4, 7] && queue.count == 0)
  }

  /// Closing lets what runs end, for a time, and refuses what waits and what comes.
  @Test func closingEndsInTime() async throws {
    let model = try TinyModel().open(in: scratch)
    func name(_ stream: AnswerStream) async -> String {
      do {
        return "\(try await stream.collect().summary.tokens.count)"
      } catch {
        return (error as? Refusal)?.name.text ?? "\(error)"
      }
    }
    let engine = AnswerEngine(model, limits: AnswerLimits(parallel: 1, memory: 1 << 28))
    let running = try engine.submit(AnswerRequest([262, 270], options: options(200)))
    try await wait { engine.statistics.running + engine.statistics.finished == 1 }
    let waiting = try engine.submit(AnswerRequest([262, 270], options: endless))
    if engine.statistics.waiting == 1 {
      async let closed: Void = engine.close(within: .seconds(60))
      #expect(await name(running) == "200")
      #expect(await name(waiting) == "engine-closed")
      await closed
    }
    let patient = AnswerEngine(model, limits: AnswerLimits(parallel: 1, memory: 1 << 28))
    let streams = try (0..<3).map { _ in try patient.submit(AnswerRequest([262, 270], options: endless)) }
    await patient.close(within: .milliseconds(50))
    for stream in streams { #expect(await name(stream) == "engine-closed") }
    let late = refusal { _ = try patient.submit(AnswerRequest([262], options: endless)) }
    #expect(late?.name.text == "engine-closed" && late?.name.exitStatus == .tryAgain)
    #expect(patient.statistics.running == 0 && patient.statistics.failed == 3)
    await patient.close(within: .zero)
  }

  @Test func impossibleRequestsAreRefused() throws {
    let model = try TinyModel(window: 32).open(in: scratch)
    let engine = AnswerEngine(model, limits: AnswerLimits(memory: 1 << 28))
    for (prompt, name) in [
      ([], "empty-prompt"), ([1, -1], "token-out-of-range"), ([Int32](repeating: 1, count: 32), "prompt-too-long"),
    ] as [([Int32], String)] {
      #expect(refusal { _ = try engine.submit(AnswerRequest(prompt)) }?.name.text == name)
    }
  }

  /// The log probabilities are those of the session's logits, most likely first, whatever the sampling.
  @Test func logProbabilitiesAreTheModels() async throws {
    let model = try TinyModel().open(in: scratch)
    let engine = AnswerEngine(model, limits: AnswerLimits(memory: 1 << 28))
    let prompt = tokens(12, from: 2)
    let hot = SamplingOptions(temperature: 2, topK: 9, seed: 4)
    let answer = try await engine.submit(
      AnswerRequest(prompt, options: options(12, sampling: hot), logProbabilities: 20)
    ).collect()
    #expect(answer.tokens.count == 12)
    let session = Session(model.runtime, capacity: 30)
    var logits = session.read(prompt)
    for choice in answer.tokens {
      let sum = logits.reduce(0.0) { $0 + exp(Double($1)) }
      func logProbability(_ token: Int32) -> Double { Double(logits[Int(token)]) - log(sum) }
      #expect(abs(Double(choice.chosen.logProbability) - logProbability(choice.chosen.token)) < 1e-5)
      let best = logits.indices.sorted { (logits[$0], $1) > (logits[$1], $0) }.prefix(20).map(Int32.init)
      #expect(choice.mostLikely.map(\.token) == best)
      for likely in choice.mostLikely {
        #expect(abs(Double(likely.logProbability) - logProbability(likely.token)) < 1e-5)
      }
      logits = session.read(CollectionOfOne(choice.chosen.token))
    }
    let none = try await engine.submit(AnswerRequest(prompt, options: options(3), logProbabilities: 0)).collect()
    #expect(none.tokens.count == 3 && none.tokens.allSatisfy(\.mostLikely.isEmpty))
  }

  /// A pack that is cut short ends the answers that are being written with it, and nothing else.
  @Test func aCutPackEndsItsAnswers() async throws {
    let path = try TinyModel().pack(in: scratch)
    let model = try LanguageModel(opening: path)
    let engine = AnswerEngine(model, limits: AnswerLimits(memory: 1 << 28))
    let streams = try (0..<3).map { _ in try engine.submit(AnswerRequest([262, 270], options: endless)) }
    try await wait { engine.statistics.answerTokens > 10 }
    let size = try #require(try FileManager.default.attributesOfItem(atPath: path)[.size] as? Int)
    let file = FileHandle(forUpdatingAtPath: path)
    try file?.truncate(atOffset: UInt64(size / 2))
    for stream in streams {
      do {
        _ = try await stream.collect()
        Issue.record("an answer without end has ended")
      } catch {
        #expect((error as? Refusal)?.name.text == "file-changed")
      }
    }
    #expect(engine.statistics.running == 0 && engine.statistics.failed == 3 && engine.statistics.keptConversations == 0)
  }

  /// A store whose files are cut short ends the answers that read of it, and the engine goes on.
  @Test(arguments: [TinyModel.Injection.trained, .none])
  func aCutStoreEndsItsAnswers(_ injection: TinyModel.Injection) async throws {
    let model = try TinyModel(injection: injection, window: 1 << 13).open(in: scratch)
    let path = "\(scratch.path)/store"
    let source = DocumentSource(name: "text", path: try scratch.write(Texts.first, to: "text"))
    if injection == .none {
      var builder = try StoreBuilder(opening: path, model: model)
      _ = try builder.add(source)
    } else {
      // Small nodes in int8 are stored densely, and are copied before they are read.
      var builder = try StoreBuilder(opening: path, model: model, encoding: .float32)
      _ = try builder.add(source)
    }
    let inquiry = try DocumentStore(opening: path, model: model).inquiry("what did the hen eat", about: ["text"])
    let engine = AnswerEngine(model, limits: AnswerLimits(memory: 1 << 28))
    let prompt = tokens(20, from: 3)
    let right = try await engine.submit(AnswerRequest(prompt, options: options(50))).collect().text

    let finished = engine.statistics.finished
    let other = try engine.submit(AnswerRequest([262, 270], options: endless))
    let streams = try (0..<2).map { _ in try engine.submit(AnswerRequest(inquiry, options: options(8000))) }
    try await wait { engine.statistics.running == 3 }
    let begun = engine.statistics.answerTokens
    try await wait { engine.statistics.answerTokens > begun + 20 }
    var files: [String] = []
    for case let name as String in try #require(FileManager.default.enumerator(atPath: path)) {
      guard try Directory.kind(of: "\(path)/\(name)") == .file else { continue }
      // Nobody may write to what a store has committed.
      try FileManager.default.setAttributes([.posixPermissions: 0o600], ofItemAtPath: "\(path)/\(name)")
      try #require(FileHandle(forUpdatingAtPath: "\(path)/\(name)")).truncate(atOffset: 0)
      files.append("\(path)/\(name)")
    }
    #expect(!files.isEmpty && engine.statistics.finished == finished)
    for stream in streams {
      do {
        _ = try await stream.collect()
        Issue.record("an answer has come to its end without what it reads")
      } catch {
        let refusal = try #require(error as? Refusal)
        #expect(refusal.name.text == "file-changed" && files.contains(refusal.file), "\(refusal)")
      }
    }
    try await wait { engine.statistics.running == 1 }
    #expect(engine.statistics.failed == 2)
    // The answer beside them is written on, and the next ones are what they were.
    let written = engine.statistics.answerTokens
    try await wait { engine.statistics.answerTokens > written + 20 }
    #expect(try await engine.submit(AnswerRequest(prompt, options: options(50))).collect().text == right)
    _ = consume other
  }
}
