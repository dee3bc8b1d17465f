import ContextTrees
import FaultInjection
import FileAccess
import Glibc
import NodeBlocks
import Testing

@testable import TreeStore

/// Whatever is changed in a file of a store, and signed again, is found out or harmless: nothing traps, nothing is
/// endless. SHAREDPACK_FUZZ says how many files each test makes; without it, as many as take a second or two.
@Suite struct HostileFileTests {
  struct Random: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return (state ^ state >> 33) &* 0xFF51_AFD7_ED55_8CCD
    }
  }

  private static func executions(_ count: Int) -> Int {
    unsafe getenv("SHAREDPACK_FUZZ").flatMap { unsafe Int(String(cString: $0)) } ?? count
  }

  /// Changes bytes, numbers and runs in a range: what lies there is a structure of little-endian numbers.
  private static func mutate(_ bytes: inout [UInt8], in range: Range<Int>, _ random: inout Random) {
    guard !range.isEmpty else { return }
    for _ in 0..<Int.random(in: 1...3, using: &random) {
      let offset = Int.random(in: range, using: &random)
      switch Int.random(in: 0..<6, using: &random) {
      case 0: bytes[offset] ^= 1 << UInt8.random(in: 0..<8, using: &random)
      case 1: bytes[offset] = UInt8.random(in: 0...255, using: &random)
      case 2, 3:
        let start = range.lowerBound + (offset - range.lowerBound) / 4 * 4
        let numbers = [0, 1, -1, Int.max, Int.max - 1, 1 << 32, 1 << 62, bytes.count, bytes.count - 1, 64, 1 << 20]
        let number = numbers.randomElement(using: &random) ?? 0
        let byteCount = Bool.random(using: &random) ? 8 : 4
        for index in 0..<byteCount where start + index < range.upperBound {
          bytes[start + index] = UInt8(truncatingIfNeeded: number >> (8 * index))
        }
      case 4:
        // A number a little off.
        bytes[offset] &+= UInt8.random(in: 0...2, using: &random) &- 1
      default:
        let count = min(Int.random(in: 1...16, using: &random), range.upperBound - offset)
        let source = Int.random(in: range.lowerBound...range.upperBound - count, using: &random)
        bytes.replaceSubrange(offset..<offset + count, with: Array(bytes[source..<source + count]))
      }
    }
  }

  // MARK: Segments

  @Test(arguments: Compression.allCases, [false, true])
  func segments(_ compression: Compression, ofTexts isText: Bool) throws {
    let (workplace, bytes, original) = try SegmentParts.example(compression, ofTexts: isText)
    let parts = try SegmentParts(original)
    var random = Random(state: UInt64(compression.rawValue) * 2 + (isText ? 1 : 0))
    let path = "\(workplace.path)/hostile"
    var outcomes: [String: Int] = [:]
    for _ in 0..<Self.executions(500) {
      var changed = bytes
      Self.mutate(&changed, in: parts.random(&random, byteCount: bytes.count), &random)
      parts.sign(&changed)
      try Surgery.write(changed, to: path)
      for name in SegmentParts.read(path) { outcomes[name, default: 0] += 1 }
    }
    #expect(outcomes["malformed-record"] ?? 0 > 20 && outcomes["none"] ?? 0 > 100, "\(outcomes)")
    // The signature is right, so faults are found behind it.
    #expect(outcomes["digest-mismatch"] ?? 0 < outcomes.values.reduce(0, +) / 4, "\(outcomes)")
  }

  /// A segment whose index, footer or records are changed, or that is cut, as one that cannot be opened: what is read
  /// from its records alone is what was there.
  @Test(arguments: Compression.allCases, [false, true])
  func recordsWithoutIndex(_ compression: Compression, ofTexts isText: Bool) throws {
    let (workplace, bytes, original) = try SegmentParts.example(compression, ofTexts: isText)
    let parts = try SegmentParts(original)
    let before = try SegmentParts.contents(original)
    #expect(before.count == parts.records.count)
    var random = Random(state: UInt64(compression.rawValue) * 2 + (isText ? 101 : 100))
    let path = "\(workplace.path)/hostile"
    var (rescued, wholeCount) = (0, 0)
    let executions = Self.executions(500)
    for _ in 0..<executions {
      var changed = bytes
      let isSigned = Int.random(in: 0..<4, using: &random) == 0
      let isInRecords = Bool.random(using: &random)
      for _ in 0..<Int.random(in: 1...3, using: &random) {
        let range =
          isInRecords ? parts.random(&random, byteCount: bytes.count) : original.records.upperBound..<bytes.count
        Self.mutate(&changed, in: range, &random)
      }
      if isSigned { parts.sign(&changed) }
      if Int.random(in: 0..<4, using: &random) == 0 {
        changed.removeLast(Int.random(in: 1...bytes.count, using: &random))
      }
      try Surgery.write(changed, to: path)
      guard let segment = SegmentRescue(try MappedFile(path), original.configuration)?.segment else { continue }
      rescued += 1
      let after = try SegmentParts.contents(segment)
      // A signature over what was changed makes it whole.
      if !isSigned { #expect(after.allSatisfy { before[$0.key] == $0.value }) }
      if !isSigned, !isInRecords, changed.count >= original.records.upperBound { #expect(after.count == before.count) }
      wholeCount += after.count
    }
    #expect(rescued > executions / 2 && wholeCount > executions * 2, "\(rescued), \(wholeCount)")
  }

  /// A file of nothing but beginnings of records, each of which says that it is long, does not take for ever.
  @Test func beginningsOfRecords() throws {
    let workplace = try Workplace.inMemory()
    let configuration = try Fixture.configuration(chunkSize: 65536, depth: 1)
    let header = Segment.header(configuration, salt: 1)
    var writer = ByteWriter()
    writer.append([UInt8](repeating: 7, count: 32))
    writer.integer(UInt32(65536))
    writer.integer(UInt32(configuration.blocks(tokens: 65536, isFrame: false).count))
    writer.append([UInt8](repeating: 0, count: 24))
    let path = "\(workplace.path)/hostile"
    try Surgery.write(header + Array(repeatElement(writer.bytes, count: 1 << 16).joined()), to: path)
    let started = ContinuousClock.now
    let file = try MappedFile(path)
    #expect(SegmentRescue(file, configuration)?.segment == nil)
    #expect(ContinuousClock.now - started < .seconds(20))
  }

  // MARK: Manifests and the catalog

  /// A store of one segment and one table of one page, whose manifest or page is changed and signed again; then it is
  /// read, written to and repaired.
  @Test(arguments: [false, true]) func stores(catalog isCatalog: Bool) throws {
    let workplace = try Workplace.inMemory()
    do {
      var writer = try TreeStoreWriter(
        opening: workplace.store, creating: try Fixture.configuration(), segmentByteLimit: 1 << 30, salt: 5)
      for number in 0..<4 { try writer.add(document: "d\(number)", [Fixture.tokens(number), Fixture.tokens(9)]) }
      try writer.commit()
    }
    var contents: CrashModel.Contents = ["store": nil, "store/segments": nil, "store/catalog": nil]
    for file in try workplace.files() {
      contents[String(file.dropFirst(workplace.path.count + 1))] = .some(try Surgery.read(file))
    }
    contents["store/LOCK"] = .some([])
    let generation = try #require(try StoreFormat.generations(in: workplace.store).last)
    let manifestName = "store/\(StoreFormat.manifestName(generation))"
    let (manifest, _) = try Manifest.read(generation, in: workplace.store)
    let table = try #require(manifest.tables.first)
    let tableName = "store/catalog/\(table.digest).table"
    let tableBytes = try #require(contents[tableName] ?? nil)
    var random = Random(state: isCatalog ? 1 : 2)
    var outcomes: [String: Int] = [:]
    for _ in 0..<Self.executions(1_000) {
      var changed = contents
      if isCatalog {
        var bytes = tableBytes
        let page = Surgery.page(of: bytes)
        Self.mutate(&bytes, in: page, &random)
        Surgery.sign(page: page, of: &bytes)
        let digest = Digest256(of: bytes)
        changed[tableName] = nil
        changed["store/catalog/\(digest).table"] = .some(bytes)
        var next = manifest
        next.tables = [
          TableReference(
            digest: digest, closingDigest: try #require(Digest256(bytes: Array(bytes.suffix(32)))),
            byteCount: bytes.count, entryCount: table.entryCount, generations: table.generations)
        ]
        changed[manifestName] = .some(next.encoded)
      } else {
        var bytes = Array(manifest.encoded.dropLast(32))
        Self.mutate(&bytes, in: 0..<bytes.count, &random)
        changed[manifestName] = .some(bytes + Digest256(of: bytes).bytes)
      }
      let place = try Workplace.inMemory()
      try CrashModel.write(changed, into: place.path)
      let started = ContinuousClock.now
      for name in Self.use(place.store) { outcomes[name, default: 0] += 1 }
      #expect(ContinuousClock.now - started < .seconds(20))
    }
    #expect(outcomes["none"] ?? 0 > 100, "\(outcomes)")
    #expect(outcomes[isCatalog ? "malformed-table" : "malformed-manifest"] ?? 0 > 100, "\(outcomes)")
  }

  /// Everything that reads a store, and everything that writes one.
  private static func use(_ path: String) -> [String] {
    let outcomes = [
      refusal { () throws(Refusal) in _ = try TreeStore(opening: path).statistics() },
      refusal { () throws(Refusal) in
        let store = try TreeStore(opening: path)
        for document in try store.documents() {
          guard let chunks = try? store.chunks(of: document) else { continue }
          for number in chunks.keys.indices { _ = chunks.textRange(of: number) }
          for key in chunks.keys {
            _ = try? store.chunk(key)
            _ = try? store.documents(holding: key)
          }
        }
      },
      refusal { () throws(Refusal) in try TreeStore(opening: path).verify() },
      refusal { () throws(Refusal) in
        var writer = try TreeStoreWriter(opening: path, creating: nil)
        try writer.add(document: "new", [Fixture.tokens(20)])
        try writer.commit()
        if (try? writer.document(named: "d0")) ?? nil != nil { try writer.removeDocument(named: "d0") }
        try writer.commit()
      },
      refusal { () throws(Refusal) in
        var writer = try TreeStoreWriter(opening: path, creating: nil)
        _ = try writer.collectGarbage(.all)
      },
      refusal { () throws(Refusal) in
        var writer = try TreeStoreWriter(opening: path, creating: nil)
        _ = try writer.collectGarbage(.compact)
      },
      refusal { () throws(Refusal) in _ = try StoreRepair.repair(path) },
      refusal { () throws(Refusal) in try TreeStore(opening: path).verify() },
    ]
    return outcomes.map { $0 ?? "none" }
  }
}
