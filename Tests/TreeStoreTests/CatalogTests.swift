import FaultInjection
import FileAccess
import Testing

@testable import TreeStore

/// The catalog beside a dictionary: what was said last about a key is what is found, in whatever tables it is.
@Suite struct CatalogTests {
  private struct Random: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return (state ^ state >> 33) &* 0xFF51_AFD7_ED55_8CCD
    }
  }

  private func store() throws -> (Workplace, StoreDirectory, TreeStoreConfiguration) {
    let workplace = try Workplace.inMemory()
    let configuration = try Fixture.configuration()
    _ = try TreeStoreWriter(opening: workplace.store, creating: configuration)
    return (workplace, StoreDirectory(workplace.store), configuration)
  }

  private func table(_ entries: [CatalogEntry]) throws -> (Workplace, CatalogTable) {
    let (workplace, directory, configuration) = try store()
    var writer = try CatalogTableWriter(in: directory, configuration, salt: 9)
    for entry in entries { try writer.append(entry) }
    let reference = try writer.publish(3...5)
    let level = Catalog.open(reference, in: workplace.store, configuration)
    return (workplace, try #require(level.table))
  }

  private func entries(_ count: Int, _ random: inout Random) -> [CatalogEntry] {
    var entries: [[UInt8]: CatalogEntry] = [:]
    while entries.count < count {
      let key = (0..<Int.random(in: 1...40, using: &random)).map { _ in UInt8.random(in: 97...101, using: &random) }
      let length = Int.random(in: 0...60, using: &random)
      let value = (0..<length).map { _ in UInt8.random(in: 0...255, using: &random) }
      entries[key] = CatalogEntry(
        key: key, value: Bool.random(using: &random) ? .value(value) : .removed)
    }
    return entries.values.sorted { $0.key.lexicographicallyPrecedes($1.key) }
  }

  @Test(arguments: [0, 1, 2, 100, 200, 20_000]) func aTableIsReadAsItWasWritten(_ count: Int) throws {
    var random = Random(state: UInt64(count))
    let entries = entries(count, &random)
    let (workplace, table) = try table(entries)
    defer { withExtendedLifetime(workplace) {} }
    #expect(table.entryCount == count && table.generations == 3...5)
    #expect(table.height <= (count < 100 ? 1 : count == 20_000 ? 3 : 2))
    for entry in entries { #expect(try table.value(of: entry.key) == entry.value) }
    let known = Set(entries.map(\.key))
    for _ in 0..<200 {
      let key = (0..<3).map { _ in UInt8.random(in: 96...102, using: &random) }
      if !known.contains(key) { #expect(try table.value(of: key) == nil) }
      // A walk from any place on.
      var cursor = try CatalogCursor(table, from: key)
      #expect(cursor.entry == entries.first { !$0.key.lexicographicallyPrecedes(key) })
      if cursor.entry != nil { try cursor.advance() }
      #expect(cursor.entry == entries.filter { !$0.key.lexicographicallyPrecedes(key) }.dropFirst().first)
    }
    var cursor = try CatalogCursor(table, from: [])
    var walked: [CatalogEntry] = []
    while let entry = cursor.entry {
      walked.append(entry)
      try cursor.advance()
    }
    #expect(walked == entries)
  }

  /// Long keys and values make pages of few entries, and trees that are high.
  @Test func longKeysAndValues() throws {
    let entries = (0..<300).map { number in
      let digits = String(number + 1000)
      return CatalogEntry(
        key: [UInt8](repeating: 7, count: 1500) + Array(digits.utf8),
        value: .value([UInt8](repeating: UInt8(number % 250), count: number == 77 ? 70_000 : number)))
    }
    let (workplace, table) = try table(entries)
    defer { withExtendedLifetime(workplace) {} }
    #expect(table.height > 3)
    for entry in entries { #expect(try table.value(of: entry.key) == entry.value) }
  }

  /// Random changes in many commits, merged as they come.
  @Test func levelsAreOneDictionary() throws {
    let (workplace, directory, configuration) = try store()
    defer { withExtendedLifetime(workplace) {} }
    var random = Random(state: 1)
    var catalog = Catalog()
    var expected: [[UInt8]: [UInt8]] = [:]
    var counts: [Int] = []
    for generation in 2...200 {
      var changes: [[UInt8]: CatalogEntry] = [:]
      for _ in 0..<Int.random(in: 1...200, using: &random) {
        let key = [UInt8(ascii: "x")] + Array("\(Int.random(in: 0...2000, using: &random))".utf8)
        let value: [UInt8]? = Bool.random(using: &random) ? Array("\(generation)".utf8) : nil
        expected[key] = value
        changes[key] = CatalogEntry(key: key, value: value.map { .value($0) } ?? .removed)
      }
      let (reference, mergedCount) = try catalog.write(
        changes.values.sorted { $0.key.lexicographicallyPrecedes($1.key) }, in: directory, configuration,
        salt: UInt64(generation), generation: generation)
      catalog.replace(newest: mergedCount, with: Catalog.open(reference, in: workplace.store, configuration))
      counts.append(catalog.levels.count)
      #expect(catalog.levels[0].reference.generations.upperBound == generation)
    }
    #expect(counts.max() ?? 0 <= 9, "few levels: \(counts.max() ?? 0)")
    for number in 0...2000 {
      let key = [UInt8(ascii: "x")] + Array("\(number)".utf8)
      #expect(try catalog.value(of: key) == expected[key])
    }
    var scan = try catalog.scan(prefix: Array("x1".utf8))
    var walked: [[UInt8]] = []
    while let (key, value) = try scan.next() {
      #expect(value == expected[key])
      walked.append(key)
    }
    #expect(
      walked == expected.keys.filter { $0.starts(with: Array("x1".utf8)) }.sorted { $0.lexicographicallyPrecedes($1) })
  }

  /// Whatever is changed in a table, and signed again, is found out or harmless: nothing traps, nothing is endless.
  @Test func hostileTables() throws {
    var random = Random(state: 5)
    let (workplace, table) = try table(entries(300, &random))
    let bytes = try Surgery.read(table.path)
    let configuration = table.configuration
    let path = "\(workplace.path)/hostile.table"
    var outcomes: [String: Int] = [:]
    for _ in 0..<3_000 {
      var changed = bytes
      for _ in 0..<Int.random(in: 1...4, using: &random) {
        let offset = Int.random(in: 0..<bytes.count, using: &random)
        changed[offset] = UInt8.random(in: 0...255, using: &random)
      }
      if Bool.random(using: &random) {
        let field = bytes.count - CatalogTable.footerByteCount + 8 * Int.random(in: 0..<9, using: &random)
        Surgery.put([0, 1, 31, bytes.count, Int.max, -1].randomElement(using: &random) ?? 0, at: field, in: &changed)
      }
      Surgery.sign(table: &changed)
      try Surgery.write(changed, to: path)
      let name = refusal { () throws(Refusal) in
        let table = try CatalogTable(opening: try MappedFile(path))
        try table.verify(digest: Digest256(of: changed))
        _ = try table.value(of: [99, 99])
        #expect(table.configuration == configuration)
      }
      outcomes[name ?? "none", default: 0] += 1
    }
    #expect(outcomes["checksum-mismatch"] ?? 0 > 100 && outcomes["malformed-table"] ?? 0 > 100, "\(outcomes)")
  }

  /// Pages whose checksums are right and whose entries are not.
  @Test func malformedPages() throws {
    let (workplace, directory, configuration) = try store()
    defer { withExtendedLifetime(workplace) {} }
    func outcome(_ page: [UInt8], height: Int = 1) throws -> String? {
      var header = CatalogTable.header(configuration, salt: 9)
      let seed = CatalogTable.seed(salt: 9, byteOffset: header.count)
      let checksum = unsafe BlockChecksum(of: page.span.bytes, seed: seed)
      var footer = ByteWriter()
      for number in [header.count, page.count] { footer.integer(UInt64(number)) }
      footer.integer(checksum.low)
      footer.integer(checksum.high)
      for number in [height, 1, 1, 1, header.count + page.count + CatalogTable.footerByteCount, 0, 0] {
        footer.integer(UInt64(number))
      }
      footer.append(StoreFormat.footerMagic)
      header += page + footer.bytes + [UInt8](repeating: 0, count: 32)
      Surgery.sign(table: &header)
      let path = "\(directory.path)/catalog/page.table"
      try Surgery.write(header, to: path)
      return refusal { () throws(Refusal) in
        let table = try CatalogTable(opening: try MappedFile(path))
        _ = try table.value(of: [5])
        try table.verify(digest: Digest256(of: header))
      }
    }
    #expect(try outcome([1, 0, 1, 0, 0, 0, 5, 9]) == nil)
    #expect(try outcome([1, 0, 2, 0, 0, 0, 5, 9]) == "malformed-table")
    #expect(try outcome([0, 0, 1, 0, 0, 0, 9]) == "malformed-table")
    #expect(try outcome([1, 0, 1, 0, 0, 0, 5, 9, 1]) == "malformed-table")
    #expect(try outcome([1, 0, 1, 0, 0, 0, 5, 9], height: 2) == "malformed-table")
    // An entry that leads to its own page, and on for ever.
    let header = CatalogTable.header(configuration, salt: 9).count
    let own = PageReference(byteOffset: header, byteCount: 35, checksum: BlockChecksum(high: 0, low: 0))
    #expect(try outcome([1, 0, 28, 0, 0, 0, 5] + own.encoded, height: 2) == "malformed-table")
  }

  @Test func patterns() {
    let cases: [(String, String, Bool)] = [
      ("a*c", "abc", true), ("a*c", "ac", true), ("a*c", "abd", false), ("*", "", true), ("", "", true),
      ("", "a", false), ("*.txt", "x/y.txt", true), ("?", "é", true), ("?", "", false), ("a**b*", "aXbYb", true),
      ("a*b*c", "abbbc", true), ("a*b*c", "abbb", false), ("[a]", "[a]", true),
    ]
    for (pattern, name, expected) in cases {
      #expect(NamePattern(pattern).matches(name) == expected, "\(pattern) and \(name)")
    }
    #expect(NamePattern("letters/*").prefix == "letters/" && !NamePattern("a.txt").isWild)
  }
}
