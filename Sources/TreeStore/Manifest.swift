internal import FileAccess

/// A manifest's entry for a segment.
struct SegmentReference: Equatable, Sendable {
  /// The SHA-256 of the file, which names it.
  let digest: Digest256
  /// The digest with which the segment ends, over header, index and footer.
  let closingDigest: Digest256
  let byteCount: Int
  let chunkCount: Int
}

/// A file that an earlier generation named and this one does not: it may be removed.
struct ObsoleteFile: Equatable, Hashable, Sendable {
  enum Kind: UInt64 {
    case segment = 1
    case table = 2
  }

  let digest: Digest256
  let kind: Kind

  func path(in store: String) -> String {
    switch kind {
    case .segment: StoreFormat.segmentPath(store, digest)
    case .table: StoreFormat.tablePath(store, digest)
    }
  }
}

/// One generation of a store: the files that it consists of.
/// Format: `Formats/tree-store.md`, manifests.
struct Manifest: Equatable, Sendable {
  var generation: Int
  /// The SHA-256 of the previous generation; nil for the first.
  var previous: Digest256?
  let configuration: TreeStoreConfiguration
  /// Sorted by digest.
  var segments: [SegmentReference]
  /// From the newest to the oldest.
  var tables: [TableReference]
  /// Sorted by digest.
  var obsolete: [ObsoleteFile]

  /// 2^26 bytes name 800,000 files, more than can be mapped.
  static let byteCountLimit = 1 << 26
  private static let fixedByteCount = 96
  private static let segmentByteCount = 80
  private static let tableByteCount = 96
  private static let obsoleteByteCount = 40

  init(
    generation: Int, previous: Digest256?, configuration: TreeStoreConfiguration, segments: [SegmentReference],
    tables: [TableReference], obsolete: [ObsoleteFile]
  ) {
    self.generation = generation
    self.previous = previous
    self.configuration = configuration
    self.segments = segments.sorted { $0.digest < $1.digest }
    self.tables = tables
    self.obsolete = obsolete.sorted { $0.digest < $1.digest }
  }

  /// The whole file.
  var encoded: [UInt8] {
    var writer = ByteWriter()
    StoreFormat.writePreamble(StoreFormat.manifestMagic, features: configuration.features, into: &writer)
    writer.integer(UInt64(generation))
    writer.append(previous?.bytes ?? [UInt8](repeating: 0, count: 32))
    for count in [segments.count, tables.count, obsolete.count, 0] { writer.integer(UInt64(count)) }
    writer.append(configuration.encoded)
    writer.pad(to: 8)
    for segment in segments {
      writer.append(segment.digest.bytes)
      writer.append(segment.closingDigest.bytes)
      for number in [segment.byteCount, segment.chunkCount] { writer.integer(UInt64(number)) }
    }
    for table in tables {
      writer.append(table.digest.bytes)
      writer.append(table.closingDigest.bytes)
      for number in [
        table.byteCount, table.entryCount, table.generations.lowerBound, table.generations.upperBound,
      ] { writer.integer(UInt64(number)) }
    }
    for file in obsolete {
      writer.append(file.digest.bytes)
      writer.integer(file.kind.rawValue)
    }
    writer.append(Digest256(of: writer.bytes).bytes)
    return writer.bytes
  }

