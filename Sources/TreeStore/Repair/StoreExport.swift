package import FileAccess
internal import NodeBlocks

/// The parts of an export.
/// Format: `Formats/store-export.md`.
enum ExportFormat {
  static let magic: [UInt8] = [0x89, 0x54, 0x53, 0x58, 0x0D, 0x0A, 0x1A, 0x0A]
  static let headByteCount = 16
  static let checksumByteCount = 16
  static let payloadByteLimit = 1 << 31

  enum Kind: UInt32 {
    case chunk = 1
    case document = 2
    case end = 3
  }

  static func header(_ configuration: TreeStoreConfiguration) -> [UInt8] {
    var writer = ByteWriter()
    StoreFormat.writePreamble(magic, features: configuration.features, into: &writer)
    writer.append(configuration.encoded)
    writer.pad(to: 8)
    return writer.bytes
  }

  static func checksum(of bytes: [UInt8], at byteOffset: Int) -> BlockChecksum {
    unsafe BlockChecksum(of: bytes.span.bytes, seed: UInt64(byteOffset))
  }
}

/// What was written or read.
package struct ExportReport: Sendable, Hashable {
  package var documentCount = 0
  package var chunkCount = 0
  package var byteCount = 0
  /// Of an import: documents that were there.
  package var sameDocumentCount = 0

  package init() {}
}

/// Writes the content of a store as one sequence of bytes, the same for all stores of this content: documents and the
/// chunks that they need, without what says when and how they came in.
/// Format: `Formats/store-export.md`.
package struct StoreExport {
  private let sink: ([UInt8], Int) throws(Refusal) -> Void
  private var hasher = Hasher256()
  private var report = ExportReport()

  /// - Parameters:
  ///   - patterns: of documents' names; none for all.
  ///   - sink: takes the bytes, piece by piece, and the chunks done.
  /// - Throws: `Refusal` of the sink, of a damaged store, and `missing-chunk` of a document that is not whole.
  package static func write(
    _ store: TreeStore, matching patterns: [NamePattern] = [],
    to sink: @escaping (_ bytes: [UInt8], _ chunks: Int) throws(Refusal) -> Void
  ) throws(Refusal) -> ExportReport {
    var export = StoreExport(sink: sink)
    try export.write(store, patterns)
    return export.report
  }

  private init(sink: @escaping ([UInt8], Int) throws(Refusal) -> Void) { self.sink = sink }

  private mutating func append(_ bytes: [UInt8]) throws(Refusal) {
    hasher.update(bytes)
    report.byteCount += bytes.count
    try sink(bytes, report.chunkCount)
  }

  private mutating func append(_ kind: ExportFormat.Kind, _ payload: [UInt8]) throws(Refusal) {
    var writer = ByteWriter()
    writer.integer(kind.rawValue)
    writer.integer(UInt32(0))
    writer.integer(UInt64(payload.count))
    writer.append(payload)
    let checksum = ExportFormat.checksum(of: writer.bytes, at: report.byteCount)
    writer.integer(checksum.low)
    writer.integer(checksum.high)
    try append(writer.bytes)
  }

  private mutating func write(_ store: TreeStore, _ patterns: [NamePattern]) throws(Refusal) {
    try append(ExportFormat.header(store.configuration))
    var places = try store.catalog.scan(prefix: CatalogKey.chunks)
    while let (key, value) = try places.next() {
      guard let chunk = CatalogKey.chunkKey(in: key), try store.needs(chunk, for: patterns) else { continue }
      let place = try ChunkPlace(value, file: store.path)
      try append(.chunk, try Self.payload(try store.segments.record(of: chunk, at: place, store: store.path)))
      report.chunkCount += 1
    }
    var names = try store.catalog.scan(prefix: CatalogKey.documents)
    while let (key, value) = try names.next() {
      let document = try StoredDocument(key: key, value: value, file: store.path)
      guard patterns.isEmpty || patterns.contains(where: { $0.matches(document.name) }) else { continue }
      try append(.document, try Self.payload(document, store))
      report.documentCount += 1
    }
    var writer = ByteWriter()
    writer.integer(UInt64(report.chunkCount))
    writer.integer(UInt64(report.documentCount))
    writer.append(hasher.finalize().bytes)
    try append(.end, writer.bytes)
  }

  private static func payload(_ record: StoredRecord) throws(Refusal) -> [UInt8] {
    var writer = ByteWriter()
    record.key.write(into: &writer)
    writer.append(record.behind?.bytes ?? [UInt8](repeating: 0, count: 32))
    writer.integer(UInt32(record.tokens.count))
    writer.integer(UInt32(record.entries.count))
    for token in record.tokens { writer.integer(token) }
    let search = try record.search()
    let file = record.segment.file
    writer.integer(UInt64(search.count))
    writer.append(file.bytes.extracting(search).array)
    // Uncompressed: how it was compressed is not what it is.
    for number in record.entries.indices {
      let block = try record.block(number)
      writer.integer(UInt64(block.byteCount))
      writer.append(block.bytes.array)
    }
    return writer.bytes
  }

  private static func payload(_ document: StoredDocument, _ store: TreeStore) throws(Refusal) -> [UInt8] {
    let chunks = try store.chunks(of: document)
    var writer = ByteWriter()
    writer.integer(UInt32(document.name.utf8.count))
    writer.append(document.name.utf8)
    writer.append(document.textDigest.bytes)
    for number in [document.textByteCount, document.tokenCount, document.chunkCount] {
      writer.integer(UInt64(number))
    }
    writer.integer(UInt64((document.isPinned ? 1 : 0) | (document.keepsText ? 2 : 0)))
    writer.integer(UInt32(document.metadata.utf8.count))
    writer.append(document.metadata.utf8)
    for key in chunks.keys where try store.catalog.place(of: key, store: store.path) == nil {
      throw Refusal(
        .missingChunk, file: store.path, structure: "document \"\(document.name)\"",
        "chunk \(key.short) is in no segment")
    }
    for part in 0..<DocumentChunks.partCount(document.chunkCount) { writer.append(chunks.encoded(part: part)) }
    writer.append(try store.text(of: document) ?? [])
    return writer.bytes
  }
}

extension TreeStore {
  /// Whether a document of such a name has a chunk, or all of them were read behind it.
  fileprivate func needs(_ key: ChunkKey, for patterns: [NamePattern]) throws(Refusal) -> Bool {
    guard !patterns.isEmpty, key != configuration.frameKey else { return try needs(key) }
    var scan = try catalog.scan(prefix: CatalogKey.members(of: key))
    while let (member, _) = try scan.next() {
      guard let name = String(validating: member.dropFirst(33), as: UTF8.self) else { continue }
      if patterns.contains(where: { $0.matches(name) }) { return true }
    }
    return false
  }
}
