internal import ContextTrees
internal import FileAccess
internal import NodeBlocks

/// A chunk's record in a segment: cheap to keep, read where it lies. Safe to use from any thread.
/// Format: `Formats/tree-store.md`, chunk records.
struct StoredRecord: Sendable {
  let key: ChunkKey
  let tokens: [Int32]
  /// The chunk that was in view while this one was read; nil for none and for trees.
  let behind: ChunkKey?
  let segment: Segment
  let entryIndex: Int
  let entries: [NodeEntry]
  let layout: RecordLayout
  private let forms: [BlockForm]
  private let searchChecksum: BlockChecksum

  /// Reads a record's head.
  /// - Throws: `Refusal` `checksum-mismatch`, `malformed-record`, `file-changed`.
  init(in segment: Segment, at entryIndex: Int) throws(Refusal) {
    let entry = segment.index.entry(at: entryIndex)
    do throws(Refusal) {
      // Offsets are only trusted as long as they are those that were checked when the segment was opened.
      try segment.file.requireWhole()
      try self.init(in: segment, at: entryIndex, entry)
      try segment.file.requireWhole()
    } catch {
      try segment.file.requireWhole()
      throw error
    }
  }

  private init(in segment: Segment, at entryIndex: Int, _ entry: SegmentEntry) throws(Refusal) {
    let configuration = segment.configuration
    let key = entry.key
    let file = segment.path
    let structure = "chunk \(key.short)"
    func malformed(_ fault: String) -> Refusal {
      Refusal(.malformedRecord, file: file, structure: structure, fault)
    }
    let forms = configuration.blocks(tokens: entry.tokenCount, isFrame: key == segment.frameKey)
    let headByteCount = RecordLayout.headByteCount(
      blocks: forms.count, tokens: entry.tokenCount, linked: configuration.text != nil)
    guard headByteCount <= entry.byteCount else {
      throw malformed("a head of \(headByteCount) bytes does not fit a record of \(entry.byteCount)")
    }
    let headRange = entry.byteOffset..<entry.byteOffset + headByteCount
    try segment.verifyOnce(entryIndex, part: 0) { () throws(Refusal) in
      let location = BlockLocation(salt: segment.salt, key: key, kind: .head)
      guard segment.checksum(of: headRange, at: location) == entry.headChecksum else {
        throw Refusal(.checksumMismatch, file: file, structure: structure, "the head is damaged or misplaced")
      }
    }

    let mapped = segment.file
    let head = mapped.bytes.extracting(headRange)
    var reader = ByteReader(head, file: file, structure: structure)
    let (storedKey, tokenCount, blockCount, wordCount) = (
      ChunkKey(head, at: 0), try reader.skippingKey(), try reader.integer(UInt32.self), try reader.size()
    )
    // Of a text: its words.
    let searchByteCount =
      switch configuration.form {
      case .tree(let form): wordCount == 0 ? forms.count * form.embeddingSize * 4 : -1
      case .text: wordCount <= entry.tokenCount * StoredText.wordsOfToken ? wordCount * 8 : -1
      }
    guard storedKey == key, Int(tokenCount) == entry.tokenCount, Int(blockCount) == forms.count, searchByteCount >= 0
    else { throw malformed("the head is not that of the index") }
    searchChecksum = try BlockChecksum(from: &reader)
    var entries: [NodeEntry] = []
    for form in forms {
      let entry = try NodeEntry(from: &reader)
      // A block that nothing shortens is stored as it is.
      guard let entry,
        entry.isMapped ? entry.byteCount == form.byteCount : entry.byteCount < form.byteCount,
        !entry.isDense || entry.byteCount == form.geometry.denseByteCount, entry.byteCount > 0
      else { throw malformed("block \(form.number) of \(form.byteCount) bytes is stored in an impossible way") }
      entries.append(entry)
    }
    self.entries = entries
    self.forms = forms
    var behind: ChunkKey?
    if configuration.text != nil {
      let start = reader.offset
      if try reader.bytes(32).contains(where: { $0 != 0 }) { behind = ChunkKey(head, at: start) }
    }
    self.behind = behind
    var tokens: [Int32] = []
    tokens.reserveCapacity(entry.tokenCount)
    for _ in 0..<entry.tokenCount { tokens.append(try reader.integer(Int32.self)) }
    guard
      let layout = RecordLayout(
        at: entry.byteOffset, headByteCount: headByteCount, searchByteCount: searchByteCount,
        blocks: entries.map { ($0.byteCount, $0.isMapped) }),
      // Of a record without an index the entry says only where it ends at the latest.
      layout.end == entry.byteOffset + entry.byteCount
        || segment.isRescued && layout.end <= entry.byteOffset + entry.byteCount
    else { throw malformed("the parts do not make a record of \(entry.byteCount) bytes") }
    self.layout = layout
    self.key = key
    self.tokens = tokens
    self.segment = segment
    self.entryIndex = entryIndex
    // The key is what the tokens hash to, so equal keys have equal tokens.
    try segment.verifyOnce(entryIndex, part: 1) { () throws(Refusal) in
      guard configuration.chunkKey(tokens: tokens, behind: behind) == key else {
        throw malformed("the key is not the digest of the tokens")
      }
    }
  }

