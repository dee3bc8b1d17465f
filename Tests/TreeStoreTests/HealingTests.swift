import ContextTrees
import FileAccess
import NodeBlocks
import Testing

@testable import TreeStore

/// What is lost or damaged fails only those who need it, and is made good when its text comes by again.
@Suite struct HealingTests {
  /// Documents a and b in a segment each, and c in both.
  private func store() throws -> (Workplace, TreeStoreConfiguration) {
    let workplace = try Workplace()
    let configuration = try Fixture.configuration()
    var writer = try TreeStoreWriter(opening: workplace.store, creating: configuration)
    try writer.add(document: "a", [Fixture.tokens(1), Fixture.tokens(2)])
    try writer.commit()
    try writer.add(document: "b", [Fixture.tokens(3), Fixture.tokens(4)])
    try writer.commit()
    try writer.add(document: "c", [Fixture.tokens(2), Fixture.tokens(3)])
    try writer.commit()
    return (workplace, configuration)
  }

  /// The file of the segment that has a chunk.
  private func segment(with tokens: [Int32], in workplace: Workplace) throws -> (path: String, record: StoredRecord) {
    let store = try TreeStore(opening: workplace.store)
    let record = try #require(try store.record(of: store.chunkKey(tokens: tokens)))
    return (record.segment.path, record)
  }

  private func read(_ tokens: [Int32], in workplace: Workplace) throws(Refusal) {
    let store = try TreeStore(opening: workplace.store)
    guard let chunk = try store.chunk(store.chunkKey(tokens: tokens)) else {
      throw Refusal(.missingChunk, file: workplace.store, "no segment has it")
    }
    let expected = Fixture.chunk(tokens, store.configuration)
    for (node, block) in zip(chunk.tree.nodes, expected.blocks) {
      let same = try chunk.block(of: node).copy == block.copy
      #expect(same)
      _ = try chunk.embedding(of: node)
    }
  }

  @Test(arguments: [true, false])
  func aLostSegmentFailsOnlyThoseWhoNeedIt(_ isRemoved: Bool) throws {
    let (workplace, configuration) = try store()
    let lost = try segment(with: Fixture.tokens(1), in: workplace).path
    if isRemoved { try Directory.removeFile(lost) } else { try Surgery.write([1, 2, 3], to: lost) }
    let fault = isRemoved ? "missing-segment" : "wrong-length"

    let damaged = try TreeStore(opening: workplace.store)
    #expect(try damaged.documents().map(\.name) == ["a", "b", "c"] && damaged.statistics().unreadableSegments == 1)
    #expect(refusal { () throws(Refusal) in try read(Fixture.tokens(3), in: workplace) } == nil)
    #expect(refusal { () throws(Refusal) in try read(Fixture.tokens(1), in: workplace) } == fault)
    #expect(refusal { () throws(Refusal) in try damaged.verify() } == fault)

    // Others are added and removed, and garbage is collected: what cannot be read stays.
    var writer = try TreeStoreWriter(opening: workplace.store, creating: configuration)
    try writer.add(document: "d", [Fixture.tokens(5)])
    try writer.removeDocument(named: "b")
    let report = try writer.collectGarbage()
    #expect(report.unreadableSegments == 1 && report.removedChunks == 1)
    #expect(refusal { () throws(Refusal) in try read(Fixture.tokens(3), in: workplace) } == nil)
    #expect(refusal { () throws(Refusal) in try read(Fixture.tokens(1), in: workplace) } == fault)

    // The text comes by again.
    let document = try writer.document(named: "a")
    let a = try #require(document)
    let isThere = writer.holdsWhole(a)
    #expect(!isThere)
    for tokens in [Fixture.tokens(1), Fixture.tokens(2)] {
      _ = try writer.add(Fixture.chunk(tokens, configuration), compression: .none)
    }
    try writer.commit()
    let isWhole = writer.holdsWhole(a)
    #expect(isWhole)
    for number in [1, 2, 3, 5] { try read(Fixture.tokens(number), in: workplace) }
  }

