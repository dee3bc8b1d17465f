internal import ContextTrees
internal import FileAccess
internal import Synchronization

/// The word index of a segment of texts, where it is mapped: each block of it is checked when it is first used. Safe to
/// use from any thread.
/// Format: `Formats/tree-store.md`, word indexes.
final class SegmentWords: WordIndexStorage {
  static let blockByteCount = 1 << 14

  private let file: MappedFile
  private let salt: UInt64
  /// Of the index in the file.
  private let index: Range<Int>
  /// Of the blocks' checksums in the file.
  let checksums: Range<Int>
  private let verified: Mutex<[UInt64]>

  /// - Parameters:
  ///   - end: where the section ends in the file.
  ///   - records: where it can start.
  ///   - byteCount: of the index.
  /// - Returns: nil when the section does not fit.
  init?(in file: MappedFile, endingAt end: Int, from start: Int, byteCount: Int, salt: UInt64) {
    guard byteCount > 0, byteCount <= end - start else { return nil }
    let blockCount = (byteCount + Self.blockByteCount - 1) / Self.blockByteCount
    let checksumsEnd = end - CheckedSize.padding(after: blockCount * 16, to: RecordLayout.alignment)
    let checksumsStart = checksumsEnd - blockCount * 16
    let indexStart = checksumsStart - byteCount - CheckedSize.padding(after: byteCount, to: RecordLayout.alignment)
    guard indexStart >= start else { return nil }
    self.file = file
    self.salt = salt
    index = indexStart..<indexStart + byteCount
    checksums = checksumsStart..<checksumsEnd
    verified = Mutex([UInt64](repeating: 0, count: blockCount / 64 + 1))
  }

  /// Where the section starts in the file.
  var start: Int { index.lowerBound }

  /// The bytes of a section.
  /// - Parameter numbers: of the chunks: their places in the segment's index, in the order in which they were added.
  static func section(
    of words: consuming WordIndexBuilder, numbers: [UInt32], salt: UInt64
  ) -> (bytes: [UInt8], indexByteCount: Int) {
    var writer = ByteWriter()
    words.write(numbers: numbers) { writer.append($0) }
    let index = writer.bytes
    writer.pad(to: RecordLayout.alignment)
    for (number, start) in stride(from: 0, to: index.count, by: blockByteCount).enumerated() {
      let block = Array(index[start..<min(start + blockByteCount, index.count)])
      let checksum = unsafe checksum(of: block.span.bytes, number, salt)
      writer.integer(checksum.low)
      writer.integer(checksum.high)
    }
    writer.pad(to: RecordLayout.alignment)
    return (writer.bytes, index.count)
  }

  /// The checksums within the bytes of a section.
  static func checksums(ofSection section: (bytes: [UInt8], indexByteCount: Int)) -> [UInt8] {
    let start = section.indexByteCount + CheckedSize.padding(after: section.indexByteCount, to: RecordLayout.alignment)
    return Array(section.bytes[start...].prefix((section.indexByteCount + blockByteCount - 1) / blockByteCount * 16))
  }

  private static let noChunk: ChunkKey = {
    let zeros = [UInt8](repeating: 0, count: 32)
    return unsafe ChunkKey(zeros.span.bytes, at: 0)
  }()

  private static func checksum(of block: RawSpan, _ number: Int, _ salt: UInt64) -> BlockChecksum {
    BlockLocation(salt: salt, key: noChunk, kind: .wordIndex, node: number).checksum(of: block)
  }

  var bytes: RawSpan {
    @_lifetime(borrow self) get {
      let span = unsafe RawSpan(_unsafeBytes: UnsafeRawBufferPointer(rebasing: file.unsafeBytes[index]))
      return unsafe _overrideLifetime(span, borrowing: self)
    }
  }

  func check(_ range: Range<Int>) throws(Refusal) {
    guard !range.isEmpty else { return }
    let file = file
    for number in range.lowerBound / Self.blockByteCount...(range.upperBound - 1) / Self.blockByteCount {
      let bit = UInt64(1) << UInt64(number % 64)
      if verified.withLock({ $0[number / 64] & bit != 0 }) { continue }
      let start = index.lowerBound + number * Self.blockByteCount
      let block = start..<min(start + Self.blockByteCount, index.upperBound)
      var reader = ByteReader(file.bytes.extracting(checksums), file: file.path, structure: "word index")
      try reader.seek(to: number * 16)
      let expected = try BlockChecksum(from: &reader)
      let found = Self.checksum(of: file.bytes.extracting(block), number, salt)
      try file.requireWhole()
      guard found == expected else {
        throw Refusal(
          .checksumMismatch, file: file.path, structure: "word index, block \(number)", "is damaged or misplaced")
      }
      verified.withLock { $0[number / 64] |= bit }
    }
  }

  func malformed(_ fault: String) -> Refusal {
    Refusal(.malformedSegment, file: file.path, structure: "word index", fault)
  }
}

extension WordIndexBuilder {
  /// Appends a chunk of a text.
  /// - Parameters:
  ///   - words: as a record has them.
  ///   - isFrame: a frame is not to be found.
  mutating func append(encoded words: RawSpan, isFrame: Bool) {
    guard !isFrame else { return append(nil) }
    append(WordCounts(encoded: words))
  }
}

extension WordCounts {
  /// Pairs of a hash and a count.
  /// - Returns: nil when the hashes do not ascend or a count is 0.
  init?(encoded bytes: RawSpan) {
    var hashes: [UInt32] = []
    var counts: [UInt32] = []
    hashes.reserveCapacity(bytes.byteCount / 8)
    counts.reserveCapacity(bytes.byteCount / 8)
    for offset in stride(from: 0, to: bytes.byteCount / 8 * 8, by: 8) {
      hashes.append(
        unsafe UInt32(littleEndian: bytes.unsafeLoadUnaligned(fromByteOffset: offset, as: UInt32.self)))
      counts.append(
        unsafe UInt32(littleEndian: bytes.unsafeLoadUnaligned(fromByteOffset: offset + 4, as: UInt32.self)))
    }
    self.init(hashes: hashes, counts: counts)
  }
}

extension TreeStoreConfiguration {
  /// Whether segments have word indexes: where chunks are chosen by words.
  var hasWordIndexes: Bool { text?.manner == .deep }
}
