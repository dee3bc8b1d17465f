internal import ContextTrees
package import FileAccess
internal import NodeBlocks

/// Reads an export into a store. Every byte is checked before any of it is stored.
/// Format: `Formats/store-export.md`.
package struct StoreImport {
  private let file: String
  private let source: (Int) throws(Refusal) -> [UInt8]
  private var hasher = Hasher256()
  private var offset = 0
  private var buffer: [UInt8] = []
  /// The part of the buffer that was read.
  private var start = 0

  /// - Parameters:
  ///   - file: for messages.
  ///   - source: gives the next bytes, at most so many; none at the end.
  package init(_ file: String, from source: @escaping (Int) throws(Refusal) -> [UInt8]) {
    self.file = file
    self.source = source
  }

  /// Reads all of it into a store, which is created if it is not there. Commits in batches: stopped anywhere, it can be
  /// done again.
  /// - Parameters:
  ///   - isReplacing: whether a document of the store may have a name that another text has in the export.
  ///   - compression: of new blocks.
  /// - Throws: `Refusal` `bad-magic`, `newer-version`, `truncated`, `checksum-mismatch`, `malformed-export`,
  ///   `digest-mismatch`, `document-exists`, `configuration-mismatch`, and those of writing.
  package mutating func read(
    into path: String, replacing isReplacing: Bool, compression: Compression = .none,
    progress: (_ bytes: Int) -> Void = { _ in }
  ) throws(Refusal) -> ExportReport {
    let configuration = try readHeader()
    var writer = try TreeStoreWriter(opening: path, creating: configuration)
    var report = ExportReport()
    var lastChunk: ChunkKey?
    var lastName: String?
    var changeCount = 0
    while true {
      let digest = hasher.finalize()
      let (kind, payload) = try readEntry()
      progress(offset)
      switch kind {
      case .chunk:
        guard lastName == nil else { throw malformed("chunk", "stands behind a document") }
        let key = try add(payload, to: &writer, compression)
        if let last = lastChunk, last >= key { throw malformed("chunk \(key.short)", "the keys do not ascend") }
        lastChunk = key
        report.chunkCount += 1
      case .document:
        let (document, chunks, text) = try document(payload)
        if let last = lastName, !StoredDocument.nameOrder(last, document.name) {
          throw malformed("document \"\(document.name)\"", "the names do not ascend")
        }
        lastName = document.name
        report.documentCount += 1
        if !(try add(document, chunks, text, to: &writer, replacing: isReplacing)) { report.sameDocumentCount += 1 }
        changeCount += 3 + chunks.keys.count
      case .end:
        var expected = ByteWriter()
        expected.integer(UInt64(report.chunkCount))
        expected.integer(UInt64(report.documentCount))
        guard payload.count == 48, Array(payload[..<16]) == expected.bytes else {
          throw malformed("end", "the counts are not those of the entries")
        }
        guard Array(payload[16...]) == digest.bytes else {
          throw Refusal(.digestMismatch, file: file, structure: "end", "the SHA-256 is not that of the bytes before it")
        }
        guard try isAtEnd() else { throw malformed("end", "bytes follow it") }
        try writer.commit()
        report.byteCount = offset
        return report
      }
      if writer.waitingByteCount >= 1 << 28 || changeCount >= 100_000 {
        try writer.commit()
        changeCount = 0
      }
    }
  }

  private func malformed(_ structure: String, _ fault: String) -> Refusal {
    Refusal(.malformedExport, file: file, structure: structure, fault)
  }

  // MARK: Bytes

  private static var pieceByteCount: Int { 1 << 20 }

  /// The next bytes. Memory grows with what comes, not with what is asked for.
  private mutating func bytes(_ count: Int) throws(Refusal) -> [UInt8] {
    if start > Self.pieceByteCount {
      buffer.removeFirst(start)
      start = 0
    }
    while buffer.count - start < count {
      let piece = try source(min(max(count - (buffer.count - start), 1 << 16), Self.pieceByteCount))
      guard !piece.isEmpty else {
        throw Refusal(.truncated, file: file, "ends after \(offset + buffer.count - start) bytes, without its end mark")
      }
      buffer += piece
    }
    let result = Array(buffer[start..<start + count])
    start += count
    offset += count
    hasher.update(result)
    return result
  }

  private mutating func isAtEnd() throws(Refusal) -> Bool { start == buffer.count ? try source(1).isEmpty : false }

  private mutating func readHeader() throws(Refusal) -> TreeStoreConfiguration {
    // The fixed part of either configuration, and then what its lengths say.
    var header = try bytes(24)
    let preamble = header
    var start = unsafe ByteReader(preamble.span.bytes, file: file, structure: "header")
    let features = try StoreFormat.readPreamble(ExportFormat.magic, from: &start, file: file)
    let fixed = try bytes(features & StoreFormat.textFeature == 0 ? 68 : 76)
    header += fixed
    func number(_ byteOffset: Int) -> Int {
      fixed[byteOffset..<byteOffset + 4].reversed().reduce(0) { $0 << 8 | Int($1) }
    }
    var rest = number(64)
    if features & StoreFormat.textFeature != 0 {
      guard number(40) <= 1 << 20, number(60) <= ReadingFrame.openingTokenCounts.upperBound,
        max(number(68), number(72)) <= ReadingFrame.textByteLimit
      else { throw malformed("configuration", "its lengths are out of bounds") }
      rest += number(68) + number(72) + number(60) * 4 + number(40)
    }
    guard rest <= 1 << 22 else { throw malformed("configuration", "its lengths are out of bounds") }
    header += try bytes(rest)
    header += try bytes(CheckedSize.padding(after: header.count, to: 8))
    let all = header
    var reader = unsafe ByteReader(all.span.bytes, file: file, structure: "header")
    try reader.seek(to: 24)
    let configuration = try TreeStoreConfiguration(from: &reader, features: features, file: file)
    guard ExportFormat.header(configuration) == header else {
      throw malformed("header", "is not in its canonical form")
    }
    return configuration
  }

  private mutating func readEntry() throws(Refusal) -> (ExportFormat.Kind, payload: [UInt8]) {
    let place = offset
    let head = try bytes(ExportFormat.headByteCount)
    var reader = unsafe ByteReader(head.span.bytes, file: file, structure: "entry at byte \(place)")
    let kind = try reader.integer(UInt32.self)
    let zero = try reader.integer(UInt32.self)
    let count = try reader.size()
    guard let kind = ExportFormat.Kind(rawValue: kind), zero == 0, count <= ExportFormat.payloadByteLimit else {
      throw malformed("entry at byte \(place)", "is of no kind that is known, or too long")
    }
    let payload = try bytes(count)
    let stored = try bytes(ExportFormat.checksumByteCount)
    var sum = unsafe ByteReader(stored.span.bytes, file: file, structure: "entry at byte \(place)")
    guard ExportFormat.checksum(of: head + payload, at: place) == (try BlockChecksum(from: &sum)) else {
      throw Refusal(.checksumMismatch, file: file, structure: "entry at byte \(place)", "is damaged or misplaced")
    }
    return (kind, payload)
  }

  // MARK: Entries

  private func add(
    _ payload: [UInt8], to writer: inout TreeStoreWriter, _ compression: Compression
  ) throws(Refusal) -> ChunkKey {
    let configuration = writer.configuration
    let span = unsafe payload.span.bytes
    var reader = ByteReader(span, file: file, structure: "chunk")
    guard payload.count >= 72 else { throw malformed("chunk", "is cut") }
    let key = ChunkKey(span, at: 0)
    try reader.seek(to: 32)
    let behind = try reader.bytes(32).contains { $0 != 0 } ? ChunkKey(span, at: 32) : nil
    let structure = "chunk \(key.short)"
    let (tokenCount, blockCount) = (Int(try reader.integer(UInt32.self)), Int(try reader.integer(UInt32.self)))
    guard (1...configuration.tokenLimit).contains(tokenCount) else {
      throw malformed(structure, "has \(tokenCount) tokens")
    }
    var tokens: [Int32] = []
    for _ in 0..<tokenCount { tokens.append(try reader.integer(Int32.self)) }
    guard configuration.chunkKey(tokens: tokens, behind: behind) == key, configuration.text != nil || behind == nil
    else { throw malformed(structure, "the key is not the digest of the tokens") }
    let forms = configuration.blocks(tokens: tokenCount, isFrame: key == configuration.frameKey)
    let search = try reader.bytes(try reader.size())
    guard forms.count == blockCount, isSearch(search, configuration, nodes: blockCount, tokens: tokenCount) else {
      throw malformed(structure, "what is searched is not that of its tokens")
    }
    var blocks: [StoredBlock] = []
    for form in forms {
      guard try reader.size() == form.byteCount else { throw malformed(structure, "a block has another length") }
      blocks.append(StoredBlock(BlockBytes(try reader.bytes(form.byteCount)), compression: compression))
    }
    guard reader.remainingByteCount == 0 else { throw malformed(structure, "bytes follow its blocks") }
    guard !writer.contains(key) else { return key }
    if writer.byteLimit > 0 {
      let words = configuration.text == nil ? 0 : search.count / 8
      try writer.requireRoom(for: configuration.byteCount(tokens: tokenCount, words: words))
    }
    unsafe try writer.append(key, behind: behind, tokens: tokens, search: search.span.bytes, blocks: blocks)
    return key
  }

  /// Whether these are embeddings or words that a chunk may have.
  private func isSearch(_ bytes: [UInt8], _ configuration: TreeStoreConfiguration, nodes: Int, tokens: Int) -> Bool {
    let span = unsafe bytes.span.bytes
    func word(_ offset: Int) -> UInt32 {
      unsafe UInt32(littleEndian: span.unsafeLoadUnaligned(fromByteOffset: offset, as: UInt32.self))
    }
    switch configuration.form {
    case .tree(let form):
      return bytes.count == nodes * form.embeddingSize * 4
        && stride(from: 0, to: bytes.count, by: 4).allSatisfy { Float(bitPattern: word($0)).isFinite }
    case .text:
      guard bytes.count % 8 == 0, bytes.count <= tokens * StoredText.wordsOfToken * 8 else { return false }
      let offsets = stride(from: 0, to: bytes.count, by: 8)
      return WordCounts(hashes: offsets.map { word($0) }, counts: offsets.map { word($0 + 4) }) != nil
    }
  }

  private func document(
    _ payload: [UInt8]
  ) throws(Refusal) -> (StoredDocument, DocumentChunks, text: [UInt8]?) {
    var reader = unsafe ByteReader(payload.span.bytes, file: file, structure: "document")
    guard let name = String(validating: try reader.bytes(Int(try reader.integer(UInt32.self))), as: UTF8.self),
      StoredDocument.fault(ofName: name) == nil, let digest = Digest256(bytes: try reader.bytes(32))
    else { throw malformed("document", "has no name") }
    let structure = "document \"\(name)\""
    let numbers = (try reader.size(), try reader.size(), try reader.size())
    let flags = try reader.integer(UInt64.self)
    let metadataByteCount = Int(try reader.integer(UInt32.self))
    guard flags <= 3, let metadata = String(validating: try reader.bytes(metadataByteCount), as: UTF8.self) else {
      throw malformed(structure, "is not as an export has it")
    }
    let keepsText = flags & 2 != 0
    guard let listByteCount = CheckedSize.product(numbers.2, 36),
      CheckedSize.sum(listByteCount, keepsText ? numbers.0 : 0) == reader.remainingByteCount
    else { throw malformed(structure, "has another number of chunks, or a text of another length") }
    var chunks = DocumentChunks(keys: [])
    guard chunks.append(try reader.bytes(listByteCount), chunkCount: numbers.2),
      chunks.textByteCounts.isEmpty || chunks.textByteCounts.reduce(0, +) == numbers.0
    else { throw malformed(structure, "the chunks do not add up to its text") }
    let text = keepsText ? try reader.bytes(numbers.0) : nil
    guard text.map({ Digest256(of: $0) == digest }) ?? true else {
      throw Refusal(.digestMismatch, file: file, structure: structure, "the text is another one")
    }
    let document = StoredDocument(
      name: name, textDigest: digest, textByteCount: numbers.0, tokenCount: numbers.1, chunkCount: numbers.2, order: 0,
      isPinned: flags & 1 != 0, keepsText: keepsText, metadata: metadata)
    return (document, chunks, text)
  }

  /// - Returns: false for a document that is there.
  private func add(
    _ document: StoredDocument, _ chunks: DocumentChunks, _ text: [UInt8]?, to writer: inout TreeStoreWriter,
    replacing: Bool
  ) throws(Refusal) -> Bool {
    let own = try writer.document(named: document.name)
    if let own, try writer.has(document, as: own) { return false }
    try writer.addDocument(
      name: document.name, textDigest: document.textDigest, textByteCount: document.textByteCount,
      tokenCount: document.tokenCount, chunks: chunks, text: text, metadata: document.metadata,
      replacing: replacing || own?.textDigest == document.textDigest)
    if document.isPinned { try writer.pinDocument(named: document.name, true) }
    return true
  }
}

extension Refusal.Name {
  package static let malformedExport = Refusal.Name("malformed-export", .badInput)
}
