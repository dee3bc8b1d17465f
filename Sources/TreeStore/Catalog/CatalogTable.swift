internal import FileAccess

/// What a manifest knows of a catalog table.
struct TableReference: Equatable, Sendable {
  /// The SHA-256 of the file, which names it.
  let digest: Digest256
  /// The digest with which the file ends, over header and footer.
  let closingDigest: Digest256
  let byteCount: Int
  let entryCount: Int
  /// The generations whose changes it has.
  let generations: ClosedRange<Int>
}

/// An immutable, sorted, mapped table of keys and values: one level of a store's catalog.
///
/// It is a tree of pages, each of which is checked whenever it is read. Opening reads the ends of the file and a lookup
/// one page of each height, whatever the table's size. Safe to use from any thread.
/// Format: `Formats/tree-store.md`, catalog tables.
final class CatalogTable: Sendable {
  static let footerByteCount = 128
  static let heightLimit = 32
  static let fixedHeaderByteCount = 32

  let file: MappedFile
  let configuration: TreeStoreConfiguration
  let salt: UInt64
  /// Nil for a table without entries.
  let root: PageReference?
  /// Pages between the root and an entry, both counted; 0 without entries.
  let height: Int
  let entryCount: Int
  let generations: ClosedRange<Int>
  let closingDigest: Digest256

  var path: String { file.path }

  /// Opens a table without a manifest's entry to check it against.
  /// - Throws: `Refusal`, see `Formats/tree-store.md`, refusals.
  init(opening file: MappedFile) throws(Refusal) {
    let path = file.path
    guard file.byteCount >= Self.fixedHeaderByteCount + Self.footerByteCount else {
      throw Refusal(.wrongLength, file: path, "has \(file.byteCount) bytes, fewer than any catalog table")
    }
    var reader = ByteReader(file.bytes, file: path, structure: "header")
    let header: [UInt8]
    (configuration, salt, header) = try StoreFormat.readHeader(
      StoreFormat.tableMagic, alignment: 8, from: &reader, file: path, malformed: .malformedTable)
    let footerOffset = file.byteCount - Self.footerByteCount
    let footerBytes = file.bytes.extracting(footerOffset..<file.byteCount)
    var footer = ByteReader(footerBytes, file: path, structure: "footer")
    let rootOffset = try footer.size()
    let rootByteCount = try footer.size()
    let checksum = try BlockChecksum(from: &footer)
    height = try footer.size()
    entryCount = try footer.size()
    let (first, last) = (try footer.size(), try footer.size())
    let claimedByteCount = try footer.size()
    let zero = try footer.bytes(16)
    guard try footer.bytes(8) == StoreFormat.footerMagic else {
      throw Refusal(.badMagic, file: path, structure: "footer", "does not end like a catalog table")
    }
    guard let claimed = Digest256(bytes: try footer.bytes(32)) else {
      throw Refusal(.truncated, file: path, structure: "footer", "has no digest")
    }
    var hasher = Hasher256()
    hasher.update(header)
    hasher.update(footerBytes.extracting(0..<Self.footerByteCount - 32))
    guard hasher.finalize() == claimed else {
      throw Refusal(.digestMismatch, file: path, structure: "footer", "the SHA-256 of header and footer is another")
    }
    closingDigest = claimed
    guard claimedByteCount == file.byteCount else {
      throw Refusal(.wrongLength, file: path, structure: "footer", "the file has \(file.byteCount) bytes")
    }
    guard zero.allSatisfy({ $0 == 0 }) else {
      throw Refusal(.nonZeroPadding, file: path, structure: "footer", "bytes that must be 0 are not")
    }
    guard first <= last, height <= Self.heightLimit, (height == 0) == (entryCount == 0),
      height == 0
        ? rootOffset == footerOffset && rootByteCount == 0
        : CheckedSize.sum(rootOffset, rootByteCount) == footerOffset && rootOffset >= header.count
          && rootByteCount <= CatalogPage.byteCountLimit
    else { throw Refusal(.malformedTable, file: path, structure: "footer", "its fields do not make a table") }
    generations = first...last
    root =
      height == 0
      ? nil : PageReference(byteOffset: rootOffset, byteCount: rootByteCount, checksum: checksum)
    self.file = file
  }

  /// Opens a table that a manifest names.
  /// - Throws: `Refusal` `table-mismatch` when it is another one, and those of `init(opening:)`.
  convenience init(
    _ reference: TableReference, in file: MappedFile, _ needed: TreeStoreConfiguration
  ) throws(Refusal) {
    try self.init(opening: file)
    guard closingDigest == reference.closingDigest, file.byteCount == reference.byteCount,
      entryCount == reference.entryCount, generations == reference.generations
    else { throw Refusal(.tableMismatch, file: path, "is not the catalog table that the manifest names") }
    try configuration.require(needed, file: path)
  }

  static func header(_ configuration: TreeStoreConfiguration, salt: UInt64) -> [UInt8] {
    StoreFormat.header(StoreFormat.tableMagic, configuration, salt: salt, alignment: 8)
  }

  /// What binds a page to its place.
  static func seed(salt: UInt64, byteOffset: Int) -> UInt64 {
    var writer = ByteWriter()
    writer.integer(salt)
    writer.integer(UInt64(byteOffset))
    let place = writer.bytes
    return unsafe BlockChecksum(of: place.span.bytes, seed: 0).low
  }

