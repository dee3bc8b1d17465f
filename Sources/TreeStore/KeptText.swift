public import FileAccess

/// The text of a document where a store keeps it: compressed, in parts that can be read apart.
/// Format: `Formats/tree-store.md`, documents.
enum KeptText {
  static let partByteCount = 1 << 15

  static func partCount(_ textByteCount: Int) -> Int {
    textByteCount / partByteCount + (textByteCount % partByteCount == 0 ? 0 : 1)
  }

  /// The bytes of the text that a part has.
  static func range(of part: Int, textByteCount: Int) -> Range<Int> {
    let start = part * partByteCount
    return start..<start + min(partByteCount, textByteCount - start)
  }

  /// The catalog's value for a part: a Zstandard frame if that is shorter than the text itself.
  static func encoded(_ text: [UInt8], part: Int) -> [UInt8] {
    let bytes = unsafe text.span.extracting(range(of: part, textByteCount: text.count)).bytes
    let frame = Compression.zstd.compress(bytes)
    return frame.count < bytes.byteCount ? frame : bytes.array
  }

  /// - Returns: the text of a part; nil when the value is none of a part of this length.
  static func decoded(_ value: [UInt8], byteCount: Int) -> [UInt8]? {
    guard value.count < byteCount else { return value.count == byteCount ? value : nil }
    return unsafe Compression.zstd.decompress(value.span.bytes, byteCount: byteCount)
  }

  /// Reads the text of a document, or some bytes of it.
  /// - Parameters:
  ///   - range: of the text's bytes; nil for all, which then must have the document's digest.
  ///   - value: what a catalog says about a key.
  /// - Returns: nil where it is not kept.
  /// - Throws: `Refusal` `malformed-table`, `digest-mismatch`, and those of the catalog.
  static func read(
    _ range: Range<Int>? = nil, of document: StoredDocument, store: String,
    value: (_ key: [UInt8]) throws(Refusal) -> [UInt8]?
  ) throws(Refusal) -> [UInt8]? {
    guard document.keepsText else { return nil }
    let structure = "document \"\(document.name)\""
    let wanted = range ?? 0..<document.textByteCount
    precondition(wanted.lowerBound >= 0 && wanted.upperBound <= document.textByteCount, "the range is in the text")
    var text: [UInt8] = []
    let parts = wanted.isEmpty ? 0..<0 : wanted.lowerBound / partByteCount..<(wanted.upperBound - 1) / partByteCount + 1
    for part in parts {
      let own = Self.range(of: part, textByteCount: document.textByteCount)
      guard let value = try value(CatalogKey.text(document.name, part: part)),
        let bytes = decoded(value, byteCount: own.count)
      else {
        throw Refusal(
          .malformedTable, file: store, structure: structure,
          "part \(part) of the text that is kept is missing or malformed")
      }
      let shared = own.clamped(to: wanted)
      text += bytes[shared.lowerBound - own.lowerBound..<shared.upperBound - own.lowerBound]
    }
    guard range != nil || Digest256(of: text) == document.textDigest else {
      throw Refusal(
        .digestMismatch, file: store, structure: structure, "the text that is kept is not the one that was stored")
    }
    return text
  }
}

extension TreeStore {
  /// The text of a document, or some bytes of it.
  /// - Parameters:
  ///   - document: of this store.
  ///   - range: of the text's bytes; nil for all.
  /// - Returns: nil where the store does not keep it.
  /// - Throws: `Refusal` `digest-mismatch` when the whole text is not the one that was stored; `checksum-mismatch`,
  ///   `malformed-table` and others when the catalog is damaged there.
  /// - Precondition: the range lies in the text.
  public func text(of document: StoredDocument, bytes range: Range<Int>? = nil) throws(Refusal) -> [UInt8]? {
    try KeptText.read(range, of: document, store: path) { (key) throws(Refusal) in try catalog.value(of: key) }
  }
}

extension TreeStoreWriter {
  /// Keeps the text of a document that is there.
  /// - Precondition: the text is the document's.
  package mutating func keepText(_ text: [UInt8], of document: StoredDocument) throws(Refusal) {
    precondition(Digest256(of: text) == document.textDigest, "the text is the document's")
    try requireWorking()
    try requireEntries(name: document.name, chunkCount: 0, metadata: document.metadata, keeping: text.count)
    var document = document
    document.keepsText = true
    setPending(CatalogKey.document(document.name), .value(document.encoded))
    keep(text, of: document.name)
  }

  /// - Precondition: the text is the document's.
  mutating func keep(_ text: [UInt8], of name: String) {
    for part in 0..<KeptText.partCount(text.count) {
      setPending(CatalogKey.text(name, part: part), .value(KeptText.encoded(text, part: part)))
    }
  }

  mutating func forgetText(of document: StoredDocument) throws(Refusal) {
    guard document.keepsText else { return }
    for part in 0..<KeptText.partCount(document.textByteCount) {
      let key = CatalogKey.text(document.name, part: part)
      // A length without meaning costs nothing.
      guard try value(of: key) != nil else { break }
      setPending(key, .removed)
    }
  }
}
