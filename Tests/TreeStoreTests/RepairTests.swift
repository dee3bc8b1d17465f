import FaultInjection
import FileAccess
import Glibc
import NodeBlocks
import Testing

@testable import TreeStore

/// What `fsck` finds and `repair` makes good: nothing that can be read is lost, and nothing is deleted.
@Suite struct RepairTests {
  /// Documents of one and of many chunks over several segments and tables, some of which share chunks.
  private static func store(documents: Int = 6, compact: Bool = false) throws -> Workplace {
    let workplace = try Workplace.inMemory()
    let path = workplace.store
    var writer = try TreeStoreWriter(opening: path, creating: try Fixture.configuration(encoding: .int8))
    for number in 0..<documents {
      try writer.add(document: "d\(number)", [Fixture.tokens(number), Fixture.tokens(number + 1)])
      try writer.commit()
    }
    try writer.add(document: "long", (0..<70).map { Fixture.tokens(100 + $0) })
    try writer.pinDocument(named: "d1", true)
    try writer.removeDocument(named: "d0")
    try writer.commit()
    if compact { _ = try writer.collectGarbage(.compact) }
    return workplace
  }

  /// The documents that can be read, by their chunks.
  static func readable(_ path: String) -> [String: [[Int32]]] {
    var result: [String: [[Int32]]] = [:]
    guard let store = try? TreeStore(opening: path) else { return result }
    for number in 0..<20 {
      for name in ["d\(number)", "long", "a", "b"] {
        guard let document = try? store.document(named: name), let keys = try? store.chunks(of: document).keys else {
          continue
        }
        let tokens = keys.compactMap { key -> [Int32]? in
          guard let record = try? store.record(of: key), record.isWhole else { return nil }
          return record.tokens
        }
        if tokens.count == keys.count { result[name] = tokens }
      }
    }
    return result
  }

  private func faults(_ path: String) throws -> [String] {
    try StoreRepair.examine(path).faults.map { $0.refusal.description }
  }

  /// Repairs, and expects a good store but for what is listed as lost.
  @discardableResult
  private func repair(_ path: String, keeping before: [String: [[Int32]]], _ note: String = "") throws -> RepairReport {
    let planned = try StoreRepair.plan(path).actions
    let report = try StoreRepair.repair(path)
    #expect(report.actions == planned, "\(note)")
    let after = Self.readable(path)
    for (name, chunks) in before where after[name] != chunks { Issue.record("\(note): \(name) is lost") }
    let left = try StoreRepair.examine(path)
    let other = left.faults.filter { $0.refusal.name != .incompleteDocument }
    #expect(other.isEmpty, "\(note): \(other.map { "\($0.refusal)" })")
    if report.incompleteDocuments.isEmpty { try TreeStore(opening: path).verify() }
    #expect(try StoreRepair.repair(path).actions.isEmpty, "\(note)")
    var writer = try TreeStoreWriter(opening: path, creating: nil)
    try writer.add(document: "new", [Fixture.tokens(999)])
    try writer.commit()
    #expect(try StoreRepair.examine(path).faults.count == left.faults.count, "\(note)")
    return report
  }

  @Test(arguments: [false, true]) func aGoodStore(_ compact: Bool) throws {
    let workplace = try Self.store(compact: compact)
    let examination = try StoreRepair.examine(workplace.store)
    #expect(examination.faults.isEmpty, "\(examination.faults)")
    #expect(examination.documentCount == 6 && examination.unreachableChunkCount == (compact ? 0 : 1))
    #expect(try StoreRepair.plan(workplace.store).actions.isEmpty)
    let files = try workplace.files()
    #expect(try StoreRepair.repair(workplace.store).actions.isEmpty)
    #expect(try workplace.files() == files)
  }

