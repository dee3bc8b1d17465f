internal import ContextTrees
internal import FileAccess
internal import Synchronization

/// An immutable file of chunk records with a sorted index, mapped.
///
/// Opening checks the header, the index and the footer; the contents of a record are checked when it is first loaded.
/// Safe to use from any thread.
/// Format: `Formats/tree-store.md`, segments.
public final class Segment: Sendable {
  /// The first bytes of every segment.
  package static var magic: [UInt8] { StoreFormat.segmentMagic }

  static let fixedHeaderByteCount = 32
  static let footerByteCount = 96

  let file: MappedFile
  let configuration: TreeStoreConfiguration
  /// The configuration's.
  let frameKey: ChunkKey?
  let salt: UInt64
  let index: SegmentIndex
  /// Bytes of the records: between the header and the index, or the word index.
  let records: Range<Int>
  /// The chunks by their words; nil of what is not chosen by words.
  let words: SegmentWords?
  let totals: SegmentTotals
  /// The SHA-256 over header, index and footer.
  let closingDigest: Digest256
  /// Whether the index was put together from the records, and index and footer are lost.
  let isRescued: Bool
  /// Which parts of a record have passed their checksums, by the index of the record's entry.
  private let verified: Mutex<VerifiedParts>

  var path: String { file.path }

  /// Opens a segment without a manifest's entry to check it against.
  /// - Throws: `Refusal`, see `Formats/tree-store.md`, refusals.
  init(opening file: MappedFile) throws(Refusal) {
    let path = file.path
    let minimum = Self.fixedHeaderByteCount + Self.footerByteCount
    guard file.byteCount >= minimum else {
      throw Refusal(.wrongLength, file: path, "has \(file.byteCount) bytes; a segment has at least \(minimum)")
    }
    var reader = ByteReader(file.bytes, file: path, structure: "header")
    let header: [UInt8]
    (configuration, salt, header) = try StoreFormat.readHeader(
      StoreFormat.segmentMagic, alignment: RecordLayout.alignment, from: &reader, file: path,
      malformed: .malformedSegment)
    frameKey = configuration.frameKey

    let footerOffset = file.byteCount - Self.footerByteCount
    var footer = ByteReader(
      file.bytes.extracting(footerOffset..<file.byteCount), file: path, structure: "footer")
    try footer.seek(to: 56)
    guard try footer.bytes(8) == StoreFormat.footerMagic else {
      throw Refusal(.badMagic, file: path, structure: "footer", "does not end like a segment of a tree store")
    }
    try footer.seek(to: 0)
    let indexOffset = try footer.size()
    totals = try SegmentTotals(from: &footer)
    let claimedByteCount = try footer.size()
    let wordIndexByteCount = try footer.size()
    guard claimedByteCount == file.byteCount,
      let indexByteCount = CheckedSize.product(totals.chunkCount, SegmentIndex.entryByteCount),
      CheckedSize.sum(indexOffset, indexByteCount) == footerOffset, indexOffset >= header.count
    else {
      throw Refusal(
        .wrongLength, file: path, structure: "footer",
        "\(totals.chunkCount) entries at byte \(indexOffset) do not make a file of \(file.byteCount) bytes")
    }
    if configuration.hasWordIndexes {
      words = SegmentWords(
        in: file, endingAt: indexOffset, from: header.count, byteCount: wordIndexByteCount, salt: salt)
      guard words != nil else {
        throw Refusal(
          .wrongLength, file: path, structure: "footer",
          "a word index of \(wordIndexByteCount) bytes does not fit before byte \(indexOffset)")
      }
    } else {
      words = nil
      guard wordIndexByteCount == 0 else {
        throw Refusal(.nonZeroPadding, file: path, structure: "footer", "byte 48 to 55 are not 0")
      }
    }

    try footer.seek(to: 64)
    guard let claimed = Digest256(bytes: try footer.bytes(32)) else {
      throw Refusal(.truncated, file: path, structure: "footer", "has no digest")
    }
    var hasher = Hasher256()
    hasher.update(header)
    if let words { hasher.update(file.bytes.extracting(words.checksums)) }
    hasher.update(file.bytes.extracting(indexOffset..<file.byteCount - 32))
    guard hasher.finalize() == claimed else {
      throw Refusal(
        .digestMismatch, file: path, structure: "index", "the SHA-256 of header, index and footer is not the footer's")
    }
    closingDigest = claimed
    records = header.count..<(words?.start ?? indexOffset)
    index = SegmentIndex(in: file, at: indexOffset, count: totals.chunkCount)
    verified = Mutex(VerifiedParts(count: totals.chunkCount))
    isRescued = false
    self.file = file
    try index.validate(records: records, tokenLimit: configuration.tokenLimit)
  }

