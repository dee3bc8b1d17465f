public import FileAccess

/// One generation of a store of context trees, pinned and mapped. Safe to use from any thread.
///
/// Reading takes no lock and writes nothing, so it works on read-only media and beside a writer: only stores that are
/// opened later see what a writer commits later.
/// Format: `Formats/tree-store.md`.
public final class TreeStore: Sendable {
  /// As the caller named it.
  public let path: String
  let manifest: Manifest
  let manifestDigest: Digest256
  let segments: SegmentSet

  /// Opens the newest generation. A segment that is lost or damaged fails only those who need it.
  /// - Throws: `Refusal` `missing-file` when nothing is there, `not-a-store`, and those of damaged stores
  ///   (`Formats/tree-store.md`, refusals). An older generation is never taken for a damaged newest one.
  public init(opening path: String) throws(Refusal) {
    var generation = try Self.newestGeneration(path)
    while true {
      do throws(Refusal) {
        let (manifest, digest) = try Manifest.read(generation, in: path)
        let segments = SegmentSet(manifest, in: path)
        if let fault = segments.fault, fault.name == .missingSegment, try Self.newestGeneration(path) > generation {
          throw fault
        }
        self.segments = segments
        self.manifest = manifest
        manifestDigest = digest
        self.path = path
        return
      } catch {
        // A writer may have removed this generation's files after it committed a newer one.
        guard error.name == .missingFile || error.name == .missingSegment else { throw error }
        let newest = try Self.newestGeneration(path)
        guard newest > generation else { throw error }
        generation = newest
      }
    }
  }

  private static func newestGeneration(_ path: String) throws(Refusal) -> Int {
    guard let kind = Directory.exists(path) else { throw Refusal(.missingFile, file: path, "there is no store here") }
    guard kind == .directory else { throw Refusal(.notADirectory, file: path, "a store is a directory") }
    guard let newest = try StoreFormat.generations(in: path).last else {
      throw Refusal(.notAStore, file: path, "the directory has no manifest")
    }
    return newest
  }

  public var configuration: TreeStoreConfiguration { manifest.configuration }

  /// The configuration of the newest generation, without its segments.
  /// - Throws: `Refusal`, as for opening, but for what segments are at fault of.
  package static func configuration(of path: String) throws(Refusal) -> TreeStoreConfiguration {
    try Manifest.read(newestGeneration(path), in: path).0.configuration
  }

  /// Counts commits from 1 on.
  public var generation: Int { manifest.generation }

  /// - Throws: `Refusal` `model-mismatch` when another model encoded the chunks, `configuration-mismatch` when trees
  ///   or rows are of another form.
  package func require(_ configuration: TreeStoreConfiguration) throws(Refusal) {
    try self.configuration.require(configuration, file: path)
  }

  /// Sorted by the bytes of their names.
  public var documents: [StoredDocument] { manifest.documents }

  public func document(named name: String) -> StoredDocument? {
    let (index, isThere) = documents.index(of: name)
    return isThere ? documents[index] : nil
  }

  /// The key of a chunk in this store.
  package func chunkKey(tokens: [Int32]) -> ChunkKey { configuration.chunkKey(tokens: tokens) }

  /// A chunk's tree.
  /// - Returns: nil when the store does not have it.
  /// - Throws: `Refusal` `checksum-mismatch` or `malformed-record` when the stored one is damaged; it can be encoded
  ///   again.
  package func chunk(_ key: ChunkKey) throws(Refusal) -> StoredChunk? {
    guard let form = configuration.tree else { return nil }
    let records = try segments.records(of: key)
    return records.isEmpty ? nil : StoredChunk(records, form)
  }

  /// A chunk of a text.
  /// - Returns: nil when the store does not have it.
  /// - Throws: as `chunk(_:)`.
  package func text(_ key: ChunkKey) throws(Refusal) -> StoredText? { try segments.text(key, configuration) }
}

/// The contents of a store and the disk space that it takes.
public struct StoreStatistics: Sendable, Hashable {
  public var documents = 0
  /// Chunks of documents, each counted as often as documents name it.
  public var chunks = 0
  /// Distinct chunks in segments, whether a document names them or not.
  public var uniqueChunks = 0
  /// Tokens of documents.
  public var tokens = 0
  public var segments = 0
  /// Segments that are lost or damaged beyond their records; the figures that follow know nothing of them.
  public var unreadableSegments = 0
  /// Records that documents need.
  public var liveByteCount = 0
  /// Records that no document needs, or that another segment has too: `collectGarbage` can remove them.
  public var deadByteCount = 0
  /// The manifest and its segments.
  public var totalByteCount = 0
  /// Keys and values, as the kernels read them and as they are stored.
  public var blockByteCount = 0
  public var storedBlockByteCount = 0

  /// Stored bytes per byte of keys and values; 1 without compression.
  public var compression: Double {
    blockByteCount == 0 ? 1 : Double(storedBlockByteCount) / Double(blockByteCount)
  }
}

extension TreeStore {
  /// Counts; reads the indices, not the records.
  public var statistics: StoreStatistics {
    var result = StoreStatistics()
    result.documents = documents.count
    result.chunks = documents.reduce(0) { $0 + $1.chunks.count }
    result.tokens = documents.reduce(0) { $0 + $1.tokenCount }
    result.segments = segments.members.count
    result.unreadableSegments = segments.members.count - segments.open.count
    result.totalByteCount = manifest.encoded.count
    var seen: Set<ChunkKey> = []
    let needed = configuration.neededChunks(of: documents)
    for segment in segments.open {
      let live = segment.liveByteCount(needed: needed, seen: &seen)
      result.liveByteCount += live
      result.deadByteCount += segment.records.count - live
      result.totalByteCount += segment.file.byteCount
      result.blockByteCount += segment.totals.blockByteCount
      result.storedBlockByteCount += segment.totals.storedBlockByteCount
    }
    result.uniqueChunks = seen.count
    return result
  }
}

extension Segment {
  /// Bytes of the records that are needed and that no earlier segment has.
  func liveByteCount(needed: Set<ChunkKey>, seen: inout Set<ChunkKey>) -> Int {
    (0..<index.count).reduce(0) { sum, number in
      let entry = index.entry(at: number)
      return seen.insert(entry.key).inserted && needed.contains(entry.key) ? sum + entry.byteCount : sum
    }
  }
}
