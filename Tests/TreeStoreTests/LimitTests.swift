import FileAccess
import Glibc
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