  /// One byte of each file is changed, here and there.
  @Test(arguments: [false, true]) func aDamagedByte(_ compact: Bool) throws {
    let workplace = try Self.store(compact: compact)
    let before = Self.readable(workplace.store)
    #expect(before.count == 6)
    var count = 0
    var lossless = 0
    let obsolete = try TreeStore(opening: workplace.store).manifest.obsolete.map { $0.path(in: workplace.store) }
    for file in try workplace.files() where !obsolete.contains(file) {
      let byteCount = try Surgery.read(file).count
      for offset in stride(from: 5, to: byteCount, by: max(byteCount / 23, 1)) {
        let copy = try Self.copy(workplace)
        let target = copy.store + file.dropFirst(workplace.store.count)
        var bytes = try Surgery.read(target)
        bytes[offset] ^= 0x20
        try Surgery.write(bytes, to: target)
        #expect(try !StoreRepair.examine(copy.store).faults.isEmpty, "\(file), byte \(offset)")
        let left = Self.readable(copy.store)
        let report = try repair(copy.store, keeping: left, "\(target), byte \(offset)")
        // What is not there any more is named.
        let after = Self.readable(copy.store)
        let named = Set(report.lostDocuments + report.incompleteDocuments.map(\.name))
        for name in before.keys where after[name] == nil && !named.contains(name) {
          // Of a table that cannot be opened nothing is known but what other levels say.
          #expect(target.hasSuffix(".table"), "\(name) is lost without a word: \(target), byte \(offset)")
        }
        if before.allSatisfy({ after[$0.key] == $0.value }) { lossless += 1 }
        let quarantine = try Directory.names(in: "\(copy.store)/quarantine")
        #expect(try quarantine.contains { try Surgery.read("\(copy.store)/quarantine/\($0)") == bytes })
        count += 1
      }
    }
    #expect(count > 60 && lossless > count / 4, "\(lossless) of \(count)")
  }

  static func copy(_ workplace: Workplace) throws -> Workplace {
    let copy = try Workplace.inMemory()
    for directory in ["", "/segments", "/catalog"] { try Directory.create(copy.store + directory, mode: 0o700) }
    for file in try workplace.files() {
      try Surgery.write(try Surgery.read(file), to: copy.store + file.dropFirst(workplace.store.count))
    }
    return copy
  }

  @Test(arguments: [false, true]) func aLostFile(_ compact: Bool) throws {
    let workplace = try Self.store(compact: compact)
    let before = Self.readable(workplace.store)
    for file in try workplace.files() {
      let copy = try Self.copy(workplace)
      try Directory.removeFile(copy.store + file.dropFirst(workplace.store.count))
      // A generation without its manifest counts: what it removed is gone.
      try repair(copy.store, keeping: Self.readable(copy.store).filter { before[$0.key] != nil }, file)
    }
  }

  /// Without any manifest all that the tables and segments have is there again.
  @Test(arguments: [false, true]) func allManifestsAreLost(_ compact: Bool) throws {
    let workplace = try Self.store(compact: compact)
    let before = Self.readable(workplace.store)
    for file in try workplace.files() where file.contains("MANIFEST") { try Directory.removeFile(file) }
    try repair(workplace.store, keeping: before)
    #expect(Self.readable(workplace.store)["d1"] == before["d1"])
    let document = try TreeStore(opening: workplace.store).document(named: "d1")
    #expect(document?.isPinned == true)
  }

  /// A later manifest that is damaged is put aside, and what it named is there.
  @Test func aDamagedManifest() throws {
    let workplace = try Self.store()
    let before = Self.readable(workplace.store)
    try Surgery.write([1, 2, 3], to: try Surgery.manifestPath(workplace))
    #expect(try !faults(workplace.store).isEmpty)
    try repair(workplace.store, keeping: before)
    #expect(try Directory.names(in: "\(workplace.store)/quarantine").count == 1)
  }