  func malformed(_ page: PageReference, _ fault: String) -> Refusal {
    Refusal(.malformedTable, file: path, structure: "page at byte \(page.byteOffset)", fault)
  }

  /// The bytes of a page, checked.
  /// - Throws: `Refusal` `checksum-mismatch`.
  func page(_ reference: PageReference) throws(Refusal) -> Range<Int> {
    guard reference.byteOffset >= 0, reference.byteCount <= CatalogPage.byteCountLimit,
      let end = CheckedSize.sum(reference.byteOffset, reference.byteCount), end <= file.byteCount
    else { throw malformed(reference, "does not lie in the file") }
    let file = file
    let bytes = file.bytes.extracting(reference.byteOffset..<end)
    let seed = Self.seed(salt: salt, byteOffset: reference.byteOffset)
    let checksum = BlockChecksum(of: bytes, seed: seed)
    try file.requireWhole()
    guard checksum == reference.checksum else {
      throw Refusal(
        .checksumMismatch, file: path, structure: "page at byte \(reference.byteOffset)", "is damaged or misplaced")
    }
    return reference.byteOffset..<end
  }

  /// The page below an entry of a page. Pages are written before those that lead to them, so none leads to itself.
  func child(_ slot: CatalogPage.Slot, of page: PageReference) throws(Refusal) -> PageReference {
    guard let value = slot.value, value.count == PageReference.byteCount else {
      throw malformed(page, "an entry leads to no page")
    }
    let file = file
    let bytes = file.bytes.extracting(page.byteOffset..<page.byteOffset + page.byteCount).extracting(value)
    let child = try PageReference(bytes, file: path)
    guard child.byteOffset < page.byteOffset, child.byteCount > 0 else {
      throw malformed(page, "leads to a later page")
    }
    return child
  }

  /// What the table says about a key.
  /// - Returns: nil when it says nothing.
  /// - Throws: `Refusal` `checksum-mismatch`, `malformed-table`.
  func value(of key: [UInt8]) throws(Refusal) -> CatalogValue? {
    guard var reference = root else { return nil }
    for level in (0..<height).reversed() {
      let range = try page(reference)
      let file = file
      let bytes = file.bytes.extracting(range)
      var offset = 0
      var last: CatalogPage.Slot?
      while offset < bytes.byteCount {
        guard let slot = CatalogPage.slot(in: bytes, at: offset) else { throw malformed(reference, "an entry is cut") }
        let order = CatalogPage.compare(bytes, slot, with: key)
        if level == 0, order == 0 { return CatalogPage.entry(in: bytes, slot).value }
        if order > 0 { break }
        last = slot
        offset = slot.end
      }
      guard level > 0, let last else { return nil }
      reference = try child(last, of: reference)
    }
    return nil
  }
}

/// Walks over a table's entries in ascending order of key.
struct CatalogCursor: Sendable {
  private let table: CatalogTable
  /// The pages from the root to an entry, and where the next entry of each starts.
  private var path: [(reference: PageReference, offset: Int)] = []
  /// The entry that is next; nil behind the last.
  private(set) var entry: CatalogEntry?

  /// - Parameter key: the first entry is the first whose key is not less.
  init(_ table: CatalogTable, from key: [UInt8]) throws(Refusal) {
    self.table = table
    guard let root = table.root else { return }
    var reference = root
    for level in (0..<table.height).reversed() {
      let range = try table.page(reference)
      let file = table.file
      let bytes = file.bytes.extracting(range)
      var offset = 0
      var last: CatalogPage.Slot?
      while offset < bytes.byteCount {
        guard let slot = CatalogPage.slot(in: bytes, at: offset) else {
          throw table.malformed(reference, "an entry is cut")
        }
        let order = CatalogPage.compare(bytes, slot, with: key)
        // In a page that leads to others, the last whose first key is not greater may have it.
        if level == 0 ? order >= 0 : order > 0 && last != nil { break }
        last = slot
        offset = slot.end
        if level > 0, order > 0 { break }
      }
      path.append((reference, offset))
      guard level > 0 else { break }
      guard let last else { throw table.malformed(reference, "has no entries") }
      reference = try table.child(last, of: reference)
    }
    try advance()
  }

  /// Goes to the next entry.
  mutating func advance() throws(Refusal) {
    let previous = entry
    entry = nil
    while let (reference, offset) = path.last {
      guard offset < reference.byteCount else {
        path.removeLast()
        continue
      }
      // A leaf was checked when it was entered; it lies where it did.
      let file = table.file
      let bytes = file.bytes.extracting(reference.byteOffset..<reference.byteOffset + reference.byteCount)
      guard let slot = CatalogPage.slot(in: bytes, at: offset) else {
        throw table.malformed(reference, "an entry is cut")
      }
      path[path.count - 1].offset = slot.end
      guard path.count < table.height else {
        let next = CatalogPage.entry(in: bytes, slot)
        if let previous, !previous.key.lexicographicallyPrecedes(next.key) {
          throw table.malformed(reference, "the keys do not ascend")
        }
        entry = next
        return
      }
      let child = try table.child(slot, of: reference)
      _ = try table.page(child)
      path.append((child, 0))
    }
  }
}
