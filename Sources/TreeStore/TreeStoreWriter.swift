internal import ContextTrees
public import FileAccess
public import NodeBlocks

/// The one writer of a store.
///
/// Its additions become visible and durable all at once, with `commit()`; readers see nothing uncommitted. Committed
/// chunks stay when a later step fails or the process is killed, so preparing the same texts again resumes where it
/// stopped. After a failed step the writer refuses further work: open a new one.
/// Format: `Formats/tree-store.md`, commits.
public struct TreeStoreWriter: ~Copyable {
  /// As the caller named it.
  public let path: String
  public let configuration: TreeStoreConfiguration
  let directory: StoreDirectory
  private let lock: FileLock
  let segmentByteLimit: Int
  /// Decides the salt of every file; nil for random ones. Tests set it.
  private let fixedSalt: UInt64?

  // The newest committed generation.
  private(set) var manifest: Manifest
  private var manifestDigest: Digest256
  // The contents of the next generation.
  var segments: SegmentSet
  var catalog: Catalog
  /// What it says that the catalog does not say yet.
  private var pending: [[UInt8]: CatalogValue] = [:]
  /// Bytes of its entries, those that were said again included, and of its longest key.
  private(set) var pendingByteCount = 0
  private(set) var longestPendingKey = 0
  var state: StoreState
  /// Of all files but the one that is being written; 0 where there is no limit, and nobody asks.
  var fileByteCount: Int
  /// Whether the files have no more than the limit, or had since it was set.
  var isHeldToLimit: Bool
  /// Files of this generation that the next one does not need.
  var replaced: [ObsoleteFile] = []
  /// Segments that were there without a generation, by their tags: they stay until a repair has been asked for.
  private(set) var foundSegments: Set<UInt64>
  /// The segment that is being written, and the token counts of its chunks.
  private var current: SegmentWriter?
  private var currentChunks: [ChunkKey: Int] = [:]
  var waitingChunkCount: Int { currentChunks.count }
  /// Different words of each of them, in all.
  private(set) var waitingWordCount = 0
  private var failure: Refusal?

  /// Takes the store's lock and opens its newest generation.
  /// - Parameters:
  ///   - configuration: of the store that is created if there is none; an existing store must have it. Nil accepts any
  ///     existing store.
  ///   - sharing: who may read a store that is created.
  ///   - segmentByteLimit: a segment that has reached this many bytes takes no further chunks.
  /// - Throws: `Refusal` `busy` when another process writes, `missing-file` or `not-a-store` when there is no store and
  ///   no configuration, `model-mismatch`, `configuration-mismatch`, and those of `TreeStore`.
  public init(
    opening path: String, creating configuration: TreeStoreConfiguration?, sharing: StoreSharing = .owner,
    segmentByteLimit: Int = 1 << 30
  ) throws(Refusal) {
    try self.init(
      opening: path, creating: configuration, sharing: sharing, segmentByteLimit: segmentByteLimit, salt: nil)
  }

  init(
    opening path: String, creating configuration: TreeStoreConfiguration?, sharing: StoreSharing = .owner,
    segmentByteLimit: Int, salt: UInt64?
  ) throws(Refusal) {
    let lock = try StoreCreation.lock(path, creating: configuration, sharing)
    StoreCreation.removePartialFiles(path)
    if let configuration, try StoreFormat.generations(in: path).isEmpty {
      try StoreCreation.create(path, configuration)
    }
    try StoreRecovery.finishGeneration(in: path)
    let store = try TreeStore(opening: path)
    if let configuration { try store.require(configuration) }
    try StoreCreation.synchronize(path)
    let state = try store.catalog.state(store: path)
    let foundSegments = try store.catalog.foundSegments()
    let found = try StoreRecovery.foundSegments(in: store)
    let byteCount = state.byteLimit == 0 ? 0 : try Self.measure(path)
    fileByteCount = byteCount
    isHeldToLimit = byteCount <= state.byteLimit
    self.lock = lock
    current = nil
    self.path = path
    directory = StoreDirectory(path)
    self.configuration = store.configuration
    self.segmentByteLimit = segmentByteLimit
    fixedSalt = salt
    manifest = store.manifest
    manifestDigest = store.manifestDigest
    segments = store.segments
    catalog = store.catalog
    self.state = state
    self.foundSegments = foundSegments
    for segment in found { adopt(segment) }
  }

