internal import ContextTrees
public import FileAccess
internal import Glibc
internal import NodeBlocks

extension TreeStore {
  /// Reads every byte of the generation and checks it: digests of files, checksums, padding, frames, keys, the order of
  /// the catalog, and that every document has its chunks.
  /// - Parameter progress: bytes done and bytes in total; called from time to time.
  /// - Throws: `Refusal` for the first fault; `unfinished-generation` when a later generation was written and its manifest
  ///   is not there.
  public func verify(progress: (_ done: Int, _ total: Int) -> Void = { _, _ in }) throws(Refusal) {
    let total = manifest.totalByteCount
    var done = 0
    try verifyManifest(generation, is: manifestDigest, "has changed since it was opened")
    if let previous = manifest.previous {
      try verifyManifest(generation - 1, is: previous, "is not the generation that the next one follows")
    }
    done += manifest.encoded.count
    progress(done, total)
    for level in catalog.levels {
      guard let table = level.table else {
        throw level.fault ?? Refusal(.missingTable, file: path, "a catalog table is not open")
      }
      try table.verify(digest: level.reference.digest)
      done += table.file.byteCount
      progress(done, total)
    }
    for file in segments.files {
      let segment = try file.segment()
      try segment.verify(digest: file.reference.digest) { progress(done + $0, total) }
      done += segment.file.byteCount
    }
    try verifyCatalog()
    if let unfinished = try unfinishedGeneration() {
      throw Refusal(
        .unfinishedGeneration, file: StoreFormat.tablePath(path, unfinished.reference.digest),
        "belongs to generation \(unfinished.reference.generations.upperBound), whose manifest is not there; "
          + "the next writer or `sharedpack store repair` takes it up")
    }
  }

  /// A generation whose manifest does not appear, which a writer that is at work would write within moments.
  func unfinishedGeneration() throws(Refusal) -> StoreRecovery.Unfinished? {
    var unfinished: StoreRecovery.Unfinished?
    for attempt in 0..<30 {
      guard try Self.newestGeneration(path) == generation else { return nil }
      unfinished = try StoreRecovery.unfinishedGeneration(in: path, after: manifest)
      if unfinished == nil { return nil }
      if attempt < 29 { usleep(100_000) }
    }
    return unfinished
  }

  /// A generation that a writer has removed meanwhile is not at fault.
  private func verifyManifest(_ generation: Int, is expected: Digest256, _ fault: String) throws(Refusal) {
    let digest: Digest256
    do {
      (_, digest) = try Manifest.read(generation, in: path)
    } catch {
      guard error.name == .missingFile else { throw error }
      return
    }
    guard digest == expected else {
      throw Refusal(.digestMismatch, file: "\(path)/\(StoreFormat.manifestName(generation))", fault)
    }
  }

  /// Checks that every document has its chunks, and that what the catalog says of the one it says of the other.
  private func verifyCatalog() throws(Refusal) {
    var state = StoreState()
    var memberCount = 0
    var textPartCount = 0
    try forEachDocument { (document) throws(Refusal) in
      func malformed(_ fault: String) -> Refusal {
        Refusal(.malformedTable, file: path, structure: "document \"\(document.name)\"", fault)
      }
      var tokenCount = 0
      let chunks = try chunks(of: document)
      for (number, key) in chunks.keys.enumerated() {
        guard let place = try catalog.place(of: key, store: path) else {
          throw Refusal(
            .missingChunk, file: path, structure: "document \"\(document.name)\"",
            "chunk \(key.short) is in no segment")
        }
        let record = try segments.record(of: key, at: place, store: path)
        guard record.tokens.count == place.tokenCount,
          record.layout.end - record.layout.head.lowerBound == place.byteCount
        else { throw malformed("chunk \(number) is not of the size that the catalog says") }
        tokenCount = CheckedSize.sum(tokenCount, place.tokenCount) ?? .max
        guard let member = try catalog.value(of: CatalogKey.member(key, document.name)), member.count == 4 else {
          throw malformed("the catalog does not name it as one of chunk \(number)")
        }
      }
      guard tokenCount == configuration.chunkTokenCount(text: document.tokenCount) else {
        throw Refusal(
          .tokenCountMismatch, file: path, structure: "document \"\(document.name)\"",
          "has \(document.tokenCount) tokens and chunks of \(tokenCount)")
      }
      guard chunks.textByteCounts.isEmpty || chunks.textByteCounts.reduce(0, +) == document.textByteCount else {
        throw malformed("its chunks do not add up to its text")
      }
      guard try catalog.value(of: CatalogKey.order(document.order)) == Array(document.name.utf8) else {
        throw malformed("has no place in the order of documents")
      }
      if try text(of: document) != nil { textPartCount += KeptText.partCount(document.textByteCount) }
      memberCount += Set(chunks.keys).count
      state.documentCount += 1
      state.chunkCount += document.chunkCount
      state.tokenCount = CheckedSize.sum(state.tokenCount, document.tokenCount) ?? .max
    }
    func malformed(_ structure: String, _ fault: String) -> Refusal {
      Refusal(.malformedTable, file: path, structure: structure, fault)
    }
    for (prefix, count, name) in [
      (CatalogKey.members, memberCount, "documents of chunks"), (CatalogKey.orders, state.documentCount, "orders"),
      (CatalogKey.texts, textPartCount, "parts of texts"),
    ] {
      var scan = try catalog.scan(prefix: prefix)
      var found = 0
      while try scan.next() != nil { found += 1 }
      guard found == count else { throw malformed(name, "there are \(found) of them for \(count) in documents") }
    }
    let stored = try catalog.state(store: path)
    guard stored.documentCount == state.documentCount, stored.chunkCount == state.chunkCount,
      stored.tokenCount == state.tokenCount
    else { throw malformed("state", "the sums are not those of the documents") }
    try catalog.forEachChunk(store: path, frame: nil) { (key, place, _) throws(Refusal) in
      _ = try segments.record(of: key, at: place, store: path)
    }
  }
}

