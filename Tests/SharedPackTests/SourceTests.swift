import ContextTrees
import FileAccess
import SharedPack
import Testing
import Tokenization

@testable import SharedPack

/// What an inquiry says about where its answer comes from.
@Suite struct SourceTests {
  let scratch: Scratch

  init() throws { scratch = try Scratch() }

  private static let words = ["the hen ate", "a fox ran", "the cat sat", "an owl hid", "no dog dug", "ten ants met"]

  private func text(_ sentences: Int, with needle: String = "", at place: Int = -1) -> String {
    (0..<sentences).map { $0 == place ? needle : Self.words[$0 % Self.words.count] }.joined(separator: ". ")
  }

  private func source(_ name: String, _ text: String) throws -> DocumentSource {
    DocumentSource(name: name, path: try scratch.write(text, to: "\(name).txt"))
  }

  /// From a store and from the file alike: the bytes that a source names are its text.
  @Test func sourcesOfTextsNameTheirBytes() throws {
    let model = try TinyModel(injection: .none, window: 1024).open(in: scratch)
    let text = text(100, with: "The zebra's naïve name was Quiz", at: 70)
    let source = try source("book", text)
    let reading = DeepReading(chunkSize: 64, chunkCount: 2)
    do {
      var builder = try StoreBuilder(deeply: "\(scratch.path)/store", model: model, reading: reading)
      _ = try builder.add(source)
    }
    let question = "What is the zebra's name, and what did ten ants?"
    let store = try DocumentStore(opening: "\(scratch.path)/store", model: model)
    let stored = try store.inquiry(question, about: ["book"], reading: reading, explains: true)
    let fresh = try model.inquiry(
      question, about: [try model.textDocument(source, reading: reading)], behind: model.readingFrame(),
      reading: reading, explains: true)
    #expect(stored.sources.count == stored.passages.count && stored.sources.count > 0)
    for (source, passage) in zip(stored.sources, stored.passages) {
      let range = try #require(source.byteRange)
      let bytes = String(decoding: Array(text.utf8)[range], as: UTF8.self)
      let chunk = try model.textDocument(self.source("book", text), reading: reading).chunks[passage.chunk]
      #expect(try model.text(of: chunk.tokens).hasSuffix(bytes.drop { $0 == " " }))
      #expect(source.score == passage.score && source.storedByteCount > 0 && source.rowCount == chunk.tokens.count)
      #expect(try source.text == model.requireTokenizer().decode(chunk.tokens[...]))
      // What the words give is the score.
      #expect(abs(source.words.reduce(0) { $0 + $1.score } - source.score) < 1e-4)
    }
    #expect(stored.sources.contains { $0.words.contains { $0.word == "zebra" && $0.count == 1 } })
    #expect(fresh.sources.map(\.byteRange) == stored.sources.map(\.byteRange))
    #expect(fresh.sources.allSatisfy { $0.storedByteCount == 0 })
    #expect(try store.inquiry(question, about: ["book"], reading: reading).sources.isEmpty)
  }

  /// A store that keeps texts shows what was written, not what tokens say.
  @Test(arguments: [false, true]) func sourcesShowKeptTexts(_ hasTrees: Bool) throws {
    let model = try (hasTrees ? TinyModel() : TinyModel(injection: .none, window: 1024)).open(in: scratch)
    let text = text(60, with: "the zebra's name was Quiz", at: 40)
    let source = try source("book", text)
    let path = "\(scratch.path)/store"
    var builder = try StoreBuilder(opening: path, model: model)
    #expect(try builder.add(source).outcome == .added)
    builder.keepsTexts = true
    let report = try builder.add(source)
    #expect(report.outcome == .kept && report.encodedTokenCount == 0)
    #expect(try builder.add(source).outcome == .unchanged)
    let store = try DocumentStore(opening: path, model: model)
    let document = try store.store.requireDocument(named: "book")
    #expect(try store.store.text(of: document) == Array(text.utf8))
    for inquiry in [
      try store.inquiry("what was the zebra's name", about: ["book"], explains: true),
      try store.inquiry("what was the zebra's name", aboutAll: nil, explains: true),
    ] {
      #expect(!inquiry.sources.isEmpty)
      for source in inquiry.sources {
        #expect(source.text == String(decoding: Array(text.utf8)[try #require(source.byteRange)], as: UTF8.self))
      }
    }
  }

