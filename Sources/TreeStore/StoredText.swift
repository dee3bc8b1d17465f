public import ContextTrees
public import FileAccess
public import NodeBlocks

/// A chunk of a text as a model reads it and a store keeps it.
public struct EncodedText: Sendable {
  public let tokens: [Int32]
  /// The chunk that was in view while this one was read; nil for none.
  public let behind: ChunkKey?
  /// What searches look at.
  public let words: WordCounts
  /// Those of `TextForm.rows(tokens:isFrame:)`; nil when they are none.
  public let rows: TextRows?

  public init(tokens: [Int32], behind: ChunkKey?, words: WordCounts, rows: TextRows?) {
    self.tokens = tokens
    self.behind = behind
    self.words = words
    self.rows = rows
  }
}

/// A chunk of a text in a segment: cheap to keep, read where it lies. Safe to use from any thread.
/// Format: `Formats/tree-store.md`, chunk records.
public struct StoredText: Sendable {
  public var key: ChunkKey { record.key }
  public var tokens: [Int32] { record.tokens }
  /// The chunk that was in view while this one was read; nil for none.
  public var behind: ChunkKey? { record.behind }

  let record: StoredRecord
  private let form: TextForm

  /// No token stands for more words: its text would be very long.
  static let wordsOfToken = 64

  init(_ record: StoredRecord, _ form: TextForm) {
    self.record = record
    self.form = form
  }

  /// What searches look at.
  /// - Throws: `Refusal` `checksum-mismatch`, `malformed-record`.
  public func words() throws(Refusal) -> WordCounts {
    let range = try record.search()
    let mapped = record.segment.file
    let words = WordCounts(encoded: mapped.bytes.extracting(range))
    try mapped.requireWhole()
    guard let words else {
      throw Refusal(
        .malformedRecord, file: record.segment.path, structure: "chunk \(record.key.short)", "the words do not ascend")
    }
    return words
  }

  /// The rows of all layers, mapped unless they are compressed; nil when none are kept.
  /// - Throws: `Refusal` `checksum-mismatch`, `malformed-frame`; they are checked when they are first read.
  public func rows() throws(Refusal) -> TextRows? {
    guard !record.entries.isEmpty else { return nil }
    let block = try record.block(0)
    let rows = form.rows(tokens: tokens.count, isFrame: key == record.segment.frameKey)
    return TextRows(block, layout: rows.layout, rowCounts: rows.counts)
  }
}

extension WordCounts {
  /// Pairs of a hash and a count.
  /// Format: `Formats/tree-store.md`, words.
  var encoded: [UInt8] {
    var writer = ByteWriter()
    for (hash, count) in zip(hashes, counts) {
      writer.integer(hash)
      writer.integer(count)
    }
    return writer.bytes
  }
}
