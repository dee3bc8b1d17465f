import ContextTrees
import FileAccess
import NodeBlocks
import Testing

@testable import TreeStore

/// Blocks of few rows are stored without their padding, and read as they were.
@Suite struct DenseBlockTests {
  private func configuration() throws -> TreeStoreConfiguration {
    try Fixture.configuration(chunkSize: 64, depth: 2, layers: 4, headDim: 64, encoding: .int8)
  }

  /// A chunk as a model makes it: with the padding of kernels' packers.
  private func chunk(_ tokens: [Int32], _ configuration: TreeStoreConfiguration) throws -> EncodedChunk {
    let fixture = Fixture.chunk(tokens, configuration)
    let tree = ContextTree(shape: configuration.shape, tokenCount: tokens.count)
    let blocks = tree.nodes.map { node in
      let writer = NodeBlockWriter(layout: configuration.layout, keeping: Array(0..<node.rowCount))
      let floats = (0..<node.rowCount * 64).map { Float((Int(tokens[0]) + $0 * 7) % 31) - 15 }
      for layer in 0..<4 {
        unsafe floats.withUnsafeBufferPointer {
          _ = unsafe writer.write(layer: layer, keys: $0.baseAddress!, values: $0.baseAddress!)
        }
      }
      return writer.finish()
    }
    return EncodedChunk(tokens: tokens, embeddings: fixture.embeddings, blocks: blocks)
  }

  private func store(
    _ workplace: Workplace, _ chunks: [EncodedChunk], compression: Compression = .none
  ) throws -> [ChunkKey] {
    var writer = try TreeStoreWriter(
      opening: workplace.store, creating: try configuration(), segmentByteLimit: 1 << 30, salt: 3)
    var keys: [ChunkKey] = []
    for (number, chunk) in chunks.enumerated() {
      keys.append(try writer.add(chunk, compression: compression))
      try writer.addDocument(
        name: "d\(number)", textDigest: Digest256(of: [UInt8(number)]), textByteCount: 1,
        tokenCount: chunk.tokens.count, chunks: DocumentChunks(keys: [keys[number]]), replacing: false)
    }
    try writer.commit()
    return keys
  }

  @Test(arguments: Compression.allCases) func whatWasWrittenIsRead(_ compression: Compression) throws {
    let workplace = try Workplace()
    let configuration = try configuration()
    let chunks = try [1, 2, 3, 20, 40, 63, 64].map {
      try chunk(Fixture.tokens($0, count: $0), configuration)
    }
    let keys = try store(workplace, chunks, compression: compression)
    func check() throws {
      let store = try TreeStore(opening: workplace.store)
      try store.verify()
      for (key, chunk) in zip(keys, chunks) {
        guard let stored = try store.chunk(key) else { continue }
        try expectEqual(stored, chunk, size: configuration.embeddingSize)
        for (node, entry) in zip(stored.tree.nodes, stored.record.entries) {
          let geometry = BlockGeometry.node(configuration.layout, rowCount: node.rowCount)
          if compression == .none {
            #expect(entry.isDense == geometry.isStoredDense, "\(node.rowCount) rows")
            #expect(entry.byteCount == geometry.storedByteCount)
            #expect(try stored.block(of: node).storage.isMapped == !entry.isDense)
          }
          #expect(entry.byteCount <= geometry.byteCount)
          if entry.isDense { #expect(entry.byteCount == geometry.denseByteCount) }
        }
      }
    }
    try check()
    // It is copied as it is.
    var writer = try TreeStoreWriter(opening: workplace.store, creating: configuration)
    for number in 0..<5 { try writer.removeDocument(named: "d\(number)") }
    _ = try writer.collectGarbage()
    try check()
    let path = try #require(try workplace.segments().first)
    let inspection = try Segment.inspect(path)
    #expect(inspection.chunks.contains { $0.denseBlockCount > 0 } || compression != .none)
  }

  /// A note of two tokens takes little more than its numbers.
  @Test func fewTokens() throws {
    let workplace = try Workplace()
    let key = try store(workplace, [try chunk([1, 2], try configuration())])[0]
    let record = try #require(try TreeStore(opening: workplace.store).chunk(key)).record
    // Each of four nodes has a row in four layers: keys and their scale, values and theirs.
    #expect(record.entries.map(\.byteCount) == [Int](repeating: 4 * (68 + 64 * 5), count: 4))
    #expect(record.layout.end - record.layout.head.lowerBound < 4 * 4 * 448)
  }

  /// A flipped bit is found, and an impossible length before anything is read.
  @Test func damaged() throws {
    let workplace = try Workplace()
    let key = try store(workplace, [try chunk([1, 2], try configuration())])[0]
    let path = try #require(try workplace.segments().first)
    let whole = try Surgery.read(path)
    let layout = try #require(try TreeStore(opening: workplace.store).chunk(key)).record.layout
    func outcome(_ change: (inout [UInt8]) -> Void) throws -> String? {
      var bytes = whole
      change(&bytes)
      try Surgery.install(segment: bytes, in: workplace)
      return refusal { () throws(Refusal) in
        let store = try TreeStore(opening: workplace.store)
        guard let chunk = try store.chunk(key) else { return }
        for node in chunk.tree.nodes { _ = try chunk.block(of: node) }
      }
    }
    let start = layout.head.lowerBound
    func signed(_ bytes: inout [UInt8]) { Surgery.sign(head: 0, headByteCount: 64 + 4 * 32 + 2 * 4, segment: &bytes) }
    #expect(try outcome { _ in } == nil)
    #expect(try outcome { $0[layout.blocks[1].upperBound - 1] ^= 1 } == "checksum-mismatch")
    for length in [0, 1, 1551, 1553, 4 * 17 * 64 * 2, Int.max] {
      #expect(
        try outcome {
          Surgery.put(length, at: start + 64, in: &$0)
          signed(&$0)
        } == "malformed-record", "\(length)")
    }
    // The dense length of a block that says that it is whole, and an unknown code.
    for code: UInt8 in [0, 4] {
      #expect(
        try outcome {
          $0[start + 72] = code
          signed(&$0)
        } == "malformed-record")
    }
  }
}
