import FileAccess
import Testing

@testable import TreeStore

/// Generations whose manifest is lost, files that nobody knows, and what is done with many small commits.
@Suite struct RecoveryTests {
  private func store(documents: Int) throws -> Workplace {
    let workplace = try Workplace.inMemory()
    var writer = try TreeStoreWriter(opening: workplace.store, creating: try Fixture.configuration())
    for number in 0..<documents {
      try writer.add(document: "d\(number)", [Fixture.tokens(number)])
      try writer.commit()
    }
    return workplace
  }

  private func names(_ workplace: Workplace) throws -> [String] {
    try TreeStore(opening: workplace.store).documents().map(\.name)
  }

  /// The newest manifest is removed: it is told, nothing is deleted, and the next writer takes the generation up.
  @Test(arguments: [1, 2, 3, 4, 5, 9, 20]) func aLostManifest(_ count: Int) throws {
    let workplace = try store(documents: count)
    try Directory.removeFile(try Surgery.manifestPath(workplace))
    let damaged = try TreeStore(opening: workplace.store)
    #expect(try damaged.documents().count == count - 1)
    #expect(refusal { () throws(Refusal) in try damaged.verify() } == "unfinished-generation")
    #expect(try damaged.statistics().unknownFiles > 0)
    var writer = try TreeStoreWriter(opening: workplace.store, creating: nil)
    let generation = writer.generation
    #expect(generation == count + 1)
    #expect(try names(workplace).count == count)
    try TreeStore(opening: workplace.store).verify()
    #expect(try writer.collectGarbage(.all).unknownFiles == 0)
    #expect(try names(workplace).count == count)
    try TreeStore(opening: workplace.store).verify()
  }

  /// A removal whose manifest is lost is taken up as well.
  @Test func aLostRemoval() throws {
    let workplace = try store(documents: 3)
    do {
      var writer = try TreeStoreWriter(opening: workplace.store, creating: nil)
      try writer.removeDocument(named: "d1")
      try writer.commit()
    }
    try Directory.removeFile(try Surgery.manifestPath(workplace))
    #expect(try names(workplace) == ["d0", "d1", "d2"])
    _ = try TreeStoreWriter(opening: workplace.store, creating: nil)
    #expect(try names(workplace) == ["d0", "d2"])
    try TreeStore(opening: workplace.store).verify()
  }

  /// A table of a later generation that is damaged, or whose segment is gone, is not taken up, and stays.
  @Test(arguments: [true, false]) func whatIsNotWholeIsNotTakenUp(_ isDamaged: Bool) throws {
    let workplace = try store(documents: 2)
    let before = Set(try workplace.files())
    do {
      var writer = try TreeStoreWriter(opening: workplace.store, creating: nil)
      try writer.add(document: "new", [Fixture.tokens(99)])
      try writer.commit()
    }
    try Directory.removeFile(try Surgery.manifestPath(workplace))
    let new = try workplace.files().filter { !before.contains($0) }
    let (table, segment) = (
      try #require(new.first { $0.hasSuffix(".table") }), try #require(new.first { $0.hasSuffix(".seg") })
    )
    if isDamaged {
      var bytes = try Surgery.read(table)
      bytes[bytes.count / 2] ^= 1
      try Surgery.write(bytes, to: table)
    } else {
      try Directory.removeFile(segment)
    }
    var writer = try TreeStoreWriter(opening: workplace.store, creating: nil)
    #expect(try names(workplace) == ["d0", "d1"])
    try TreeStore(opening: workplace.store).verify()
    #expect(try writer.collectGarbage(.all).unknownFiles == (isDamaged ? 2 : 1))
    #expect(Directory.exists(table) != nil)
  }

  private func fileFaults(_ workplace: Workplace) throws -> [Refusal.Name] {
    try StoreRepair.examine(workplace.store).faults.filter { $0.kind == .file }.map(\.refusal.name)
  }

