internal import FileAccess

/// What is done about generations whose manifest is not there.
/// Format: `Formats/tree-store.md`, recovery.
enum StoreRecovery {
  /// A table that no manifest names and that was written for a later generation than the newest: with the segments that
  /// are there it is that generation.
  struct Unfinished {
    let reference: TableReference
    /// Segments that no manifest names and that can be opened.
    let segments: [SegmentReference]
  }

  /// The latest generation that was written after the newest manifest and that is whole but for its own.
  /// - Returns: nil when there is none.
  /// - Throws: `Refusal` when a file cannot be read at present: then nobody knows, and who went on would lose what was
  ///   acknowledged.
  static func unfinishedGeneration(in path: String, after manifest: Manifest) throws(Refusal) -> Unfinished? {
    let files = try StoreCreation.unknownFiles(path, manifest)
    var tables: [(reference: TableReference, table: CatalogTable)] = []
    for file in files where file.hasSuffix(StoreFormat.tableSuffix) {
      guard let table = try table(file, manifest.configuration),
        table.reference.generations.upperBound > manifest.generation
      else { continue }
      tables.append(table)
    }
    guard !tables.isEmpty else { return nil }
    var segments: [SegmentReference] = []
    for file in files where file.hasSuffix(StoreFormat.segmentSuffix) {
      if let segment = try segment(file, manifest.configuration) { segments.append(segment) }
    }
    tables.sort { $0.reference.generations.upperBound > $1.reference.generations.upperBound }
    let there = Set((manifest.segments + segments).map(\.digest.tag))
    for (reference, table) in tables where try isWhole(table, reference.digest, segments: there) {
      // It takes in whole levels.
      let first = reference.generations.lowerBound
      guard manifest.tables.allSatisfy({ $0.generations.upperBound < first || $0.generations.lowerBound >= first })
      else { continue }
      return Unfinished(reference: reference, segments: segments)
    }
    return nil
  }

  /// The manifest of such a generation.
  /// - Parameter digest: of the newest manifest's file.
  static func nextManifest(
    in path: String, after manifest: Manifest, _ digest: Digest256
  ) throws(Refusal) -> Manifest? {
    guard let unfinished = try unfinishedGeneration(in: path, after: manifest) else { return nil }
    let first = unfinished.reference.generations.lowerBound
    let (kept, merged) = (
      manifest.tables.filter { $0.generations.upperBound < first },
      manifest.tables.filter { $0.generations.lowerBound >= first }
    )
    var segments: [SegmentReference] = []
    // What that generation had dropped may have been removed already.
    for segment in manifest.segments + unfinished.segments
    where try Directory.kind(of: StoreFormat.segmentPath(path, segment.digest)) != nil {
      segments.append(segment)
    }
    return Manifest(
      generation: unfinished.reference.generations.upperBound, previous: digest,
      configuration: manifest.configuration, segments: segments, tables: [unfinished.reference] + kept,
      obsolete: manifest.obsolete + merged.map { ObsoleteFile(digest: $0.digest, kind: .table) })
  }

  /// Writes the manifest of such a generation. The caller has the lock.
  static func finishGeneration(in path: String) throws(Refusal) {
    guard let newest = try StoreFormat.generations(in: path).last else { return }
    let (manifest, digest) = try Manifest.read(newest, in: path)
    guard let next = try nextManifest(in: path, after: manifest, digest) else { return }
    // Its files got their names, but perhaps not for good.
    try StoreCreation.synchronize(path)
    _ = try next.publish(in: StoreDirectory(path))
  }

  /// A whole segment that no generation names: a commit ended between its name and that of its table, or the generation
  /// is lost.
  struct FoundSegment {
    let file: SegmentFile
    /// Of those of its chunks that can be read nowhere else; none of a copy, which a collection or a merging has left.
    let places: [(key: ChunkKey, place: ChunkPlace)]
  }

