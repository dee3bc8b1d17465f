import FileAccess
import Glibc
import Synchronization
import Testing

@testable import TreeStore

/// A store that may have only so many bytes, and who may read one.
@Suite struct LimitTests {
  private func byteCount(_ workplace: Workplace) throws -> Int {
    try workplace.files().reduce(0) { try $0 + Surgery.read($1).count }
  }

  /// Whatever is added in whatever commits, the files never have more, and what was refused leaves a working writer.
  @Test(arguments: [40_000, 100_000, 300_000]) func theLimitIsKept(_ limit: Int) throws {
    let workplace = try Workplace.inMemory()
    let configuration = try Fixture.configuration()
    var writer = try TreeStoreWriter(opening: workplace.store, creating: configuration)
    writer.setByteLimit(limit)
    try writer.commit()
    var refused = 0
    var number = 0
    while refused < 20 {
      do throws(Refusal) {
        try writer.add(document: "d\(number)", [Fixture.tokens(number)])
        if number % 7 == 0 { try writer.commit() }
      } catch {
        #expect(error.name == .storeFull)
        refused += 1
        try writer.commit()
      }
      #expect(try byteCount(workplace) <= limit)
      number += 1
    }
    #expect(try byteCount(workplace) > limit / 3, "most of the room is used")
    try TreeStore(opening: workplace.store).verify()
    // The limit is the store's, not the writer's.
    var (stored, documents) = (0, 0)
    do {
      let store = try TreeStore(opening: workplace.store)
      (stored, documents) = (try store.statistics().byteLimit, try store.documents().count)
    }
    #expect(stored == limit && documents > 10)
    // Removing is possible in a full store, and makes room.
    try writer.removeDocument(named: "d0")
    try writer.removeDocument(named: "d1")
    _ = try writer.collectGarbage(.all)
    #expect(try byteCount(workplace) <= limit)
  }

  @Test func theOldestMakeRoom() throws {
    let workplace = try Workplace.inMemory()
    let configuration = try Fixture.configuration()
    let limit = 200_000
    var writer = try TreeStoreWriter(opening: workplace.store, creating: configuration)
    writer.setByteLimit(limit)
    let need = configuration.byteCount(tokens: 8, words: 0) + 400
    var removed: [String] = []
    for number in 0..<400 {
      let name = "d\(number)"
      if !writer.hasRoom(for: need) { removed += try writer.makeRoom(for: need, keeping: name) }
      try writer.add(document: name, [Fixture.tokens(number)])
      if number == 3 { try writer.pinDocument(named: "d3", true) }
      #expect(try byteCount(workplace) <= limit)
    }
    try writer.commit()
    #expect(try byteCount(workplace) <= limit)
    let store = try TreeStore(opening: workplace.store)
    let names = Set(try store.documents().map(\.name))
    #expect(names.contains("d3") && names.contains("d399") && !names.contains("d0"))
    #expect(removed == (0..<removed.count + 1).map { "d\($0)" }.filter { $0 != "d3" }, "the oldest first")
    #expect(removed.count > 100 && names.count == 400 - removed.count)
    try store.verify()
    // More than the whole.
    let tooMuch = refusal { () throws(Refusal) in _ = try writer.makeRoom(for: limit, keeping: "x") }
    #expect(tooMuch == "store-full")
  }

  /// Measures a store after every call that makes a file larger or gives it a name, temporary files included.
  private final class Measuring: FileProbe {
    private let store: String
    private let most = Mutex((byteCount: 0, calls: 0))

    init(_ store: String) { self.store = store }

    var mostByteCount: Int { most.withLock(\.byteCount) }
    var callCount: Int { most.withLock(\.calls) }

    func fault(in operation: FileOperation) -> FileFault? { nil }

