internal import FileAccess

/// What a store's catalog says about the store as a whole: it changes with every commit, and stands in the newest table.
/// Format: `Formats/tree-store.md`, catalog.
struct StoreState: Equatable, Sendable {
  var documentCount = 0
  /// Chunks of documents, each counted as often as documents name it.
  var chunkCount = 0
  /// Tokens of documents.
  var tokenCount = 0
  /// Of the next document that is added.
  var nextOrder = 0
  /// What the store's files may have in all; 0 for no limit.
  var byteLimit = 0

  /// Counts a document that is added. What a catalog says of itself may be anything, so sums stop at the largest number.
  mutating func add(_ document: StoredDocument) {
    nextOrder = CheckedSize.sum(nextOrder, 1) ?? .max
    documentCount = CheckedSize.sum(documentCount, 1) ?? .max
    chunkCount = CheckedSize.sum(chunkCount, document.chunkCount) ?? .max
    tokenCount = CheckedSize.sum(tokenCount, document.tokenCount) ?? .max
  }

  /// Counts a document no longer. Nothing is negative.
  mutating func remove(_ document: StoredDocument) {
    documentCount = max(documentCount - 1, 0)
    chunkCount = max(chunkCount - document.chunkCount, 0)
    tokenCount = max(tokenCount - document.tokenCount, 0)
  }

  static let key: [UInt8] = [UInt8(ascii: "s")]

  var encoded: [UInt8] {
    var writer = ByteWriter()
    for number in [documentCount, chunkCount, tokenCount, nextOrder, byteLimit] { writer.integer(UInt64(number)) }
    return writer.bytes
  }

  init() {}

  /// - Throws: `Refusal` `malformed-table`.
  init(_ bytes: [UInt8], file: String) throws(Refusal) {
    let span = unsafe bytes.span.bytes
    guard span.byteCount == 40 else {
      throw Refusal(.malformedTable, file: file, structure: "state", "has \(span.byteCount) bytes, not 40")
    }
    var reader = ByteReader(span, file: file, structure: "state")
    documentCount = try reader.size()
    chunkCount = try reader.size()
    tokenCount = try reader.size()
    nextOrder = try reader.size()
    byteLimit = try reader.size()
  }
}
