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
  private let lock: FileLock
  private let segmentByteLimit: Int
  /// Decides the salt of every segment; nil for random ones. Tests set it.
  private let fixedSalt: UInt64?

  // The newest committed generation.
  private(set) var manifest: Manifest
  private var manifestDigest: Digest256
  // The contents of the next generation.
  private(set) var segments: SegmentSet
  private var documents: [StoredDocument]
  private var hasChanges = false
  /// The segment that is being written, and the token counts of its chunks.
  private var current: SegmentWriter?
  private var currentChunks: [ChunkKey: Int] = [:]
  private var failure: Refusal?

  /// Takes the store's lock and opens its newest generation.
  /// - Parameters:
  ///   - configuration: of the store that is created if there is none; an existing store must have it. Nil accepts any
  ///     existing store.
  ///   - segmentByteLimit: a segment that has reached this many bytes takes no further chunks.
  /// - Throws: `Refusal` `busy` when another process writes, `missing-file` or `not-a-store` when there is no store and
  ///   no configuration, `model-mismatch`, `configuration-mismatch`, and those of `TreeStore`.
  public init(
    opening path: String, creating configuration: TreeStoreConfiguration?, segmentByteLimit: Int = 1 << 30
  ) throws(Refusal) {
    try self.init(opening: path, creating: configuration, segmentByteLimit: segmentByteLimit, salt: nil)
  }

  init(
    opening path: String, creating configuration: TreeStoreConfiguration?, segmentByteLimit: Int, salt: UInt64?
  ) throws(Refusal) {
    let lock = try StoreCreation.lock(path, creating: configuration)
    StoreCreation.removePartialFiles(path)
    if let configuration, try StoreFormat.generations(in: path).isEmpty {
      try StoreCreation.create(path, configuration)
    }
    let store = try TreeStore(opening: path)
    if let configuration { try store.require(configuration) }
    try StoreCreation.synchronize(path)
    self.lock = lock
    current = nil
    self.path = path
    self.configuration = store.configuration
    self.segmentByteLimit = segmentByteLimit
    fixedSalt = salt
    manifest = store.manifest
    manifestDigest = store.manifestDigest
    segments = store.segments
    documents = store.documents
  }

  /// Counts commits from 1 on.
  public var generation: Int { manifest.generation }

  /// A document that the store has, or will have with the next commit.
  public func document(named name: String) -> StoredDocument? {
    let (index, isThere) = documents.index(of: name)
    return isThere ? documents[index] : nil
  }

  /// Whether the store has a chunk that can be read to its end, or will have it with the next commit. What is damaged
  /// counts as missing, so that it is made again.
  public func contains(_ key: ChunkKey) -> Bool {
    currentChunks[key] != nil || segments.wholeRecord(of: key) != nil
  }

  /// Whether every chunk of a document can be read to its end, and what they were read behind.
  public func holdsWhole(_ document: StoredDocument) -> Bool {
    for key in document.chunks + [configuration.frameKey].compactMap(\.self) where !contains(key) { return false }
    return true
  }

  private func tokenCount(of key: ChunkKey) -> Int? { currentChunks[key] ?? segments.tokenCount(of: key) }

  /// Runs a step that leaves the state of the files unknown if it fails; the writer then refuses further work.
  private mutating func step<Result>(
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

  private func requireWorking() throws(Refusal) {
    if let failure {
      throw Refusal(.writerFailed, file: path, "an earlier step failed (\(failure)); open the store again")
    }
  }

  /// A chunk of a text that was committed before.
  /// - Returns: nil when there is none.
  /// - Throws: `Refusal` `checksum-mismatch`, `malformed-record`.
  package func text(_ key: ChunkKey) throws(Refusal) -> StoredText? { try segments.text(key, configuration) }

  /// Stores a chunk's tree, unless the store has it.
  /// - Parameter compression: of the blocks, for chunks that are rarely read: compressed blocks cannot be mapped.
  /// - Throws: `Refusal` `invalid-chunk` when the sizes are not those of a tree of this store; `no-space`,
  ///   `input-output`.
  /// - Returns: the chunk's key.
  public mutating func add(_ chunk: EncodedChunk, compression: Compression) throws(Refusal) -> ChunkKey {
    try requireWorking()
    try configuration.validate(chunk, file: path)
    let key = configuration.chunkKey(tokens: chunk.tokens)
    guard !contains(key) else { return key }
    let blocks = chunk.blocks.map { StoredBlock($0.storage, compression: compression) }
    try unsafe append(
      key, behind: nil, tokens: chunk.tokens, search: chunk.embeddings.span.bytes, blocks: blocks)
    return key
  }

  /// Stores a chunk of a text, unless the store has it.
  /// - Parameter compression: of the rows, for chunks that are rarely read: compressed rows cannot be mapped.
  /// - Throws: `Refusal` `invalid-chunk` when the sizes are not those of a text of this store; `no-space`,
  ///   `input-output`.
  /// - Returns: the chunk's key.
  public mutating func add(_ chunk: EncodedText, compression: Compression) throws(Refusal) -> ChunkKey {
    try requireWorking()
    try configuration.validate(chunk, file: path)
    let key = configuration.chunkKey(tokens: chunk.tokens, behind: chunk.behind)
    guard !contains(key) else { return key }
    let words = chunk.words.encoded
    try unsafe append(
      key, behind: chunk.behind, tokens: chunk.tokens, search: words.span.bytes,
      blocks: chunk.rows.map { [StoredBlock($0.storage, compression: compression)] } ?? [])
    return key
  }

  private mutating func append(
    _ key: ChunkKey, behind: ChunkKey?, tokens: [Int32], search: RawSpan, blocks: [StoredBlock]
  ) throws(Refusal) {
    try step { (writer) throws(Refusal) in
      if writer.current == nil {
        writer.current = try SegmentWriter(
          in: writer.path, writer.configuration, salt: writer.fixedSalt ?? .random(in: .min ... .max))
      }
      try writer.current?.append(key, behind: behind, tokens: tokens, search: search, blocks: blocks)
      writer.currentChunks[key] = tokens.count
      writer.hasChanges = true
      if let byteCount = writer.current?.byteCount, byteCount >= writer.segmentByteLimit {
        try writer.finishSegment()
      }
    }
  }

  /// Makes the current segment durable under its name. No manifest names it yet.
  private mutating func finishSegment() throws(Refusal) {
    guard var segment = current.take() else { return }
    let reference = try segment.publish()
    // A segment that cannot be opened must not be committed.
    segments.append(try Segment(reference, in: path, configuration), reference)
    currentChunks = [:]
  }

  /// Whether a document can be stored under a name, for callers with work to do before they know its chunks.
  /// - Throws: `Refusal` `invalid-document-name`.
  public func requireName(_ name: String) throws(Refusal) {
    if let fault = StoredDocument.fault(ofName: name) {
      throw Refusal(.documentNaming, file: path, structure: "document name", fault)
    }
  }

  /// Names a text's chunks, all of which the store must have.
  /// - Parameters:
  ///   - tokenCount: the sum of the chunks' token counts.
  ///   - replacing: whether a document of this name may be there already.
  /// - Throws: `Refusal` `invalid-document-name`, `document-exists`, `missing-chunk`, `token-count-mismatch`.
  public mutating func addDocument(
    name: String, textDigest: Digest256, textByteCount: Int, tokenCount: Int, chunks: [ChunkKey], replacing: Bool
  ) throws(Refusal) {
    try requireWorking()
    let structure = "document \"\(name)\""
    if let fault = StoredDocument.fault(ofName: name) {
      throw Refusal(.documentNaming, file: path, structure: "document name", fault)
    }
    var sum = 0
    for key in chunks {
      guard let count = self.tokenCount(of: key) else {
        throw Refusal(.missingChunk, file: path, structure: structure, "chunk \(key.short) is not stored")
      }
      sum += count
    }
    guard sum == configuration.chunkTokenCount(text: tokenCount), textByteCount >= 0 else {
      throw Refusal(
        .tokenCountMismatch, file: path, structure: structure, "has \(tokenCount) tokens and chunks of \(sum)")
    }
    let document = StoredDocument(
      name: name, textDigest: textDigest, textByteCount: textByteCount, tokenCount: tokenCount, chunks: chunks)
    let (index, isThere) = documents.index(of: name)
    guard isThere else {
      documents.insert(document, at: index)
      hasChanges = true
      return
    }
    guard replacing else {
      throw Refusal(.documentExists, file: path, structure: structure, "is there already")
    }
    guard documents[index] != document else { return }
    documents[index] = document
    hasChanges = true
  }

  /// Forgets a document. Its chunks stay until `collectGarbage`.
  /// - Throws: `Refusal` `missing-document`.
  public mutating func removeDocument(named name: String) throws(Refusal) {
    try requireWorking()
    let (index, isThere) = documents.index(of: name)
    guard isThere else {
      throw Refusal(.missingDocument, file: path, structure: "document \"\(name)\"", "is not in the store")
    }
    documents.remove(at: index)
    hasChanges = true
  }

  /// Makes everything since the last commit visible, at once, and durable. Does nothing if there is nothing new.
  /// - Throws: `Refusal`; then readers see the previous generation, unless only the last step, the directory's
  ///   synchronization, failed.
  public mutating func commit() throws(Refusal) {
    try step { (writer) throws(Refusal) in
      try writer.finishSegment()
      guard writer.hasChanges else { return }
      try writer.publishManifest()
      // The previous generation stays, for readers that are just opening it and for people who want it back.
      StoreCreation.removeManifests(writer.path, before: writer.manifest.generation - 1)
    }
  }

  private mutating func publishManifest() throws(Refusal) {
    let next = Manifest(
      generation: manifest.generation + 1, previous: manifestDigest, configuration: configuration,
      segments: segments.references, documents: documents)
    manifestDigest = try next.publish(in: path)
    manifest = next
    hasChanges = false
  }

  /// Removes whatever no document needs, after committing pending changes: drops segments without needed chunks,
  /// rewrites segments that are mostly unneeded, and removes files that no manifest names.
  ///
  /// Readers that are open keep what they have mapped. What cannot be read stays as it is: a needed chunk that is damaged
  /// keeps its segment, and a segment that cannot be opened stays named.
  /// - Parameter all: also rewrites segments of which some chunk is not needed, so that none of them is left.
  /// - Throws: `Refusal`; then the store is as it was or already free of garbage.
  public mutating func collectGarbage(all: Bool = false) throws(Refusal) -> GarbageReport {
    try commit()
    return try step { (writer) throws(Refusal) in
      var report = GarbageReport()
      let needed = writer.configuration.neededChunks(of: writer.documents)
      let old = writer.segments
      let live = old.liveChunks(needed)
      var rewritten: [(member: SegmentSet.Member, chunks: [StoredRecord])] = []
      writer.segments = SegmentSet()
      for (member, numbers) in zip(old.members, live) {
        guard let segment = member.segment else {
          report.unreadableSegments += 1
          writer.segments.append(member)
          continue
        }
        let liveByteCount = numbers.reduce(0) { $0 + segment.index.entry(at: $1).byteCount }
        guard all ? liveByteCount < segment.records.count : liveByteCount * 2 <= segment.records.count else {
          writer.segments.append(member)
          continue
        }
        var chunks: [StoredRecord] = []
        for number in numbers {
          if let record = try? StoredRecord(in: segment, at: number), record.isWhole { chunks.append(record) }
        }
        report.damagedChunks += numbers.count - chunks.count
        if chunks.count < numbers.count {
          writer.segments.append(member)
        } else {
          writer.hasChanges = true
          if chunks.isEmpty { report.droppedSegments += 1 } else { rewritten.append((member, chunks)) }
        }
      }
      for (_, chunks) in rewritten {
        for chunk in chunks { try writer.copy(chunk) }
        report.rewrittenSegments += 1
      }
      try writer.finishSegment()
      report.removedChunks = Set(old.open.flatMap(\.keys)).subtracting(writer.segments.open.flatMap(\.keys)).count
      if writer.hasChanges { try writer.publishManifest() }
      // Older manifests name the segments that are removed next, so they go first.
      StoreCreation.removeManifests(writer.path, before: writer.manifest.generation)
      report.freedByteCount = try StoreCreation.removeSegments(
        writer.path, except: writer.segments.references.map(\.digest))
      return report
    }
  }

  private mutating func copy(_ record: StoredRecord) throws(Refusal) {
    var blocks: [StoredBlock] = []
    for (number, entry) in record.entries.enumerated() {
      blocks.append(StoredBlock(stored: try record.storedBlock(number), compression: entry.compression))
    }
    let file = record.segment.file
    try append(
      record.key, behind: record.behind, tokens: record.tokens, search: file.bytes.extracting(try record.search()),
      blocks: blocks)
  }
}