  /// Files that nobody knows: a segment that is whole is taken in, all else is put aside.
  @Test func unknownFiles() throws {
    let workplace = try Self.store()
    let other = try Workplace.inMemory()
    var writer = try TreeStoreWriter(opening: other.store, creating: try Fixture.configuration(encoding: .int8))
    try writer.add(document: "other", [Fixture.tokens(500)])
    try writer.commit()
    let foreign = try Workplace.inMemory()
    var second = try TreeStoreWriter(
      opening: foreign.store, creating: try Fixture.configuration(model: 8, encoding: .int8))
    try second.add(document: "foreign", [Fixture.tokens(600)])
    try second.commit()
    for file in try other.files() + foreign.files() where !file.contains("MANIFEST") {
      let part = Directory.split(Directory.split(file).directory).name
      try Surgery.write(try Surgery.read(file), to: "\(workplace.store)/\(part)/\(Directory.split(file).name)")
    }
    try Surgery.write([1], to: "\(workplace.store)/segments/notes.txt")
    #expect(try faults(workplace.store).count == 5)
    let report = try repair(workplace.store, keeping: Self.readable(workplace.store))
    #expect(report.actions.count { $0.kind == .adopt } == 1)
    #expect(report.actions.count { $0.kind == .quarantine } == 4)
    #expect(try Directory.names(in: "\(workplace.store)/quarantine").count == 4)
    let store = try TreeStore(opening: workplace.store)
    #expect(try store.chunk(store.chunkKey(tokens: Fixture.tokens(500))) != nil)
  }

  @Test func permissions() throws {
    let workplace = try Self.store()
    let file = try #require(try workplace.segments().first)
    try Directory.setMode(of: file, 0o646)
    try Directory.setMode(of: "\(workplace.store)/catalog", 0o711)
    let faults = try StoreRepair.examine(workplace.store).faults
    #expect(faults.map(\.kind) == [.permission, .permission], "\(faults)")
    try repair(workplace.store, keeping: Self.readable(workplace.store))
    #expect(Directory.mode(of: file) == 0o600)
    #expect(Directory.mode(of: "\(workplace.store)/catalog") == 0o700)
    let stray = "\(workplace.store)/segments/stray"
    try Surgery.write([1], to: stray)
    try Directory.setMode(of: stray, 0o666)
    _ = try StoreRepair.repair(workplace.store)
    #expect(try StoreRepair.examine(workplace.store).faults.isEmpty)
    #expect(Directory.mode(of: "\(workplace.store)/quarantine/stray") == 0o600)
    // Where the directory lets the group in, its files may.
    try Directory.setMode(of: workplace.store, 0o750)
    try Directory.setMode(of: file, 0o440)
    #expect(try StoreRepair.examine(workplace.store).faults.isEmpty)
  }

  /// A damaged chunk is named with its documents, its place is dropped, and it can be encoded again without its text
  /// as long as its tokens can be read.
  @Test func aDamagedChunk() throws {
    let workplace = try Self.store()
    let store = try TreeStore(opening: workplace.store)
    let key = store.chunkKey(tokens: Fixture.tokens(3))
    let record = try #require(try store.record(of: key))
    var bytes = try Surgery.read(record.segment.path)
    bytes[record.layout.blocks[1].lowerBound] ^= 1
    try Surgery.write(bytes, to: record.segment.path)
    let examination = try StoreRepair.examine(workplace.store)
    let fault = try #require(examination.faults.first { $0.kind == .record })
    #expect(fault.chunk == key && fault.documents == ["d2", "d3"])
    #expect(examination.incompleteDocuments.map(\.name) == ["d2", "d3"] && examination.missingChunkCount == 1)
    // That of d0, which was removed.
    #expect(examination.unreachableChunkCount == 1)
    for _ in 0..<2 {
      let report = try StoreRepair.repair(workplace.store)
      #expect(report.readableTokens == [ReadableTokens(key: key, tokens: Fixture.tokens(3), behind: nil)])
    }
    #expect(refusal { () throws(Refusal) in try TreeStore(opening: workplace.store).verify() } == "missing-chunk")
    var writer = try TreeStoreWriter(opening: workplace.store, creating: nil)
    _ = try writer.add(Fixture.chunk(Fixture.tokens(3), writer.configuration), compression: .none)
    try writer.commit()
    try TreeStore(opening: workplace.store).verify()
    #expect(try faults(workplace.store).isEmpty)
  }

