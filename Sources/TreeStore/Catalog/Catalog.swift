internal import FileAccess

/// The levels of a store's catalog: what is said about a key in the newest of them that knows it.
/// Format: `Formats/tree-store.md`, catalog.
struct Catalog: Sendable {
  /// A table that a manifest names.
  struct Level: Sendable {
    let reference: TableReference
    /// Nil when it cannot be opened.
    let table: CatalogTable?
    /// Why not.
    let fault: Refusal?
  }

  /// From the newest to the oldest.
  private(set) var levels: [Level] = []

  init() {}

  /// Opens what a manifest names. A table that is lost or damaged fails only those who need it.
  init(_ manifest: Manifest, in store: String) {
    for reference in manifest.tables { levels.append(Self.open(reference, in: store, manifest.configuration)) }
  }

  static func open(_ reference: TableReference, in store: String, _ configuration: TreeStoreConfiguration) -> Level {
    let path = StoreFormat.tablePath(store, reference.digest)
    do throws(Refusal) {
      let table = try CatalogTable(reference, in: try MappedFile(path), configuration)
      return Level(reference: reference, table: table, fault: nil)
    } catch {
      let fault =
        error.name == .missingFile
        ? Refusal(.missingTable, file: path, "the manifest names it and it is not there") : error
      return Level(reference: reference, table: nil, fault: fault)
    }
  }

  /// Why a table cannot be opened; nil when all can.
  var fault: Refusal? { levels.lazy.compactMap(\.fault).first }

  var references: [TableReference] { levels.map(\.reference) }

  /// Replaces the newest levels by one.
  mutating func replace(newest count: Int, with level: Level) {
    levels.replaceSubrange(..<count, with: [level])
  }

  /// - Throws: `Refusal` of a table that has to be looked at and is damaged.
  private func table(_ level: Level) throws(Refusal) -> CatalogTable {
    if let table = level.table { return table }
    throw level.fault ?? Refusal(.missingTable, file: "", "a catalog table is not open")
  }

  /// The value of a key.
  /// - Returns: nil when it has none.
  func value(of key: [UInt8]) throws(Refusal) -> [UInt8]? {
    for level in levels {
      if let value = try table(level).value(of: key) { return value.bytes }
    }
    return nil
  }

  /// Walks over all entries whose keys begin with a prefix, in ascending order of key.
  /// - Parameters:
  ///   - start: the first key to look at, beginning with the prefix; nil for the first that there is.
  ///   - newest: only this many of the newest levels.
  func scan(prefix: [UInt8], from start: [UInt8]? = nil, newest: Int? = nil) throws(Refusal) -> CatalogScan {
    var cursors: [CatalogCursor] = []
    for level in levels.prefix(newest ?? levels.count) {
      cursors.append(try CatalogCursor(try table(level), from: start ?? prefix))
    }
    return CatalogScan(cursors, prefix: prefix)
  }
}

/// A walk over several levels at once.
struct CatalogScan {
  /// From the newest level to the oldest.
  private var cursors: [CatalogCursor]
  private let prefix: [UInt8]

  fileprivate init(_ cursors: [CatalogCursor], prefix: [UInt8]) {
    self.cursors = cursors
    self.prefix = prefix
  }

  /// The next entry of the newest level that has its key, whether it has a value or is gone.
  mutating func nextEntry() throws(Refusal) -> CatalogEntry? {
    var best: CatalogEntry?
    for cursor in cursors {
      guard let entry = cursor.entry else { continue }
      if let key = best?.key, !entry.key.lexicographicallyPrecedes(key) { continue }
      best = entry
    }
    guard let best, best.key.starts(with: prefix) else { return nil }
    for index in cursors.indices where cursors[index].entry?.key == best.key { try cursors[index].advance() }
    return best
  }

  /// The next key that has a value, and the value.
  mutating func next() throws(Refusal) -> (key: [UInt8], value: [UInt8])? {
    while let entry = try nextEntry() {
      if let value = entry.value.bytes { return (entry.key, value) }
    }
    return nil
  }
}