  /// Takes in a segment that no generation names, with the next commit: nobody can tell whether it was on its way into
  /// one or its generation is lost, so its chunks stay. A copy goes.
  private mutating func adopt(_ found: StoreRecovery.FoundSegment) {
    let reference = found.file.reference
    guard !found.places.isEmpty else {
      replaced.append(ObsoleteFile(digest: reference.digest, kind: .segment))
      return
    }
    segments.insert(found.file)
    foundSegments.insert(reference.digest.tag)
    setPending(CatalogKey.foundSegment(reference.digest.tag), .value([]))
    for (key, place) in found.places { setPending(CatalogKey.chunk(key), .value(place.encoded)) }
  }

  /// Counts commits from 1 on.
  public var generation: Int { manifest.generation }

  /// Whether there is something that the next commit makes durable.
  public var hasChanges: Bool { current != nil || !pending.isEmpty || !replaced.isEmpty }

  /// Bytes that wait in the segment that is being written.
  public private(set) var waitingByteCount = 0

  // MARK: Reading

  /// Says something about a key with the next commit.
  mutating func setPending(_ key: [UInt8], _ value: CatalogValue) {
    pending[key] = value
    pendingByteCount += 6 + key.count + (value.bytes?.count ?? 0)
    longestPendingKey = max(longestPendingKey, key.count)
  }

  func value(of key: [UInt8]) throws(Refusal) -> [UInt8]? {
    if let value = pending[key] { return value.bytes }
    return try catalog.value(of: key)
  }

  /// Where a chunk lies that is in a whole segment.
  func place(of key: ChunkKey) throws(Refusal) -> ChunkPlace? {
    guard let value = try value(of: CatalogKey.chunk(key)) else { return nil }
    return try ChunkPlace(value, file: path)
  }

  /// A document that the store has, or will have with the next commit.
  /// - Throws: `Refusal` when the catalog is damaged there.
  public func document(named name: String) throws(Refusal) -> StoredDocument? {
    let key = CatalogKey.document(name)
    guard let value = try value(of: key) else { return nil }
    return try StoredDocument(key: key, value: value, file: path)
  }

  /// The chunks of a document of this writer.
  /// - Throws: `Refusal` when the catalog is damaged there.
  public func chunks(of document: StoredDocument) throws(Refusal) -> DocumentChunks {
    let (pending, catalog) = (pending, catalog)
    return try DocumentChunks(of: document, store: path) { (key) throws(Refusal) in
      if let value = pending[key] { return value.bytes }
      return try catalog.value(of: key)
    }
  }

  /// Whether the store has a chunk that can be read to its end, or will have it with the next commit. What is damaged
  /// counts as missing, so that it is made again.
  public func contains(_ key: ChunkKey) -> Bool {
    currentChunks[key] != nil || (try? record(of: key))??.isWhole == true
  }

  private func record(of key: ChunkKey) throws(Refusal) -> StoredRecord? {
    guard let place = try place(of: key) else { return nil }
    return try segments.record(of: key, at: place, store: path)
  }

  /// Whether every chunk of a document can be read to its end, and what they were read behind.
  public func holdsWhole(_ document: StoredDocument) -> Bool {
    guard let keys = try? chunks(of: document).keys else { return false }
    for key in keys + [configuration.frameKey].compactMap(\.self) where !contains(key) { return false }
    return true
  }

  func tokenCount(of key: ChunkKey) throws(Refusal) -> Int? {
    if let count = currentChunks[key] { return count }
    return try place(of: key)?.tokenCount
  }

  /// A chunk of a text that was committed before.
  /// - Returns: nil when there is none.
  /// - Throws: `Refusal` `checksum-mismatch`, `malformed-record`.
  package func text(_ key: ChunkKey) throws(Refusal) -> StoredText? {
    guard let form = configuration.text else { return nil }
    return try record(of: key).map { StoredText($0, form) }
  }

  // MARK: Adding chunks

