internal import FileAccess

/// A part of a catalog table that cannot be read.
struct DamagedKeys {
  let fault: Refusal
  /// The first key that may have been there, and the first behind it; nil where all that follow may have been.
  let first: [UInt8]
  let end: [UInt8]?

  func contains(_ key: [UInt8]) -> Bool {
    !key.lexicographicallyPrecedes(first) && (end.map { key.lexicographicallyPrecedes($0) } ?? true)
  }
}

/// Walks over those entries of a table that can be read, in ascending order of key, and notes what cannot.
struct PatientCursor {
  private let table: CatalogTable
  private let start: [UInt8]
  /// The pages from the root to an entry, where the next entry of each starts, and the first key behind them.
  private var path: [(reference: PageReference, offset: Int, end: [UInt8]?)] = []
  private var lastKey: [UInt8] = []
  /// The entry that is next; nil behind the last.
  private(set) var entry: CatalogEntry?
  /// What was met so far.
  private(set) var damaged: [DamagedKeys] = []

  /// - Parameter start: entries with lesser keys are passed over, and so is damage among them.
  init(_ table: CatalogTable, from start: [UInt8] = []) {
    self.table = table
    self.start = start
    guard let root = table.root else { return }
    enter(root, first: [], end: nil)
    advance()
  }

  private mutating func enter(_ page: PageReference, first: [UInt8], end: [UInt8]?) {
    do throws(Refusal) {
      _ = try table.page(page)
      path.append((page, 0, end))
    } catch {
      damaged.append(DamagedKeys(fault: error, first: first, end: end))
    }
  }

  /// Goes to the next entry that can be read.
  mutating func advance() {
    entry = nil
    while let (reference, offset, end) = path.last {
      guard offset < reference.byteCount else {
        path.removeLast()
        continue
      }
      let file = table.file
      let bytes = file.bytes.extracting(reference.byteOffset..<reference.byteOffset + reference.byteCount)
      guard let slot = CatalogPage.slot(in: bytes, at: offset) else {
        let fault = table.malformed(reference, "an entry is cut")
        damaged.append(DamagedKeys(fault: fault, first: lastKey, end: end))
        path.removeLast()
        continue
      }
      path[path.count - 1].offset = slot.end
      let next = CatalogPage.entry(in: bytes, slot)
      guard path.count < table.height else {
        guard lastKey.lexicographicallyPrecedes(next.key) else {
          let fault = table.malformed(reference, "the keys do not ascend")
          damaged.append(DamagedKeys(fault: fault, first: next.key, end: next.key + [0]))
          continue
        }
        lastKey = next.key
        guard !next.key.lexicographicallyPrecedes(start) else { continue }
        entry = next
        return
      }
      let sibling = CatalogPage.slot(in: bytes, at: slot.end).map { CatalogPage.entry(in: bytes, $0).key }
      if let bound = sibling ?? end, !start.lexicographicallyPrecedes(bound) { continue }
      do throws(Refusal) {
        enter(try table.child(slot, of: reference), first: next.key, end: sibling ?? end)
      } catch {
        damaged.append(DamagedKeys(fault: error, first: next.key, end: sibling ?? end))
      }
    }
  }
}

/// The levels of a catalog as far as they can be read: where a newer level is damaged, an older one counts.
struct PatientCatalog {
  /// From the newest to the oldest; nil for one that cannot be opened.
  let tables: [CatalogTable?]

  /// The value of a key in the newest level that can be read there.
  func value(of key: [UInt8]) -> [UInt8]? {
    for table in tables {
      guard let table, let value = try? table.value(of: key) else { continue }
      return value.bytes
    }
    return nil
  }

  /// Walks over all entries, or those whose keys begin with a prefix.
  func scan(prefix: [UInt8]) -> PatientScan { PatientScan(tables, prefix: prefix) }

  /// All that cannot be read, of each level. Reads every page.
  func damaged() -> [[DamagedKeys]] {
    tables.map { table in
      guard let table else { return [] }
      var cursor = PatientCursor(table)
      while cursor.entry != nil { cursor.advance() }
      return cursor.damaged
    }
  }
}

/// A walk over what can be read of several levels at once.
struct PatientScan {
  private var cursors: [PatientCursor]
  private let prefix: [UInt8]

  fileprivate init(_ tables: [CatalogTable?], prefix: [UInt8]) {
    self.prefix = prefix
    cursors = tables.compactMap { $0.map { PatientCursor($0, from: prefix) } }
  }

  /// The next entry of the newest level that has its key, whether it has a value or is gone.
  mutating func nextEntry() -> CatalogEntry? {
    var best: CatalogEntry?
    for cursor in cursors {
      guard let entry = cursor.entry else { continue }
      if let key = best?.key, !entry.key.lexicographicallyPrecedes(key) { continue }
      best = entry
    }
    guard let best, best.key.starts(with: prefix) else { return nil }
    for index in cursors.indices where cursors[index].entry?.key == best.key { cursors[index].advance() }
    return best
  }

  /// The next key that has a value, and the value.
  mutating func next() -> (key: [UInt8], value: [UInt8])? {
    while let entry = nextEntry() {
      if let value = entry.value.bytes { return (entry.key, value) }
    }
    return nil
  }
}