  /// Every part of a record.
  @Test(arguments: 0..<4)
  func aDamagedChunkIsMadeAgain(_ part: Int) throws {
    let (workplace, configuration) = try store()
    let (path, record) = try segment(with: Fixture.tokens(1), in: workplace)
    var bytes = try Surgery.read(path)
    bytes[
      [
        record.layout.head.lowerBound + 40, record.layout.search.lowerBound, record.layout.blocks[0].lowerBound,
        record.layout.blocks[5].lowerBound + 1,
      ][part]] ^= 4
    try Surgery.write(bytes, to: path)
    #expect(refusal { () throws(Refusal) in try read(Fixture.tokens(1), in: workplace) } == "checksum-mismatch")
    try read(Fixture.tokens(2), in: workplace)

    var writer = try TreeStoreWriter(opening: workplace.store, creating: configuration)
    let document = try writer.document(named: "a")
    let a = try #require(document)
    let keys = try writer.chunks(of: a).keys
    let found = [writer.holdsWhole(a), writer.contains(keys[0]), writer.contains(keys[1])]
    #expect(found == [false, false, true])
    // Nothing of it is thrown away as long as it cannot be made again.
    try writer.removeDocument(named: "c")
    #expect(try writer.collectGarbage(.all).damagedChunks == 0)
    #expect(refusal { () throws(Refusal) in try read(Fixture.tokens(1), in: workplace) } == "checksum-mismatch")

    for tokens in [Fixture.tokens(1), Fixture.tokens(2)] {
      _ = try writer.add(Fixture.chunk(tokens, configuration), compression: .none)
    }
    try writer.commit()
    let isWhole = writer.holdsWhole(a)
    #expect(isWhole)
    try read(Fixture.tokens(1), in: workplace)
    // Of two copies the good one stays, and then nothing is damaged.
    _ = try writer.collectGarbage(.all)
    for number in 1...4 { try read(Fixture.tokens(number), in: workplace) }
    try TreeStore(opening: workplace.store).verify()
  }

  /// A damaged chunk in a segment that is mostly garbage keeps the segment.
  @Test func collectingGarbageKeepsWhatItCannotRead() throws {
    let (workplace, configuration) = try store()
    let (path, record) = try segment(with: Fixture.tokens(3), in: workplace)
    var bytes = try Surgery.read(path)
    bytes[record.layout.blocks[2].lowerBound] ^= 1
    try Surgery.write(bytes, to: path)
    var writer = try TreeStoreWriter(opening: workplace.store, creating: configuration)
    try writer.removeDocument(named: "b")
    let report = try writer.collectGarbage()
    #expect(report.damagedChunks == 1 && report.freedByteCount == 0)
    #expect(refusal { () throws(Refusal) in try read(Fixture.tokens(3), in: workplace) } == "checksum-mismatch")
    _ = try writer.add(Fixture.chunk(Fixture.tokens(3), configuration), compression: .none)
    #expect(try writer.collectGarbage().freedByteCount > 0)
    try read(Fixture.tokens(3), in: workplace)
    try TreeStore(opening: workplace.store).verify()
  }

  @Test func nothingOfARemovedTextIsLeft() throws {
    let workplace = try Workplace()
    let configuration = try Fixture.configuration()
    var writer = try TreeStoreWriter(opening: workplace.store, creating: configuration)
    try writer.add(document: "a", [Fixture.tokens(1)])
    try writer.add(document: "b", (2...6).map { Fixture.tokens($0) })
    try writer.commit()
    try writer.removeDocument(named: "a")
    #expect(try writer.collectGarbage().freedByteCount == 0)
    let secret: [UInt8] = [100, 0, 0, 0, 101, 0, 0, 0, 102, 0, 0, 0]
    #expect(try workplace.files().contains { try Surgery.read($0).firstRange(of: secret) != nil })
    #expect(try writer.collectGarbage(.all).removedChunks == 1)
    #expect(try !workplace.files().contains { try Surgery.read($0).firstRange(of: secret) != nil })
    for number in 2...6 { try read(Fixture.tokens(number), in: workplace) }
    try TreeStore(opening: workplace.store).verify()
  }
}