  /// Runs a step that leaves the state of the files unknown if it fails; the writer then refuses further work.
  mutating func step<Result>(
    _ body: (inout TreeStoreWriter) throws(Refusal) -> Result
  ) throws(Refusal) -> Result {
    try requireWorking()
    do {
      return try body(&self)
    } catch {
      failure = error
      current = nil
      throw error
    }
  }

  func requireWorking() throws(Refusal) {
    if let failure {
      throw Refusal(.writerFailed, file: path, "an earlier step failed (\(failure)); open the store again")
    }
  }

  /// Stores a chunk's tree, unless the store has it.
  /// - Parameter compression: of the blocks, for chunks that are rarely read: compressed blocks cannot be mapped.
  /// - Throws: `Refusal` `invalid-chunk` when the sizes are not those of a tree of this store; `store-full`, `no-space`,
  ///   `input-output`.
  /// - Returns: the chunk's key.
  public mutating func add(_ chunk: EncodedChunk, compression: Compression) throws(Refusal) -> ChunkKey {
    try requireWorking()
    try configuration.validate(chunk, file: path)
    let key = configuration.chunkKey(tokens: chunk.tokens)
    guard !contains(key) else { return key }
    if byteLimit > 0 { try requireRoom(for: configuration.byteCount(tokens: chunk.tokens.count, words: 0)) }
    let blocks = chunk.blocks.map { StoredBlock($0.storage, compression: compression) }
    try unsafe append(
      key, behind: nil, tokens: chunk.tokens, search: chunk.embeddings.span.bytes, blocks: blocks)
    return key
  }

  /// Stores a chunk of a text, unless the store has it.
  /// - Parameter compression: of the rows, for chunks that are rarely read: compressed rows cannot be mapped.
  /// - Throws: `Refusal` `invalid-chunk` when the sizes are not those of a text of this store; `store-full`, `no-space`,
  ///   `input-output`.
  /// - Returns: the chunk's key.
  public mutating func add(_ chunk: EncodedText, compression: Compression) throws(Refusal) -> ChunkKey {
    try requireWorking()
    try configuration.validate(chunk, file: path)
    let key = configuration.chunkKey(tokens: chunk.tokens, behind: chunk.behind)
    guard !contains(key) else { return key }
    if byteLimit > 0 {
      try requireRoom(for: configuration.byteCount(tokens: chunk.tokens.count, words: chunk.words.hashes.count))
    }
    let words = chunk.words.encoded
    try unsafe append(
      key, behind: chunk.behind, tokens: chunk.tokens, search: words.span.bytes,
      blocks: chunk.rows.map { [StoredBlock($0.storage, compression: compression)] } ?? [])
    return key
  }

  mutating func append(
    _ key: ChunkKey, behind: ChunkKey?, tokens: [Int32], search: RawSpan, blocks: [StoredBlock]
  ) throws(Refusal) {
    try step { (writer) throws(Refusal) in
      try writer.beginSegment()
      try writer.current?.append(key, behind: behind, tokens: tokens, search: search, blocks: blocks)
      try writer.note(key, tokenCount: tokens.count, searchByteCount: search.byteCount)
    }
  }

  /// Appends a record that another segment has.
  mutating func copy(_ record: StoredRecord) throws(Refusal) {
    try step { (writer) throws(Refusal) in
      try writer.beginSegment()
      try writer.current?.append(copyOf: record)
      try writer.note(
        record.key, tokenCount: record.tokens.count, searchByteCount: record.layout.search.count)
    }
  }

  private mutating func beginSegment() throws(Refusal) {
    guard current == nil else { return }
    current = try SegmentWriter(
      in: directory, configuration, salt: fixedSalt ?? .random(in: .min ... .max), room: room)
  }

  /// Counts a chunk that was appended to the current segment, and finishes one that is large enough.
  private mutating func note(_ key: ChunkKey, tokenCount: Int, searchByteCount: Int) throws(Refusal) {
    currentChunks[key] = tokenCount
    if configuration.hasWordIndexes { waitingWordCount += searchByteCount / 8 }
    waitingByteCount = current?.byteCount ?? 0
    if waitingByteCount >= effectiveSegmentByteLimit { try finishSegment() }
  }