  /// Without index and footer the records are there, up to where the file is cut.
  @Test func aSegmentWithoutItsEnd() throws {
    let workplace = try Self.store(compact: true)
    let before = Self.readable(workplace.store)
    let file = try #require(try workplace.segments().first)
    let bytes = try Surgery.read(file)
    let index = Surgery.parts(bytes).index
    for count in [bytes.count - 1, bytes.count - 200, index, bytes.count / 2] {
      let copy = try Self.copy(workplace)
      try Surgery.write(Array(bytes[..<count]), to: copy.store + file.dropFirst(workplace.store.count))
      #expect(Self.readable(copy.store).isEmpty)
      let isWhole = count >= index
      let told = try faults(copy.store).filter { $0.contains("chunks can be read without its index") }
      #expect(told.count == 1 && (!isWhole || told[0].contains("76 of 76 chunks")), "\(count): \(told)")
      try repair(copy.store, keeping: isWhole ? before : [:], "\(count) bytes")
      let missing = try StoreRepair.examine(copy.store).missingChunkCount
      #expect(isWhole ? missing == 0 : (20...60).contains(missing), "\(count): \(missing)")
    }
    // A damaged record in between is passed over, and its tokens are known.
    var damaged = Array(bytes.dropLast(3))
    let segment = try #require(try TreeStore(opening: workplace.store).segments.files.first).segment()
    damaged[try StoredRecord(in: segment, at: 4).layout.blocks[0].lowerBound] ^= 1
    damaged[segment.index.entry(at: 7).byteOffset + 3] ^= 1
    // The length of another one's block: what follows it is found all the same.
    damaged[segment.index.entry(at: 9).byteOffset + 64 + 1] ^= 1
    try Surgery.write(damaged, to: file)
    let report = try StoreRepair.repair(workplace.store)
    #expect(report.missingChunkCount == 3, "\(report.missingChunkCount)")
    #expect(report.readableTokens.map(\.key) == [segment.index.key(at: 4)])
    let again = try StoreRepair.repair(workplace.store)
    #expect(again.actions.isEmpty && again.readableTokens == report.readableTokens)
  }

  @Test func beside() throws {
    let workplace = try Self.store()
    var writer = try TreeStoreWriter(
      opening: workplace.store, creating: nil, segmentByteLimit: 500, salt: nil)
    _ = try writer.add(Fixture.chunk(Fixture.tokens(700), writer.configuration), compression: .none)
    // Its segment has a name, and no generation names it yet.
    let examination = try StoreRepair.examine(workplace.store)
    #expect(examination.isBeingWritten && examination.faults.isEmpty, "\(examination.faults)")
    #expect(refusal { () throws(Refusal) in _ = try StoreRepair.repair(workplace.store) } == "busy")
    try writer.commit()
  }

  @Test func nothingOfAStore() throws {
    let workplace = try Workplace.inMemory()
    #expect(refusal { () throws(Refusal) in _ = try StoreRepair.examine(workplace.store) } == "missing-file")
    #expect(refusal { () throws(Refusal) in _ = try StoreRepair.repair(workplace.path) } == "not-a-store")
    #expect(try Directory.names(in: workplace.path).isEmpty)
  }

  // MARK: Stopped anywhere