  /// The embeddings or words, checked when the first of them is read: where they lie in the segment's file.
  /// - Throws: `Refusal` `checksum-mismatch`.
  func search() throws(Refusal) -> Range<Int> {
    try segment.verifyOnce(entryIndex, part: 2) { () throws(Refusal) in
      let location = BlockLocation(salt: segment.salt, key: key, kind: .search)
      guard segment.checksum(of: layout.search, at: location) == searchChecksum else {
        throw Refusal(
          .checksumMismatch, file: segment.path, structure: "chunk \(key.short)",
          "the \(segment.configuration.text == nil ? "embeddings" : "words") are damaged or misplaced")
      }
    }
    return layout.search
  }

  /// A block, mapped unless it is compressed or dense.
  /// - Parameter number: in the order of the record.
  /// - Throws: `Refusal` `checksum-mismatch`, `malformed-frame`; a block is checked when it is first read.
  func block(_ number: Int) throws(Refusal) -> BlockBytes {
    let stored = try storedBlock(number)
    let compression = entries[number].compression
    // Checked earlier, it may have gone since.
    try segment.file.requireWhole()
    if entries[number].isMapped { return stored }
    if entries[number].isDense {
      let block = forms[number].geometry.expanded(stored.bytes)
      try segment.file.requireWhole()
      guard let block else {
        throw Refusal(
          .malformedFrame, file: segment.path, structure: structure(number), "is not the dense form of a block")
      }
      return block
    }
    var isWhole = false
    // The length is the geometry's: a frame cannot ask for more.
    let byteCount = forms[number].byteCount
    let block = BlockBytes(byteCount: byteCount) { output in
      isWhole = compression.decompress(stored.bytes, into: &output)
    }
    try segment.file.requireWhole()
    guard isWhole else {
      throw Refusal(
        .malformedFrame, file: segment.path, structure: structure(number), "is not a frame of \(byteCount) bytes")
    }
    return block
  }

  /// A block as it is stored, checked.
  func storedBlock(_ number: Int) throws(Refusal) -> BlockBytes {
    let range = layout.blocks[number]
    let block = BlockBytes(mapped: segment.file, at: range.lowerBound, byteCount: range.count)
    try segment.verifyOnce(entryIndex, part: 3 + number) { () throws(Refusal) in
      let location = BlockLocation(salt: segment.salt, key: key, kind: .rows, node: forms[number].number)
      guard location.checksum(of: block.bytes) == entries[number].checksum else {
        throw Refusal(
          .checksumMismatch, file: segment.path, structure: structure(number),
          "the keys and values are damaged or misplaced")
      }
    }
    return block
  }

  private func structure(_ number: Int) -> String {
    segment.configuration.text == nil
      ? "chunk \(key.short), node \(forms[number].number)" : "chunk \(key.short), rows"
  }
}

extension BlockChecksum {
  @_lifetime(reader: copy reader)
  init(from reader: inout ByteReader) throws(Refusal) {
    let low = try reader.integer(UInt64.self)
    self.init(high: try reader.integer(UInt64.self), low: low)
  }
}

extension NodeEntry {
  /// - Returns: nil when the compression is unknown or a byte that must be 0 is not.
  @_lifetime(reader: copy reader)
  init?(from reader: inout ByteReader) throws(Refusal) {
    byteCount = try reader.size()
    let kind = try reader.integer(UInt64.self)
    checksum = try BlockChecksum(from: &reader)
    isDense = kind == Self.denseCode
    guard let compression = isDense ? Compression.none : UInt8(exactly: kind).flatMap(Compression.init) else {
      return nil
    }
    self.compression = compression
  }

  func write(into writer: inout ByteWriter) {
    writer.integer(UInt64(byteCount))
    writer.integer(isDense ? Self.denseCode : UInt64(compression.rawValue))
    writer.integer(checksum.low)
    writer.integer(checksum.high)
  }
}

extension ByteReader {
  /// Skips the key and reads the token count after it.
  @_lifetime(self: copy self)
  fileprivate mutating func skippingKey() throws(Refusal) -> UInt32 {
    try seek(to: 32)
    return try integer(UInt32.self)
  }
}