  /// A commit that ended between the names of its segment and its table: the next writer takes the segment in, its chunks
  /// need not be made again, and nothing of it is removed before a repair was asked for.
  @Test(arguments: [CollectionScope.wasteful, .all, .compact])
  func aSegmentWithoutGeneration(_ scope: CollectionScope) throws {
    let workplace = try store(documents: 2)
    let before = Set(try workplace.files())
    let new = [Fixture.tokens(98), Fixture.tokens(99), Fixture.tokens(0)]
    do {
      var writer = try TreeStoreWriter(opening: workplace.store, creating: nil)
      try writer.add(document: "new", new)
      try writer.commit()
    }
    for file in try workplace.files() where !before.contains(file) && !file.hasSuffix(".seg") {
      try Directory.removeFile(file)
    }
    #expect(try fileFaults(workplace) == [.unknownFile])
    func key(_ number: Int) throws -> ChunkKey {
      try TreeStore(opening: workplace.store).chunkKey(tokens: Fixture.tokens(number))
    }
    do {
      var writer = try TreeStoreWriter(opening: workplace.store, creating: nil)
      #expect(try writer.contains(key(98)) && writer.contains(key(99)))
      for _ in 0..<2 {
        #expect(try writer.collectGarbage(scope).unknownFiles == 1)
        #expect(try writer.contains(key(98)) && writer.contains(key(99)))
      }
      // Others are merged, this one stays.
      for number in 2..<12 {
        try writer.add(document: "d\(number)", [Fixture.tokens(number)])
        try writer.commit()
      }
    }
    let store = try TreeStore(opening: workplace.store)
    try store.verify()
    #expect(try store.chunk(key(98)) != nil && store.statistics().unknownFiles == 1)
    // Still told after it was taken in.
    #expect(try fileFaults(workplace) == [.unknownFile])
    let report = try StoreRepair.repair(workplace.store)
    #expect(report.actions.map(\.kind) == [.catalog])
    #expect(try StoreRepair.repair(workplace.store).actions.isEmpty)
    #expect(try TreeStore(opening: workplace.store).chunk(key(98)) != nil)
    var writer = try TreeStoreWriter(opening: workplace.store, creating: nil)
    let collected = try writer.collectGarbage(.all)
    #expect(collected.unknownFiles == 0 && collected.removedChunks >= 2)
    #expect(try !writer.contains(key(98)) && names(workplace).count == 12)
    try TreeStore(opening: workplace.store).verify()
  }

  /// What a collection had written before it ended is a copy, and goes.
  @Test func aCopyWithoutGeneration() throws {
    let workplace = try store(documents: 5)
    let copy = try RepairTests.copy(workplace)
    do {
      var writer = try TreeStoreWriter(opening: copy.store, creating: nil)
      _ = try writer.collectGarbage(.compact)
    }
    let compacted = try #require(try copy.segments().first)
    let stray = "\(workplace.store)/segments/\(Directory.split(compacted).name)"
    try Surgery.write(try Surgery.read(compacted), to: stray)
    do {
      var writer = try TreeStoreWriter(opening: workplace.store, creating: nil)
      try writer.add(document: "x", [Fixture.tokens(90)])
      try writer.commit()
      #expect(try writer.collectGarbage(.wasteful).unknownFiles == 0)
    }
    #expect(Directory.exists(stray) == nil)
    #expect(try names(workplace).count == 6 && fileFaults(workplace).isEmpty)
    // One that is damaged is nothing to rely on.
    let other = try store(documents: 5)
    let damaged = "\(other.store)/segments/\(Directory.split(compacted).name)"
    var bytes = try Surgery.read(compacted)
    bytes[bytes.count / 2] ^= 1
    try Surgery.write(bytes, to: damaged)
    var writer = try TreeStoreWriter(opening: other.store, creating: nil)
    #expect(try writer.collectGarbage(.all).unknownFiles == 1)
    #expect(Directory.exists(damaged) != nil)
  }

