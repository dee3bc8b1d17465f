public import FileAccess

/// The contents of a store and the disk space that it takes.
public struct StoreStatistics: Sendable, Hashable {
  public var documents = 0
  /// Chunks of documents, each counted as often as documents name it.
  public var chunks = 0
  /// Distinct chunks that are stored, whether a document names them or not.
  public var uniqueChunks = 0
  /// Tokens of documents.
  public var tokens = 0
  public var segments = 0
  /// Segments that are lost or damaged beyond their records.
  public var unreadableSegments = 0
  /// Levels of the catalog.
  public var tables = 0
  /// Records that documents need.
  public var liveByteCount = 0
  /// Records that no document needs, or that another segment has too: `collectGarbage` can remove them.
  public var deadByteCount = 0
  /// The manifest and the files that it names.
  public var totalByteCount = 0
  /// Documents whose texts are kept, and the bytes that these take in the catalog.
  public var keptTexts = 0
  public var keptTextByteCount = 0
  /// Of it the tables of the catalog.
  public var catalogByteCount = 0
  /// What the store's files may have in all; 0 for no limit.
  public var byteLimit = 0
  /// Keys and values, as the kernels read them and as they are stored.
  public var blockByteCount = 0
  public var storedBlockByteCount = 0
  /// Files that no generation knows: the beginning of a commit that never came, or the rest of one that was lost.
  public var unknownFiles = 0

  /// Stored bytes per byte of keys and values; 1 without compression.
  public var compression: Double {
    blockByteCount == 0 ? 1 : Double(storedBlockByteCount) / Double(blockByteCount)
  }
}

extension TreeStore {
  /// Counts. Walks over the catalog, for a store of millions of chunks some seconds; reads no records.
  /// - Throws: `Refusal` `checksum-mismatch`, `malformed-table` and others when the catalog is damaged.
  public func statistics() throws(Refusal) -> StoreStatistics {
    var result = StoreStatistics()
    let state = try catalog.state(store: path)
    result.documents = state.documentCount
    result.chunks = state.chunkCount
    result.tokens = state.tokenCount
    result.byteLimit = state.byteLimit
    result.segments = manifest.segments.count
    result.tables = manifest.tables.count
    result.totalByteCount = manifest.totalByteCount
    result.catalogByteCount = manifest.tables.reduce(0) { CheckedSize.sum($0, $1.byteCount) ?? .max }
    result.unknownFiles = try unknownFiles().count + catalog.foundSegments().count
    var recordByteCount = 0
    for file in segments.files {
      guard let segment = try? file.segment() else {
        result.unreadableSegments += 1
        continue
      }
      // These are of files that are as long as they say, but for the blocks', which are claims.
      recordByteCount += segment.records.count
      result.blockByteCount = CheckedSize.sum(result.blockByteCount, segment.totals.blockByteCount) ?? .max
      result.storedBlockByteCount =
        CheckedSize.sum(result.storedBlockByteCount, segment.totals.storedBlockByteCount) ?? .max
    }
    try forEachDocument { (document) throws(Refusal) in result.keptTexts += document.keepsText ? 1 : 0 }
    var texts = try catalog.scan(prefix: CatalogKey.texts)
    while let (_, value) = try texts.next() { result.keptTextByteCount += value.count }
    var live = 0
    try catalog.forEachChunk(store: path, frame: configuration.frameKey) { (_, place, isNeeded) throws(Refusal) in
      result.uniqueChunks += 1
      if isNeeded { live = CheckedSize.sum(live, place.byteCount) ?? .max }
    }
    result.liveByteCount = live
    result.deadByteCount = max(0, recordByteCount - live)
    return result
  }

  /// The bytes of the files of the generation.
  public var totalByteCount: Int { manifest.totalByteCount }

  /// Files that no generation knows, by their paths.
  func unknownFiles() throws(Refusal) -> [String] { try StoreCreation.unknownFiles(path, manifest) }
}

extension Catalog {
  /// The tags of segments that were there without a generation.
  func foundSegments() throws(Refusal) -> Set<UInt64> {
    var tags: Set<UInt64> = []
    var scan = try scan(prefix: CatalogKey.foundSegments)
    while let (key, _) = try scan.next() {
      if let tag = CatalogKey.tag(in: key) { tags.insert(tag) }
    }
    return tags
  }

  /// Walks over all chunks that have a place, in ascending order of key, and says of each whether a document needs it.
  /// - Parameter frame: a chunk that all others need.
  func forEachChunk(
    store: String, frame: ChunkKey?,
    _ body: (_ key: ChunkKey, _ place: ChunkPlace, _ isNeeded: Bool) throws(Refusal) -> Void
  ) throws(Refusal) {
    // Both are sorted by chunk key: one walk beside the other needs no memory.
    var places = try scan(prefix: CatalogKey.chunks)
    var members = try scan(prefix: CatalogKey.members)
    var member = try members.next().flatMap { CatalogKey.chunkKey(in: $0.key) }
    while let (key, value) = try places.next() {
      guard let chunk = CatalogKey.chunkKey(in: key) else { continue }
      while let needed = member, needed < chunk {
        member = try members.next().flatMap { CatalogKey.chunkKey(in: $0.key) }
      }
      try body(chunk, try ChunkPlace(value, file: store), member == chunk || chunk == frame)
    }
  }
}
