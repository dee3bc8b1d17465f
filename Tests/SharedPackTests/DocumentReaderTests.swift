import CanonicalJSON
import FileAccess
import Testing
import TreeStore

@testable import SharedPack

/// What texts are read from files, and what is wrong with the others.
@Suite struct DocumentReaderTests {
  let scratch: Scratch

  init() throws { scratch = try Scratch() }

  private func lines(_ text: String) throws -> DocumentSource {
    var source = DocumentSource(name: "lines", path: try scratch.write(text, to: "lines.jsonl"))
    source.form = .jsonLines
    return source
  }

  /// All that a reader gives, faults in words.
  private func read(_ sources: DocumentSource...) -> (texts: [DocumentText], faults: [String]) {
    var reader = DocumentReader(sources)
    var (texts, faults) = ([DocumentText](), [String]())
    while true {
      do throws(Refusal) {
        guard let text = try reader.next() else { return (texts, faults) }
        texts.append(text)
      } catch { faults.append("\(error.structure): \(error.fault)") }
    }
  }

  @Test func jsonLines() throws {
    let source = try lines(
      "\u{FEFF}{\"id\": \"a\", \"text\": \"one\\u00e9\", \"metadata\": {\"z\": 1, \"a\": [true]}, \"more\": null}\r\n"
        + "\n  \n{\"name\": \"b\", \"text\": \"two\", \"metadata\": null}\n{\"id\": 17, \"name\": \"c\", \"text\": \"three\"}"
    )
    let (texts, faults) = read(source)
    #expect(faults == [])
    #expect(texts.map(\.name) == ["a", "b", "17"])
    #expect(texts.map { String(decoding: $0.text, as: UTF8.self) } == ["oneé", "two", "three"])
    #expect(texts.map(\.metadata) == ["{\"a\":[true],\"z\":1}", nil, nil])
    #expect(texts[1].place == "\(scratch.path)/lines.jsonl: line 4")
  }

