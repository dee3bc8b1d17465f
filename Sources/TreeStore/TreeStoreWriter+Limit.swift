public import FileAccess

// A store whose files may have only so many bytes: what would not fit is refused before it is written.
// Format: `Formats/tree-store.md`, catalog.
extension TreeStoreWriter {
  /// What the store's files may have in all; 0 for no limit.
  public var byteLimit: Int { state.byteLimit }

  /// Limits the bytes of all of the store's files, from the next commit on. A store that has more than that already only
  /// takes what frees space, and is held to the limit once it has so much less that more can be freed.
  /// - Parameter byteCount: 0 for no limit.
  public mutating func setByteLimit(_ byteCount: Int) {
    guard byteCount != state.byteLimit else { return }
    state.byteLimit = byteCount
    isHeldToLimit = true
    // What cannot be measured has no room for more.
    if byteCount > 0 {
      fileByteCount = (try? Self.measure(path)) ?? .max
      isHeldToLimit = fileByteCount <= byteCount
    }
    setPending(StoreState.key, .value(state.encoded))
  }

  /// What a file may have that is written now; nil for any number of bytes.
  var room: FileRoom? {
    byteLimit == 0 || !isHeldToLimit
      ? nil : FileRoom(store: path, byteLimit: byteLimit, byteCount: max(byteLimit - fileByteCount, 0))
  }

  /// Measures the files of a store that has a limit.
  mutating func measureFiles() throws(Refusal) {
    guard byteLimit > 0 else { return }
    fileByteCount = try Self.measure(path)
    if fileByteCount <= byteLimit - reserveByteCount { isHeldToLimit = true }
  }

  /// A segment of a limited store is a small part of it, so that the oldest documents can go without the others being
  /// written anew, and so that one can be written anew in what is left for that.
  var effectiveSegmentByteLimit: Int {
    byteLimit == 0 ? segmentByteLimit : min(segmentByteLimit, max(1 << 13, byteLimit / 64))
  }

  /// Left for what frees space: removals are written, too, and segments without what was removed.
  private var reserveByteCount: Int { max(byteLimit / 32, min(byteLimit / 8, 1 << 16)) }

  /// The most that a table of the waiting changes and of some more has.
  private func tableByteCount(adding byteCount: Int) -> Int {
    let entries = CheckedSize.sum(pendingByteCount + 59 * waitingChunkCount + 64, byteCount) ?? .max
    let pages = entries / CatalogPage.byteCount + 2
    // Half as much again is more than the pages above those that lead to entries.
    return [1024, entries, pages * (max(longestPendingKey, 33) + 34) * 3 / 2].reduce(0) {
      CheckedSize.sum($0, $1) ?? .max
    }
  }

  /// The most that a segment has besides its chunks.
  var segmentFrameByteCount: Int {
    configuration.encoded.count + 512 + (configuration.hasWordIndexes ? 4096 : 0)
  }

  /// The most that the next manifest has.
  var manifestByteCount: Int { manifest.encoded.count + 512 + 40 * replaced.count }

  /// The most that the files have after a commit of what waits and of some more.
  /// - Parameter entryByteCount: of more entries of the catalog.
  private func projectedByteCount(adding byteCount: Int, entries entryByteCount: Int = 0) -> Int {
    // A word that no other chunk has takes an entry of the word index of its own.
    let segment =
      waitingByteCount == 0 && byteCount == 0
      ? 0
      : waitingByteCount + (SegmentIndex.entryByteCount + 16) * waitingChunkCount + 24 * waitingWordCount
        + segmentFrameByteCount
    return [fileByteCount, segment, tableByteCount(adding: entryByteCount), manifestByteCount, byteCount].reduce(0) {
      CheckedSize.sum($0, $1) ?? .max
    }
  }

  /// Whether what waits can be committed, with more entries of the catalog.
  private func canCommit(adding entryByteCount: Int = 0) -> Bool {
    room == nil || projectedByteCount(adding: 0, entries: entryByteCount) <= byteLimit
  }

