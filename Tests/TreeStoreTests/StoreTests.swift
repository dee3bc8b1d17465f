import CanonicalJSON
import ContextTrees
import FaultInjection
import FileAccess
import NodeBlocks
import Testing

@testable import TreeStore

@Suite struct StoreTests {
  /// What is stored is what is read, for every encoding, compression and odd chunk length.
  @Test(arguments: RowEncoding.allCases, Compression.allCases)
  func roundTrip(encoding: RowEncoding, compression: Compression) throws {
    let workplace = try Workplace()
    let configuration = try Fixture.configuration(chunkSize: 70, depth: 3, layers: 2, encoding: encoding)
    let lengths = [70, 69, 1, 2, 3, 7, 33]
    do {
      var writer = try TreeStoreWriter(opening: workplace.store, creating: configuration)
      try writer.add(
        document: "a", lengths.map { Fixture.tokens($0, count: $0) }, compression: compression, compressible: true)
      try writer.commit()
    }
    let store = try TreeStore(opening: workplace.store)
    try store.require(configuration)
    #expect(store.generation == 2)
    let document = try #require(try store.document(named: "a"))
    #expect(document.tokenCount == lengths.reduce(0, +))
    for (length, key) in zip(lengths, try store.chunks(of: document).keys) {
      let tokens = Fixture.tokens(length, count: length)
      #expect(store.chunkKey(tokens: tokens) == key)
      let chunk = try #require(try store.chunk(key))
      let encoded = Fixture.chunk(tokens, configuration, compressible: true)
      try expectEqual(chunk, encoded, size: 3)
      for node in chunk.tree.nodes {
        let block = try chunk.block(of: node)
        #expect(block.storage.isMapped == (chunk.compression(of: node) == .none))
        if encoding != .int8 || node.rowCount > 1 { #expect(chunk.compression(of: node) == compression) }
      }
    }
    var reports: [Int] = []
    try store.verify { done, total in
      #expect(done <= total)
      reports.append(done)
    }
    #expect(try reports.last == store.statistics().totalByteCount)
    #expect(try compression == .none ? store.statistics().compression == 1 : store.statistics().compression < 1)
  }
}

extension StoreTests {
  /// Equal chunks are stored once: in a document, between documents, between commits and segments.
  @Test func equalChunksAreStoredOnce() throws {
    let workplace = try Workplace()
    let configuration = try Fixture.configuration()
    let (a, b, c) = (Fixture.tokens(1), Fixture.tokens(2), Fixture.tokens(3, count: 5))
    do {
      var writer = try TreeStoreWriter(opening: workplace.store, creating: configuration)
      try writer.add(document: "one", [a, b, a])
      try writer.commit()
      let statistics = try TreeStore(opening: workplace.store).statistics()
      #expect(statistics.uniqueChunks == 2)
      #expect(statistics.chunks == 3)
      try writer.add(document: "two", [b, a])
      try writer.commit()
      #expect(try workplace.segments().count == 1)
      try writer.add(document: "three", [c, a])
      try writer.commit()
    }
    let store = try TreeStore(opening: workplace.store)
    #expect(store.generation == 4)
    #expect(try store.statistics().uniqueChunks == 3)
    #expect(try store.statistics().segments == 2)
    #expect(try store.statistics().deadByteCount == 0)
    #expect(try store.documents().map(\.name) == ["one", "three", "two"])
    #expect(try store.chunk(store.chunkKey(tokens: Fixture.tokens(9))) == nil)
    try store.verify { _, _ in }
  }

  /// Nothing is seen before the commit, everything after it, and a reader keeps the generation that it opened.
  @Test func readersPinAGeneration() throws {
    let workplace = try Workplace()
    let configuration = try Fixture.configuration()
    var writer = try TreeStoreWriter(opening: workplace.store, creating: configuration)
    let empty = try TreeStore(opening: workplace.store)
    #expect(empty.generation == 1)
    try writer.add(document: "a", [Fixture.tokens(1)])
    #expect(try TreeStore(opening: workplace.store).documents().isEmpty)
    try writer.commit()
    let first = try TreeStore(opening: workplace.store)
    let key = first.chunkKey(tokens: Fixture.tokens(1))
    try writer.removeDocument(named: "a")
    try writer.commit()
    let report = try writer.collectGarbage()
    #expect(report.droppedSegments == 1)
    #expect(report.removedChunks == 1)
    #expect(report.freedByteCount > 0)
    #expect(try workplace.segments().isEmpty)
    // The segment is gone from the directory but still there for those who mapped it.
    let chunk = try #require(try first.chunk(key))
    try expectEqual(chunk, Fixture.chunk(Fixture.tokens(1), configuration), size: 3)
    #expect(try empty.documents().isEmpty)
    let last = try TreeStore(opening: workplace.store)
    #expect(try last.chunk(key) == nil)
    try last.verify { _, _ in }
  }

