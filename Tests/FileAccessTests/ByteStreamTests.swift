import FileAccess
import Testing

/// Files that are decompressed while they are read.
@Suite struct ByteStreamTests {
  private static let text = Array("one text\n".utf8)
  /// `text`, as gzip writes it.
  static let gzip: [UInt8] = [
    0x1F, 0x8B, 0x08, 0x00, 0x00, 0x00, 0x00, 0x00, 0x02, 0xFF, 0xCB, 0xCF, 0x4B, 0x55, 0x28, 0x49,
    0xAD, 0x28, 0xE1, 0x02, 0x00, 0x1C, 0xA3, 0x5E, 0x8F, 0x09, 0x00, 0x00, 0x00,
  ]

  private func bytes(_ file: [UInt8], name: String = "file", limit: Int = 1 << 20) throws -> [UInt8] {
    let directory = try Directory.temporary()
    defer { try? Directory.removeTree(directory) }
    var published = try PublishedFile(creating: "\(directory)/\(name)")
    try published.append(file)
    try published.publish()
    var stream = try ByteStream("\(directory)/\(name)")
    return try stream.rest(limit: limit)
  }

  private func fault(_ file: [UInt8], name: String = "file", limit: Int = 1 << 20) -> String? {
    #expect(throws: Refusal.self) { try bytes(file, name: name, limit: limit) }.map { "\($0.fault) \($0.name.text)" }
  }

  /// What a file is shows in its first bytes; its name only says what it has to be.
  @Test func formsAreRecognized() throws {
    let zstd = Compression.zstd.compress(Self.text)
    for name in ["file", "a.gz"] { #expect(try bytes(Self.gzip, name: name) == Self.text) }
    for name in ["file", "a.zst"] { #expect(try bytes(zstd, name: name) == Self.text) }
    #expect(try bytes(Self.text) == Self.text)
    #expect(try bytes([]) == [])
    #expect(try bytes([0x28]) == [0x28])
    #expect(fault(Self.text, name: "a.gz") == "is not a gzip file malformed-compression")
    #expect(fault([], name: "a.gz") == "is not a gzip file malformed-compression")
    #expect(fault(zstd, name: "a.gz") == "is not a gzip file malformed-compression")
    #expect(fault(Self.gzip, name: "a.zst") == "is not a zstd file malformed-compression")
  }

  /// Members and frames that follow one another are one file.
  @Test func partsAreJoined() throws {
    #expect(try bytes(Self.gzip + Self.gzip) == Self.text + Self.text)
    let zstd = Compression.zstd.compress(Self.text)
    #expect(try bytes(zstd + zstd) == Self.text + Self.text)
  }

  @Test func damageIsRefused() throws {
    for file in [Self.gzip, Compression.zstd.compress(Self.text)] {
      for count in 4..<file.count {
        #expect(fault(Array(file[..<count])) == "ends before it is whole malformed-compression", "\(count)")
      }
      #expect(fault(file + [0x61, 0x62, 0x63, 0x64, 0x65]) == "is damaged malformed-compression")
    }
    var flipped = Self.gzip
    flipped[flipped.count - 6] ^= 1
    #expect(fault(flipped) == "is damaged malformed-compression")
  }

  /// A few bytes that expand to many are refused as soon as there are too many.
  @Test func expansionIsLimited() throws {
    let zeros = [UInt8](repeating: 0, count: 1 << 24)
    let bomb = Compression.zstd.compress(zeros)
    #expect(bomb.count < 4096)
    #expect(fault(bomb) == "has more than 1048576 bytes of text too-large")
    #expect(try bytes(bomb, limit: 1 << 24).count == 1 << 24)
    #expect(fault(bomb, limit: 1 << 24 - 1) == "has more than 16777215 bytes of text too-large")
    #expect(fault(Self.text, limit: 8) == "has 9 bytes; at most 8 are read too-large")
  }

  @Test func linesOfCompressedFiles() throws {
    let directory = try Directory.temporary()
    defer { try? Directory.removeTree(directory) }
    let lines = (0..<20_000).map { "line \($0 * 7919)" }
    var published = try PublishedFile(creating: "\(directory)/lines.zst")
    try published.append(Compression.zstd.compress(Array((lines.joined(separator: "\n")).utf8)))
    try published.publish()
    var reader = try LineReader("\(directory)/lines.zst")
    var found: [String] = []
    while let line = try reader.next() { found.append(String(decoding: line, as: UTF8.self)) }
    #expect(found == lines)
    #expect(reader.share == 1)
  }

  @Test func entriesHaveKinds() throws {
    let directory = try Directory.temporary()
    defer { try? Directory.removeTree(directory) }
    try Directory.create("\(directory)/b")
    var published = try PublishedFile(creating: "\(directory)/a")
    try published.append([1])
    try published.publish()
    let entries = try Directory.entries(in: directory)
    #expect(entries.map(\.name) == ["a", "b"])
    #expect(entries.map(\.kind) == [.regularFile, .directory])
    #expect(entries.map(\.isUTF8) == [true, true])
  }
}