  /// Many small commits leave few files, and each document is what it was.
  @Test func smallCommitsAreMerged() throws {
    let workplace = try store(documents: 100)
    let store = try TreeStore(opening: workplace.store)
    let statistics = try store.statistics()
    #expect(statistics.documents == 100 && statistics.uniqueChunks == 100)
    #expect(statistics.segments <= 16 && statistics.tables <= 8, "\(statistics.segments), \(statistics.tables)")
    #expect(statistics.deadByteCount == 0)
    try store.verify()
    for number in 0..<100 {
      let chunk = try #require(try store.chunk(store.chunkKey(tokens: Fixture.tokens(number))))
      try expectEqual(chunk, Fixture.chunk(Fixture.tokens(number), store.configuration), size: 3)
    }
    var writer = try TreeStoreWriter(opening: workplace.store, creating: nil)
    let report = try writer.collectGarbage(.compact)
    #expect(report.removedChunks == 0 && report.rewrittenSegments == statistics.segments)
    let compact = try TreeStore(opening: workplace.store)
    #expect(try compact.statistics().segments == 1 && compact.statistics().tables == 1)
    try compact.verify()
    let generation = writer.generation
    #expect(try writer.collectGarbage(.compact) == GarbageReport())
    #expect(writer.generation == generation)
    // The reader that was open goes on.
    try store.verify()
  }

  @Test func documentsOfAChunk() throws {
    let workplace = try Workplace.inMemory()
    var writer = try TreeStoreWriter(opening: workplace.store, creating: try Fixture.configuration())
    try writer.add(document: "a", [Fixture.tokens(1), Fixture.tokens(2)])
    try writer.add(document: "b", [Fixture.tokens(3), Fixture.tokens(2), Fixture.tokens(3)])
    try writer.commit()
    try writer.add(document: "c", [Fixture.tokens(2)])
    try writer.pinDocument(named: "a", true)
    try writer.commit()
    func holders(_ number: Int) throws -> [String] {
      let store = try TreeStore(opening: workplace.store)
      return try store.documents(holding: store.chunkKey(tokens: Fixture.tokens(number))).map {
        "\($0.name)\($0.chunk)"
      }
    }
    #expect(try holders(2) == ["a1", "b1", "c0"] && holders(3) == ["b0"] && holders(9) == [])
    try writer.add(document: "b", [Fixture.tokens(3)], replacing: true)
    try writer.add(document: "a", [Fixture.tokens(4)], replacing: true)
    try writer.commit()
    #expect(try holders(2) == ["c0"] && holders(1) == [])
    let store = try TreeStore(opening: workplace.store)
    #expect(try store.document(named: "a")?.isPinned == true && store.document(named: "b")?.isPinned == false)
    #expect(try store.documents(matching: NamePattern("?")).map(\.name) == ["a", "b", "c"])
    try store.verify()
  }

  /// What the owner says about a document, and how long its chunks are in the text.
  @Test func whatIsKeptOfADocument() throws {
    let workplace = try Workplace.inMemory()
    let configuration = try Fixture.configuration()
    var writer = try TreeStoreWriter(opening: workplace.store, creating: configuration)
    let keys = try (0..<150).map {
      try writer.add(Fixture.chunk(Fixture.tokens($0), configuration), compression: .none)
    }
    let chunks = DocumentChunks(keys: keys, textByteCounts: (0..<150).map { $0 })
    try writer.addDocument(
      name: "a", textDigest: Digest256(of: []), textByteCount: 149 * 75, tokenCount: 1200, chunks: chunks,
      metadata: "{\"author\":\"Ada\"}", replacing: false)
    let waiting = try writer.document(named: "a")
    #expect(waiting?.metadata == "{\"author\":\"Ada\"}")
    try writer.commit()
    let store = try TreeStore(opening: workplace.store)
    let document = try #require(try store.document(named: "a"))
    let found = try store.chunks(of: document)
    #expect(found == chunks && document.metadata == "{\"author\":\"Ada\"}")
    #expect(found.textRange(of: 3) == 3..<6)
    try store.verify()
    let tooMuch = refusal { () throws(Refusal) in
      try writer.addDocument(
        name: "b", textDigest: Digest256(of: []), textByteCount: 0, tokenCount: 1200, chunks: chunks,
        metadata: String(repeating: "x", count: 65_537), replacing: false)
    }
    #expect(tooMuch == "invalid-document-name")
  }
}
