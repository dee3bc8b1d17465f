internal import ContextTrees
internal import FileAccess
internal import NodeBlocks

/// A block as it goes into a segment.
struct StoredBlock {
  let bytes: BlockBytes
  let compression: Compression
  /// As the kernels read it; nil for one that was stored before.
  private let original: BlockBytes?

  /// A block that compression does not shorten is stored as it is.
  init(_ block: BlockBytes, compression: Compression) {
    original = block
    // LZ4 takes a little less than 2^31 bytes.
    if compression != .none, block.byteCount < 1 << 30 {
      let compressed = compression.compress(block.bytes)
      if compressed.count < block.byteCount {
        bytes = BlockBytes(compressed)
        self.compression = compression
        return
      }
    }
    bytes = block
    self.compression = .none
  }

  init(stored bytes: BlockBytes, compression: Compression) {
    self.bytes = bytes
    self.compression = compression
    original = nil
  }

  /// The same without its padding, where that is worth it.
  func dense(_ geometry: BlockGeometry) -> StoredBlock {
    guard let original, original.byteCount == geometry.byteCount, geometry.isStoredDense,
      geometry.denseByteCount < bytes.byteCount, let dense = geometry.dense(original)
    else { return self }
    return StoredBlock(stored: dense, compression: .none)
  }
}

/// Writes a segment from its first byte to its last: only the index stays in memory, and the words of texts.
/// Format: `Formats/tree-store.md`, segments.
struct SegmentWriter: ~Copyable {
  private var file: PublishedFile
  private var hasher = Hasher256()
  private let configuration: TreeStoreConfiguration
  private let frameKey: ChunkKey?
  private let header: [UInt8]
  private let salt: UInt64
  private let room: FileRoom?
  private var entries: [SegmentEntry] = []
  private var words = WordIndexBuilder()
  private var totals = SegmentTotals()

  /// Bytes written so far.
  var byteCount: Int { file.byteCount }

  init(
    in store: StoreDirectory, _ configuration: TreeStoreConfiguration, salt: UInt64, room: FileRoom? = nil
  ) throws(Refusal) {
    let header = Segment.header(configuration, salt: salt)
    try room?.require(header.count)
    var file = try PublishedFile(
      creating: "\(store.path)/\(StoreFormat.segmentsName)/segment", mode: store.fileMode, exactly: true)
    try file.append(header)
    hasher.update(header)
    self.configuration = configuration
    frameKey = configuration.frameKey
    self.salt = salt
    self.room = room
    self.header = header
    self.file = file
  }

  private mutating func append(_ bytes: [UInt8]) throws(Refusal) {
    try unsafe append(bytes.span.bytes)
  }

  private mutating func append(_ bytes: RawSpan) throws(Refusal) {
    try room?.require(file.byteCount + bytes.byteCount)
    hasher.update(bytes)
    try file.append(bytes)
  }

  private mutating func pad(to byteOffset: Int) throws(Refusal) {
    if byteOffset > file.byteCount { try append([UInt8](repeating: 0, count: byteOffset - file.byteCount)) }
  }

