internal import FileAccess

/// What a catalog says about a key: a value, or that the key is gone.
enum CatalogValue: Equatable, Sendable {
  case value([UInt8])
  /// Older tables may have a value; it counts no more.
  case removed

  var bytes: [UInt8]? { if case .value(let bytes) = self { bytes } else { nil } }
}

/// A key of a catalog and what is said about it.
struct CatalogEntry: Equatable, Sendable {
  let key: [UInt8]
  let value: CatalogValue
}

/// Where a page lies in its table's file, and what it must be.
/// Format: `Formats/tree-store.md`, catalog tables.
struct PageReference: Equatable, Sendable {
  static let byteCount = 28

  let byteOffset: Int
  let byteCount: Int
  let checksum: BlockChecksum

  init(byteOffset: Int, byteCount: Int, checksum: BlockChecksum) {
    self.byteOffset = byteOffset
    self.byteCount = byteCount
    self.checksum = checksum
  }

  /// The value of an entry of a page that leads to others.
  var encoded: [UInt8] {
    var writer = ByteWriter()
    writer.integer(UInt64(byteOffset))
    writer.integer(UInt32(byteCount))
    writer.integer(checksum.low)
    writer.integer(checksum.high)
    return writer.bytes
  }

  /// - Throws: `Refusal` `truncated`.
  init(_ bytes: RawSpan, file: String) throws(Refusal) {
    var reader = ByteReader(bytes, file: file, structure: "page reference")
    byteOffset = try reader.size()
    byteCount = Int(try reader.integer(UInt32.self))
    checksum = try BlockChecksum(from: &reader)
  }
}

/// The entries of a page, as they lie in it.
///
/// A page is read from its first entry to its last: it has a few dozen.
enum CatalogPage {
  /// A page takes entries until it has this many bytes.
  static let byteCount = 4096
  /// A key and its lengths, or a reference, make a page a little longer; metadata makes it long.
  static let byteCountLimit = 1 << 20
  /// The value length of a key that is gone.
  private static let removedMark = UInt32.max
  private static let fixedByteCount = 6
  static let keyByteCounts = 1...Int(UInt16.max)

  static func append(_ entry: CatalogEntry, to writer: inout ByteWriter) {
    let value = entry.value.bytes
    writer.integer(UInt16(entry.key.count))
    writer.integer(value.map { UInt32($0.count) } ?? removedMark)
    writer.append(entry.key)
    writer.append(value ?? [])
  }

  /// Where an entry's parts lie in its page.
  struct Slot {
    let key: Range<Int>
    /// Nil for a key that is gone.
    let value: Range<Int>?
    let end: Int
  }

  /// - Parameter byteOffset: where the entry starts.
  /// - Returns: nil when it does not lie in the page.
  static func slot(in page: RawSpan, at byteOffset: Int) -> Slot? {
    guard page.byteCount - byteOffset >= fixedByteCount else { return nil }
    let keyByteCount = Int(
      unsafe UInt16(littleEndian: page.unsafeLoadUnaligned(fromByteOffset: byteOffset, as: UInt16.self)))
    let mark = unsafe UInt32(littleEndian: page.unsafeLoadUnaligned(fromByteOffset: byteOffset + 2, as: UInt32.self))
    let valueByteCount = mark == removedMark ? 0 : Int(mark)
    let start = byteOffset + fixedByteCount
    guard keyByteCount > 0, page.byteCount - start >= keyByteCount,
      page.byteCount - start - keyByteCount >= valueByteCount
    else { return nil }
    let value = start + keyByteCount
    return Slot(
      key: start..<value, value: mark == removedMark ? nil : value..<value + valueByteCount,
      end: value + valueByteCount)
  }

  static func entry(in page: RawSpan, _ slot: Slot) -> CatalogEntry {
    CatalogEntry(
      key: page.extracting(slot.key).array,
      value: slot.value.map { .value(page.extracting($0).array) } ?? .removed)
  }

  /// How a key in a page compares with another: negative when it comes before it.
  static func compare(_ page: RawSpan, _ slot: Slot, with key: [UInt8]) -> Int {
    let bytes = page.extracting(slot.key)
    let common = min(bytes.byteCount, key.count)
    for index in 0..<common {
      let byte = unsafe bytes.unsafeLoad(fromByteOffset: index, as: UInt8.self)
      if byte != key[index] { return byte < key[index] ? -1 : 1 }
    }
    return bytes.byteCount - key.count
  }
}
