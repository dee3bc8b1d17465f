import FileAccess
import LlamaRuntime
import ModelPacks
import NodeBlocks
import Testing
import Tokenization
import TreeStore

@testable import SharedPack

/// What a plain model answers about a stored text is what it answers when it reads the text, to the last bit.
@Suite struct TextStoreAnswerTests {
  let scratch: Scratch

  init() throws { scratch = try Scratch() }

  static let encodings: [TensorEncoding] = [.float32, .float16, .int8(groupSize: 32), .int4(groupSize: 32)]

  private static let words = ["the hen ate", "a fox ran", "the cat sat", "an owl hid", "no dog dug", "ten ants met"]

  /// A text of a number of characters, which are about as many tokens or fewer.
  private func text(_ length: Int, from word: Int = 0) -> String {
    var text = ""
    var number = word
    while text.count < length {
      text += "\(Self.words[number * number % Self.words.count]) \(number % 7). "
      number += 1
    }
    return String(text.prefix(length))
  }

  private func path(_ name: String) -> String { "\(scratch.path)/\(name)-\(UInt64.random(in: .min ... .max))" }

  private func source(_ name: String, _ text: String) throws -> DocumentSource {
    DocumentSource(name: name, path: try scratch.write(text, to: "\(name).txt"))
  }

  /// The logits that an inquiry's prompt gives.
  private func logits(_ model: LanguageModel, _ inquiry: Inquiry) -> [Float] {
    let session: Session =
      if case .text(let prefix)? = inquiry.context?.rows {
        Session(model.runtime, behind: prefix, capacity: inquiry.prompt.count)
      } else {
        Session(model.runtime, capacity: inquiry.prompt.count)
      }
    return session.readAll(inquiry.prompt)
  }

  /// From less than a block of rows to more than a chunk.
  @Test(arguments: encodings)
  func exactReadingIsOneLongPrompt(_ quantization: TensorEncoding) async throws {
    let model = try TinyModel(injection: .none, window: 4096, chatTemplate: "llama-2", quantization: quantization)
      .open(in: scratch)
    let frame = try model.readingFrame()
    let library = path("exact")
    for length in [3, 70, 700, 2600] {
      let source = try source("text \(length)", text(length, from: length))
      do {
        var builder = try StoreBuilder(exactly: library, model: model)
        #expect(try builder.add(source).outcome == .added)
      }
      let store = try DocumentStore(opening: library, model: model)
      let stored = try store.inquiry("who ate", about: [source.name])
      let whole = try model.inquiry("who ate", aboutAllOf: model.textDocument(source), behind: frame)
      let (few, all) = (logits(model, stored), logits(model, whole))
      #expect(stored.prompt.count < 64 + (try model.questionPrompt("who ate", in: frame).count))
      #expect(few == Array(all.suffix(few.count)), "\(length)")
      let options = GenerationOptions(maxTokens: 12, ignoresEndOfText: true)
      let answers = try await [
        model.generate(stored, options: options).collect(), model.generate(whole, options: options).collect(),
      ]
      #expect(answers[0].summary.tokens == answers[1].summary.tokens)
      #expect(try stored.documents[0].tokenCount == store.store.document(named: source.name)?.tokenCount)
      try store.store.verify()
    }
  }

  /// Equal beginnings are stored once, and a longer version of a text goes on from its last whole chunk.
  @Test func aLongerVersionIsContinued() throws {
    let model = try TinyModel(injection: .none, window: 4096).open(in: scratch)
    let library = path("versions")
    let long = text(3000)
    var builder = try StoreBuilder(exactly: library, model: model)
    let first = try builder.add(source("one", String(long.prefix(1900))))
    let second = try builder.add(source("two", long))
    let tokens = try model.documentTokens(Array(long.utf8), file: "long").count
    let frame = try model.readingFrame().opening.count
    #expect(first.encodedTokenCount == first.tokenCount && second.tokenCount == tokens)
    #expect(second.encodedTokenCount == tokens - (1024 - frame))
    let third = try builder.add(source("three", long))
    #expect(third.encodedTokenCount == 0 && third.outcome == .added)
    let store = try DocumentStore(opening: library, model: model)
    #expect(try store.store.statistics().uniqueChunks < store.store.statistics().chunks)
    let fresh = try model.inquiry(
      "who", aboutAllOf: model.textDocument(source("two", long)), behind: model.readingFrame())
    let stored = logits(model, try store.inquiry("who", about: ["two"]))
    #expect(stored == Array(logits(model, fresh).suffix(stored.count)))
  }