  /// Makes the current segment durable under its name. No manifest names it yet.
  mutating func finishSegment() throws(Refusal) {
    guard var segment = current.take() else { return }
    (waitingByteCount, waitingWordCount) = (0, 0)
    let (reference, entries) = try segment.publish()
    let file = SegmentFile(reference, in: path, configuration)
    // A segment that cannot be opened must not be committed.
    _ = try file.segment()
    segments.insert(file)
    count(reference.byteCount)
    for (number, entry) in entries.enumerated() {
      let place = ChunkPlace(
        segment: reference.digest.tag, entry: number, tokenCount: entry.tokenCount, byteCount: entry.byteCount)
      setPending(CatalogKey.chunk(entry.key), .value(place.encoded))
    }
    currentChunks = [:]
  }

  /// Counts a file that got its name.
  private mutating func count(_ byteCount: Int) {
    if byteLimit > 0 { fileByteCount = CheckedSize.sum(fileByteCount, byteCount) ?? .max }
  }

  // MARK: Committing

  /// Makes everything since the last commit visible, at once, and durable. Does nothing if there is nothing new.
  /// - Throws: `Refusal`; then readers see the previous generation, unless only the last step, the directory's
  ///   synchronization, failed. `store-full` before anything is written; then the changes still wait.
  public mutating func commit() throws(Refusal) {
    try requireWorking()
    if byteLimit > 0, hasChanges { try requireCommit() }
    try step { (writer) throws(Refusal) in
      try writer.finishSegment()
      guard writer.hasChanges else { return }
      try writer.mergeSmallSegments()
      try writer.publishGeneration()
    }
  }

  /// Makes the next generation durable and visible.
  /// - Parameter rewrite: whether the whole catalog goes into one table, and of which chunks the place is left out.
  mutating func publishGeneration(
    rewriting rewrite: ((ChunkPlace) -> Bool)? = nil
  ) throws(Refusal) {
    // Two generations stay: the newest, and the one before it for readers that are just opening it. What only older
    // ones need can go.
    StoreCreation.removeManifests(path, before: manifest.generation)
    let left = StoreCreation.remove(manifest.obsolete, from: path).left
    try measureFiles()
    let generation = manifest.generation + 1
    setPending(StoreState.key, .value(state.encoded))
    let changes = pending.map { CatalogEntry(key: $0.key, value: $0.value) }
      .sorted { $0.key.lexicographicallyPrecedes($1.key) }
    let salt = fixedSalt ?? .random(in: .min ... .max)
    let (reference, mergedCount) =
      if let rewrite {
        (
          try catalog.write(
            changes, mergingNewest: catalog.levels.count, in: directory, configuration, salt: salt,
            generation: generation, room: room, leavingOut: rewrite), catalog.levels.count
        )
      } else {
        try catalog.write(
          changes, in: directory, configuration, salt: salt, generation: generation, room: room?.less(manifestByteCount)
        )
      }
    count(reference.byteCount)
    let level = Catalog.open(reference, in: path, configuration)
    if let fault = level.fault { throw fault }
    replaced += catalog.levels.prefix(mergedCount).map { ObsoleteFile(digest: $0.reference.digest, kind: .table) }
    catalog.replace(newest: mergedCount, with: level)
    let next = Manifest(
      generation: generation, previous: manifestDigest, configuration: configuration,
      segments: segments.references, tables: catalog.references, obsolete: left + replaced)
    manifestDigest = try next.publish(in: directory, room: room)
    manifest = next
    pending = [:]
    (pendingByteCount, longestPendingKey) = (0, 0)
    replaced = []
    count(next.encoded.count)
  }

  /// Removes the files that the newest generation does not name, and older manifests, which do.
  /// - Returns: the bytes of segments that were freed.
  mutating func removeObsoleteFiles() throws(Refusal) -> Int {
    StoreCreation.removeManifests(path, before: manifest.generation)
    let segments = manifest.obsolete.filter { $0.kind == .segment }
    let tables = manifest.obsolete.filter { $0.kind == .table }
    _ = StoreCreation.remove(tables, from: path)
    let freed = StoreCreation.remove(segments, from: path).freedByteCount
    try measureFiles()
    return freed
  }
}
