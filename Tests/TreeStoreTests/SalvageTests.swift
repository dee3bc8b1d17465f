import FileAccess
import NodeBlocks
import Testing

@testable import TreeStore

/// What is read of a ruin, and what comes into a store from others.
@Suite struct SalvageTests {
  private func fill(_ workplace: Workplace, _ documents: [(String, [Int])]) throws {
    var writer = try TreeStoreWriter(opening: workplace.store, creating: try Fixture.configuration(encoding: .int8))
    for (name, chunks) in documents {
      try writer.add(document: name, chunks.map { Fixture.tokens($0) })
      try writer.commit()
    }
  }

  private func tokens(_ path: String) throws -> [String: [[Int32]]] { RepairTests.readable(path) }

  @Test func aRuin() throws {
    let workplace = try Workplace.inMemory()
    try fill(workplace, [("d1", [1, 2]), ("d2", [2, 3]), ("d3", [4])])
    for file in try workplace.files() where file.contains("MANIFEST") { try Directory.removeFile(file) }
    let store = try Surgery.read(try #require(try workplace.segments().last))
    var bytes = store
    bytes[bytes.count / 3] ^= 1
    try Surgery.write(bytes, to: try #require(try workplace.segments().last))
    let files = try workplace.files()
    let contents = try files.map { try Surgery.read($0) }
    let new = try Workplace.inMemory()
    let report = try StoreSalvage.salvage(workplace.store, into: new.store)
    #expect(report.documents.count + report.lostDocuments.count == 3 && report.lostDocuments.count >= 1)
    #expect(try workplace.files() == files && files.map { try Surgery.read($0) } == contents)
    #expect(try Directory.names(in: workplace.store) == ["LOCK", "catalog", "segments"])
    try TreeStore(opening: new.store).verify()
    #expect(try tokens(new.store).keys.sorted() == report.documents.sorted())
    // Again: nothing is written twice.
    #expect(try StoreSalvage.salvage(workplace.store, into: new.store).chunkCount == 0)
    #expect(refusal { () throws(Refusal) in _ = try StoreSalvage.salvage(new.store, into: new.store) } != nil)
  }

  /// Without the tables the chunks are there, and a build finds them.
  @Test func onlySegments() throws {
    let workplace = try Workplace.inMemory()
    try fill(workplace, [("d1", [1, 2]), ("d2", [2, 3])])
    for file in try workplace.files() where !file.hasSuffix(".seg") { try Directory.removeFile(file) }
    let new = try Workplace.inMemory()
    let report = try StoreSalvage.salvage(workplace.store, into: new.store)
    #expect(report.chunkCount == 3 && report.documents.isEmpty)
    let store = try TreeStore(opening: new.store)
    #expect(try store.chunk(store.chunkKey(tokens: Fixture.tokens(3))) != nil)
  }

  @Test func merging() throws {
    let (left, right, other) = (try Workplace.inMemory(), try Workplace.inMemory(), try Workplace.inMemory())
    try fill(left, [("a", [1, 2]), ("d1", [3])])
    try fill(right, [("d2", [4, 5]), ("a", [1, 2]), ("b", [2, 6])])
    try fill(other, [("a", [9])])
    do {
      var writer = try TreeStoreWriter(opening: right.store, creating: nil)
      try writer.pinDocument(named: "b", true)
      // What no document needs stays where it is.
      try writer.add(document: "gone", [Fixture.tokens(77)])
      try writer.removeDocument(named: "gone")
      try writer.commit()
    }
    var writer = try TreeStoreWriter(opening: left.store, creating: nil)
    let report = try writer.merge(try TreeStore(opening: right.store), replacing: false)
    #expect(report.addedDocuments == ["d2", "b"] && report.sameDocumentCount == 1 && report.copiedChunkCount == 3)
    let generation = writer.generation
    #expect(try writer.merge(try TreeStore(opening: right.store), replacing: false).copiedChunkCount == 0)
    #expect(writer.generation == generation)
    let third = try TreeStore(opening: other.store)
    // The fixture's texts are their names: another text of this name.
    var changed = try TreeStoreWriter(opening: other.store, creating: nil)
    let chunk = Fixture.chunk(Fixture.tokens(9), third.configuration)
    try changed.addDocument(
      name: "a", textDigest: Digest256(of: [1]), textByteCount: 1, tokenCount: 8,
      chunks: DocumentChunks(keys: [try changed.add(chunk, compression: .none)]), replacing: true)
    try changed.commit()
    let newer = try TreeStore(opening: other.store)
    let refused = refusal { () throws(Refusal) in _ = try writer.merge(newer, replacing: false) }
    #expect(refused == "document-exists")
    #expect(try writer.merge(newer, replacing: true).replacedDocuments == ["a"])
    let store = try TreeStore(opening: left.store)
    try store.verify()
    #expect(try store.document(named: "b")?.isPinned == true)
    #expect(try tokens(left.store)["a"] == [Fixture.tokens(9)])
    #expect(try store.chunk(store.chunkKey(tokens: Fixture.tokens(77))) == nil)
    let foreign = try Workplace.inMemory()
    _ = try TreeStoreWriter(opening: foreign.store, creating: try Fixture.configuration(encoding: .float16))
    let different = try TreeStore(opening: foreign.store)
    #expect(
      refusal { () throws(Refusal) in _ = try writer.merge(different, replacing: false) } == "configuration-mismatch")
  }
}