  /// A build that makes what it has durable, and goes on from there.
  @Test func aBuildGoesOnFromWhatIsDurable() throws {
    let model = try TinyModel(injection: .none, window: 4096).open(in: scratch)
    let source = try source("text", text(3500))
    let (one, other) = (path("whole"), path("parts"))
    var builder = try StoreBuilder(exactly: one, model: model)
    _ = try builder.add(source)
    var impatient = try StoreBuilder(exactly: other, model: model)
    impatient.commitInterval = .zero
    _ = try impatient.add(source)
    let stores = try [one, other].map { try DocumentStore(opening: $0, model: model) }
    #expect(stores[1].store.generation > 3)
    #expect(try stores[0].store.document(named: "text") == stores[1].store.document(named: "text"))
    let answers = try stores.map { logits(model, try $0.inquiry("who", about: ["text"])) }
    #expect(answers[0] == answers[1])
  }

  @Test(arguments: encodings, Compression.allCases)
  func deepReadingOfAStoreIsThatOfTheText(_ quantization: TensorEncoding, _ compression: Compression) async throws {
    let model = try TinyModel(injection: .none, window: 2048, quantization: quantization).open(in: scratch)
    let library = path("deep")
    let sources = try [source("one", text(900)), source("two", text(1200, from: 5) + " the zebra slept.")]
    do {
      var builder = try StoreBuilder(
        deeply: library, model: model, reading: DeepReading(chunkSize: 128), compression: compression)
      for source in sources { #expect(try builder.add(source).encodedTokenCount > 0) }
      let again = try builder.add(DocumentSource(name: "same", path: sources[0].path))
      #expect(again.encodedTokenCount == 0)
    }
    let store = try DocumentStore(opening: library, model: model)
    let reading = DeepReading(chunkSize: 128, chunkCount: 3)
    let question = "who slept, the zebra or the fox"
    let stored = try store.inquiry(question, about: ["two", "one"], reading: reading)
    let documents = try sources.reversed().map { try model.textDocument($0, reading: reading) }
    let fresh = try model.inquiry(question, about: documents, behind: model.readingFrame(), reading: reading)
    #expect(stored.passages == fresh.passages && !stored.passages.isEmpty && stored.prompt == fresh.prompt)
    #expect(stored.passages.contains { $0.document == 0 && $0.score > 1 })
    #expect(logits(model, stored) == logits(model, fresh))
    try store.store.verify()
  }

  /// However rows are kept.
  @Test(arguments: [TensorEncoding.float16, .int8(groupSize: 32)], [1, 0.5, 0.2])
  func rowsThatAreKeptOtherwiseAnswerLikeThoseOfTheText(_ quantization: TensorEncoding, _ share: Double) throws {
    let model = try TinyModel(injection: .none, window: 2048, quantization: quantization).open(in: scratch)
    for encoding in [RowEncoding.int4, .int8, .float16] {
      var reading = DeepReading(chunkSize: 100, chunkCount: 3, encoding: encoding, repair: 0)
      let library = path("kept")
      let source = try source("text", text(900) + " the zebra slept.")
      if share < 1 {
        let tokens = try model.documentTokens(source.text(), file: "text")
        reading.shares = try model.headShares(
          keeping: share, of: [tokens], reading: reading, frame: model.readingFrame())
      }
      do {
        var builder = try StoreBuilder(deeply: library, model: model, reading: reading)
        _ = try builder.add(source)
      }
      let store = try DocumentStore(opening: library, model: model)
      let stored = try store.inquiry("who slept, the zebra", about: ["text"], reading: reading)
      let fresh = try model.inquiry(
        "who slept, the zebra", about: [model.textDocument(source, reading: reading)], behind: model.readingFrame(),
        reading: reading)
      #expect(logits(model, stored) == logits(model, fresh), "\(encoding)")
      let all = try model.inquiry(
        "who slept, the zebra", about: [model.textDocument(source, reading: reading)], behind: model.readingFrame(),
        reading: DeepReading(chunkSize: 100, chunkCount: 3, repair: 0))
      let rows = try #require(stored.context?.rowCount)
      #expect(all.context.map { $0.rowCount > rows } == (reading.shares?.shares.contains { $0 < 64 } == true))
      try store.store.verify()
    }
  }

  /// A store keeps the frame that it was made with, whatever the model would write now.
  @Test func aStoreKeepsItsFrame() throws {
    let model = try TinyModel(injection: .none, window: 2048, chatTemplate: "llama-2").open(in: scratch)
    let library = path("frame")
    let source = try source("text", text(300))
    let frame = try model.readingFrame(system: "be short")
    do {
      var builder = try StoreBuilder(deeply: library, model: model, frame: frame)
      _ = try builder.add(source)
    }
    do {
      var later = try StoreBuilder(deeply: library, model: model)
      #expect(try later.add(DocumentSource(name: "again", path: source.path)).encodedTokenCount == 0)
    }
    let store = try DocumentStore(opening: library, model: model)
    #expect(store.store.configuration.text?.frame == frame)
    let other = try model.readingFrame(system: "be long")
    #expect(
      refusalName { _ = try StoreBuilder(deeply: library, model: model, frame: other) }
        == "configuration-mismatch")
  }