  /// Ensures that what waits can be committed, before any of it is written.
  /// - Throws: `Refusal` `store-full`.
  func requireCommit() throws(Refusal) {
    guard !canCommit() else { return }
    throw Refusal(
      .storeFull, file: path,
      "may have \(byteLimit) bytes and has \(fileByteCount); this change takes up to "
        + "\(projectedByteCount(adding: 0) - fileByteCount) more: give it a higher limit")
  }

  /// Whether some more can be added.
  /// - Parameter byteCount: of records and their entries.
  public func hasRoom(for byteCount: Int) -> Bool {
    byteLimit == 0 || projectedByteCount(adding: byteCount) <= byteLimit - reserveByteCount
  }

  /// - Throws: `Refusal` `store-full`.
  public func requireRoom(for byteCount: Int) throws(Refusal) {
    guard !hasRoom(for: byteCount) else { return }
    throw Refusal(
      .storeFull, file: path,
      "may have \(byteLimit) bytes and has \(fileByteCount); \(byteCount) more do not fit")
  }

  /// Removes documents, the oldest first and none that is pinned, until some more can be added. Commits.
  /// - Parameters:
  ///   - byteCount: of records and their entries.
  ///   - name: of a document that stays.
  /// - Throws: `Refusal` `store-full` when it does not fit all the same; then the documents are gone.
  /// - Returns: the names of the documents that were removed.
  public mutating func makeRoom(for byteCount: Int, keeping name: String) throws(Refusal) -> [String] {
    var removed: [String] = []
    while !hasRoom(for: byteCount) {
      try commit()
      if hasRoom(for: byteCount) { break }
      let excess = projectedByteCount(adding: byteCount) - (byteLimit - reserveByteCount)
      var victims: [String] = []
      for victim in try oldestDocuments(freeing: excess, keeping: name) {
        let document = try requireDocument(named: victim)
        // What frees space takes some first: half of what is left for it, and the rest for what drops the chunks.
        guard
          victims.isEmpty
            || projectedByteCount(adding: reserveByteCount / 2, entries: Self.entryByteCount(of: document)) <= byteLimit
        else { break }
        try removeDocument(named: victim)
        victims.append(victim)
      }
      guard !victims.isEmpty else { break }
      removed += victims
      _ = try collectGarbage(.wasteful)
    }
    try requireRoom(for: byteCount)
    return removed
  }

  /// The most that a document's entries take in the catalog, said or taken back.
  private static func entryByteCount(of document: StoredDocument) -> Int {
    entryByteCount(
      name: document.name, chunkCount: document.chunkCount, metadataByteCount: document.metadata.utf8.count,
      textPartCount: document.keepsText ? KeptText.partCount(document.textByteCount) : 0)
  }

  /// The most that a document takes in the catalog.
  /// - Parameters:
  ///   - name: of the document.
  ///   - chunkCount: of its chunks.
  ///   - metadataByteCount: of what its owner says about it.
  ///   - textByteCount: of its text, if that is kept.
  package static func entryByteCount(
    name: String, chunkCount: Int, metadataByteCount: Int, keeping textByteCount: Int
  ) -> Int {
    let entries = entryByteCount(
      name: name, chunkCount: chunkCount, metadataByteCount: metadataByteCount,
      textPartCount: KeptText.partCount(textByteCount))
    return CheckedSize.sum(entries, textByteCount) ?? .max
  }

  private static func entryByteCount(
    name: String, chunkCount: Int, metadataByteCount: Int, textPartCount: Int
  ) -> Int {
    let name = name.utf8.count
    guard let chunks = CheckedSize.product(chunkCount, 36 + 33 + name + 4 + 6),
      let partCount = CheckedSize.sum(DocumentChunks.partCount(chunkCount), textPartCount),
      let parts = CheckedSize.product(partCount, 6 + 6 + name)
    else { return .max }
    return [chunks, parts, 6 + 1 + name + 72 + metadataByteCount, 6 + 9 + name].reduce(0) {
      CheckedSize.sum($0, $1) ?? .max
    }
  }

