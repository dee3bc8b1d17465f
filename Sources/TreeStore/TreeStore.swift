public import FileAccess

/// One generation of a store of context trees or texts, pinned and mapped. Safe to use from any thread.
///
/// Reading takes no lock and writes nothing, so it works on read-only media and beside a writer: only stores that are
/// opened later see what a writer commits later. Opening reads little, however much the store holds.
/// Format: `Formats/tree-store.md`.
public final class TreeStore: Sendable {
  /// As the caller named it.
  public let path: String
  let manifest: Manifest
  let manifestDigest: Digest256
  let segments: SegmentSet
  let catalog: Catalog

  /// Opens the newest generation. A file that is lost or damaged fails only those who need it.
  /// - Throws: `Refusal` `missing-file` when nothing is there, `not-a-store`, and those of damaged stores
  ///   (`Formats/tree-store.md`, refusals). An older generation is never taken for a damaged newest one.
  public init(opening path: String) throws(Refusal) {
    var generation = try Self.newestGeneration(path)
    while true {
      do throws(Refusal) {
        let (manifest, digest) = try Manifest.read(generation, in: path)
        let catalog = Catalog(manifest, in: path)
        let segments = SegmentSet(manifest, in: path)
        // A writer may have removed this generation's files after it committed a newer one.
        if segments.files.contains(where: \.isMissing) || catalog.fault?.name == .missingTable,
          try Self.newestGeneration(path) > generation
        {
          throw Refusal(.missingFile, file: path, "generation \(generation) has been removed")
        }
        self.segments = segments
        self.catalog = catalog
        self.manifest = manifest
        manifestDigest = digest
        self.path = path
        return
      } catch {
        guard error.name == .missingFile else { throw error }
        let newest = try Self.newestGeneration(path)
        guard newest > generation else { throw error }
        generation = newest
      }
    }
  }

  static func newestGeneration(_ path: String) throws(Refusal) -> Int {
    guard let kind = try Directory.kind(of: path) else {
      throw Refusal(.missingFile, file: path, "there is no store here")
    }
    guard kind == .directory else { throw Refusal(.notADirectory, file: path, "a store is a directory") }
    guard let newest = try StoreFormat.generations(in: path).last else {
      let isStore = Directory.exists("\(path)/\(StoreFormat.segmentsName)") == .directory
      throw Refusal(
        .notAStore, file: path,
        "the directory has no manifest" + (isStore ? "; `sharedpack store repair` makes one of what is left" : ""))
    }
    return newest
  }

  public var configuration: TreeStoreConfiguration { manifest.configuration }

  /// The configuration of the newest generation, without its segments.
  /// - Throws: `Refusal`, as for opening, but for what segments are at fault of.
  package static func configuration(of path: String) throws(Refusal) -> TreeStoreConfiguration {
    try Manifest.read(newestGeneration(path), in: path).0.configuration
  }

  /// Counts commits from 1 on.
  public var generation: Int { manifest.generation }

  /// - Throws: `Refusal` `model-mismatch` when another model encoded the chunks, `configuration-mismatch` when trees
  ///   or rows are of another form.
  package func require(_ configuration: TreeStoreConfiguration) throws(Refusal) {
    try self.configuration.require(configuration, file: path)
  }

  /// The key of a chunk in this store.
  package func chunkKey(tokens: [Int32]) -> ChunkKey { configuration.chunkKey(tokens: tokens) }

  /// A chunk's tree.
  /// - Returns: nil when the store does not have it.
  /// - Throws: `Refusal` `checksum-mismatch` or `malformed-record` when the stored one is damaged; it can be encoded
  ///   again.
  package func chunk(_ key: ChunkKey) throws(Refusal) -> StoredChunk? {
    guard let form = configuration.tree else { return nil }
    return try record(of: key).map { StoredChunk($0, form) }
  }

  /// A chunk of a text.
  /// - Returns: nil when the store does not have it.
  /// - Throws: as `chunk(_:)`.
  package func text(_ key: ChunkKey) throws(Refusal) -> StoredText? {
    guard let form = configuration.text else { return nil }
    return try record(of: key).map { StoredText($0, form) }
  }