extension SegmentSet {
  /// The chunks that are needed, by the segment that is to keep each: of several copies the first that can be read.
  /// - Returns: for each member, the numbers of entries; none of one that cannot be opened.
  fileprivate func liveChunks(_ needed: Set<ChunkKey>) -> [[Int]] {
    var keepers: [ChunkKey: (member: Int, number: Int)] = [:]
    for (index, member) in members.enumerated() {
      guard let segment = member.segment else { continue }
      for (number, key) in segment.keys.enumerated() where needed.contains(key) {
        if let keeper = keepers[key], let other = members[keeper.member].segment,
          (try? StoredRecord(in: other, at: keeper.number))?.isWhole == true
        {
          continue
        }
        keepers[key] = (index, number)
      }
    }
    var result = members.map { _ in [Int]() }
    for keeper in keepers.values { result[keeper.member].append(keeper.number) }
    return result.map { $0.sorted() }
  }
}

/// What `TreeStoreWriter.collectGarbage` did.
public struct GarbageReport: Sendable, Hashable {
  public var droppedSegments = 0
  public var rewrittenSegments = 0
  public var removedChunks = 0
  /// The length of the segment files that were removed.
  public var freedByteCount = 0
  /// Chunks that documents need and that cannot be read, in segments that would have been rewritten. They stay until their
  /// text is stored again.
  public var damagedChunks = 0
  /// Segments that cannot be opened. They stay.
  public var unreadableSegments = 0
}

extension Segment {
  /// In ascending order.
  var keys: [ChunkKey] { (0..<index.count).map { index.key(at: $0) } }
}
