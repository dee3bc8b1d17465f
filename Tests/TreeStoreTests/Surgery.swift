import FileAccess
import Glibc
import Testing

@testable import TreeStore

/// Rewrites files of a store, which no store does, and signs them again where a test wants a fault behind correct
/// digests.
enum Surgery {
  static func read(_ path: String) throws(Refusal) -> [UInt8] { try SequentialFile.contents(path, limit: 1 << 24) }

  static func write(_ bytes: [UInt8], to path: String) throws {
    _ = unsafe unlink(path)
    let descriptor = unsafe open(path, O_WRONLY | O_CREAT | O_TRUNC, 0o600)
    try #require(descriptor >= 0)
    defer { close(descriptor) }
    let count = unsafe bytes.withUnsafeBytes { unsafe Glibc.write(descriptor, $0.baseAddress, $0.count) }
    try #require(count == bytes.count)
  }

  static func put(_ value: some FixedWidthInteger, at byteOffset: Int, in bytes: inout [UInt8]) {
    var writer = ByteWriter()
    writer.integer(value)
    bytes.replaceSubrange(byteOffset..<byteOffset + writer.bytes.count, with: writer.bytes)
  }

  static func put(_ checksum: BlockChecksum, at byteOffset: Int, in bytes: inout [UInt8]) {
    put(checksum.low, at: byteOffset, in: &bytes)
    put(checksum.high, at: byteOffset + 8, in: &bytes)
  }

  static func integer(_ bytes: [UInt8], at byteOffset: Int) -> Int {
    Int(truncatingIfNeeded: bytes[byteOffset..<byteOffset + 8].reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) })
  }

  /// The segment's parts: where its header ends, its index starts and its footer starts.
  static func parts(_ segment: [UInt8]) -> (header: Int, index: Int, footer: Int) {
    let footer = segment.count - 96
    let numerics = Int(segment[96])
    return ((32 + 68 + numerics + 63) / 64 * 64, integer(segment, at: footer), footer)
  }

  /// Signs header, index and footer.
  static func sign(segment: inout [UInt8]) {
    let parts = parts(segment)
    var hasher = Hasher256()
    hasher.update(Array(segment[..<parts.header]))
    hasher.update(Array(segment[parts.index..<segment.count - 32]))
    segment.replaceSubrange((segment.count - 32)..., with: hasher.finalize().bytes)
  }

  /// Signs header and footer.
  static func sign(table: inout [UInt8]) {
    let numerics = Int(table[96])
    let header = (32 + 68 + numerics + 7) / 8 * 8
    var hasher = Hasher256()
    hasher.update(Array(table[..<min(header, table.count)]))
    hasher.update(Array(table[(table.count - CatalogTable.footerByteCount)..<table.count - 32]))
    table.replaceSubrange((table.count - 32)..., with: hasher.finalize().bytes)
  }

  /// Where the one page of a table lies.
  static func page(of table: [UInt8]) -> Range<Int> {
    let footer = table.count - CatalogTable.footerByteCount
    let start = integer(table, at: footer)
    return start..<start + integer(table, at: footer + 8)
  }

  /// Signs the one page of a table, then the table.
  static func sign(page range: Range<Int>, of table: inout [UInt8]) {
    let page = Array(table[range])
    let seed = CatalogTable.seed(salt: UInt64(bitPattern: Int64(integer(table, at: 24))), byteOffset: range.lowerBound)
    let footer = table.count - CatalogTable.footerByteCount
    put(unsafe BlockChecksum(of: page.span.bytes, seed: seed), at: footer + 16, in: &table)
    sign(table: &table)
  }

  /// Signs the head of the record of an index entry, then the segment.
  static func sign(head entry: Int, headByteCount: Int, segment: inout [UInt8]) {
    let start = parts(segment).index + 64 * entry
    let offset = integer(segment, at: start + 32)
    let key = unsafe ChunkKey(segment.span.bytes, at: start)
    let head = Array(segment[offset..<offset + headByteCount])
    let location = BlockLocation(salt: UInt64(integer(segment, at: 24)), key: key, kind: .head)
    let checksum = unsafe location.checksum(of: head.span.bytes)
    put(checksum, at: start + 48, in: &segment)
    sign(segment: &segment)
  }

  /// Makes the store's newest manifest name this segment alone, and the catalog lead to it.
  static func install(segment: [UInt8], in workplace: Workplace) throws {
    let catalog = try TreeStore(opening: workplace.store).catalog
    for old in try workplace.segments() { try Directory.removeFile(old) }
    let digest = Digest256(of: segment)
    try write(segment, to: StoreFormat.segmentPath(workplace.store, digest))
    try edit(manifestOf: workplace) { manifest in
      manifest.segments = [
        SegmentReference(
          digest: digest, closingDigest: try #require(Digest256(bytes: Array(segment.suffix(32)))),
          byteCount: segment.count, chunkCount: integer(segment, at: segment.count - 88))
      ]
      var table = try CatalogTableWriter(
        in: StoreDirectory(workplace.store), manifest.configuration, salt: .random(in: .min ... .max))
      var scan = try catalog.scan(prefix: [])
      while let (key, old) = try scan.next() {
        var value = old
        if key.starts(with: CatalogKey.chunks) {
          let place = try ChunkPlace(old, file: "")
          value =
            ChunkPlace(
              segment: digest.tag, entry: place.entry, tokenCount: place.tokenCount, byteCount: place.byteCount
            ).encoded
        }
        try table.append(CatalogEntry(key: key, value: .value(value)))
      }
      manifest.tables = [try table.publish(1...manifest.generation)]
    }
  }

  static func manifestPath(_ workplace: Workplace) throws -> String {
    let generation = try #require(try StoreFormat.generations(in: workplace.store).last)
    return "\(workplace.store)/\(StoreFormat.manifestName(generation))"
  }

  /// Rewrites the newest manifest, properly signed.
  static func edit(manifestOf workplace: Workplace, _ change: (inout Manifest) throws -> Void) throws {
    let generation = try #require(try StoreFormat.generations(in: workplace.store).last)
    var (manifest, _) = try Manifest.read(generation, in: workplace.store)
    try change(&manifest)
    try write(manifest.encoded, to: manifestPath(workplace))
  }

  /// Changes the bytes of the newest manifest and signs them.
  static func edit(manifestBytesOf workplace: Workplace, _ change: (inout [UInt8]) -> Void) throws {
    let path = try manifestPath(workplace)
    var bytes = Array(try read(path).dropLast(32))
    change(&bytes)
    try write(bytes + Digest256(of: bytes).bytes, to: path)
  }
}
