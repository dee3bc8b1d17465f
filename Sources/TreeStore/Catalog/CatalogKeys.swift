internal import FileAccess

/// The keys of a catalog, by what they are about.
/// Format: `Formats/tree-store.md`, catalog.
enum CatalogKey {
  static let chunks: [UInt8] = [UInt8(ascii: "c")]
  static let documents: [UInt8] = [UInt8(ascii: "d")]
  static let lists: [UInt8] = [UInt8(ascii: "l")]
  static let members: [UInt8] = [UInt8(ascii: "m")]
  static let orders: [UInt8] = [UInt8(ascii: "o")]
  static let texts: [UInt8] = [UInt8(ascii: "t")]
  static let foundSegments: [UInt8] = [UInt8(ascii: "u")]

  /// Where a chunk lies.
  static func chunk(_ key: ChunkKey) -> [UInt8] { chunks + key.bytes }

  static func document(_ name: String) -> [UInt8] { documents + Array(name.utf8) }

  /// Chunks of a document, `DocumentChunks.partLength` of them.
  static func list(_ name: String, part: Int) -> [UInt8] { self.part(of: lists, name, part) }

  /// Bytes of a document's text, `KeptText.partByteCount` of them.
  static func text(_ name: String, part: Int) -> [UInt8] { self.part(of: texts, name, part) }

  private static func part(of kind: [UInt8], _ name: String, _ part: Int) -> [UInt8] {
    // No name has a zero byte.
    kind + Array(name.utf8) + [0] + bigEndian(part, byteCount: 4)
  }

  /// The documents of a chunk.
  static func members(of key: ChunkKey) -> [UInt8] { members + key.bytes }

  static func member(_ key: ChunkKey, _ name: String) -> [UInt8] { members(of: key) + Array(name.utf8) }

  /// The document that was added at a place in the order of all additions.
  static func order(_ order: Int) -> [UInt8] { orders + bigEndian(order, byteCount: 8) }

  /// A segment that was there without a generation, by its tag.
  static func foundSegment(_ tag: UInt64) -> [UInt8] {
    foundSegments + bigEndian(Int(bitPattern: UInt(tag)), byteCount: 8)
  }

  /// The tag in the key of a segment that was found.
  static func tag(in key: [UInt8]) -> UInt64? {
    key.count == 9 ? key.dropFirst().reduce(0) { $0 << 8 | UInt64($1) } : nil
  }

  private static func bigEndian(_ value: Int, byteCount: Int) -> [UInt8] {
    (0..<byteCount).reversed().map { UInt8(truncatingIfNeeded: value >> (8 * $0)) }
  }

  /// The chunk key in a key about a chunk or a member.
  static func chunkKey(in key: [UInt8]) -> ChunkKey? {
    key.count >= 33 ? unsafe ChunkKey(key.span.bytes, at: 1) : nil
  }
}

/// Where a chunk lies.
struct ChunkPlace: Equatable, Sendable {
  /// The first 8 bytes of the segment's digest.
  let segment: UInt64
  /// Of the segment's index.
  let entry: Int
  let tokenCount: Int
  /// Of the record.
  let byteCount: Int

  var encoded: [UInt8] {
    var writer = ByteWriter()
    writer.integer(segment.bigEndian)
    writer.integer(UInt32(entry))
    writer.integer(UInt32(tokenCount))
    writer.integer(UInt32(byteCount / RecordLayout.alignment))
    return writer.bytes
  }

  init(segment: UInt64, entry: Int, tokenCount: Int, byteCount: Int) {
    self.segment = segment
    self.entry = entry
    self.tokenCount = tokenCount
    self.byteCount = byteCount
  }

  /// - Throws: `Refusal` `malformed-table`.
  init(_ bytes: [UInt8], file: String) throws(Refusal) {
    guard bytes.count == 20 else { throw Refusal(.malformedTable, file: file, "the place of a chunk has 20 bytes") }
    let span = unsafe bytes.span.bytes
    var reader = ByteReader(span, file: file, structure: "place of a chunk")
    segment = try reader.integer(UInt64.self).bigEndian
    entry = Int(try reader.integer(UInt32.self))
    tokenCount = Int(try reader.integer(UInt32.self))
    byteCount = Int(try reader.integer(UInt32.self)) * RecordLayout.alignment
  }
}

extension Digest256 {
  /// The first 8 bytes, by which a store's files are told apart.
  var tag: UInt64 { bytes[..<8].reduce(0) { $0 << 8 | UInt64($1) } }
}

extension ChunkKey {
  /// The 32 bytes.
  var bytes: [UInt8] {
    var writer = ByteWriter()
    write(into: &writer)
    return writer.bytes
  }
}
