import FileAccess
import NodeBlocks
import Testing

@testable import TreeStore

/// Texts that a store keeps beside what was read of them.
@Suite struct KeptTextTests {
  /// A text of several parts, which compresses, and one that does not.
  private static let long = Array((0..<9000).map { "Line \($0) of a long text.\n" }.joined().utf8)
  private static let short = Array("Grüße, unforgettable".utf8)

  private func writer(_ workplace: Workplace) throws -> TreeStoreWriter {
    try TreeStoreWriter(opening: workplace.store, creating: try Fixture.configuration(encoding: .int8))
  }

  private func add(
    _ name: String, _ number: Int, _ text: [UInt8], keeping: Bool = true, to writer: inout TreeStoreWriter,
    metadata: String = ""
  ) throws(Refusal) {
    let tokens = Fixture.tokens(number)
    let key = try writer.add(Fixture.chunk(tokens, writer.configuration), compression: .none)
    try writer.addDocument(
      name: name, textDigest: Digest256(of: text), textByteCount: text.count, tokenCount: tokens.count,
      chunks: DocumentChunks(keys: [key]), text: keeping ? text : nil, metadata: metadata, replacing: true)
  }

  private func text(_ name: String, _ path: String) throws -> [UInt8]? {
    let store = try TreeStore(opening: path)
    return try store.text(of: try #require(try store.document(named: name)))
  }

  private func isSound(_ path: String) throws {
    try TreeStore(opening: path).verify()
    #expect(try StoreRepair.examine(path).faults.isEmpty)
  }

  @Test func readsWhatWasWritten() throws {
    let workplace = try Workplace.inMemory()
    var writer = try writer(workplace)
    try add("long", 1, Self.long, to: &writer)
    try add("short", 2, Self.short, to: &writer)
    try add("none", 3, Self.short, keeping: false, to: &writer)
    try add("empty", 4, [], to: &writer)
    try writer.commit()
    try isSound(workplace.store)
    let store = try TreeStore(opening: workplace.store)
    for (name, expected) in [("long", Self.long), ("short", Self.short), ("empty", [])] {
      let document = try #require(try store.document(named: name))
      #expect(try store.text(of: document) == expected)
      let size = KeptText.partByteCount
      for range in [0..<0, 0..<1, 7..<11, size - 1..<size + 1, size..<2 * size, 5..<3 * size + 5]
      where range.upperBound <= expected.count {
        #expect(try store.text(of: document, bytes: range) == Array(expected[range]))
      }
    }
    #expect(try store.text(of: try #require(try store.document(named: "none"))) == nil)
    let statistics = try store.statistics()
    #expect(statistics.keptTexts == 3 && statistics.keptTextByteCount < Self.long.count / 4)
  }

  @Test func goesWithItsDocument() throws {
    let workplace = try Workplace.inMemory()
    var writer = try writer(workplace)
    try add("a", 1, Self.short, to: &writer)
    try add("b", 2, Self.long, to: &writer)
    try writer.commit()
    // The same text: it stays without being given again, whatever else is said of it.
    try add("a", 1, Self.short, keeping: false, to: &writer, metadata: "{}")
    try writer.commit()
    #expect(try text("a", workplace.store) == Self.short)
    // A shorter one; of the longer nothing is left.
    try add("b", 2, Array(Self.long[..<40]), to: &writer)
    try writer.commit()
    #expect(try text("b", workplace.store) == Array(Self.long[..<40]))
    try isSound(workplace.store)
    // Another one that is not kept.
    try add("b", 2, Self.long, keeping: false, to: &writer)
    try writer.commit()
    #expect(try text("b", workplace.store) == nil)
    // And kept later.
    let document = try #require(try writer.document(named: "b"))
    try writer.keepText(Self.long, of: document)
    try writer.commit()
    #expect(try text("b", workplace.store) == Self.long)
    try isSound(workplace.store)

    func holders() throws -> Int {
      try workplace.files().count { Self.contains(try Surgery.read($0), Array("unforgettable".utf8)) }
    }
    #expect(try holders() > 0)
    try writer.removeDocument(named: "a")
    _ = try writer.collectGarbage(.all)
    #expect(try holders() == 0)
    try isSound(workplace.store)
  }

  private static func contains(_ bytes: [UInt8], _ part: [UInt8]) -> Bool {
    bytes.indices.dropLast(part.count - 1).contains { bytes[$0..<$0 + part.count].elementsEqual(part) }
  }

  @Test func goesWithCopies() throws {
    let (workplace, merged, saved) = (try Workplace.inMemory(), try Workplace.inMemory(), try Workplace.inMemory())
    do {
      var writer = try writer(workplace)
      try add("a", 1, Self.short, to: &writer)
      try add("b", 2, Self.long, to: &writer)
      try writer.commit()
      var other = try self.writer(merged)
      try add("a", 1, Self.short, keeping: false, to: &other)
      try other.commit()
      // A store that has the document takes in its text.
      let report = try other.merge(try TreeStore(opening: workplace.store), replacing: false)
      #expect(report.sameDocumentCount == 0 && report.copiedChunkCount == 1)
      #expect(try other.merge(try TreeStore(opening: workplace.store), replacing: false).sameDocumentCount == 2)
    }
    _ = try StoreSalvage.salvage(workplace.store, into: saved.store)
    var bytes: [UInt8] = []
    _ = try StoreExport.write(try TreeStore(opening: workplace.store)) { (piece, _) throws(Refusal) in bytes += piece }
    let imported = try Workplace.inMemory()
    var offset = 0
    var reader = StoreImport("export") { (count) throws(Refusal) in
      let piece = Array(bytes[offset..<min(offset + count, bytes.count)])
      offset += piece.count
      return piece
    }
    _ = try reader.read(into: imported.store, replacing: false)
    for path in [merged.store, saved.store, imported.store] {
      #expect(try text("a", path) == Self.short)
      #expect(try text("b", path) == Self.long)
      try isSound(path)
      var again: [UInt8] = []
      _ = try StoreExport.write(try TreeStore(opening: path)) { (piece, _) throws(Refusal) in again += piece }
      #expect(again == bytes)
    }
  }

  /// What the catalog says of a text may be anything: it is found, and the document stays.
  @Test(arguments: ["missing", "another", "malformed", "length", "foreign"]) func damage(_ kind: String) throws {
    let workplace = try Workplace.inMemory()
    do {
      var writer = try writer(workplace)
      try add("a", 1, Self.long, to: &writer)
      try add("b", 2, Self.short, to: &writer)
      let document = try #require(try writer.document(named: "a"))
      let key = CatalogKey.text("a", part: 1)
      switch kind {
      case "missing": writer.setPending(key, .removed)
      case "another":
        let other = [UInt8](repeating: 7, count: KeptText.partByteCount)
        writer.setPending(key, .value(KeptText.encoded(other, part: 0)))
      case "malformed": writer.setPending(key, .value([1, 2, 3]))
      case "length":
        let claim = StoredDocument(
          name: "a", textDigest: document.textDigest, textByteCount: .max, tokenCount: document.tokenCount,
          chunkCount: 1, order: document.order, isPinned: false, keepsText: true, metadata: "")
        writer.setPending(CatalogKey.document("a"), .value(claim.encoded))
      default: writer.setPending(CatalogKey.text("c", part: 0), .value([1]))
      }
      try writer.commit()
    }
    let store = try TreeStore(opening: workplace.store)
    #expect(refusal { () throws(Refusal) in try store.verify() } != nil)
    if kind != "foreign" {
      let document = try #require(try store.document(named: "a"))
      #expect(refusal { () throws(Refusal) in _ = try store.text(of: document) } != nil)
    }
    let names = try StoreRepair.examine(workplace.store).faults.map(\.refusal.name)
    #expect(names.contains(kind == "foreign" ? .malformedTable : .lostText))
    _ = try StoreRepair.repair(workplace.store)
    try isSound(workplace.store)
    #expect(try text("a", workplace.store) == (kind == "foreign" ? Self.long : nil))
    #expect(try text("b", workplace.store) == Self.short)
    var writer = try writer(workplace)
    try writer.removeDocument(named: "a")
    try writer.commit()
    try isSound(workplace.store)
  }
}
