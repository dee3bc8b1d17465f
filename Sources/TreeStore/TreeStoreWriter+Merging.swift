internal import ContextTrees
package import FileAccess

/// What came into a store from another one.
package struct MergeReport: Sendable, Hashable {
  package var addedDocuments: [String] = []
  package var replacedDocuments: [String] = []
  /// Documents that both stores have.
  package var sameDocumentCount = 0
  package var copiedChunkCount = 0

  package init() {}
}

// Copying from other stores. Memory does not grow with what is copied.
extension TreeStoreWriter {
  /// Bytes and changes of the catalog that wait for a commit, at most.
  private static var batchByteCount: Int { 1 << 28 }
  private static var batchChangeCount: Int { 100_000 }

  /// Copies the documents of another store, with the chunks that they need, metadata and pins, in the order of that
  /// store. Commits in batches: stopped anywhere, it can be done again.
  /// - Parameters:
  ///   - other: a store of the same configuration.
  ///   - isReplacing: whether a document of this store may have a name that another text has there.
  ///   - progress: chunks and documents done and in total; called from time to time.
  /// - Throws: `Refusal` `configuration-mismatch`, `model-mismatch`, `document-exists` before anything is copied; those of
  ///   a damaged store, `no-space` and others.
  package mutating func merge(
    _ other: TreeStore, replacing isReplacing: Bool, progress: (_ done: Int, _ total: Int) -> Void = { _, _ in }
  ) throws(Refusal) -> MergeReport {
    try other.configuration.require(configuration, file: other.path)
    var names = try other.catalog.scan(prefix: CatalogKey.documents)
    var total = 0
    while let (key, value) = try names.next() {
      let theirs = try StoredDocument(key: key, value: value, file: other.path)
      if let own = try document(named: theirs.name), own.textDigest != theirs.textDigest, !isReplacing {
        throw Refusal(
          .documentExists, file: other.path, structure: "document \"\(theirs.name)\"",
          "is another text than that of \(path)")
      }
      total += 1
    }
    for file in other.segments.files { total = CheckedSize.sum(total, file.reference.chunkCount) ?? .max }
    var report = MergeReport()
    var done = 0
    // In the order of the files, which are read once from front to back.
    for file in other.segments.files {
      let segment = try file.segment()
      for number in segment.inFileOrder(Array(0..<segment.index.count)) {
        done += 1
        progress(done, total)
        let key = segment.index.key(at: number)
        guard let place = try other.catalog.place(of: key, store: other.path),
          place.segment == file.reference.digest.tag, place.entry == number, try other.needs(key), !contains(key)
        else { continue }
        let record = try StoredRecord(in: segment, at: number)
        if byteLimit > 0 { try requireRoom(for: Self.copyByteCount(of: record)) }
        try copy(record)
        report.copiedChunkCount += 1
        if waitingByteCount >= Self.batchByteCount { try commit() }
      }
    }
    try commit()
    var changeCount = 0
    var orders = try other.catalog.scan(prefix: CatalogKey.orders)
    while let (_, bytes) = try orders.next() {
      done += 1
      progress(min(done, total), total)
      guard let name = String(validating: bytes, as: UTF8.self), let theirs = try other.document(named: name) else {
        throw Refusal(.malformedTable, file: other.path, structure: "order", "leads to a document that is not there")
      }
      let own = try document(named: name)
      let isSame = own?.textDigest == theirs.textDigest
      if let own, try has(theirs, as: own) {
        report.sameDocumentCount += 1
        continue
      }
      let chunks = try other.chunks(of: theirs)
      try addDocument(
        name: name, textDigest: theirs.textDigest, textByteCount: theirs.textByteCount, tokenCount: theirs.tokenCount,
        chunks: chunks, text: try other.text(of: theirs), metadata: theirs.metadata,
        replacing: isReplacing || isSame)
      if theirs.isPinned { try pinDocument(named: name, true) }
      if own == nil { report.addedDocuments.append(name) } else { report.replacedDocuments.append(name) }
      changeCount += 3 + chunks.keys.count
      if changeCount >= Self.batchChangeCount {
        try commit()
        changeCount = 0
      }
    }
    try commit()
    return report
  }

  /// Whether a document of this store is all that one of another store is: the same text, stored, damaged or not.
  func has(_ other: StoredDocument, as own: StoredDocument) throws(Refusal) -> Bool {
    guard own.textDigest == other.textDigest, own.keepsText || !other.keepsText else { return false }
    return try hasPlaces(own)
  }

  private func hasPlaces(_ document: StoredDocument) throws(Refusal) -> Bool {
    for key in try chunks(of: document).keys + [configuration.frameKey].compactMap(\.self)
    where try place(of: key) == nil { return false }
    return true
  }
}

extension TreeStore {
  /// Whether a document has a chunk, or all of them were read behind it.
  func needs(_ key: ChunkKey) throws(Refusal) -> Bool {
    if key == configuration.frameKey { return true }
    var scan = try catalog.scan(prefix: CatalogKey.members(of: key))
    return try scan.next() != nil
  }
}
