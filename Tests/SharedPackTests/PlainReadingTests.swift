import FileAccess
import LlamaRuntime
import SharedPack
import Testing
import Tokenization

/// A plain model's answers about texts.
@Suite struct PlainReadingTests {
  let scratch: Scratch
  let model: LanguageModel

  init() throws {
    scratch = try Scratch()
    model = try TinyModel(injection: .none, window: 1024).open(in: scratch)
  }

  private static let words = ["the hen ate", "a fox ran", "the cat sat", "an owl hid", "no dog dug", "ten ants met"]

  private func text(_ sentences: Int, with needle: String, at place: Int) -> String {
    (0..<sentences).map { $0 == place ? needle : Self.words[$0 % Self.words.count] }.joined(separator: ". ")
  }

  @Test func theChunkWithTheRarestWordsIsFound() throws {
    let reading = DeepReading(chunkSize: 64, chunkCount: 2)
    let documents = try [40, 70].enumerated().map { number, place in
      let path = try scratch.write(
        text(100, with: number == 1 ? "The zebra's name was Quiz" : "nothing", at: place), to: "\(number).txt")
      return try model.textDocument(DocumentSource(name: "\(number)", path: path), reading: reading)
    }
    #expect(documents.allSatisfy { $0.chunks.count > 10 && $0.chunks.allSatisfy { $0.tokens.count <= 64 } })
    let passages = try model.passages(of: documents, for: "What is the zebra called?", reading: reading)
    // A second chunk would add nothing.
    #expect(passages.count == 1)
    let best = try #require(passages.max { $0.score < $1.score })
    let tokenizer = try #require(model.tokenizer)
    let chunk = documents[best.document].chunks[best.chunk]
    #expect(best.document == 1 && tokenizer.decode(chunk.tokens[...]).contains("zebra"))
    let two = try model.passages(of: documents, for: "the zebra, and what nothing is", reading: reading)
    // In the order of the documents, not of their scores.
    #expect(two.map(\.document) == [0, 1])
  }

  /// One chunk behind the frame is what the prompt would be, whose rows in a short text are the same to the last bit: the
  /// frame and the chunk take whole blocks of rows only by chance, so that the rows of a float pack are compared.
  @Test func oneChunkIsAsIfItStoodInThePrompt() async throws {
    let model = try TinyModel(injection: .none, window: 1024, quantization: .float32).open(in: scratch)
    let document = try model.textDocument(
      model.documentTokens(Array(text(12, with: "x", at: 3).utf8), file: "text"), named: "text",
      reading: DeepReading(chunkSize: 512))
    #expect(document.chunks.count == 1)
    let frame = try model.readingFrame()
    let passages = [Passage(document: 0, chunk: 0, score: 1)]
    let question = try model.questionPrompt("who ate", in: frame)
    let read = try model.read(passages, of: [document], behind: frame)
    #expect(read.rowCount == frame.opening.count + document.tokenCount && read.chunkCount == 1)
    let stored = try await model.generate(
      question, context: read, options: GenerationOptions(maxTokens: 12, ignoresEndOfText: true)
    ).collect()
    let whole = try await model.generate(
      frame.opening + document.chunks[0].tokens + question,
      options: GenerationOptions(maxTokens: 12, ignoresEndOfText: true)
    ).collect()
    #expect(stored.summary.tokens == whole.summary.tokens)
    #expect(stored.summary.contextRows == read.rowCount && !stored.summary.injectionIsUntrained)
  }

  /// A second passage that is computed again behind the first is what one prompt with both would be.
  @Test func repairedPassagesAreReadTogether() async throws {
    let model = try TinyModel(injection: .none, window: 1024, quantization: .float32).open(in: scratch)
    let frame = try model.readingFrame()
    let reading = DeepReading(chunkSize: 96, chunkCount: 2)
    let document = try model.textDocument(
      model.documentTokens(Array(text(40, with: "x", at: 3).utf8), file: "text"), named: "text", reading: reading)
    let passages = [0, 2].map { Passage(document: 0, chunk: $0, score: 1) }
    let question = try model.questionPrompt("who ate", in: frame)
    let options = GenerationOptions(maxTokens: 12, ignoresEndOfText: true)
    func answer(repair: Int) async throws -> [Int32] {
      let reading = DeepReading(chunkSize: 96, chunkCount: 2, repair: repair)
      let context = try model.read(passages, of: [document], behind: frame, reading: reading)
      #expect(
        context.rowCount == frame.opening.count + passages.reduce(0) { $0 + document.chunks[$1.chunk].tokens.count })
      return try await model.generate(question, context: context, options: options).collect().summary.tokens
    }
    let again = try await model.generate(
      frame.opening + passages.flatMap { document.chunks[$0.chunk].tokens } + question, options: options
    ).collect().summary.tokens
    #expect(try await answer(repair: 1024) == again)
    let apart = try await answer(repair: 0)
    #expect(apart != again)
    // Less than a block is nothing; one block is neither all nor nothing.
    #expect(try await answer(repair: 63) == apart)
    #expect(try await answer(repair: 64) != apart)
  }

  /// What users and documents say stays text.
  @Test func framesComeFromTheChatTemplate() throws {
    let chat = try TinyModel(injection: .none, window: 1024, chatTemplate: "llama-2").open(in: scratch)
    let tokenizer = try #require(chat.tokenizer)
    let frame = try chat.readingFrame(system: "be short </s>")
    #expect(frame.opening.first == tokenizer.beginOfTextToken)
    let opening = tokenizer.decode(frame.opening, includingSpecialTokens: true)
    #expect(opening.contains("<<SYS>>\nbe short </s>\n<</SYS>>") && opening.hasSuffix("answer the question.\n\n"))
    #expect(!frame.opening.contains(2))
    let closing = try chat.questionPrompt("who </s>?", in: frame)
    #expect(
      tokenizer.decode(closing, includingSpecialTokens: true)
        == "\n\nAccording to the text: who </s>? [/INST] According to the text,")
    #expect(frame.answerStart == "According to the text,")
    #expect(!closing.contains(2))
    let plain = try chat.readingFrame(usesChatTemplate: false)
    #expect(tokenizer.decode(try chat.questionPrompt("who?", in: plain)) == "\n\nQuestion: who?\nAnswer:")
    #expect(plain.answerStart == "")
  }

  @Test func whatDoesNotFitTheWindowIsRefused() throws {
    let frame = try model.readingFrame()
    let document = try model.textDocument(
      model.documentTokens(Array(text(300, with: "x", at: 3).utf8), file: "text"), named: "text",
      reading: DeepReading(chunkSize: 512))
    let passages = document.chunks.indices.prefix(4).map { Passage(document: 0, chunk: $0, score: 1) }
    let read = try model.read(passages, of: [document], behind: frame)
    do {
      _ = try model.generate(try model.questionPrompt("who", in: frame), context: read)
      Issue.record("a prompt beyond the window was taken")
    } catch {
      #expect(error.name == .promptTooLong)
    }
    // Of many chunks that are asked for, as many are taken as fit.
    let reading = DeepReading(chunkSize: 512, chunkCount: 100)
    #expect(try model.passages(of: [document], for: "who ate", reading: reading).count == 1)
  }
}
