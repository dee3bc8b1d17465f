package import FileAccess

/// What was saved of a store.
package struct SalvageReport: Sendable {
  package var chunkCount = 0
  package var documents: [String] = []
  /// Documents of which something is left, but not enough.
  package var lostDocuments: [String] = []
  /// What is wrong with the store.
  package var faults: [StoreFault] = []
}

/// Writes what can be read of a store into another one.
package enum StoreSalvage {
  /// - Parameters:
  ///   - path: of a directory that has segments or tables of a store. Nothing is written there.
  ///   - new: of a store that is created, or one of the same configuration, to which this was done before.
  /// - Throws: `Refusal` `not-a-store` when nothing can be read, `configuration-mismatch`, `no-space` and others.
  package static func salvage(
    _ path: String, into new: String, progress: (_ done: Int, _ total: Int) -> Void = { _, _ in }
  ) throws(Refusal) -> SalvageReport {
    if let status = FileStatus(path), FileStatus(new) == status {
      throw Refusal(.alreadyExists, file: new, "is the store that is to be read")
    }
    let survey = try StoreSurvey(path, progress: progress)
    var report = SalvageReport(lostDocuments: Array(survey.documents.lost), faults: survey.faults)
    var writer = try TreeStoreWriter(opening: new, creating: survey.configuration)
    for surveyed in survey.segments {
      let segment = surveyed.segment
      for number in segment.inFileOrder(Array(0..<segment.index.count)) where !surveyed.damaged.contains(number) {
        guard !writer.contains(segment.index.key(at: number)) else { continue }
        try writer.copy(try StoredRecord(in: segment, at: number))
        report.chunkCount += 1
        if writer.waitingByteCount >= 1 << 28 { try writer.commit() }
      }
    }
    try writer.commit()
    var orders: [(order: Int, name: String)] = []
    try survey.forEachDocument { (document) throws(Refusal) in orders.append((document.order, document.name)) }
    orders.sort { ($0.order, $0.name) < ($1.order, $1.name) }
    var changeCount = 0
    for (_, name) in orders {
      guard let document = survey.document(Array(name.utf8)), let chunks = survey.chunks(of: document),
        survey.isComplete(chunks)
      else {
        report.lostDocuments.append(name)
        continue
      }
      try writer.addDocument(
        name: name, textDigest: document.textDigest, textByteCount: document.textByteCount,
        tokenCount: document.tokenCount, chunks: chunks, text: survey.text(of: document),
        metadata: document.metadata, replacing: true)
      if document.isPinned { try writer.pinDocument(named: name, true) }
      report.documents.append(name)
      changeCount += 3 + chunks.keys.count
      if changeCount >= 100_000 {
        try writer.commit()
        changeCount = 0
      }
    }
    try writer.commit()
    report.lostDocuments = Set(report.lostDocuments).sorted(by: StoredDocument.nameOrder)
    return report
  }
}

extension StoreSurvey {
  /// Calls a body with each document that is not lost, by the bytes of their names.
  func forEachDocument(_ body: (StoredDocument) throws(Refusal) -> Void) throws(Refusal) {
    var scan = catalog.scan(prefix: CatalogKey.documents)
    while let (key, _) = scan.next() {
      guard let document = document(Array(key.dropFirst())) else { continue }
      try body(document)
    }
  }

  /// Whether all chunks can be read, and what they were read behind.
  func isComplete(_ chunks: DocumentChunks) -> Bool {
    (chunks.keys + [configuration.frameKey].compactMap(\.self)).allSatisfy { tokenCount(of: $0) != nil }
  }
}