  /// Sees that a document's entries fit.
  /// - Throws: `Refusal` `store-full`.
  func requireEntries(
    name: String, chunkCount: Int, metadata: String, keeping textByteCount: Int
  ) throws(Refusal) {
    let byteCount = Self.entryByteCount(
      name: name, chunkCount: chunkCount, metadataByteCount: metadata.utf8.count, keeping: textByteCount)
    guard byteLimit > 0,
      projectedByteCount(adding: reserveByteCount / 2, entries: byteCount) > byteLimit
    else { return }
    throw Refusal(
      .storeFull, file: path, structure: "document \"\(name)\"",
      "the store may have \(byteLimit) bytes and has \(fileByteCount); \(byteCount) more do not fit")
  }

  /// The most that a copy of a record takes in a segment, its entries there and in the word index included.
  static func copyByteCount(of record: StoredRecord) -> Int {
    let byteCount = record.layout.end - record.layout.head.lowerBound
    // Each part that is long may start on the next page.
    let pages = byteCount / RecordLayout.pageThreshold * RecordLayout.pageByteCount
    let words = record.segment.configuration.hasWordIndexes ? record.layout.search.count * 3 : 0
    return [byteCount, pages, words, SegmentIndex.entryByteCount + 16].reduce(0) { CheckedSize.sum($0, $1) ?? .max }
  }

  /// The oldest documents whose own chunks have so many bytes together.
  private func oldestDocuments(freeing byteCount: Int, keeping name: String) throws(Refusal) -> [String] {
    var names: [String] = []
    var freed = 0
    var scan = try catalog.scan(prefix: CatalogKey.orders)
    while freed < byteCount || names.isEmpty, let (_, value) = try scan.next() {
      guard let candidate = String(validating: value, as: UTF8.self), candidate != name,
        let document = try document(named: candidate), !document.isPinned
      else { continue }
      names.append(candidate)
      for key in Set(try chunks(of: document).keys) { freed += try place(of: key)?.byteCount ?? 0 }
    }
    return names
  }

  /// The bytes of all files in the store's directories.
  static func measure(_ path: String) throws(Refusal) -> Int {
    var sum = 0
    for directory in [path, "\(path)/\(StoreFormat.segmentsName)", "\(path)/\(StoreFormat.catalogName)"] {
      for name in try Directory.names(in: directory) {
        let file = "\(directory)/\(name)"
        // A temporary one is counted by who writes it.
        guard !StoreCreation.isPartial(name), try Directory.kind(of: file) == .file else { continue }
        sum = CheckedSize.sum(sum, Directory.byteCount(of: file) ?? 0) ?? .max
      }
    }
    return sum
  }
}

/// What a file of a limited store may have: whatever was reckoned, no byte is written beyond it.
struct FileRoom: Sendable {
  let store: String
  let byteLimit: Int
  let byteCount: Int

  /// What is left beside another file.
  func less(_ byteCount: Int) -> FileRoom {
    FileRoom(store: store, byteLimit: byteLimit, byteCount: max(self.byteCount - byteCount, 0))
  }

  /// - Parameter byteCount: of the file with what is to be appended.
  /// - Throws: `Refusal` `store-full`.
  func require(_ byteCount: Int) throws(Refusal) {
    guard byteCount > self.byteCount else { return }
    throw Refusal(
      .storeFull, file: store,
      "may have \(byteLimit) bytes; a file of \(byteCount) does not fit into the \(self.byteCount) that are left")
  }
}

extension TreeStoreConfiguration {
  /// The most that a chunk takes in a segment, its entry and that of the catalog included.
  /// - Parameters:
  ///   - tokens: of the chunk.
  ///   - words: of a text's chunk.
  package func byteCount(tokens: Int, words: Int) -> Int {
    let blocks = blocks(tokens: tokens, isFrame: false)
    let isText = text != nil
    let head = RecordLayout.headByteCount(blocks: blocks.count, tokens: tokens, linked: isText)
    let search = tree.map { blocks.count * $0.embeddingSize * 4 } ?? words * 8
    // Each part may start on the next page.
    let parts = ([search] + blocks.map(\.byteCount)).reduce(0) {
      $0 + $1 + ($1 >= RecordLayout.pageThreshold ? RecordLayout.pageByteCount : RecordLayout.alignment)
    }
    return head + parts + 2 * RecordLayout.alignment + 256
  }
}
