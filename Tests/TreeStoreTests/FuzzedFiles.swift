import FileAccess
import Fuzzing
import Glibc
import NodeBlocks
import Testing

@testable import TreeStore

/// The files of a store, whatever their bytes, each signed before it is read: see `FuzzedReader`.
@Suite struct FuzzedFiles {
  @Test(arguments: [false, true]) func segments(ofTexts isText: Bool) throws {
    let (workplace, original, segment) = try SegmentParts.example(.zstd, ofTexts: isText, chunks: 2)
    let parts = try SegmentParts(segment)
    let path = "\(workplace.path)/fuzzed"
    try FuzzedReader.run(isText ? "text-segment" : "tree-segment", seeds: [original]) { bytes in
      var bytes = FuzzedReader.fit(bytes, to: original)
      parts.sign(&bytes)
      FuzzedReader.write(bytes, to: path)
      _ = SegmentParts.read(path)
    }
  }

  /// Bytes in the place of a segment's records, without index.
  @Test(arguments: [false, true]) func records(ofTexts isText: Bool) throws {
    let (workplace, original, segment) = try SegmentParts.example(.none, ofTexts: isText, chunks: 2)
    let (header, configuration) = (Array(original[..<segment.records.lowerBound]), segment.configuration)
    let path = "\(workplace.path)/fuzzed"
    try FuzzedReader.run(
      isText ? "text-records" : "tree-records", seeds: [Array(original[segment.records])]
    ) { bytes in
      FuzzedReader.write(header + bytes, to: path)
      guard let file = try? MappedFile(path), let found = SegmentRescue(file, configuration)?.segment else { return }
      guard (try? SegmentParts.contents(found)) != nil else { preconditionFailure("what was examined cannot be read") }
    }
  }

  private static func store() throws -> (Workplace, TreeStore) {
    let workplace = try Workplace.inMemory()
    var writer = try TreeStoreWriter(
      opening: workplace.store, creating: try Fixture.configuration(), segmentByteLimit: 1 << 30, salt: 5)
    for number in 0..<3 { try writer.add(document: "d\(number)", [Fixture.tokens(number), Fixture.tokens(9)]) }
    try writer.commit()
    return (workplace, try TreeStore(opening: workplace.store))
  }

  @Test func manifests() throws {
    let (workplace, _) = try Self.store()
    let path = try Surgery.manifestPath(workplace)
    let seed = Array(try Surgery.read(path).dropLast(32))
    try FuzzedReader.run("manifest", seeds: [seed]) { bytes in
      FuzzedReader.write(bytes + Digest256(of: bytes).bytes, to: path)
      _ = refusal { () throws(Refusal) in
        let store = try TreeStore(opening: workplace.store)
        _ = try store.statistics()
        for document in try store.documents() { _ = try? store.chunks(of: document) }
      }
    }
  }

  @Test func tables() throws {
    let (workplace, store) = try Self.store()
    let original = try Surgery.read(try #require(try workplace.tables().first))
    let page = Surgery.page(of: original)
    let keys = try store.documents().map { CatalogKey.document($0.name) }
    let path = "\(workplace.path)/fuzzed"
    try FuzzedReader.run("table", seeds: [original]) { bytes in
      var bytes = FuzzedReader.fit(bytes, to: original)
      Surgery.sign(page: page, of: &bytes)
      FuzzedReader.write(bytes, to: path)
      _ = refusal { () throws(Refusal) in
        let table = try CatalogTable(opening: try MappedFile(path))
        for key in keys { _ = try? table.value(of: key) }
        var cursor = try CatalogCursor(table, from: [])
        while let entry = cursor.entry {
          if case .value(let value) = entry.value {
            _ = try? ChunkPlace(value, file: path)
            _ = try? StoredDocument(key: entry.key, value: value, file: path)
          }
          try cursor.advance()
        }
      }
    }
  }

  /// An export, all of whose entries say what is right of what is before them.
  @Test func exports() throws {
    let (workplace, store) = try Self.store()
    var exported: [UInt8] = []
    _ = try StoreExport.write(store, matching: []) { (piece, _) throws(Refusal) in exported += piece }
    let headerByteCount = ExportFormat.header(store.configuration).count
    let place = "\(workplace.path)/imported"
    try FuzzedReader.run("export", seeds: [exported]) { bytes in
      try? Directory.removeTree(place)
      let signed = Self.signed(export: bytes, from: headerByteCount)
      var offset = 0
      var reader = StoreImport("export") { (count) throws(Refusal) in
        let piece = Array(signed[offset..<min(offset + count, signed.count)])
        offset += piece.count
        return piece
      }
      _ = refusal { () throws(Refusal) in _ = try reader.read(into: place, replacing: false) }
    }
  }

  /// Makes the checksums of an export's entries right as far as they can be followed, and the digest at its end.
  private static func signed(export bytes: [UInt8], from start: Int) -> [UInt8] {
    var bytes = bytes
    var offset = start
    while let body = CheckedSize.sum(offset, ExportFormat.headByteCount), body <= bytes.count {
      let count = Surgery.integer(bytes, at: offset + 8)
      guard count >= 0, let end = CheckedSize.sum(body, count), end <= bytes.count - ExportFormat.checksumByteCount
      else { break }
      if bytes[offset] == ExportFormat.Kind.end.rawValue, count == 48 {
        bytes.replaceSubrange(end - 32..<end, with: Digest256(of: Array(bytes[..<offset])).bytes)
      }
      Surgery.put(ExportFormat.checksum(of: Array(bytes[offset..<end]), at: offset), at: end, in: &bytes)
      offset = end + ExportFormat.checksumByteCount
    }
    return bytes
  }
}