  @Test func fewerRowsAreReadOfTexts() throws {
    let model = try TinyModel(injection: .none, window: 1024).open(in: scratch)
    let document = try model.textDocument(
      source("book", text(60, with: "the zebra slept", at: 20) + ". " + text(60, with: "my gnu sang", at: 30)),
      reading: DeepReading(chunkSize: 64))
    let question = "where is the zebra, and where my gnu"
    let all = try model.passages(of: [document], for: question, reading: DeepReading(chunkSize: 64))
    let rows = all.map { document.chunks[$0.chunk].tokens.count }.reduce(0, +)
    #expect(all.count > 1)
    let fewer = try model.passages(
      of: [document], for: question, reading: DeepReading(chunkSize: 64, rowLimit: rows - 1))
    #expect(fewer.count < all.count && fewer.count > 0)
    #expect(fewer.contains { $0.score == all.map(\.score).max() })
    let refusal = #expect(throws: Refusal.self) {
      try model.passages(of: [document], for: question, reading: DeepReading(chunkSize: 64, rowLimit: 3))
    }
    #expect(refusal?.name == .rowLimit)
  }

  /// Under a limit the best chunks are read, and of the others nothing.
  @Test func fewerRowsAreReadOfTrees() throws {
    let model = try TinyModel().open(in: scratch)
    let document = try model.encode(source("book", text(100)))
    let question = "what did ten ants"
    let free = try model.inquiry(question, about: [document], explains: true)
    #expect(free.sources.count == document.chunks.count && free.context?.chunkCount == document.chunks.count)
    for source in free.sources {
      #expect(source.byteRange != nil && source.rowCount == source.nodes.reduce(0) { $0 + $1.rowCount })
    }
    let rows = try #require(free.context).rowCount
    for limit in [rows / 2, rows / 5] {
      let inquiry = try model.inquiry(
        question, about: [document],
        search: TreeSearch(.cosine, expansion: .bestFirst, rowLimit: limit), explains: true)
      let context = try #require(inquiry.context)
      #expect(context.rowCount <= limit && context.rowCount > 0)
      #expect(context.chunkCount == inquiry.sources.count)
      #expect(inquiry.sources.reduce(0) { $0 + $1.rowCount } == context.rowCount)
    }
    let one = try model.inquiry(
      question, about: [document], search: TreeSearch(.cosine, expansion: .bestFirst, rowLimit: rows / 5),
      explains: true)
    #expect(one.sources.count < document.chunks.count)
    let refusal = #expect(throws: Refusal.self) {
      try model.inquiry(
        question, about: [document], search: TreeSearch(.cosine, expansion: .bestFirst, rowLimit: 1))
    }
    #expect(refusal?.name == .rowLimit)
  }

  /// Every byte is some chunk's, also of characters that are cut; a tokenizer that changes texts tells nothing.
  @Test func chunksHaveTheBytesOfTheText() throws {
    let model = try TinyModel(injection: .none, window: 1024).open(in: scratch)
    for text in ["the hen ate. a fox ran", " leading", "naïve 王さん 🦓", "x", "a  b\n\nc "] {
      let bytes = Array(text.utf8)
      let tokens = try model.documentTokens(bytes, file: "text")
      for size in [1, 2, 3, 100] {
        let ranges = tokens.indices.cut(into: size)
        let counts = try #require(model.chunkByteCounts(of: tokens, ranges: ranges, text: bytes))
        #expect(counts.count == ranges.count && counts.reduce(0, +) == bytes.count)
        var start = 0
        for count in counts {
          // Whole characters.
          #expect(String(validating: bytes[start..<start + count], as: UTF8.self) != nil)
          start += count
        }
      }
      #expect(model.chunkByteCounts(of: tokens, ranges: [tokens.indices], text: bytes + [0x21]) == nil)
      #expect(model.chunkByteCounts(of: tokens, ranges: [tokens.indices], text: bytes.dropLast() + [0x21]) == nil)
    }
  }
}