  /// Reads every byte of the segments that no generation names.
  static func foundSegments(in store: TreeStore) throws(Refusal) -> [FoundSegment] {
    var found: [FoundSegment] = []
    var tags = Set(store.manifest.segments.map(\.digest.tag))
    for path in try StoreCreation.unknownFiles(store.path, store.manifest)
    where path.hasSuffix(StoreFormat.segmentSuffix) {
      // What cannot be read at present is taken in another time.
      guard let reference = (try? segment(path, store.configuration)) ?? nil, tags.insert(reference.digest.tag).inserted
      else {
        continue
      }
      let file = SegmentFile(reference, in: store.path, store.configuration)
      guard let segment = try? file.segment() else { continue }
      let examination = segment.examine(digest: reference.digest) { _ in }
      guard examination.fault == nil, examination.damaged.isEmpty else { continue }
      var places: [(key: ChunkKey, place: ChunkPlace)] = []
      for number in 0..<segment.index.count {
        let entry = segment.index.entry(at: number)
        if (try? store.record(of: entry.key))??.isWhole == true { continue }
        let place = ChunkPlace(
          segment: reference.digest.tag, entry: number, tokenCount: entry.tokenCount, byteCount: entry.byteCount)
        places.append((entry.key, place))
      }
      found.append(FoundSegment(file: file, places: places))
    }
    return found
  }

  /// A table of a configuration.
  /// - Returns: nil for a file that is none, or damaged, or gone.
  /// - Throws: `Refusal` when it cannot be read at present.
  static func table(
    _ path: String, _ configuration: TreeStoreConfiguration
  ) throws(Refusal) -> (reference: TableReference, table: CatalogTable)? {
    let name = Directory.split(path).name.dropLast(StoreFormat.tableSuffix.count)
    guard let digest = Digest256(hexadecimal: String(name)),
      let table = try opened(path, { (file) throws(Refusal) in try CatalogTable(opening: file) }),
      table.configuration == configuration
    else { return nil }
    let reference = TableReference(
      digest: digest, closingDigest: table.closingDigest, byteCount: table.file.byteCount,
      entryCount: table.entryCount, generations: table.generations)
    return (reference, table)
  }

  private static func segment(
    _ path: String, _ configuration: TreeStoreConfiguration
  ) throws(Refusal) -> SegmentReference? {
    let name = Directory.split(path).name.dropLast(StoreFormat.segmentSuffix.count)
    guard let digest = Digest256(hexadecimal: String(name)),
      let segment = try opened(path, { (file) throws(Refusal) in try Segment(opening: file) }),
      segment.configuration == configuration
    else { return nil }
    return SegmentReference(
      digest: digest, closingDigest: segment.closingDigest, byteCount: segment.file.byteCount,
      chunkCount: segment.totals.chunkCount)
  }

  /// What a file holds.
  /// - Returns: nil where it is damaged, or gone.
  /// - Throws: `Refusal` when it cannot be read at present.
  private static func opened<Opened>(
    _ path: String, _ open: (MappedFile) throws(Refusal) -> Opened
  ) throws(Refusal) -> Opened? {
    try unlessDamaged { () throws(Refusal) in
      let file = try MappedFile(path)
      return try checked(file) { () throws(Refusal) in try open(file) }
    }
  }

  /// What is read of a file, if that was the file's: what could not be read looks like damage.
  private static func checked<Result>(
    _ file: MappedFile, _ read: () throws(Refusal) -> Result
  ) throws(Refusal) -> Result {
    let result: Result
    do throws(Refusal) {
      result = try read()
    } catch {
      try file.requireWhole()
      throw error
    }
    try file.requireWhole()
    return result
  }

  /// - Returns: nil when what is wrong lies in a file, or it is gone.
  private static func unlessDamaged<Result>(_ body: () throws(Refusal) -> Result) throws(Refusal) -> Result? {
    do throws(Refusal) {
      return try body()
    } catch {
      guard error.isOfContents else { throw error }
      return nil
    }
  }

  /// Whether a table is the file that its name says and all its chunks' segments are there.
  private static func isWhole(
    _ table: CatalogTable, _ digest: Digest256, segments: Set<UInt64>
  ) throws(Refusal) -> Bool {
    let file = table.file
    let isWhole = try unlessDamaged { () throws(Refusal) in
      try checked(file) { () throws(Refusal) in
        var hasher = Hasher256()
        hasher.update(file.bytes)
        guard hasher.finalize() == digest else { return false }
        var cursor = try CatalogCursor(table, from: CatalogKey.chunks)
        while let entry = cursor.entry, entry.key.starts(with: CatalogKey.chunks) {
          if let value = entry.value.bytes, try !segments.contains(ChunkPlace(value, file: table.path).segment) {
            return false
          }
          try cursor.advance()
        }
        return true
      }
    }
    return isWhole ?? false
  }
}