  /// - Parameter generation: the one in the file's name.
  /// - Throws: `Refusal`, see `Formats/tree-store.md`, refusals.
  init(parsing bytes: [UInt8], generation: Int, file: String) throws(Refusal) {
    func malformed(_ structure: String, _ fault: String) -> Refusal {
      Refusal(.malformedManifest, file: file, structure: structure, fault)
    }
    let all = unsafe bytes.span.bytes
    var start = ByteReader(all, file: file, structure: "manifest")
    let features = try StoreFormat.readPreamble(StoreFormat.manifestMagic, from: &start, file: file)
    guard bytes.count >= Self.fixedByteCount + 32 else {
      throw Refusal(.truncated, file: file, structure: "manifest", "has \(bytes.count) bytes")
    }
    var hasher = Hasher256()
    let body = all.extracting(0..<bytes.count - 32)
    hasher.update(body)
    guard hasher.finalize().bytes == Array(bytes[(bytes.count - 32)...]) else {
      throw Refusal(
        .digestMismatch, file: file, structure: "manifest", "the SHA-256 at its end is not that of its bytes")
    }

    var reader = ByteReader(body, file: file, structure: "manifest")
    try reader.seek(to: 24)
    guard try reader.size() == generation else {
      throw malformed("generation", "is not the one of the file's name")
    }
    self.generation = generation
    let previous = try reader.bytes(32)
    self.previous = generation == 1 ? nil : Digest256(bytes: previous)
    let (segmentCount, tableCount, obsoleteCount) = (try reader.size(), try reader.size(), try reader.size())
    _ = try reader.size()
    configuration = try TreeStoreConfiguration(from: &reader, features: features, file: file)
    try reader.seek(to: reader.offset + CheckedSize.padding(after: reader.offset, to: 8))

    func digest(_ bytes: [UInt8], _ structure: String) throws(Refusal) -> Digest256 {
      guard let digest = Digest256(bytes: bytes) else { throw malformed(structure, "a digest is missing") }
      return digest
    }
    guard segmentCount <= reader.remainingByteCount / Self.segmentByteCount else {
      throw malformed("segments", "\(segmentCount) of them do not fit")
    }
    segments = []
    for _ in 0..<segmentCount {
      let segment = SegmentReference(
        digest: try digest(try reader.bytes(32), "segments"),
        closingDigest: try digest(try reader.bytes(32), "segments"), byteCount: try reader.size(),
        chunkCount: try reader.size())
      if let last = segments.last, last.digest >= segment.digest || last.digest.tag == segment.digest.tag {
        throw malformed("segments", "the digests do not ascend")
      }
      segments.append(segment)
    }
    guard tableCount <= reader.remainingByteCount / Self.tableByteCount else {
      throw malformed("tables", "\(tableCount) of them do not fit")
    }
    tables = []
    for _ in 0..<tableCount {
      let (own, closing) = (try digest(try reader.bytes(32), "tables"), try digest(try reader.bytes(32), "tables"))
      let (byteCount, entryCount) = (try reader.size(), try reader.size())
      let (first, last) = (try reader.size(), try reader.size())
      guard first <= last, last <= (tables.last.map { $0.generations.lowerBound - 1 } ?? generation) else {
        throw malformed("tables", "the generations do not descend")
      }
      tables.append(
        TableReference(
          digest: own, closingDigest: closing, byteCount: byteCount, entryCount: entryCount, generations: first...last))
    }
    guard obsoleteCount <= reader.remainingByteCount / Self.obsoleteByteCount else {
      throw malformed("obsolete files", "\(obsoleteCount) of them do not fit")
    }
    obsolete = []
    for _ in 0..<obsoleteCount {
      let digest = try digest(try reader.bytes(32), "obsolete files")
      guard let kind = ObsoleteFile.Kind(rawValue: try reader.integer(UInt64.self)),
        obsolete.last.map({ $0.digest < digest }) ?? true
      else { throw malformed("obsolete files", "are not as a writer writes them") }
      obsolete.append(ObsoleteFile(digest: digest, kind: kind))
    }
    guard reader.remainingByteCount == 0 else { throw malformed("manifest", "has bytes after its last entry") }
    // Whatever is not spelled as a writer spells it, padding included, is refused.
    guard encoded == bytes else { throw malformed("manifest", "is not in its canonical form") }
  }

  /// The bytes of the files that it names, and its own.
  var totalByteCount: Int {
    // Sizes of files that are not looked at here: what a manifest says may be anything.
    let sizes = segments.map(\.byteCount) + tables.map(\.byteCount)
    return sizes.reduce(encoded.count) { CheckedSize.sum($0, $1) ?? .max }
  }

  /// Reads a generation of a store.
  /// - Returns: the manifest and the SHA-256 of its file.
  static func read(_ generation: Int, in store: String) throws(Refusal) -> (Manifest, Digest256) {
    let path = "\(store)/\(StoreFormat.manifestName(generation))"
    let bytes = try SequentialFile.contents(path, limit: byteCountLimit, followingLinks: false)
    return (try Manifest(parsing: bytes, generation: generation, file: path), Digest256(of: bytes))
  }

  /// Makes this generation durable and visible.
  /// - Returns: the SHA-256 of its file.
  func publish(in store: StoreDirectory, room: FileRoom? = nil) throws(Refusal) -> Digest256 {
    let bytes = encoded
    try room?.require(bytes.count)
    var file = try PublishedFile(creating: "\(store.path)/manifest", mode: store.fileMode, exactly: true)
    try file.append(bytes)
    try file.publish(as: StoreFormat.manifestName(generation))
    return Digest256(of: bytes)
  }
}
