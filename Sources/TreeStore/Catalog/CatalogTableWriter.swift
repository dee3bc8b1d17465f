internal import FileAccess

/// Writes a catalog table from its first entry to its last: one page of each height stays in memory.
/// Format: `Formats/tree-store.md`, catalog tables.
struct CatalogTableWriter: ~Copyable {
  private var file: PublishedFile
  private var hasher = Hasher256()
  private let header: [UInt8]
  private let salt: UInt64
  private let room: FileRoom?
  /// The pages that are being filled, from the entries up, and the first key of each.
  private var pages: [(writer: ByteWriter, firstKey: [UInt8])] = []
  private var entryCount = 0
  private var lastKey: [UInt8]?

  init(
    in store: StoreDirectory, _ configuration: TreeStoreConfiguration, salt: UInt64, room: FileRoom? = nil
  ) throws(Refusal) {
    let header = CatalogTable.header(configuration, salt: salt)
    try room?.require(header.count)
    var file = try PublishedFile(
      creating: "\(store.path)/\(StoreFormat.catalogName)/table", mode: store.fileMode, exactly: true)
    try file.append(header)
    hasher.update(header)
    self.salt = salt
    self.room = room
    self.header = header
    self.file = file
  }

  /// Appends an entry.
  /// - Precondition: its key is greater than the last one's, and it fits a page.
  mutating func append(_ entry: CatalogEntry) throws(Refusal) {
    precondition(lastKey.map { $0.lexicographicallyPrecedes(entry.key) } ?? true, "keys ascend")
    precondition(CatalogPage.keyByteCounts.contains(entry.key.count), "a key has 1 to 65535 bytes")
    precondition((entry.value.bytes?.count ?? 0) < CatalogPage.byteCountLimit / 2, "a value fits a page")
    lastKey = entry.key
    entryCount += 1
    try append(entry, height: 0)
  }

  /// Appends changes, and of older entries those that they do not change.
  /// - Parameters:
  ///   - changes: in ascending order of key.
  ///   - next: the next older entry, in ascending order of key.
  ///   - isKept: whether an entry is appended.
  mutating func append(
    _ changes: [CatalogEntry], over next: () throws(Refusal) -> CatalogEntry?,
    keeping isKept: (CatalogEntry) throws(Refusal) -> Bool
  ) throws(Refusal) {
    var old = try next()
    for change in changes {
      while let entry = old, entry.key.lexicographicallyPrecedes(change.key) {
        if try isKept(entry) { try append(entry) }
        old = try next()
      }
      if old?.key == change.key { old = try next() }
      if try isKept(change) { try append(change) }
    }
    while let entry = old {
      if try isKept(entry) { try append(entry) }
      old = try next()
    }
  }

  private mutating func append(_ entry: CatalogEntry, height: Int) throws(Refusal) {
    if height == pages.count { pages.append((ByteWriter(), entry.key)) }
    // A page that leads to others leads to two at least, or the tree would not end.
    if !pages[height].writer.bytes.isEmpty, pages[height].writer.bytes.count >= CatalogPage.byteCount {
      try finishPage(height)
    }
    if pages[height].writer.bytes.isEmpty { pages[height].firstKey = entry.key }
    CatalogPage.append(entry, to: &pages[height].writer)
  }

  /// Writes a page and names it in the one above.
  private mutating func finishPage(_ height: Int) throws(Refusal) {
    let (reference, firstKey) = (try write(height), pages[height].firstKey)
    try append(CatalogEntry(key: firstKey, value: .value(reference.encoded)), height: height + 1)
  }

  private mutating func write(_ height: Int) throws(Refusal) -> PageReference {
    let bytes = pages[height].writer.bytes
    pages[height].writer = ByteWriter()
    let offset = file.byteCount
    let seed = CatalogTable.seed(salt: salt, byteOffset: offset)
    let reference = PageReference(
      byteOffset: offset, byteCount: bytes.count,
      checksum: unsafe BlockChecksum(of: bytes.span.bytes, seed: seed))
    try room?.require(offset + bytes.count)
    hasher.update(bytes)
    try file.append(bytes)
    return reference
  }

  /// Writes the pages that are left and the footer, and makes the table durable under its name.
  /// - Parameter generations: whose changes it has.
  mutating func publish(_ generations: ClosedRange<Int>) throws(Refusal) -> TableReference {
    var height = 0
    while height + 1 < pages.count {
      if !pages[height].writer.bytes.isEmpty { try finishPage(height) }
      height += 1
    }
    let root =
      pages.isEmpty
      ? PageReference(byteOffset: file.byteCount, byteCount: 0, checksum: BlockChecksum(high: 0, low: 0))
      : try write(height)
    var writer = ByteWriter()
    writer.integer(UInt64(root.byteOffset))
    writer.integer(UInt64(root.byteCount))
    writer.integer(root.checksum.low)
    writer.integer(root.checksum.high)
    writer.integer(UInt64(pages.count))
    writer.integer(UInt64(entryCount))
    writer.integer(UInt64(generations.lowerBound))
    writer.integer(UInt64(generations.upperBound))
    let byteCount = file.byteCount + CatalogTable.footerByteCount
    writer.integer(UInt64(byteCount))
    writer.integer(UInt64(0))
    writer.integer(UInt64(0))
    writer.append(StoreFormat.footerMagic)
    var closing = Hasher256()
    closing.update(header)
    closing.update(writer.bytes)
    let closingDigest = closing.finalize()
    writer.append(closingDigest.bytes)
    precondition(writer.bytes.count == CatalogTable.footerByteCount)
    try room?.require(byteCount)
    hasher.update(writer.bytes)
    try file.append(writer.bytes)
    let digest = hasher.finalize()
    try file.publish(as: "\(digest)\(StoreFormat.tableSuffix)")
    return TableReference(
      digest: digest, closingDigest: closingDigest, byteCount: byteCount, entryCount: entryCount,
      generations: generations)
  }
}