extension CatalogTable {
  /// Reads every page.
  func verify(digest: Digest256) throws(Refusal) {
    var hasher = Hasher256()
    let file = file
    hasher.update(file.bytes)
    guard hasher.finalize() == digest else {
      throw Refusal(.digestMismatch, file: path, "the SHA-256 of the file is not its name")
    }
    var cursor = try CatalogCursor(self, from: [])
    var count = 0
    while cursor.entry != nil {
      count += 1
      try cursor.advance()
    }
    guard count == entryCount else {
      throw Refusal(.malformedTable, file: path, structure: "footer", "says \(entryCount) entries and has \(count)")
    }
  }
}

extension Segment {
  /// Checks every byte of a segment's file, wherever it lies. If its name is a digest, as in a store, the file must
  /// match it.
  /// - Parameter progress: bytes done and bytes in total; called from time to time.
  /// - Returns: the SHA-256 of the file.
  /// - Throws: `Refusal` for the first fault.
  package static func verify(_ path: String, progress: (Int, Int) -> Void) throws(Refusal) -> Digest256 {
    let segment = try Segment(opening: try MappedFile(path))
    let name = Directory.split(path).name
    let digest =
      name.hasSuffix(StoreFormat.segmentSuffix)
      ? Digest256(hexadecimal: String(name.dropLast(StoreFormat.segmentSuffix.count))) : nil
    return try segment.verify(digest: digest) { progress($0, segment.file.byteCount) }
  }

  /// Reads the whole file once, from its first byte to its last.
  /// - Parameter digest: the one that names the file; nil where none does.
  /// - Returns: the SHA-256 of the file.
  @discardableResult
  func verify(digest: Digest256?, progress: (Int) -> Void) throws(Refusal) -> Digest256 {
    let file = file
    var hasher = Hasher256()
    hasher.update(file.bytes.extracting(0..<records.lowerBound))
    var totals = SegmentTotals()
    var end = records.lowerBound
    let order = (0..<index.count).map { (entryIndex: $0, entry: index.entry(at: $0)) }
      .sorted { $0.entry.byteOffset < $1.entry.byteOffset }
    for (entryIndex, entry) in order {
      guard entry.byteOffset == end else {
        throw Refusal(
          .malformedSegment, file: path, structure: "index, entry \(entryIndex)",
          "the record starts at byte \(entry.byteOffset), not where the one before ends, \(end)")
      }
      end += entry.byteCount
      hasher.update(file.bytes.extracting(entry.byteOffset..<end))
      try verify(entryIndex, into: &totals)
      progress(end)
    }
    hasher.update(file.bytes.extracting(records.upperBound..<file.byteCount))
    try verifyWordIndex(order.map(\.entryIndex))
    guard totals == self.totals else {
      throw Refusal(.malformedSegment, file: path, structure: "footer", "the sums are not those of the records")
    }
    let found = hasher.finalize()
    if let digest, found != digest {
      throw Refusal(.digestMismatch, file: path, "the SHA-256 of the file is not its name")
    }
    progress(file.byteCount)
    return found
  }

  /// Checks that the word index is the one of the records' words.
  /// - Parameter entries: in the order of the file.
  private func verifyWordIndex(_ entries: [Int]) throws(Refusal) {
    guard let words, let form = configuration.text else { return }
    var builder = WordIndexBuilder()
    for entry in entries {
      let record = try StoredRecord(in: self, at: entry)
      try builder.append(record.key == frameKey ? nil : StoredText(record, form).words())
    }
    let section = SegmentWords.section(of: builder, numbers: entries.map { UInt32($0) }, salt: salt).bytes
    let file = file
    let isSame = file.bytes.extracting(words.start..<index.byteOffset).array == section
    try file.requireWhole()
    guard isSame else {
      throw words.malformed("is not that of the records' words")
    }
  }

  /// Checks every byte of a record.
  func verify(_ entryIndex: Int, into totals: inout SegmentTotals) throws(Refusal) {
    // Parts that a reader checked earlier are checked again: the page may have been read from the disk again since.
    forgetVerified(entryIndex)
    let chunk = try StoredRecord(in: self, at: entryIndex)
    let file = file
    var end = chunk.layout.head.lowerBound
    for part in chunk.layout.parts + [chunk.layout.end..<chunk.layout.end] {
      if let offset = file.bytes.extracting(end..<part.lowerBound).firstNonZeroOffset {
        throw Refusal(
          .nonZeroPadding, file: path, structure: "chunk \(chunk.key.short)", "byte \(end + offset) is not 0")
      }
      end = part.upperBound
    }
    try verifyParts(chunk, into: &totals)
  }

  /// Checks what is in a record, and not what lies between.
  func verifyParts(_ chunk: StoredRecord, into totals: inout SegmentTotals) throws(Refusal) {
    for (number, entry) in chunk.entries.enumerated() {
      totals.blockByteCount += try chunk.block(number).byteCount
      totals.storedBlockByteCount += entry.byteCount
    }
    switch configuration.form {
    case .tree(let form):
      let tree = StoredChunk(chunk, form)
      for node in tree.tree.nodes where try !tree.embedding(of: node).allSatisfy(\.isFinite) {
        throw Refusal(
          .malformedRecord, file: path, structure: "chunk \(chunk.key.short), node \(node.number)",
          "the embedding has a number that is not finite")
      }
    case .text(let form): _ = try StoredText(chunk, form).words()
    }
    totals.chunkCount += 1
    totals.tokenCount += chunk.tokens.count
  }
}
