internal import ContextTrees
internal import FileAccess
internal import NodeBlocks

/// A writer's changes to a store's directory besides adding files.
/// Format: `Formats/tree-store.md`, directory.
enum StoreCreation {
  /// Takes a store's lock; makes the directory when there is a configuration to create a store with.
  static func lock(
    _ path: String, creating configuration: TreeStoreConfiguration?, _ sharing: StoreSharing
  ) throws(Refusal) -> FileLock {
    switch try Directory.kind(of: path) {
    case .directory:
      let names = try Directory.names(in: path)
      // Nothing is written into a directory that is neither a store nor the beginning of one.
      guard
        names.contains(where: { StoreFormat.generation($0) != nil }) || configuration != nil && names.allSatisfy(isOurs)
      else { throw Refusal(.notAStore, file: path, "the directory has no manifest") }
    case nil:
      guard configuration != nil else { throw Refusal(.missingFile, file: path, "there is no store here") }
      try Directory.create(path, mode: sharing.directoryMode, exactly: true)
    default:
      throw Refusal(.notADirectory, file: path, "a store is a directory")
    }
    return try FileLock(exclusive: "\(path)/\(StoreFormat.lockName)")
  }

  private static func isOurs(_ name: String) -> Bool {
    [StoreFormat.lockName, StoreFormat.segmentsName, StoreFormat.catalogName].contains(name) || isPartial(name)
  }

  static func isPartial(_ name: String) -> Bool {
    name.hasPrefix(".") && name.hasSuffix(StoreFormat.partialSuffix)
  }

  /// Makes the first generation, which is empty. The caller has the lock.
  static func create(_ path: String, _ configuration: TreeStoreConfiguration) throws(Refusal) {
    let directory = StoreDirectory(path)
    for name in [StoreFormat.segmentsName, StoreFormat.catalogName] {
      try Directory.create("\(path)/\(name)", mode: directory.directoryMode, exactly: true)
      // The first manifest comes before the first file, so files without one are the remains of a damaged store.
      if let file = try Directory.names(in: "\(path)/\(name)").first(where: { !isPartial($0) }) {
        throw Refusal(.missingManifest, file: path, "has \(name)/\(file.prefix(12)) and no manifest")
      }
    }
    try Directory.synchronize(path)
    // Even if the directory was there: whoever created it may have been killed.
    try Directory.synchronize(Directory.split(path).directory)
    let manifest = Manifest(
      generation: 1, previous: nil, configuration: configuration, segments: [], tables: [], obsolete: [])
    _ = try manifest.publish(in: directory)
  }

  /// Makes the state durable that a writer builds on: a writer that was killed between renaming a file and
  /// synchronizing its directory leaves a generation that everybody sees but that a power failure would undo. The
  /// caller has the lock.
  static func synchronize(_ path: String) throws(Refusal) {
    try Directory.synchronize("\(path)/\(StoreFormat.segmentsName)")
    try Directory.synchronize("\(path)/\(StoreFormat.catalogName)")
    try Directory.synchronize(path)
  }

  // Removal frees space and changes no content, so one that fails is left to the next writer.

  /// Removes what killed writers left. The caller has the lock.
  static func removePartialFiles(_ path: String) {
    for directory in [path, "\(path)/\(StoreFormat.segmentsName)", "\(path)/\(StoreFormat.catalogName)"] {
      for name in (try? Directory.names(in: directory)) ?? [] where isPartial(name) {
        try? Directory.removeFile("\(directory)/\(name)")
      }
    }
  }

  static func removeManifests(_ path: String, before generation: Int) {
    for old in (try? StoreFormat.generations(in: path)) ?? [] where old < generation {
      try? Directory.removeFile("\(path)/\(StoreFormat.manifestName(old))")
    }
  }

