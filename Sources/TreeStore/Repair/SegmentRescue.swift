internal import ContextTrees
internal import FileAccess

/// The records of a segment whose index or footer is lost: each says itself what it is.
///
/// A record is one if the numbers in its head are possible and its tokens hash to its key. The checksum of its head is
/// lost with the index, but all that it covers is known otherwise: key and tokens by the hash, the rest by the checksums
/// of the parts, which fit no other place, length or form.
struct SegmentRescue {
  /// In ascending order of key.
  private(set) var entries: [SegmentEntry] = []
  private let file: MappedFile
  private let configuration: TreeStoreConfiguration
  private let frameKey: ChunkKey?
  private let salt: UInt64
  private let records: Range<Int>
  /// Bytes that may still be looked at in vain, so that a file of beginnings does not take for ever.
  private var budget: Int

  /// Looks for records.
  /// - Parameters:
  ///   - configuration: of the store; what the file says of it may be damaged.
  ///   - byteCount: that the file had, where that is known: what follows is nobody's.
  init?(_ file: MappedFile, _ configuration: TreeStoreConfiguration, byteCount: Int = .max) {
    let start = Segment.header(configuration, salt: 0).count
    guard file.byteCount > start else { return nil }
    self.file = file
    self.configuration = configuration
    frameKey = configuration.frameKey
    salt = unsafe UInt64(littleEndian: file.bytes.unsafeLoadUnaligned(fromByteOffset: 24, as: UInt64.self))
    let end = max(min(file.byteCount, byteCount) / RecordLayout.alignment * RecordLayout.alignment, start)
    records = start..<end
    budget = CheckedSize.product(end, 8) ?? .max
    search()
  }

  private mutating func search() {
    var found: [ChunkKey: SegmentEntry] = [:]
    var offset = records.lowerBound
    while offset < records.upperBound, budget > 0 {
      guard let (entry, isWhole) = candidate(at: offset) else {
        // Behind what is damaged the next record starts somewhere.
        offset += RecordLayout.alignment
        continue
      }
      if isWhole || found[entry.key] == nil { found[entry.key] = entry }
      // The length of one that is damaged may be what is damaged.
      offset += isWhole ? entry.byteCount : RecordLayout.alignment
    }
    entries = found.values.sorted { $0.key < $1.key }
  }

  /// What an index would say of a record, and whether all of it can be read.
  /// - Returns: nil when none starts here.
  private mutating func candidate(at offset: Int) -> (SegmentEntry, isWhole: Bool)? {
    guard records.upperBound - offset >= RecordLayout.fixedHeadByteCount else { return nil }
    let file = file
    let bytes = file.bytes
    func number(_ byteOffset: Int) -> Int {
      Int(unsafe UInt32(littleEndian: bytes.unsafeLoadUnaligned(fromByteOffset: offset + byteOffset, as: UInt32.self)))
    }
    let key = ChunkKey(bytes, at: offset)
    let tokenCount = number(32)
    guard (1...configuration.tokenLimit).contains(tokenCount) else { return nil }
    let blockCount = configuration.blocks(tokens: tokenCount, isFrame: key == frameKey).count
    let headByteCount = RecordLayout.headByteCount(
      blocks: blockCount, tokens: tokenCount, linked: configuration.text != nil)
    budget -= 64 + 32 * blockCount
    guard number(36) == blockCount, number(44) == 0, headByteCount <= records.upperBound - offset else { return nil }
    budget -= headByteCount
    let longest = min(records.upperBound - offset, Int(UInt32.max) * RecordLayout.alignment)
    let head = bytes.extracting(offset..<offset + headByteCount)
    let open = SegmentEntry(
      key: key, byteOffset: offset, tokenCount: tokenCount, byteCount: longest,
      headChecksum: BlockLocation(salt: salt, key: key, kind: .head).checksum(of: head))
    let segment = segment([open])
    guard let record = try? StoredRecord(in: segment, at: 0) else { return nil }
    let entry = SegmentEntry(
      key: key, byteOffset: offset, tokenCount: tokenCount, byteCount: record.layout.end - offset,
      headChecksum: open.headChecksum)
    let isWhole = record.isWhole
    if !isWhole { budget -= entry.byteCount }
    return (entry, isWhole)
  }

  private func segment(_ entries: [SegmentEntry]) -> Segment {
    Segment(rescued: file, configuration, frameKey: frameKey, salt: salt, entries, records: records)
  }

  /// A segment of the records that were found; nil when there is none.
  var segment: Segment? { entries.isEmpty ? nil : segment(entries) }
}

extension Segment {
  /// Opens a segment, or what is left of one whose index or footer is damaged.
  /// - Parameters:
  ///   - configuration: of the store.
  ///   - byteCount: that the file had, where that is known.
  /// - Returns: nil when nothing of the configuration can be read.
  static func remains(of path: String, _ configuration: TreeStoreConfiguration, byteCount: Int = .max) -> Segment? {
    guard let file = try? MappedFile(path) else { return nil }
    if let segment = try? Segment(opening: file) { return segment.configuration == configuration ? segment : nil }
    return SegmentRescue(file, configuration, byteCount: byteCount)?.segment
  }
}