  /// Records without index and footer, as `SegmentRescue` found them.
  init(
    rescued file: MappedFile, _ configuration: TreeStoreConfiguration, frameKey: ChunkKey?, salt: UInt64,
    _ entries: [SegmentEntry], records: Range<Int>
  ) {
    self.file = file
    self.configuration = configuration
    self.frameKey = frameKey
    self.salt = salt
    self.records = records
    index = SegmentIndex(of: file, rescued: entries)
    words = nil
    totals = SegmentTotals()
    closingDigest = Digest256(of: [])
    isRescued = true
    verified = Mutex(VerifiedParts(count: entries.count))
  }

  /// Opens a segment that a manifest names.
  /// - Throws: `Refusal` `segment-mismatch` when it is another one, and those of `init(opening:)`.
  convenience init(
    _ reference: SegmentReference, in file: MappedFile, _ needed: TreeStoreConfiguration
  ) throws(Refusal) {
    try self.init(opening: file)
    guard file.byteCount == reference.byteCount else {
      throw Refusal(
        .segmentMismatch, file: path, "has \(file.byteCount) bytes; the manifest names \(reference.byteCount)")
    }
    guard closingDigest == reference.closingDigest, totals.chunkCount == reference.chunkCount else {
      throw Refusal(.segmentMismatch, file: path, "is not the segment that the manifest names")
    }
    try configuration.require(needed, file: path)
  }

  static func header(_ configuration: TreeStoreConfiguration, salt: UInt64) -> [UInt8] {
    StoreFormat.header(StoreFormat.segmentMagic, configuration, salt: salt, alignment: RecordLayout.alignment)
  }

  /// The checksum of a part of the file at its location.
  func checksum(of range: Range<Int>, at location: BlockLocation) -> BlockChecksum {
    let file = file
    return location.checksum(of: file.bytes.extracting(range))
  }

  /// Runs a check once for each part of each record, for as long as the segment is open.
  /// - Parameter part: 0 the head, 1 the key, 2 what is searched, 3 + i the i-th block.
  func verifyOnce(_ entryIndex: Int, part: Int, check: () throws(Refusal) -> Void) throws(Refusal) {
    if verified.withLock({ $0.contains(entryIndex, part) }) { return }
    do throws(Refusal) {
      try check()
    } catch {
      try file.requireWhole()
      throw error
    }
    try file.requireWhole()
    verified.withLock { $0.insert(entryIndex, part) }
  }
}

/// Parts of records that have passed their checksums.
private struct VerifiedParts {
  /// A bit for each of the first parts of each record; empty until there is one.
  private var bits: [UInt64] = []
  /// The others, of trees of many nodes.
  private var others: [Int: Set<Int>] = [:]
  private let count: Int

  init(count: Int) { self.count = count }

  func contains(_ entry: Int, _ part: Int) -> Bool {
    guard part < 64 else { return others[entry]?.contains(part) == true }
    return !bits.isEmpty && bits[entry] >> UInt64(part) & 1 == 1
  }

  mutating func insert(_ entry: Int, _ part: Int) {
    guard part < 64 else {
      others[entry, default: []].insert(part)
      return
    }
    if bits.isEmpty { bits = [UInt64](repeating: 0, count: count) }
    bits[entry] |= 1 << UInt64(part)
  }

  mutating func remove(_ entry: Int) {
    others[entry] = nil
    if !bits.isEmpty { bits[entry] = 0 }
  }
}

extension Segment {
  /// The next load of a record checks it again.
  func forgetVerified(_ entryIndex: Int) {
    verified.withLock { $0.remove(entryIndex) }
  }
}

/// The totals in a segment's footer.
struct SegmentTotals: Equatable {
  var chunkCount = 0
  var tokenCount = 0
  /// Bytes of all node blocks as the kernels read them.
  var blockByteCount = 0
  /// Bytes of all node blocks as stored.
  var storedBlockByteCount = 0

  init() {}

  @_lifetime(reader: copy reader)
  init(from reader: inout ByteReader) throws(Refusal) {
    chunkCount = try reader.size()
    tokenCount = try reader.size()
    blockByteCount = try reader.size()
    storedBlockByteCount = try reader.size()
  }

  func write(into writer: inout ByteWriter) {
    for number in [chunkCount, tokenCount, blockByteCount, storedBlockByteCount] { writer.integer(UInt64(number)) }
  }
}