    func happened(_ operation: FileOperation, written: RawSpan) {
      switch operation {
      case .write, .truncate, .rename, .link, .create: break
      default: return
      }
      let byteCount = FileOperation.withProbe(nil) {
        [store, "\(store)/segments", "\(store)/catalog"].reduce(0) { sum, directory in
          ((try? Directory.names(in: directory)) ?? []).reduce(sum) {
            let file = "\(directory)/\($1)"
            return $0 + (Directory.exists(file) == .file ? Directory.byteCount(of: file) ?? 0 : 0)
          }
        }
      }
      most.withLock { $0 = (max($0.byteCount, byteCount), $0.calls + 1) }
    }
  }

  /// Documents of one chunk, `perCommit` in a segment, until there is no more room.
  private static func fill(_ writer: inout TreeStoreWriter, perCommit: Int) throws(Refusal) -> Int {
    for number in 0..<10_000 {
      do throws(Refusal) {
        try writer.add(document: "d\(number)", [Fixture.tokens(number)])
        if number % perCommit == perCommit - 1 { try writer.commit() }
      } catch {
        guard error.name == .storeFull else { throw error }
        try writer.commit()
        return number
      }
    }
    return 10_000
  }

  /// In a store that is full, at no moment of any kind of collection do its files have more than the limit, and what is
  /// not needed goes all the same.
  @Test(arguments: [40_000, 80_000, 300_000, 1_000_000], [CollectionScope.wasteful, .all, .compact])
  func theLimitIsKeptAtEveryMoment(_ limit: Int, _ scope: CollectionScope) throws {
    let workplace = try Workplace.inMemory()
    let probe = Measuring(workplace.store)
    let configuration = try Fixture.configuration()
    let (kept, reports) = try FileOperation.withProbe(probe) { () throws(Refusal) in
      var writer = try TreeStoreWriter(opening: workplace.store, creating: configuration)
      writer.setByteLimit(limit)
      try writer.commit()
      let count = try Self.fill(&writer, perCommit: 5)
      var reports: [GarbageReport] = []
      // Every second one, so that no segment is without needed chunks.
      for number in stride(from: 0, to: count, by: 2) {
        guard try writer.document(named: "d\(number)") != nil else { continue }
        try writer.removeDocument(named: "d\(number)")
        do throws(Refusal) {
          if number % 16 == 0 { try writer.commit() }
        } catch {
          guard error.name == .storeFull else { throw error }
        }
        if number % 32 == 0 { reports.append(try writer.collectGarbage(scope)) }
      }
      for _ in 0..<3 { reports.append(try writer.collectGarbage(scope)) }
      return ((0..<count).filter { $0 % 2 == 1 }, reports)
    }
    #expect(probe.mostByteCount <= limit && probe.mostByteCount > limit / 2, "\(probe.mostByteCount)")
    #expect(probe.callCount > 30)
    let store = try TreeStore(opening: workplace.store)
    try store.verify()
    let names = try store.documents().map(\.name)
    #expect(names.sorted() == kept.map { "d\($0)" }.sorted())
    let last = try #require(reports.last)
    #expect(last.filesWithoutRoom == 0, "\(reports)")
    #expect(try scope == .wasteful || store.statistics().deadByteCount == 0)
    #expect(reports.reduce(0) { $0 + $1.removedChunks } > (scope == .wasteful ? 0 : kept.count * 3 / 4))
  }

  /// Where there is no room to write anything anew, that is said, and nothing is lost; with more room it is done.
  @Test func noRoomToCollect() throws {
    let workplace = try Workplace.inMemory()
    var writer = try TreeStoreWriter(
      opening: workplace.store, creating: try Fixture.configuration(), segmentByteLimit: 1 << 30)
    // One large segment, without which nothing is left.
    for number in 0..<200 { try writer.add(document: "d\(number)", [Fixture.tokens(number)]) }
    try writer.commit()
    for number in 0..<20 { try writer.removeDocument(named: "d\(number * 10)") }
    try writer.commit()
    let limit = try byteCount(workplace) + 20_000
    writer.setByteLimit(limit)
    let probe = Measuring(workplace.store)
    let report = try FileOperation.withProbe(probe) { () throws(Refusal) in try writer.collectGarbage(.all) }
    #expect(report.filesWithoutRoom > 0 && report.missingByteCount > 0 && report.rewrittenSegments == 0, "\(report)")
    #expect(probe.mostByteCount <= limit)
    try TreeStore(opening: workplace.store).verify()
    // First the segment, then the catalog.
    var (higher, last) = (limit, report)
    for _ in 0..<4 where last.filesWithoutRoom > 0 {
      higher += last.missingByteCount
      writer.setByteLimit(higher)
      last = try FileOperation.withProbe(probe) { () throws(Refusal) in try writer.collectGarbage(.all) }
      #expect(probe.mostByteCount <= higher)
    }
    #expect(last.filesWithoutRoom == 0, "\(last)")
    #expect(try TreeStore(opening: workplace.store).statistics().deadByteCount == 0)
    try TreeStore(opening: workplace.store).verify()
  }

