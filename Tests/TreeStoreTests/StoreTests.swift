import ContextTrees
import FileAccess
import Testing

@testable import TreeStore

@Suite struct StoreTests {
  /// What is stored is what is read, for every encoding, compression and odd chunk length.
  @Test(arguments: RowEncoding.allCases, Compression.allCases)
  func roundTrip(encoding: RowEncoding, compression: Compression) throws {
    let place = try Workplace()
    let configuration = try Fixture.configuration(chunkSize: 70, depth: 3, layers: 2, encoding: encoding)
    let lengths = [70, 69, 1, 2, 3, 7, 33]
    do {
      var writer = try TreeStoreWriter(opening: place.store, creating: configuration)
      try writer.add(
        document: "a", lengths.map { Fixture.tokens($0, count: $0) }, compression: compression, compressible: true)
      try writer.commit()
    }
    let store = try TreeStore(opening: place.store)
    try store.require(configuration)
    #expect(store.generation == 2)
    let document = try #require(store.document(named: "a"))
    #expect(document.tokenCount == lengths.reduce(0, +))
    for (length, key) in zip(lengths, document.chunks) {
      let tokens = Fixture.tokens(length, count: length)
      #expect(store.chunkKey(tokens: tokens) == key)
      let chunk = try #require(try store.chunk(key))
      let encoded = Fixture.chunk(tokens, configuration, compressible: true)
      try expectEqual(chunk, encoded, size: 3)
      for node in chunk.tree.nodes {
        let block = try chunk.block(of: node)
        #expect(block.isMapped == (chunk.compression(of: node) == .none))
        if encoding != .int8 || node.rowCount > 1 { #expect(chunk.compression(of: node) == compression) }
        block.prefetch()
      }
    }
    var reports: [Int] = []
    try store.verify { done, total in
      #expect(done <= total)
      reports.append(done)
    }
    #expect(reports.last == store.statistics.totalByteCount)
    #expect(compression == .none ? store.statistics.compression == 1 : store.statistics.compression < 1)
  }
}