  /// - Returns: nil when the store does not have the chunk.
  func record(of key: ChunkKey) throws(Refusal) -> StoredRecord? {
    guard let place = try catalog.place(of: key, store: path) else { return nil }
    return try segments.record(of: key, at: place, store: path)
  }
}

extension Catalog {
  /// Where a chunk lies; nil when nowhere.
  func place(of key: ChunkKey, store: String) throws(Refusal) -> ChunkPlace? {
    guard let value = try value(of: CatalogKey.chunk(key)) else { return nil }
    return try ChunkPlace(value, file: store)
  }

  func document(named name: String, store: String) throws(Refusal) -> StoredDocument? {
    let key = CatalogKey.document(name)
    guard let value = try value(of: key) else { return nil }
    return try StoredDocument(key: key, value: value, file: store)
  }

  /// The chunks of a document.
  func chunks(of document: StoredDocument, store: String) throws(Refusal) -> DocumentChunks {
    try DocumentChunks(of: document, store: store) { (key) throws(Refusal) in try value(of: key) }
  }

  /// What the store as a whole has; nothing in a new one.
  func state(store: String) throws(Refusal) -> StoreState {
    guard let value = try value(of: StoreState.key) else { return StoreState() }
    return try StoreState(value, file: store)
  }
}

// MARK: Documents

extension TreeStore {
  /// A document of the store.
  /// - Returns: nil when it does not have it.
  /// - Throws: `Refusal` `checksum-mismatch`, `malformed-table` and others when the catalog is damaged there.
  public func document(named name: String) throws(Refusal) -> StoredDocument? {
    try catalog.document(named: name, store: path)
  }

  /// The chunks of a document.
  /// - Throws: `Refusal` `checksum-mismatch`, `malformed-table` and others when the catalog is damaged there.
  public func chunks(of document: StoredDocument) throws(Refusal) -> DocumentChunks {
    try catalog.chunks(of: document, store: path)
  }

  /// All documents, by the bytes of their names. ``forEachDocument(matching:_:)`` takes no memory for them.
  /// - Parameter pattern: of names; nil for all.
  /// - Throws: `Refusal` `checksum-mismatch`, `malformed-table` and others when the catalog is damaged.
  public func documents(matching pattern: NamePattern? = nil) throws(Refusal) -> [StoredDocument] {
    var result: [StoredDocument] = []
    try forEachDocument(matching: pattern) { (document) throws(Refusal) in result.append(document) }
    return result
  }

  /// Calls a body with each document, by the bytes of their names.
  /// - Parameters:
  ///   - pattern: of names; nil for all.
  ///   - body: does something with a document.
  /// - Throws: `Refusal` of the body; `checksum-mismatch`, `malformed-table` and others when the catalog is damaged.
  public func forEachDocument(
    matching pattern: NamePattern? = nil, _ body: (StoredDocument) throws(Refusal) -> Void
  ) throws(Refusal) {
    var scan = try catalog.scan(prefix: CatalogKey.document(pattern?.prefix ?? ""))
    while let (key, value) = try scan.next() {
      let document = try StoredDocument(key: key, value: value, file: path)
      if pattern?.matches(document.name) ?? true { try body(document) }
    }
  }

  /// The documents that have a chunk, by the bytes of their names.
  /// - Throws: `Refusal` `checksum-mismatch`, `malformed-table` and others when the catalog is damaged there.
  package func documents(holding key: ChunkKey) throws(Refusal) -> [(name: String, chunk: Int)] {
    var scan = try catalog.scan(prefix: CatalogKey.members(of: key))
    var result: [(name: String, chunk: Int)] = []
    while let (key, value) = try scan.next() {
      guard let name = String(validating: key.dropFirst(33), as: UTF8.self), value.count == 4 else {
        throw Refusal(.malformedTable, file: path, structure: "document of a chunk", "is not as a writer writes it")
      }
      let number = value.reversed().reduce(0) { $0 << 8 | Int($1) }
      result.append((name, number))
    }
    return result
  }
}
