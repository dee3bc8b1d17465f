internal import FileAccess

/// A segment index's entry for a chunk.
struct SegmentEntry: Equatable {
  let key: ChunkKey
  /// The record's offset in the file; a multiple of 64.
  let byteOffset: Int
  let tokenCount: Int
  /// The length of the record with its padding; a multiple of 64.
  let byteCount: Int
  let headChecksum: BlockChecksum

  func write(into writer: inout ByteWriter) {
    key.write(into: &writer)
    writer.integer(UInt64(byteOffset))
    writer.integer(UInt32(tokenCount))
    writer.integer(UInt32(byteCount / RecordLayout.alignment))
    writer.integer(headChecksum.low)
    writer.integer(headChecksum.high)
  }
}

/// The sorted index of a mapped segment. A million entries are searched where they are mapped; none is parsed beforehand.
/// Format: `Formats/tree-store.md`, segment index.
struct SegmentIndex: Sendable {
  static let entryByteCount = 64

  let file: MappedFile
  /// The offset of the first entry in the file; 0 where the entries are not there.
  let byteOffset: Int
  let count: Int
  /// The entries of a segment whose own are lost.
  private let rescued: [SegmentEntry]?

  /// - Precondition: the index lies in the file.
  init(in file: MappedFile, at byteOffset: Int, count: Int) {
    precondition(byteOffset >= 0 && count >= 0 && byteOffset <= file.byteCount)
    precondition(count <= (file.byteCount - byteOffset) / Self.entryByteCount)
    self.file = file
    self.byteOffset = byteOffset
    self.count = count
    rescued = nil
  }

  /// An index that is not in the file.
  /// - Parameter entries: in ascending order of key.
  init(of file: MappedFile, rescued entries: [SegmentEntry]) {
    self.file = file
    byteOffset = 0
    count = entries.count
    rescued = entries
  }

  func key(at index: Int) -> ChunkKey {
    if let rescued { return rescued[index].key }
    return ChunkKey(file.bytes, at: byteOffset + index * Self.entryByteCount)
  }

  /// - Precondition: `index` is in the index.
  func entry(at index: Int) -> SegmentEntry {
    precondition((0..<count).contains(index))
    if let rescued { return rescued[index] }
    let start = byteOffset + index * Self.entryByteCount
    let bytes = file.bytes
    func word(_ byteOffset: Int) -> UInt64 {
      unsafe UInt64(littleEndian: bytes.unsafeLoadUnaligned(fromByteOffset: start + byteOffset, as: UInt64.self))
    }
    return SegmentEntry(
      key: ChunkKey(bytes, at: start), byteOffset: Int(clamping: word(32)),
      tokenCount: Int(word(40) & 0xFFFF_FFFF), byteCount: Int(word(40) >> 32) * RecordLayout.alignment,
      headChecksum: BlockChecksum(high: word(56), low: word(48)))
  }

  /// Binary search.
  func index(of key: ChunkKey) -> Int? {
    var low = 0
    var high = count
    while low < high {
      let middle = low + (high - low) / 2
      if self.key(at: middle) < key { low = middle + 1 } else { high = middle }
    }
    return low < count && self.key(at: low) == key ? low : nil
  }

  /// Checks that the keys ascend and that every record lies among the records.
  /// - Parameter records: the bytes between the header and the index.
  /// - Throws: `Refusal` `malformed-segment`.
  func validate(records: Range<Int>, tokenLimit: Int) throws(Refusal) {
    var total = 0
    var previous: ChunkKey?
    for index in 0..<count {
      let entry = entry(at: index)
      func malformed(_ fault: String) -> Refusal {
        Refusal(.malformedSegment, file: file.path, structure: "index, entry \(index)", fault)
      }
      if let previous, previous >= entry.key { throw malformed("the keys do not ascend") }
      previous = entry.key
      guard (1...tokenLimit).contains(entry.tokenCount) else {
        throw malformed("a chunk of \(entry.tokenCount) tokens; the chunk size is \(tokenLimit)")
      }
      guard entry.byteOffset % RecordLayout.alignment == 0, entry.byteOffset >= records.lowerBound,
        let end = CheckedSize.sum(entry.byteOffset, entry.byteCount), end <= records.upperBound, entry.byteCount > 0
      else { throw malformed("the record does not lie among the records") }
      // Records that do not overlap add up to the records' bytes; `verify` looks at their order too.
      total += entry.byteCount
      guard total <= records.count else { throw malformed("records overlap") }
    }
    guard total == records.count else {
      throw Refusal(
        .malformedSegment, file: file.path, structure: "index",
        "the records have \(total) bytes of \(records.count)")
    }
  }
}
