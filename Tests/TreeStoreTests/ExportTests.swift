import FaultInjection
import FileAccess
import Glibc
import NodeBlocks
import Testing

@testable import TreeStore

/// Content as one sequence of bytes.
@Suite struct ExportTests {
  private final class Bytes {
    var all: [UInt8] = []
    var offset = 0

    func take(_ count: Int) -> [UInt8] {
      // Pieces of odd lengths.
      let piece = Array(all[offset..<min(offset + min(count, 977), all.count)])
      offset += piece.count
      return piece
    }
  }

  private func export(_ path: String, _ patterns: [String] = []) throws -> [UInt8] {
    let bytes = Bytes()
    let store = try TreeStore(opening: path)
    _ = try StoreExport.write(store, matching: patterns.map { NamePattern($0) }) { (piece, _) throws(Refusal) in
      bytes.all += piece
    }
    return bytes.all
  }

  @discardableResult
  private func load(
    _ bytes: [UInt8], into path: String, replacing: Bool = false, compression: Compression = .none
  ) throws(Refusal) -> ExportReport {
    let source = Bytes()
    source.all = bytes
    var reader = StoreImport("export") { (count) throws(Refusal) in source.take(count) }
    return try reader.read(into: path, replacing: replacing, compression: compression)
  }

  private static let documents: [(String, [Int])] = (0..<12).map { ("d\($0)", [$0, $0 + 1, 40 + $0 / 3]) }

  private func build(_ workplace: Workplace, _ documents: [(String, [Int])], compression: Compression = .none) throws {
    var writer = try TreeStoreWriter(opening: workplace.store, creating: try Fixture.configuration(encoding: .int8))
    for (name, chunks) in documents {
      try writer.add(
        document: name, chunks.map { Fixture.tokens($0) }, compression: compression, compressible: true)
      try writer.commit()
    }
  }

  /// Shards built apart merge into the store that one serial build makes.
  @Test(arguments: [1, 2, 3, 5]) func shardsMerge(_ count: Int) throws {
    let serial = try Workplace.inMemory()
    try build(serial, Self.documents)
    let merged = try Workplace.inMemory()
    var writer = try TreeStoreWriter(opening: merged.store, creating: try Fixture.configuration(encoding: .int8))
    for number in 0..<count {
      let shard = try Workplace.inMemory()
      try build(
        shard, Self.documents.enumerated().filter { $0.offset % count == number }.map(\.element).reversed(),
        compression: number == 1 ? .lz4 : .none)
      _ = try writer.merge(try TreeStore(opening: shard.store), replacing: false)
    }
    let expected = try export(serial.store)
    let found = try export(merged.store)
    #expect(found == expected)
    try TreeStore(opening: merged.store).verify()
    #expect(try StoreRepair.examine(merged.store).faults.isEmpty)
    // And it tells contents apart.
    try build(serial, [("new", [1])])
    let changed = try export(serial.store)
    #expect(changed != expected)
  }

  @Test(arguments: [Compression.none, .lz4, .zstd]) func thereAndBack(_ compression: Compression) throws {
    let workplace = try Workplace.inMemory()
    try build(workplace, Self.documents)
    do {
      var writer = try TreeStoreWriter(opening: workplace.store, creating: nil)
      try writer.pinDocument(named: "d3", true)
      try writer.removeDocument(named: "d4")
      try writer.commit()
    }
    let bytes = try export(workplace.store)
    let copy = try Workplace.inMemory()
    let report = try load(bytes, into: copy.store, compression: compression)
    #expect(report.documentCount == 11 && report.byteCount == bytes.count)
    try TreeStore(opening: copy.store).verify()
    #expect(try export(copy.store) == bytes)
    #expect(try TreeStore(opening: copy.store).document(named: "d3")?.isPinned == true)
    let generation = try TreeStore(opening: copy.store).generation
    #expect(try load(bytes, into: copy.store).sameDocumentCount == 11)
    #expect(try TreeStore(opening: copy.store).generation == generation)
    // A part of it.
    let some = try export(workplace.store, ["d1*", "d3"])
    let part = try Workplace.inMemory()
    try load(some, into: part.store)
    #expect(try TreeStore(opening: part.store).documents().map(\.name) == ["d1", "d10", "d11", "d3"])
    #expect(try export(part.store) == some)
  }

  /// A changed byte, a cut and an addition are refused, and no document of it is stored.
  @Test func damage() throws {
    let workplace = try Workplace.inMemory()
    try build(workplace, Array(Self.documents.prefix(2)))
    let bytes = try export(workplace.store)
    var tried = 0
    for offset in bytes.indices {
      var damaged = bytes
      damaged[offset] ^= 1 << UInt8(offset % 8)
      let target = try Workplace.inMemory()
      let name = refusal { () throws(Refusal) in try load(damaged, into: target.store) }
      #expect(name != nil, "byte \(offset)")
      if let store = try? TreeStore(opening: target.store) { #expect(try store.documents().isEmpty) }
      tried += 1
    }
    for count in stride(from: 0, to: bytes.count, by: 7) {
      let target = try Workplace.inMemory()
      #expect(refusal { () throws(Refusal) in try load(Array(bytes[..<count]), into: target.store) } == "truncated")
    }
    let target = try Workplace.inMemory()
    #expect(refusal { () throws(Refusal) in try load(bytes + [0], into: target.store) } == "malformed-export")
    #expect(tried > 3_000)
  }

  @Test func anIncompleteDocument() throws {
    let workplace = try Workplace.inMemory()
    try build(workplace, Self.documents)
    try Directory.removeFile(try #require(try workplace.segments().first))
    #expect(throws: Refusal.self) { try export(workplace.store) }
  }

  /// A process that merges, imports or salvages ends at any call; done again, the content is the same.
  @Test(arguments: ["merge", "import", "salvage"]) func killed(_ work: String) throws {
    let workplace = try Workplace.inMemory()
    try build(workplace, Array(Self.documents.prefix(4)))
    let expected = try export(workplace.store)
    func run(_ target: String) throws(Refusal) {
      switch work {
      case "merge":
        var writer = try TreeStoreWriter(
          opening: target, creating: try TreeStore(opening: workplace.store).configuration, segmentByteLimit: 20_000)
        _ = try writer.merge(try TreeStore(opening: workplace.store), replacing: false)
      case "import": try load(expected, into: target)
      default: _ = try StoreSalvage.salvage(workplace.store, into: target)
      }
    }
    var number = 0
    while true {
      let target = try Workplace.inMemory()
      let faults = FaultSchedule(.before(EIO), at: number, persistently: true)
      let error = FileOperation.withProbe(faults) { refusal { () throws(Refusal) in try run(target.store) } }
      if faults.faultCount == 0 {
        #expect(error == nil)
        break
      }
      try run(target.store)
      #expect(try export(target.store) == expected, "call \(number), \(faults.operations[number])")
      try TreeStore(opening: target.store).verify()
      number += 1
    }
    #expect(number > 40, "\(number)")
  }
}