  @Test func documentsAreReplacedOnlyWhenAsked() throws {
    let workplace = try Workplace()
    var writer = try TreeStoreWriter(opening: workplace.store, creating: try Fixture.configuration())
    try writer.add(document: "a", [Fixture.tokens(1)])
    try writer.commit()
    #expect(refusal { () throws(Refusal) in try writer.add(document: "a", [Fixture.tokens(2)]) } == "document-exists")
    try writer.add(document: "a", [Fixture.tokens(2)], replacing: true)
    try writer.commit()
    let store = try TreeStore(opening: workplace.store)
    let document = try #require(try store.document(named: "a"))
    #expect(try store.chunks(of: document).keys == [store.chunkKey(tokens: Fixture.tokens(2))])
    #expect(try store.document(named: "A") == nil)
    // A name is its bytes: these two look equal.
    try writer.add(document: "\u{E9}", [Fixture.tokens(1)])
    try writer.add(document: "e\u{301}", [Fixture.tokens(2)])
    try writer.commit()
    #expect(try TreeStore(opening: workplace.store).documents().count == 3)
  }

  /// Wrong arguments are refused, and the writer works on.
  @Test func refusedCallsLeaveTheWriterWorking() throws {
    let workplace = try Workplace()
    let configuration = try Fixture.configuration()
    var writer = try TreeStoreWriter(opening: workplace.store, creating: configuration)
    let key = try writer.add(Fixture.chunk(Fixture.tokens(1), configuration), compression: .none)
    func named(
      _ writer: inout TreeStoreWriter, _ name: String, tokens: Int = 8, chunks: [ChunkKey]
    ) -> String? {
      refusal { () throws(Refusal) in
        try writer.addDocument(
          name: name, textDigest: Digest256(of: []), textByteCount: 1, tokenCount: tokens,
          chunks: DocumentChunks(keys: chunks),
          replacing: false)
      }
    }
    for name in ["", "a\nb", "\u{7F}", "\u{85}", String(repeating: "a", count: 1025)] {
      #expect(named(&writer, name, chunks: [key]) == "invalid-document-name")
    }
    #expect(named(&writer, "a", chunks: [configuration.chunkKey(tokens: [1])]) == "missing-chunk")
    #expect(named(&writer, "a", tokens: 9, chunks: [key]) == "token-count-mismatch")
    #expect(refusal { () throws(Refusal) in try writer.removeDocument(named: "a") } == "missing-document")

    let good = Fixture.chunk(Fixture.tokens(2), configuration)
    let bad = [
      EncodedChunk(tokens: [], embeddings: [], blocks: []),
      EncodedChunk(tokens: Fixture.tokens(2, count: 9), embeddings: good.embeddings, blocks: good.blocks),
      EncodedChunk(tokens: good.tokens, embeddings: Array(good.embeddings.dropLast()), blocks: good.blocks),
      EncodedChunk(tokens: good.tokens, embeddings: good.embeddings.map { _ in .nan }, blocks: good.blocks),
      EncodedChunk(tokens: good.tokens, embeddings: good.embeddings, blocks: Array(good.blocks.dropLast())),
      EncodedChunk(
        tokens: good.tokens, embeddings: good.embeddings,
        blocks: Fixture.chunk(good.tokens, try Fixture.configuration(headDim: 8)).blocks),
    ]
    for chunk in bad {
      #expect(refusal { () throws(Refusal) in _ = try writer.add(chunk, compression: .none) } == "invalid-chunk")
    }
    #expect(named(&writer, String(repeating: "a", count: 1024), chunks: [key]) == nil)
    try writer.commit()
    try TreeStore(opening: workplace.store).verify { _, _ in }
  }

  /// Chunks that were committed without a document are found by the next run, and are garbage until one names them.
  @Test func committedChunksAreReused() throws {
    let workplace = try Workplace()
    let configuration = try Fixture.configuration()
    let chunk = Fixture.chunk(Fixture.tokens(1), configuration)
    do {
      var writer = try TreeStoreWriter(opening: workplace.store, creating: configuration)
      _ = try writer.add(chunk, compression: .none)
      try writer.commit()
      _ = try writer.add(Fixture.chunk(Fixture.tokens(2), configuration), compression: .none)
      // The writer ends here, without a commit.
    }
    #expect(try Directory.names(in: "\(workplace.store)/segments").count == 1)
    let store = try TreeStore(opening: workplace.store)
    #expect(try store.statistics().deadByteCount > 0)
    var writer = try TreeStoreWriter(opening: workplace.store, creating: nil)
    let (key, lost) = (configuration.chunkKey(tokens: chunk.tokens), configuration.chunkKey(tokens: Fixture.tokens(2)))
    let found = [key, lost].map { writer.contains($0) }
    #expect(found == [true, false])
    try writer.add(document: "a", [Fixture.tokens(1)])
    try writer.commit()
    #expect(try workplace.segments().count == 1)
    #expect(try TreeStore(opening: workplace.store).statistics().deadByteCount == 0)
  }