  /// Appends a chunk's record.
  /// - Parameters:
  ///   - behind: of a text's chunk, the one that was in view.
  ///   - search: the embeddings or words.
  /// - Precondition: these and the blocks are those of a chunk of this configuration.
  mutating func append(
    _ key: ChunkKey, behind: ChunkKey?, tokens: [Int32], search: RawSpan, blocks: [StoredBlock]
  ) throws(Refusal) {
    let forms = configuration.blocks(tokens: tokens.count, isFrame: key == frameKey)
    let blocks = zip(forms, blocks).map { $1.dense($0.geometry) }
    // One that is shorter without compression has no padding.
    let entries = zip(forms, blocks).map { form, block in
      let location = BlockLocation(salt: salt, key: key, kind: .rows, node: form.number)
      return NodeEntry(
        byteCount: block.bytes.byteCount, compression: block.compression,
        isDense: block.compression == .none && block.bytes.byteCount < form.byteCount,
        checksum: location.checksum(of: block.bytes.bytes))
    }
    let isText = configuration.text != nil
    let start = file.byteCount
    guard
      let layout = RecordLayout(
        at: start,
        headByteCount: RecordLayout.headByteCount(blocks: blocks.count, tokens: tokens.count, linked: isText),
        searchByteCount: search.byteCount, blocks: entries.map { ($0.byteCount, $0.isMapped) }),
      UInt32(exactly: (layout.end - start) / RecordLayout.alignment) != nil
    else { throw Refusal(.invalidChunk, file: file.path, structure: "chunk \(key.short)", "is too large") }

    var head = ByteWriter()
    key.write(into: &head)
    head.integer(UInt32(tokens.count))
    head.integer(UInt32(blocks.count))
    head.integer(UInt64(isText ? search.byteCount / 8 : 0))
    let checksum = BlockLocation(salt: salt, key: key, kind: .search).checksum(of: search)
    head.integer(checksum.low)
    head.integer(checksum.high)
    for (form, entry) in zip(forms, entries) {
      entry.write(into: &head)
      totals.blockByteCount += form.byteCount
      totals.storedBlockByteCount += entry.byteCount
    }
    if isText {
      if let behind { behind.write(into: &head) } else { head.append([UInt8](repeating: 0, count: 32)) }
    }
    for token in tokens { head.integer(token) }
    let headBytes = head.bytes

    try append(headBytes)
    try pad(to: layout.search.lowerBound)
    try append(search)
    if configuration.hasWordIndexes { words.append(encoded: search, isFrame: key == frameKey) }
    for (range, block) in zip(layout.blocks, blocks) {
      try pad(to: range.lowerBound)
      try append(block.bytes.bytes)
    }
    try pad(to: layout.end)

    self.entries.append(
      SegmentEntry(
        key: key, byteOffset: start, tokenCount: tokens.count, byteCount: layout.end - start,
        headChecksum: unsafe BlockLocation(salt: salt, key: key, kind: .head).checksum(of: headBytes.span.bytes)))
    totals.chunkCount += 1
    totals.tokenCount += tokens.count
  }

  /// Writes indexes and footer and makes the segment durable under its name.
  /// - Returns: the manifest's entry for it, and the entries of its index in order.
  mutating func publish() throws(Refusal) -> (reference: SegmentReference, entries: [SegmentEntry]) {
    let order = entries.indices.sorted { entries[$0].key < entries[$1].key }
    var wordIndex: (bytes: [UInt8], indexByteCount: Int) = ([], 0)
    var checksums: [UInt8] = []
    if configuration.hasWordIndexes {
      var numbers = [UInt32](repeating: 0, count: entries.count)
      for (number, entry) in order.enumerated() { numbers[entry] = UInt32(number) }
      // Not copied.
      var all = WordIndexBuilder()
      swap(&all, &words)
      wordIndex = SegmentWords.section(of: all, numbers: numbers, salt: salt)
      checksums = SegmentWords.checksums(ofSection: wordIndex)
    }
    try append(wordIndex.bytes)
    let indexOffset = file.byteCount
    var writer = ByteWriter()
    entries = order.map { entries[$0] }
    for entry in entries { entry.write(into: &writer) }
    let end = indexOffset + writer.bytes.count + Segment.footerByteCount
    writer.integer(UInt64(indexOffset))
    totals.write(into: &writer)
    writer.integer(UInt64(end))
    writer.integer(UInt64(wordIndex.indexByteCount))
    writer.append(StoreFormat.footerMagic)
    var closing = Hasher256()
    closing.update(header)
    closing.update(checksums)
    closing.update(writer.bytes)
    let closingDigest = closing.finalize()
    writer.append(closingDigest.bytes)
    try append(writer.bytes)
    let digest = hasher.finalize()
    try file.publish(as: "\(digest)\(StoreFormat.segmentSuffix)")
    let reference = SegmentReference(
      digest: digest, closingDigest: closingDigest, byteCount: end, chunkCount: totals.chunkCount)
    return (reference, entries)
  }
}