  /// A line that is wrong costs no other.
  @Test func linesThatAreWrong() throws {
    let deep = String(repeating: "[", count: 40) + String(repeating: "]", count: 40)
    let large = String(repeating: "x", count: DocumentReader.metadataByteLimit - 8)
    func line(_ metadata: String) -> String { "{\"id\":\"m\",\"text\":\"t\",\"metadata\":\(metadata)}" }
    let wrong = [
      "no", "[]", "{\"text\":\"x\"}", "{\"id\":\"x\"}", "{\"id\":1.5,\"text\":\"x\"}", "{\"id\":\"x\",\"text\":7}",
      "{\"id\":\"x\",\"id\":\"y\",\"text\":\"x\"}", "{\"id\":\"x\",\"text\":\"\"}",
      "{\"id\":\"x\",\"text\":\"\\u0000\"}",
      line("7"), line("{\"a\":\(deep)}"), line("{\"a\":\"\(large)x\"}"),
    ]
    let source = try lines((wrong + [line("{\"a\":\"\(large)\"}")]).joined(separator: "\n"))
    let (texts, faults) = read(source)
    #expect(texts.map(\.name) == ["m"])
    #expect(texts.first?.metadata?.utf8.count == DocumentReader.metadataByteLimit)
    #expect(
      faults == [
        "line 1: column 2: expected null", "line 2: is no JSON object", "line 3: has no \"id\" and no \"name\"",
        "line 4: has no \"text\" that is a string", "line 5: its \"id\" or \"name\" is neither a string nor an integer",
        "line 6: has no \"text\" that is a string", "line 7: column 11: duplicate key \"id\"", ": has no text",
        ": is not text: has a NUL character", "line 10: its \"metadata\" is no object",
        "line 11: column 68: nested deeper than 32 levels",
        "line 12: its \"metadata\" has 65537 bytes; at most 65536 are kept",
      ])
  }

  /// What cannot be read any further ends its file and not the others.
  @Test func damagedFilesDoNotEndTheRest() throws {
    let whole = Compression.zstd.compress(Array("{\"id\":\"a\",\"text\":\"one\"}\n".utf8))
    var cut = DocumentSource(name: "cut", path: try scratch.write(Array(whole.dropLast(3)), to: "cut.jsonl.zst"))
    cut.form = .jsonLines
    let (texts, faults) = read(
      DocumentSource(name: "no", path: "\(scratch.path)/no"), cut, try lines("{\"id\":\"b\",\"text\":\"two\"}"))
    #expect(texts.map(\.name) == ["b"])
    #expect(faults == [": open: No such file or directory", "zstd: ends before it is whole"])
  }

  private func decoded(_ bytes: [UInt8], _ encoding: TextEncoding = .automatic) throws(Refusal) -> String {
    String(decoding: try encoding.decode(bytes, file: "file"), as: UTF8.self)
  }

  private func utf16(_ text: String, bigEndian: Bool = false) -> [UInt8] {
    text.utf16.flatMap { bigEndian ? [UInt8($0 >> 8), UInt8($0 & 255)] : [UInt8($0 & 255), UInt8($0 >> 8)] }
  }

  @Test func encodings() throws {
    let text = "Füße 🦉 €"
    for encoding in [TextEncoding.automatic, .utf8] {
      #expect(try decoded(Array(text.utf8), encoding) == text)
      #expect(try decoded([0xEF, 0xBB, 0xBF] + Array(text.utf8), encoding) == text)
    }
    for isBig in [false, true] {
      let bytes = utf16("\u{FEFF}" + text, bigEndian: isBig)
      for encoding in [TextEncoding.automatic, .utf16, isBig ? .utf16BigEndian : .utf16LittleEndian] {
        #expect(try decoded(bytes, encoding) == text)
      }
      #expect(try decoded(utf16(text, bigEndian: isBig), isBig ? .utf16BigEndian : .utf16LittleEndian) == text)
    }
    #expect(try decoded(utf16(text), .utf16) == text)
    #expect(try decoded([0x46, 0xFC, 0x80], .latin1) == "Fü\u{80}")
    #expect(try decoded([0x46, 0xFC, 0x80, 0x9F], .windows1252) == "Fü€Ÿ")
  }

  @Test func otherEncodingsAreNamed() throws {
    let western = "Ein Satz mit Umlauten, wie sie häufig sind: äöüß."
    let cases: [([UInt8], TextEncoding?)] = [
      (utf16(western), .utf16LittleEndian), (utf16(western, bigEndian: true), .utf16BigEndian),
      (utf16("hi"), .utf16LittleEndian), (western.unicodeScalars.map { UInt8($0.value) }, .latin1),
      (Array("it".utf8) + [0x92] + Array("s a text".utf8), .windows1252), ([0x61, 0, 0x62, 0x0A], nil),
      ([0x61, 0xFF, 0], nil), ([0x89, 0x50, 0x4E, 0x47, 0x0D, 0x0A, 0x1A, 0x0A], nil),
      (Array(western.utf8) + [0xC3], nil), ([0xFF, 0xFE, 0, 0, 0x61, 0, 0, 0], nil),
    ]
    for (bytes, guess) in cases {
      let refusal = try #require(#expect(throws: Refusal.self) { try decoded(bytes) })
      #expect(TextEncoding(namedBy: refusal) == guess, "\(refusal)")
      #expect(refusal.name == (guess == nil ? .notText : .otherEncoding))
      if let guess { #expect(try decoded(bytes, guess).utf8.count > 1) }
    }
    let damaged = #expect(throws: Refusal.self) { try decoded(Array(western.utf8) + [0xC3]) }
    #expect(damaged?.fault == "is not text in UTF-8: byte \(western.utf8.count) is wrong")
  }

  @Test func wrongBytesAreRefused() throws {
    let cases: [([UInt8], TextEncoding)] = [
      ([0x61], .utf16), ([0x00, 0xD8], .utf16LittleEndian), ([0x00, 0xD8, 0x61, 0x00], .utf16LittleEndian),
      ([0xDC, 0x00], .utf16BigEndian), ([0, 0], .utf16), ([0], .latin1), ([0x81], .windows1252), ([0xFF], .utf8),
      ([0], .utf8),
    ]
    for (bytes, encoding) in cases {
      #expect(throws: Refusal.self, "\(encoding) \(bytes)") { try decoded(bytes, encoding) }
    }
    #expect(throws: Refusal.self) {
      try TextEncoding.windows1252.decode([UInt8](repeating: 0x80, count: 4), file: "file", limit: 11)
    }
  }

  private func oneByOne(_ sources: [DocumentSource], _ model: LanguageModel, store: String) throws {
    var builder = try StoreBuilder(opening: store, model: model)
    for source in sources { _ = try builder.add(source) }
    try builder.commit()
  }

  /// - Returns: the names of texts that were added, and of faults.
  private func atOnce(_ sources: [DocumentSource], _ model: LanguageModel, store: String) throws -> [String] {
    var builder = try StoreBuilder(opening: store, model: model)
    var reader = DocumentReader(sources)
    var names: [String] = []
    try builder.add(all: &reader) { (event, _) throws(Refusal) in
      switch event {
      case .progress: break
      case .added(let report): names.append(report.name)
      case .leftOut(let fault): names.append(fault.name.text)
      }
    }
    try builder.commit()
    return names
  }

  /// The same store whether texts come one by one or many at once, whatever the number of threads.
  @Test(arguments: [TinyModel.Injection.trained, .none])
  func batchesMakeTheSameStore(_ injection: TinyModel.Injection) throws {
    let model = try TinyModel(injection: injection).open(in: scratch)
    let two = try LanguageModel(opening: model.pack.path, threadCount: 2)
    var sources: [DocumentSource] = []
    for number in 0..<90 {
      let text = "a note of number \(number * 7919 % 83), and what it says"
      sources.append(DocumentSource(name: "note \(number)", path: try scratch.write(text, to: "note-\(number).txt")))
    }
    sources.insert(DocumentSource(name: "long", path: try scratch.write(Texts.first, to: "long.txt")), at: 40)
    sources.insert(DocumentSource(name: "none", path: "\(scratch.path)/nowhere"), at: 50)
    try oneByOne(sources.filter { $0.name != "none" }, model, store: "\(scratch.path)/one")
    let names = try atOnce(sources, two, store: "\(scratch.path)/many")
    // A fault is told at once, a text once it is durable.
    #expect(names.filter { $0 != "missing-file" } == sources.map(\.name).filter { $0 != "none" })
    #expect(names.count == sources.count)
    let first = try TreeStore(opening: "\(scratch.path)/one")
    let second = try TreeStore(opening: "\(scratch.path)/many")
    let documents = try first.documents()
    #expect(try documents == second.documents() && documents.count == 91)
    for key in Set(try documents.flatMap { try first.chunks(of: $0).keys }) {
      let rows = try rows(of: key, in: first)
      #expect(!rows.isEmpty)
      #expect(try self.rows(of: key, in: second) == rows)
    }
  }

  /// What a store keeps of a chunk.
  private func rows(of key: ChunkKey, in store: TreeStore) throws -> [[UInt8]] {
    if store.configuration.tree == nil {
      guard let rows = try store.text(key)?.rows() else { return [] }
      return [rows.storage.bytes.array]
    }
    guard let chunk = try store.chunk(key) else { return [] }
    var blocks: [[UInt8]] = []
    for node in chunk.tree.nodes {
      let block = try chunk.block(of: node)
      blocks.append(block.storage.bytes.array)
    }
    return blocks
  }

  /// The end of a name is enough where only one document has it.
  @Test func namesByTheirEnd() throws {
    let model = try TinyModel().open(in: scratch)
    let path = try scratch.write(Texts.second, to: "text.txt")
    var builder = try StoreBuilder(opening: "\(scratch.path)/store", model: model)
    for name in ["a/x.txt", "b/x.txt", "b/y.txt", "y", "c/y"] {
      _ = try builder.add(DocumentSource(name: name, path: path))
    }
    try builder.commit()
    let store = try TreeStore(opening: "\(scratch.path)/store")
    for (name, found) in [("b/x.txt", "b/x.txt"), ("y.txt", "b/y.txt"), ("y", "y")] {
      #expect(try store.requireDocument(named: name).name == found)
    }
    let ambiguous = #expect(throws: Refusal.self) { try store.requireDocument(named: "x.txt") }
    #expect(ambiguous?.name == .ambiguousDocument)
    #expect(ambiguous?.fault == "is the end of several names: a/x.txt, b/x.txt")
    for name in ["txt", ".txt", "/y.txt", ""] {
      #expect(#expect(throws: Refusal.self) { try store.requireDocument(named: name) }?.name == .missingDocument)
    }
  }
}
