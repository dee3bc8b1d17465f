import ContextTrees
import FileAccess
import Testing
import TreeStore

@testable import SharedPack

/// Questions about whole stores, by their word indexes.
@Suite struct StoreSearchTests {
  let scratch: Scratch
  let model: LanguageModel
  let library: String

  private static let words = ["the hen ate", "a fox ran", "the cat sat", "an owl hid", "no dog dug", "ten ants met"]
  private static let names = ["letters/a", "letters/b", "notes"]

  /// Three documents in as many segments; each has a sentence of its own, and they share none.
  init() throws {
    scratch = try Scratch()
    model = try TinyModel(injection: .none, window: 1024).open(in: scratch)
    library = "\(scratch.path)/store"
    for (number, needle) in ["the zebra slept", "a yak sang", "my gnu met the zebra"].enumerated() {
      var builder = try StoreBuilder(deeply: library, model: model, reading: DeepReading(chunkSize: 64))
      let text = (0..<60).map { $0 == 20 ? needle : "\(Self.words[($0 + number) % 6]) \(number)\($0)" }
      let path = try scratch.write(text.joined(separator: ". "), to: "\(number).txt")
      _ = try builder.add(DocumentSource(name: Self.names[number], path: path))
    }
  }

  private static let questions = [
    "where is the zebra", "a yak, a gnu and an owl", "ten ants 245", "what is the cat 118",
  ]

  /// The index finds what a look at every chunk finds, with the same scores.
  @Test func theIndexFindsWhatIsInTheChunks() throws {
    let store = try DocumentStore(opening: library, model: model)
    #expect(try store.store.documents().count == 3)
    for question in Self.questions {
      let scanned = try store.inquiry(question, about: Self.names, explains: true)
      let found = try store.inquiry(question, aboutAll: nil, explains: true)
      func named(_ inquiry: Inquiry) -> [String] {
        inquiry.passages.map { "\(inquiry.documents[$0.document].name) \($0.chunk) \($0.score) \($0.words)" }
      }
      #expect(named(found) == named(scanned) && !found.passages.isEmpty)
      #expect(found.prompt == scanned.prompt && found.passageTexts == scanned.passageTexts)
      #expect(found.context?.rowCount == scanned.context?.rowCount)
      #expect(found.sources.map(\.byteRange) == scanned.sources.map(\.byteRange))
      #expect(found.sources.allSatisfy { $0.byteRange != nil && $0.storedByteCount > 0 })
    }
    let refusal = #expect(throws: Refusal.self) { try store.inquiry("qqqq", aboutAll: nil) }
    #expect(refusal?.name == .noMatch)
  }

  /// Of a pattern's documents, whether their chunks are many or few.
  @Test func patternsAreSearched() throws {
    let store = try DocumentStore(opening: library, model: model)
    let pattern = NamePattern("letters/*")
    for question in Self.questions {
      let few = try store.inquiry(question, aboutAll: pattern)
      #expect(few.documents.map(\.name) == ["letters/a", "letters/b"])
      let form = try #require(store.store.configuration.text)
      var keys: [ChunkKey] = []
      for name in Self.names.prefix(2) {
        keys += try store.store.chunks(of: store.store.requireDocument(named: name)).keys
      }
      let many = try store.inquiry(question, among: keys, pattern, form, DeepReading(), explains: false)
      #expect(many.passages.map(\.score) == few.passages.map(\.score))
      #expect(many.passages.map(\.chunk) == few.passages.map(\.chunk))
    }
    let refusal = #expect(throws: Refusal.self) { try store.inquiry("who", aboutAll: NamePattern("x*")) }
    #expect(refusal?.name == .missingDocument)
  }

  /// What was removed is not found, before its space is freed and after; nor are merged segments less searched.
  @Test func whatWasRemovedIsNotFound() throws {
    func zebras() throws -> [String] {
      let store = try DocumentStore(opening: library, model: model)
      let inquiry = try store.inquiry("the zebra", aboutAll: nil)
      return inquiry.passages.map { inquiry.documents[$0.document].name }
    }
    do {
      var writer = try TreeStoreWriter(opening: library, creating: nil)
      _ = try writer.collectGarbage(.compact)
    }
    #expect(try TreeStore(opening: library).statistics().segments == 1)
    let before = try zebras()
    try TreeStore(opening: library).verify()
    do {
      var writer = try TreeStoreWriter(opening: library, creating: nil)
      try writer.removeDocument(named: before[0])
      try writer.commit()
    }
    #expect(try !zebras().contains(before[0]) && !zebras().isEmpty)
    do {
      var writer = try TreeStoreWriter(opening: library, creating: nil)
      _ = try writer.collectGarbage(.all)
    }
    #expect(try !zebras().contains(before[0]) && !zebras().isEmpty)
    try TreeStore(opening: library).verify()
  }

  /// Every changed byte of a word index is found by verify, and none makes a search trap.
  @Test func damagedIndexesAreRefused() throws {
    do {
      var writer = try TreeStoreWriter(opening: library, creating: nil)
      _ = try writer.collectGarbage(.compact)
    }
    let segments = "\(library)/segments"
    let name = try #require(try Directory.names(in: segments).first { $0.hasSuffix(".seg") })
    let path = "\(segments)/\(name)"
    let original = try SequentialFile.contents(path, limit: 1 << 26)
    let magic: [UInt8] = [0x89, 0x57, 0x49, 0x58, 0x0D, 0x0A, 0x1A, 0x0A]
    let end = try #require(original.lastRange(of: magic)).lowerBound
    var refused = 0
    for place in [end - 9000, end - 4001, end - 700, end - 8, end + 3, end + 9, end + 20, end + 41, end + 70] {
      var bytes = original
      bytes[place] ^= 0x10
      try Directory.removeFile(path)
      try Scratch.write(bytes, path: path)
      #expect(throws: Refusal.self) { try TreeStore(opening: library).verify() }
      for question in Self.questions {
        do throws(Refusal) {
          _ = try DocumentStore(opening: library, model: model).inquiry(question, aboutAll: nil)
        } catch {
          refused += 1
        }
      }
    }
    #expect(refused >= 9)
  }
}

extension [UInt8] {
  fileprivate func lastRange(of other: [UInt8]) -> Range<Int>? {
    indices.reversed().lazy.map { $0..<$0 + other.count }
      .first { $0.upperBound <= count && self[$0].elementsEqual(other) }
  }
}