  /// A segment rolls at its limit; one that is mostly garbage is rewritten, its chunks unchanged.
  @Test(arguments: Compression.allCases) func garbageIsCollected(compression: Compression) throws {
    let workplace = try Workplace()
    let configuration = try Fixture.configuration(headDim: 64)
    var writer = try TreeStoreWriter(opening: workplace.store, creating: configuration, segmentByteLimit: 20_000)
    for number in 0..<8 {
      try writer.add(
        document: "d\(number)", [Fixture.tokens(number), Fixture.tokens(100 + number)], compression: compression,
        compressible: true)
    }
    try writer.commit()
    let before = try TreeStore(opening: workplace.store)
    #expect(try compression != .none || before.statistics().segments > 2)
    for number in [0, 1, 2, 4, 5, 7] { try writer.removeDocument(named: "d\(number)") }
    let report = try writer.collectGarbage()
    #expect(report.removedChunks == 12)
    #expect(report.rewrittenSegments > 0)
    let after = try TreeStore(opening: workplace.store)
    #expect(try after.statistics().uniqueChunks == 4)
    #expect(try after.statistics().deadByteCount == 0)
    #expect(try workplace.files().count == 2 + after.statistics().segments)
    for number in [3, 6] {
      for tokens in [Fixture.tokens(number), Fixture.tokens(100 + number)] {
        let chunk = try #require(try after.chunk(after.chunkKey(tokens: tokens)))
        try expectEqual(chunk, Fixture.chunk(tokens, configuration, compressible: true), size: 3)
        #expect(chunk.compression(of: chunk.tree.nodes[0]) == compression)
      }
    }
    try after.verify { _, _ in }
    // Nothing more to do: no new generation.
    let generation = writer.generation
    #expect(try writer.collectGarbage() == GarbageReport())
    #expect(writer.generation == generation)
  }

  @Test func oneWriter() throws {
    let workplace = try Workplace()
    let configuration = try Fixture.configuration()
    do {
      let first = try TreeStoreWriter(opening: workplace.store, creating: configuration)
      #expect(
        refusal { () throws(Refusal) in _ = try TreeStoreWriter(opening: workplace.store, creating: nil) } == "busy")
      #expect(first.generation == 1)
    }
    #expect(refusal { () throws(Refusal) in _ = try TreeStoreWriter(opening: workplace.store, creating: nil) } == nil)
  }

  /// Another model is refused by its identity, another form of trees by its fields.
  @Test func configurationsAreRequired() throws {
    let workplace = try Workplace()
    let configuration = try Fixture.configuration()
    _ = try TreeStoreWriter(opening: workplace.store, creating: configuration)
    let store = try TreeStore(opening: workplace.store)
    try store.require(configuration)
    let other = try Fixture.configuration(model: 8)
    let error = #expect(throws: Refusal.self) { try store.require(other) }
    let message = try #require(error).description
    #expect(message.contains("070707070707") && message.contains("080808080808"))
    #expect(message.hasSuffix("[model-mismatch]"))
    for other in [
      try Fixture.configuration(chunkSize: 16), try Fixture.configuration(depth: 1),
      try Fixture.configuration(layers: 2), try Fixture.configuration(encoding: .int8),
      try Fixture.configuration(embeddingSize: 4), try Fixture.configuration(numerics: "compose; exact"),
    ] {
      #expect(refusal { () throws(Refusal) in try store.require(other) } == "configuration-mismatch")
      #expect(
        refusal { () throws(Refusal) in _ = try TreeStoreWriter(opening: workplace.store, creating: other) }
          == "configuration-mismatch")
      #expect(other.chunkKey(tokens: [1, 2]) != configuration.chunkKey(tokens: [1, 2]))
    }
  }

  /// A reader writes nothing and needs no lock.
  @Test func readingLeavesNoTrace() throws {
    let workplace = try Workplace()
    var writer = try TreeStoreWriter(opening: workplace.store, creating: try Fixture.configuration())
    try writer.add(document: "a", [Fixture.tokens(1)])
    try writer.commit()
    let calls = FaultSchedule()
    try FileOperation.withProbe(calls) {
      let store = try TreeStore(opening: workplace.store)
      try store.verify { _, _ in }
      _ = try store.chunk(store.chunkKey(tokens: Fixture.tokens(1)))
      _ = try Segment.inspect(try #require(workplace.segments().first))
    }
    #expect(!calls.operations.isEmpty)
    for operation in calls.operations {
      switch operation {
      case .open, .list, .read, .map: break
      default: Issue.record("a reader does not \(operation)")
      }
    }
  }

  @Test func descriptions() throws {
    let workplace = try Workplace()
    var writer = try TreeStoreWriter(opening: workplace.store, creating: try Fixture.configuration())
    try writer.add(document: "a", [Fixture.tokens(1), Fixture.tokens(2, count: 3)])
    try writer.commit()
    let segment = try Segment.inspect(try #require(workplace.segments().first))
    #expect(segment.chunks.count == 2)
    #expect(segment.chunks.map(\.tokenCount).sorted() == [3, 8])
    #expect(segment.chunks.map(\.nodeCount).sorted() == [5, 6])
    #expect(segment.json["configuration"]?["row_numerics"]?.string == "local; exact")
    #expect(segment.text.contains("chunk size 8"))
  }
}