  /// Other stores' content is taken in as long as there is room, and not a byte beyond.
  @Test func mergingKeepsTheLimit() throws {
    let other = try Workplace.inMemory()
    var source = try TreeStoreWriter(opening: other.store, creating: try Fixture.configuration())
    for number in 0..<200 { try source.add(document: "d\(number)", [Fixture.tokens(number)]) }
    try source.commit()
    let from = try TreeStore(opening: other.store)
    for limit in [50_000, 150_000, 1_000_000] {
      let workplace = try Workplace.inMemory()
      let probe = Measuring(workplace.store)
      var writer = try TreeStoreWriter(opening: workplace.store, creating: try Fixture.configuration())
      writer.setByteLimit(limit)
      let fault = FileOperation.withProbe(probe) {
        refusal { () throws(Refusal) in _ = try writer.merge(from, replacing: false) }
      }
      #expect(fault == (limit < 1_000_000 ? "store-full" : nil))
      #expect(probe.mostByteCount <= limit)
      try writer.commit()
      try TreeStore(opening: workplace.store).verify()
    }
  }

  /// A limit below what is there: nothing is added, what frees space is done, and then it holds.
  @Test func aLimitThatIsExceeded() throws {
    let workplace = try Workplace.inMemory()
    var writer = try TreeStoreWriter(opening: workplace.store, creating: try Fixture.configuration())
    for number in 0..<200 { try writer.add(document: "d\(number)", [Fixture.tokens(number)]) }
    try writer.commit()
    let limit = try byteCount(workplace) / 2
    writer.setByteLimit(limit)
    #expect(refusal { () throws(Refusal) in try writer.add(document: "x", [Fixture.tokens(900)]) } == "store-full")
    let removed = try writer.makeRoom(for: 2_000, keeping: "x")
    #expect(removed.count > 80 && removed.count < 190, "\(removed.count)")
    #expect(try byteCount(workplace) <= limit)
    try writer.add(document: "x", [Fixture.tokens(900)])
    try writer.commit()
    try TreeStore(opening: workplace.store).verify()
  }

  private func mode(_ path: String) -> mode_t {
    var status = stat()
    return unsafe stat(path, &status) == 0 ? status.st_mode & 0o777 : 0
  }

  @Test(arguments: [StoreSharing.owner, .group, .everyone]) func whoMayRead(_ sharing: StoreSharing) throws {
    let workplace = try Workplace.inMemory()
    let old = umask(0o077)
    defer { umask(old) }
    var writer = try TreeStoreWriter(
      opening: workplace.store, creating: try Fixture.configuration(), sharing: sharing)
    try writer.add(document: "a", [Fixture.tokens(1)])
    try writer.commit()
    let (directory, file): (mode_t, mode_t) =
      switch sharing {
      case .owner: (0o700, 0o400)
      case .group: (0o750, 0o440)
      case .everyone: (0o755, 0o444)
      }
    for name in ["", "/segments", "/catalog"] { #expect(mode(workplace.store + name) == directory) }
    for path in try workplace.files() { #expect(mode(path) == file) }
    #expect(mode("\(workplace.store)/LOCK") == 0o600)
  }
}