  @Test func whatAStoreCannotDoIsRefused() throws {
    let model = try TinyModel(injection: .none, window: 1024).open(in: scratch)
    let (exact, deep) = (path("exact"), path("deep"))
    let sources = try [source("one", text(300)), source("two", text(400)), source("long", text(4000))]
    do {
      var builder = try StoreBuilder(exactly: exact, model: model)
      for source in sources.prefix(2) { _ = try builder.add(source) }
      #expect(refusalName { _ = try builder.add(sources[2]) } == "prompt-too-long")
    }
    #expect(
      refusalName { _ = try StoreBuilder(deeply: exact, model: model) } == "configuration-mismatch")
    let store = try DocumentStore(opening: exact, model: model)
    #expect(refusalName { _ = try store.inquiry("who", about: ["one", "two"]) } == "one-document")
    #expect(refusalName { _ = try store.inquiry("who", about: ["three"]) } == "missing-document")
    #expect(refusalName { _ = try store.document(named: "one") } == "configuration-mismatch")
    let other = try TinyModel(injection: .none, seed: 1, window: 1024).open(in: scratch)
    #expect(refusalName { _ = try DocumentStore(opening: exact, model: other) } == "model-mismatch")
    _ = try StoreBuilder(deeply: deep, model: model)
    let empty = try DocumentStore(opening: deep, model: model)
    #expect(refusalName { _ = try empty.inquiry("who", about: []) } == "empty-document")
  }

  /// A model that was trained to read trees is a plain one, too.
  @Test func aModelWithTreesReadsTexts() throws {
    let model = try TinyModel(window: 1024).open(in: scratch)
    let library = path("both")
    let source = try source("text", text(500))
    do {
      var builder = try StoreBuilder(exactly: library, model: model)
      _ = try builder.add(source)
    }
    let store = try DocumentStore(opening: library, model: model)
    let whole = try model.inquiry(
      "who", aboutAllOf: model.textDocument(source), behind: model.readingFrame())
    let stored = logits(model, try store.inquiry("who", about: ["text"]))
    #expect(stored == Array(logits(model, whole).suffix(stored.count)))
  }

  private func refusalName(_ body: () throws -> Void) -> String? {
    do {
      try body()
      return nil
    } catch {
      return (error as? Refusal)?.name.text
    }
  }
}