  /// A store with all that a repair does: a damaged chunk, a damaged table, a lost manifest, an unknown segment.
  /// - Returns: besides the store the documents that can be read, and those that can be once it is repaired.
  private static func damaged() throws -> (Workplace, before: [String: [[Int32]]], after: [String: [[Int32]]]) {
    let workplace = try store(documents: 5)
    let earlier = Set(try workplace.segments())
    do {
      var writer = try TreeStoreWriter(opening: workplace.store, creating: nil)
      try writer.add(document: "d7", [Fixture.tokens(77)])
      try writer.commit()
    }
    try Directory.removeFile(try Surgery.manifestPath(workplace))
    let segment = try #require(try workplace.segments().first { earlier.contains($0) })
    var bytes = try Surgery.read(segment)
    bytes[bytes.count / 3] ^= 1
    try Surgery.write(bytes, to: segment)
    // Not that of the generation whose manifest is lost.
    let named = try TreeStore(opening: workplace.store).manifest.tables.max { $0.byteCount < $1.byteCount }
    let table = StoreFormat.tablePath(workplace.store, try #require(named).digest)
    bytes = try Surgery.read(table)
    bytes[bytes.count / 2] ^= 1
    try Surgery.write(bytes, to: table)
    try Surgery.write([1, 2], to: "\(workplace.store)/segments/x")
    let repaired = try copy(workplace)
    _ = try StoreRepair.repair(repaired.store)
    let documents = readable(repaired.store)
    #expect(documents["d7"] != nil && documents.count > 3)
    return (workplace, readable(workplace.store), documents)
  }

  /// Whatever call fails, or is the last one of a process, another repair makes the store good.
  @Test(arguments: FaultTests.cases) func everyCallFails(_ test: FaultTests.Case) throws {
    let (original, before, after) = try Self.damaged()
    var number = 0
    while true {
      let workplace = try Self.copy(original)
      let faults = FaultSchedule(test.fault, at: number, persistently: test.isPersistent)
      let error = FileOperation.withProbe(faults) {
        refusal { () throws(Refusal) in _ = try StoreRepair.repair(workplace.store) }
      }
      if faults.faultCount == 0 {
        #expect(error == nil)
        break
      }
      let note = "call \(number), \(faults.operations[number])"
      let left = Self.readable(workplace.store)
      for (name, chunks) in before where left[name] != chunks { Issue.record("\(note): \(name) is lost") }
      try repair(workplace.store, keeping: after, note)
      number += 1
    }
    #expect(number > 60, "\(number)")
  }

  /// The power goes at every point of a repair.
  @Test func everyCut() throws {
    let (original, _, after) = try Self.damaged()
    let workplace = try Workplace.inMemory()
    let journal = FileJournal()
    let start = try FileOperation.withProbe(journal) { () throws(Refusal) -> Int in
      do {
        try Self.rebuild(original, in: workplace)
      } catch {
        throw Refusal(.inputOutput, file: workplace.path, "\(error)")
      }
      let start = journal.count
      _ = try StoreRepair.repair(workplace.store)
      return start
    }
    let model = CrashModel(journal, root: workplace.path)
    var seen: Set<CrashModel.Contents> = []
    for point in start...journal.count {
      for seed in 0..<6 {
        let contents = model.contents(at: point) { number in
          number < start || seed == 1 || seed > 1 && (number &* 2_654_435_761 >> (seed + 7)) & 1 == 1
        }
        guard seen.insert(contents).inserted else { continue }
        let cut = try Workplace.inMemory()
        try CrashModel.write(contents, into: cut.path)
        try repair(cut.store, keeping: after, "point \(point), seed \(seed)")
      }
    }
    #expect(seen.count > 12, "\(seen.count)")
  }

  /// Writes a store's files through the probe.
  private static func rebuild(_ original: Workplace, in workplace: Workplace) throws {
    for directory in ["", "/segments", "/catalog"] { try Directory.create(workplace.store + directory, mode: 0o700) }
    for file in try original.files() {
      var copy = try PublishedFile(creating: workplace.store + file.dropFirst(original.store.count), mode: 0o600)
      try copy.append(try Surgery.read(file))
      try copy.publish()
    }
    for directory in ["", "/segments", "/catalog"] { try Directory.synchronize(workplace.store + directory) }
    try Directory.synchronize(workplace.path)
  }
}