  /// Removes files that are no longer named.
  /// - Returns: those that are still there, and the bytes freed.
  static func remove(_ files: [ObsoleteFile], from store: String) -> (left: [ObsoleteFile], freedByteCount: Int) {
    var left: [ObsoleteFile] = []
    var freed = 0
    for file in files {
      let path = file.path(in: store)
      guard let byteCount = Directory.byteCount(of: path) else { continue }
      do throws(Refusal) {
        try Directory.removeFile(path)
        freed += byteCount
      } catch {
        left.append(file)
      }
    }
    return (left, freed)
  }

  /// Files in the store's directories that a manifest neither names nor has named, by their paths.
  static func unknownFiles(_ path: String, _ manifest: Manifest) throws(Refusal) -> [String] {
    let obsolete = manifest.obsolete.map { $0.path(in: path) }
    let known = Set(
      manifest.segments.map { StoreFormat.segmentPath(path, $0.digest) }
        + manifest.tables.map { StoreFormat.tablePath(path, $0.digest) } + obsolete)
    var unknown: [String] = []
    for name in [StoreFormat.segmentsName, StoreFormat.catalogName] {
      let directory = "\(path)/\(name)"
      unknown += try Directory.names(in: directory).lazy.filter { !isPartial($0) }.map { "\(directory)/\($0)" }
        .filter { !known.contains($0) }
    }
    return unknown
  }
}

extension TreeStoreConfiguration {
  /// - Throws: `Refusal` `invalid-chunk`.
  func validate(_ chunk: EncodedChunk, file: String) throws(Refusal) {
    func invalid(_ fault: String) -> Refusal { Refusal(.invalidChunk, file: file, structure: "encoded chunk", fault) }
    guard let tree else { throw invalid("is a tree, and the store holds texts") }
    guard (1...tree.shape.chunkSize).contains(chunk.tokens.count) else {
      throw invalid("has \(chunk.tokens.count) tokens; the chunk size is \(tree.shape.chunkSize)")
    }
    let nodes = ContextTree(shape: tree.shape, tokenCount: chunk.tokens.count).nodes
    guard chunk.embeddings.count == nodes.count * tree.embeddingSize else {
      throw invalid("has \(chunk.embeddings.count) embedding numbers for \(nodes.count) nodes of \(tree.embeddingSize)")
    }
    guard chunk.embeddings.allSatisfy(\.isFinite) else { throw invalid("an embedding is not finite") }
    guard chunk.blocks.count == nodes.count else {
      throw invalid("has \(chunk.blocks.count) blocks for \(nodes.count) nodes")
    }
    for (node, block) in zip(nodes, chunk.blocks) {
      guard block.layout == tree.layout, block.rowCount == node.rowCount else {
        throw invalid("the block of node \(node.number) is not one of \(node.rowCount) rows of this store")
      }
    }
  }

  /// - Throws: `Refusal` `invalid-chunk`.
  func validate(_ chunk: EncodedText, file: String) throws(Refusal) {
    func invalid(_ fault: String) -> Refusal { Refusal(.invalidChunk, file: file, structure: "encoded text", fault) }
    guard let text else { throw invalid("is a text, and the store holds trees") }
    guard (1...tokenLimit).contains(chunk.tokens.count) else {
      throw invalid("has \(chunk.tokens.count) tokens; the chunk size is \(text.chunkSize)")
    }
    guard chunk.words.hashes.count <= chunk.tokens.count * StoredText.wordsOfToken else {
      throw invalid("has \(chunk.words.hashes.count) words in \(chunk.tokens.count) tokens")
    }
    let isFrame = chunk.behind == nil && text.manner == .deep
    guard !isFrame || chunk.tokens == text.frame.opening else { throw invalid("was read behind nothing") }
    let rows = text.rows(tokens: chunk.tokens.count, isFrame: isFrame)
    guard (chunk.rows?.rowCounts ?? []) == rows.counts, chunk.rows.map({ $0.layout == rows.layout }) ?? true else {
      throw invalid("its rows are not those that this store keeps")
    }
  }
}
