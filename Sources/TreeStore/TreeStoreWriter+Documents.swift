public import FileAccess

// Names of texts, and what is said of them.
extension TreeStoreWriter {
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
  ///   - chunks: in the order of the text.
  ///   - text: what is kept of it: all of it or nothing. A text that was kept stays if it is the same one.
  ///   - metadata: what the document's owner says about it, a JSON object; empty for nothing.
  ///   - replacing: whether a document of this name may be there already. It stays pinned if it was.
  /// - Throws: `Refusal` `invalid-document-name`, `document-exists`, `missing-chunk`, `token-count-mismatch`.
  public mutating func addDocument(
    name: String, textDigest: Digest256, textByteCount: Int, tokenCount: Int, chunks: DocumentChunks,
    text: [UInt8]? = nil, metadata: String = "", replacing: Bool
  ) throws(Refusal) {
    precondition(text?.count ?? textByteCount == textByteCount, "the text is the document's")
    try requireWorking()
    try requireName(name)
    let structure = "document \"\(name)\""
    guard metadata.utf8.count <= StoredDocument.metadataByteLimit else {
      throw Refusal(
        .documentNaming, file: path, structure: structure, "has \(metadata.utf8.count) bytes of metadata; at most 65536"
      )
    }
    var sum = 0
    for key in chunks.keys {
      guard let count = try self.tokenCount(of: key) else {
        throw Refusal(.missingChunk, file: path, structure: structure, "chunk \(key.short) is not stored")
      }
      sum += count
    }
    guard sum == configuration.chunkTokenCount(text: tokenCount), textByteCount >= 0 else {
      throw Refusal(
        .tokenCountMismatch, file: path, structure: structure, "has \(tokenCount) tokens and chunks of \(sum)")
    }
    let old = try document(named: name)
    var isTextThere = false
    if let old {
      guard replacing else {
        throw Refusal(.documentExists, file: path, structure: structure, "is there already")
      }
      let isSame = old.textDigest == textDigest && old.textByteCount == textByteCount
      isTextThere = isSame && old.keepsText
      if isSame, old.tokenCount == tokenCount, old.metadata == metadata, text == nil || isTextThere,
        try self.chunks(of: old) == chunks
      {
        return
      }
      try requireEntries(
        name: name, chunkCount: chunks.keys.count + old.chunkCount, metadata: metadata, keeping: text?.count ?? 0)
      try forget(old)
      if !isTextThere { try forgetText(of: old) }
    } else {
      try requireEntries(
        name: name, chunkCount: chunks.keys.count, metadata: metadata, keeping: text?.count ?? 0)
    }
    let document = StoredDocument(
      name: name, textDigest: textDigest, textByteCount: textByteCount, tokenCount: tokenCount,
      chunkCount: chunks.keys.count, order: state.nextOrder, isPinned: old?.isPinned ?? false,
      keepsText: isTextThere || text != nil, metadata: metadata)
    setPending(CatalogKey.document(name), .value(document.encoded))
    for part in 0..<DocumentChunks.partCount(chunks.keys.count) {
      setPending(CatalogKey.list(name, part: part), .value(chunks.encoded(part: part)))
    }
    for (number, key) in chunks.keys.enumerated().reversed() {
      var writer = ByteWriter()
      writer.integer(UInt32(number))
      setPending(CatalogKey.member(key, name), .value(writer.bytes))
    }
    setPending(CatalogKey.order(document.order), .value(Array(name.utf8)))
    // Written again even if it is there: what is there may be damaged.
    if let text { keep(text, of: name) }
    state.add(document)
  }

  /// Forgets a document. Its chunks stay until `collectGarbage`.
  /// - Throws: `Refusal` `missing-document`.
  public mutating func removeDocument(named name: String) throws(Refusal) {
    try requireWorking()
    let document = try requireDocument(named: name)
    try forget(document)
    try forgetText(of: document)
  }

  /// Says whether a document stays when documents make room for others.
  /// - Throws: `Refusal` `missing-document`.
  public mutating func pinDocument(named name: String, _ isPinned: Bool) throws(Refusal) {
    try requireWorking()
    var document = try requireDocument(named: name)
    guard document.isPinned != isPinned else { return }
    document.isPinned = isPinned
    setPending(CatalogKey.document(name), .value(document.encoded))
  }

  func requireDocument(named name: String) throws(Refusal) -> StoredDocument {
    guard let document = try document(named: name) else {
      throw Refusal(.missingDocument, file: path, structure: "document \"\(name)\"", "is not in the store")
    }
    return document
  }

  /// Forgets all but the text.
  private mutating func forget(_ document: StoredDocument) throws(Refusal) {
    for key in try chunks(of: document).keys { setPending(CatalogKey.member(key, document.name), .removed) }
    for part in 0..<DocumentChunks.partCount(document.chunkCount) {
      setPending(CatalogKey.list(document.name, part: part), .removed)
    }
    setPending(CatalogKey.document(document.name), .removed)
    setPending(CatalogKey.order(document.order), .removed)
    state.remove(document)
  }
}
