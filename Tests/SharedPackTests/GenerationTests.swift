import ContextTrees
import FileAccess
import LlamaRuntime
import ModelPacks
import SharedPack
import Testing
import Tokenization

/// Answers: where they end, what is refused before anything is computed, and what many at once give.
@Suite struct GenerationTests {
  let scratch: Scratch

  init() throws { scratch = try Scratch() }

  private func options(_ maxTokens: Int, stop: [String] = []) -> GenerationOptions {
    GenerationOptions(maxTokens: maxTokens, stopStrings: stop, ignoresEndOfText: true)
  }

  @Test func answersEndAtMaxTokens() async throws {
    let model = try TinyModel().open(in: scratch)
    let prompt = try model.textPrompt("the hen")
    let answer = try await model.generate(prompt, options: options(20)).collect()
    #expect(answer.summary.finishReason == .maxTokens)
    #expect(answer.summary.tokens.count == 20)
    #expect(answer.summary.promptTokens == prompt.count)
    #expect(answer.summary.contextRows == 0)
    #expect(
      answer.text == model.tokenizer?.decode(prompt + answer.summary.tokens).dropFirst("the hen".count).description)
    // Fewer are a prefix; none are none.
    let fewer = try await model.generate(prompt, options: options(7)).collect()
    #expect(fewer.summary.tokens == Array(answer.summary.tokens.prefix(7)))
    let none = try await model.generate(prompt, options: options(0)).collect()
    #expect(none.summary.tokens.isEmpty)
    #expect(none.text.isEmpty)
    #expect(none.summary.finishReason == .maxTokens)
  }

  @Test func answersEndWithTheWindow() async throws {
    let model = try TinyModel(window: 24).open(in: scratch)
    let answer = try await model.generate([Int32](repeating: 262, count: 20), options: options(50)).collect()
    #expect(answer.summary.finishReason == .window)
    #expect(answer.summary.tokens.count == 4)
    // Merged rows take positions of the window.
    let merged = try TinyModel(injection: .untrained, window: 64).open(in: scratch)
    let other = try await merged.generate([Int32](repeating: 262, count: 20), options: options(50)).collect()
    #expect(other.summary.tokens.count == 64 - 20 - TinyModel.chunkSize / 2)
  }

  @Test func answersEndWithTheText() async throws {
    let prompt: [Int32] = [1, 270, 265, 280]
    let free = try await TinyModel().open(in: scratch).generate(prompt, options: options(30)).collect()
    let end = try #require(free.summary.tokens.last)
    let index = try #require(free.summary.tokens.firstIndex(of: end))
    let model = try TinyModel(endOfText: Int(end)).open(in: scratch)
    let answer = try await model.generate(prompt, options: GenerationOptions(maxTokens: 30)).collect()
    #expect(answer.summary.finishReason == .endOfText)
    #expect(answer.summary.tokens == Array(free.summary.tokens.prefix(index + 1)))
    // The token that ends a text is not part of it.
    #expect(answer.text == (try await model.generate(prompt, options: options(index)).collect()).text)
  }

  @Test func answersEndBeforeAStopString() async throws {
    let model = try TinyModel().open(in: scratch)
    let prompt = try model.textPrompt("the hen")
    let free = try await model.generate(prompt, options: options(40)).collect()
    let characters = Array(free.text)
    try #require(characters.count > 16)
    // Four characters are of several tokens.
    for start in stride(from: 0, to: characters.count - 4, by: 3) {
      let stop = String(characters[start..<start + 4])
      let range = try #require(free.text.firstRange(of: stop))
      let answer = try await model.generate(prompt, options: options(40, stop: ["not there", stop])).collect()
      #expect(answer.text == String(free.text[..<range.lowerBound]))
      #expect(answer.summary.finishReason == .stopString)
      #expect(answer.summary.tokens == Array(free.summary.tokens.prefix(answer.summary.tokens.count)))
    }
    let unstopped = try await model.generate(prompt, options: options(40, stop: ["not there", ""])).collect()
    #expect(unstopped.text == free.text)
    #expect(unstopped.summary.finishReason == .maxTokens)
  }

  @Test func impossiblePromptsAreRefused() throws {
    let model = try TinyModel(window: 32).open(in: scratch)
    let vocabulary = Int32(model.configuration.vocabularySize)
    let cases: [([Int32], String)] = [
      ([], "empty-prompt"), ([1, -1], "token-out-of-range"), ([1, vocabulary], "token-out-of-range"),
      ([Int32](repeating: 1, count: 32), "prompt-too-long"),
    ]
    for (prompt, name) in cases {
      let found = refusal { _ = try model.generate(prompt) }
      #expect(found?.name.text == name)
      #expect(found?.file == model.pack.path)
    }
    _ = try model.generate([Int32](repeating: 1, count: 31))
  }

  @Test func modelsWithoutTokenizerTakeTokens() async throws {
    let model = try TinyModel(hasTokenizer: false).open(in: scratch)
    #expect(refusal { _ = try model.textPrompt("text") }?.name.text == "no-tokenizer")
    #expect(refusal { _ = try model.documentTokens([97], file: "text") }?.name.text == "no-tokenizer")
    let answer = try await model.generate([1, 270], options: options(5)).collect()
    #expect(answer.summary.tokens.count == 5)
    #expect(answer.text.isEmpty)
  }

  @Test func promptsAndDocumentsAreTokenizedAsTheyAreRead() throws {
    let model = try TinyModel().open(in: scratch)
    #expect(try model.textPrompt("the").first == 1)
    #expect(try model.documentTokens(Array("the".utf8), file: "text").first != 1)
    #expect(refusal { _ = try model.documentTokens([], file: "text") }?.name.text == "empty-document")
    #expect(refusal { _ = try model.chatPrompt([.user("the")]) }?.name.text == "no-chat-template")
  }

  /// Every turn of a conversation is in the prompt, and what the template cannot hold is refused.
  @Test func conversationsArePrompts() throws {
    let model = try TinyModel(chatTemplate: "llama-2").open(in: scratch)
    let tokenizer = try #require(model.tokenizer)
    let messages: [ChatMessage] = [.system("be short"), .user("the hen"), .assistant("ate"), .user("what")]
    let prompt = try model.chatPrompt(messages)
    let template = try #require(model.chatTemplate)
    #expect(prompt == (try template.render(messages, with: tokenizer)))
    // The first turns and their answer are a text of their own.
    #expect(prompt.count { $0 == tokenizer.beginOfTextToken } == 2)
    #expect(try model.chatPrompt([.user("what")]) == tokenizer.encode("[INST] what [/INST]", addingBeginOfText: true))
    for messages: [ChatMessage] in [
      [], [.system("be short")], [.user("the"), .user("hen")], [.assistant("ate")], [.user("the"), .assistant("ate")],
    ] {
      let found = refusal { _ = try model.chatPrompt(messages) }
      #expect(found?.name == .chatMessagesInvalid, "\(messages)")
      #expect(found?.file == model.pack.path)
    }
  }

  @Test func tokensAreText() throws {
    let model = try TinyModel().open(in: scratch)
    #expect(try model.text(of: model.documentTokens(Array("the hen".utf8), file: "text")) == "the hen")
    let count = Int32(try #require(model.tokenizer).vocabularySize)
    #expect(refusal { _ = try model.text(of: [5, count]) }?.name == .tokenOutOfRange)
  }

  /// Callers need not keep what an answer needs: it continues when the model's variable and its file are gone.
  @Test func answersKeepTheirModel() async throws {
    let path = try TinyModel().pack(in: scratch)
    let prompt: [Int32] = [1, 270, 265, 280]
    let expected = try await LanguageModel(opening: path).generate(prompt, options: options(200)).collect()
    let stream = try LanguageModel(opening: path).generate(prompt, options: options(200))
    try Directory.removeFile(path)
    let answer = try await stream.collect()
    #expect(answer.text == expected.text)
    #expect(answer.summary.tokens == expected.summary.tokens)
  }

  /// Seeds decide, and nothing else.
  @Test func samplingRepeats() async throws {
    let model = try TinyModel().open(in: scratch)
    func tokens(_ seed: UInt64) async throws -> [Int32] {
      let options = GenerationOptions(
        maxTokens: 30, sampling: SamplingOptions(temperature: 1, topK: 20, seed: seed), ignoresEndOfText: true)
      return try await model.generate([1, 270], options: options).collect().summary.tokens
    }
    let first = try await tokens(1)
    #expect(try await tokens(1) == first)
    #expect(try await tokens(2) != first)
  }

  /// Requests at the same time, from stored and fresh documents, answer as one after the other.
  @Test func concurrentRequestsAnswerLikeSerialOnes() async throws {
    let model = try TinyModel().open(in: scratch)
    let document = try model.encode(try model.documentTokens(Array(Texts.first.utf8), file: "text"), named: "text")
    let prompts = try ["the hen", "an ear of corn", "in the barn", "another cat", "then", "after the hen ran"].map {
      try model.textPrompt($0)
    }
    @Sendable func answer(_ prompt: [Int32]) async throws -> [Int32] {
      let selection = try model.select(from: [document], query: prompt)
      let options = GenerationOptions(maxTokens: 40, ignoresEndOfText: true)
      return try await model.generate(prompt, context: selection, options: options).collect().summary.tokens
    }
    var expected: [[Int32]] = []
    for prompt in prompts { expected.append(try await answer(prompt)) }
    let actual = try await withThrowingTaskGroup(of: (Int, [Int32]).self) { group in
      for (index, prompt) in (prompts + prompts).enumerated() {
        group.addTask { (index, try await answer(prompt)) }
      }
      return try await group.reduce(into: [Int: [Int32]]()) { $0[$1.0] = $1.1 }
    }
    for (index, tokens) in actual { #expect(tokens == expected[index % prompts.count]) }
    #expect(actual.count == 2 * prompts.count)
  }
}

/// An answer that nobody waits for stops after its current step: the model is released long before an answer of this
/// length could be complete.
@Suite struct CancellationTests {
  enum Leaving: CaseIterable { case atFirstProgress, atFirstText, byCancelling, withoutReading, whileHeld }

  /// Notices when the model is released.
  private final class Watch {
    weak var model: LanguageModel?
  }

  // One at a time: what is written goes on until the reader has a thread to leave with, and others wait for threads, too.
  @Test(.serialized, arguments: Leaving.allCases, [true, false])
  func leavingTheLoopEndsTheWork(_ leaving: Leaving, hasTokenizer: Bool) async throws {
    // Without tokenizer no text comes.
    if leaving == .atFirstText, !hasTokenizer { return }
    let scratch = try Scratch()
    let path = try TinyModel(window: 1 << 20, hasTokenizer: hasTokenizer).pack(in: scratch)
    let watch = Watch()
    var held: ResponseStream?
    try await Self.leave(leaving, path, watch, held: &held)
    let start = ContinuousClock.now
    while watch.model != nil, ContinuousClock.now - start < .seconds(20) { try await Task.sleep(for: .milliseconds(2)) }
    #expect(watch.model == nil)
    withExtendedLifetime(held) {}
  }

  private static func leave(
    _ leaving: Leaving, _ path: String, _ watch: Watch, held: inout ResponseStream?
  ) async throws {
    let model = try LanguageModel(opening: path, threadCount: 1)
    watch.model = model
    // Minutes of prompt, several blocks, or one and then steps without text; and minutes of answer.
    let promptLength = leaving == .atFirstProgress ? 300_000 : model.tokenizer == nil ? 4 : 600
    let stream = try model.generate(
      [Int32](repeating: 270, count: promptLength),
      options: GenerationOptions(maxTokens: 1 << 19, ignoresEndOfText: true))
    switch leaving {
    case .atFirstProgress: for try await _ in stream { break }
    case .atFirstText:
      for try await event in stream { if case .text = event { break } }
    case .byCancelling:
      let task = Task { for try await _ in stream {} }
      try await Task.sleep(for: .milliseconds(30))
      task.cancel()
      _ = await task.result
    case .withoutReading: break
    case .whileHeld:
      for try await _ in stream { break }
      held = stream
    }
  }
}
