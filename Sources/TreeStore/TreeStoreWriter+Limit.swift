public import FileAccess

// A store whose files may have only so many bytes: what would not fit is refused before it is written.
// Format: `Formats/tree-store.md`, catalog.
extension TreeStoreWriter {
  /// What the store's files may have in all; 0 for no limit.
  public var byteLimit: Int { state.byteLimit }

  /// Limits the bytes of all of the store's files, from the next commit on.
  /// - Parameter byteCount: 0 for no limit.
  public mutating func setByteLimit(_ byteCount: Int) {
    guard byteCount != state.byteLimit else { return }
    state.byteLimit = byteCount
    setPending(StoreState.key, .value(state.encoded))
  }

  /// A segment of a limited store is a small part of it, so that the oldest documents can go without the others being
  /// written anew.
  var effectiveSegmentByteLimit: Int {
    byteLimit == 0 ? segmentByteLimit : min(segmentByteLimit, max(1 << 16, byteLimit / 16))
  }

  /// Left for what frees space: removals are written, too.
  private var reserveByteCount: Int { min(byteLimit / 16, 1 << 16) }

  /// The most that the files have after a commit of what waits and of some more.
  private func projectedByteCount(adding byteCount: Int) -> Int {
    let entries = pendingByteCount + 59 * waitingChunkCount + 64
    let pages = entries / CatalogPage.byteCount + 2
    // Half as much again is more than the pages above those that lead to entries.
    let table = 1024 + entries + pages * (longestPendingKey + 34) * 3 / 2
    // A word that no other chunk has takes an entry of the word index of its own.
    let segment =
      waitingByteCount == 0
      ? 0 : waitingByteCount + (SegmentIndex.entryByteCount + 16) * waitingChunkCount + 24 * waitingWordCount + 4096
    let manifest = manifest.encoded.count + 512 + 40 * replaced.count
    return [fileByteCount, segment, table, manifest, byteCount].reduce(0) { CheckedSize.sum($0, $1) ?? .max }
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
      let victims = try oldestDocuments(freeing: excess, keeping: name)
      guard !victims.isEmpty else { break }
      for victim in victims { try removeDocument(named: victim) }
      removed += victims
      _ = try collectGarbage(.wasteful)
    }
    try requireRoom(for: byteCount)
    return removed
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
        if Directory.exists(file) == .file { sum = CheckedSize.sum(sum, Directory.byteCount(of: file) ?? 0) ?? .max }
      }
    }
    return sum
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
