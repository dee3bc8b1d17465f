public import CanonicalJSON
import ContextTrees
public import FileAccess
import NodeBlocks
import TreeStore

/// A store of many small synthetic documents: what adding, opening and finding cost as it grows.
///
/// The chunks have the true form, with rows of a tiny model, and are all different.
public struct StoreBenchmark: ~Copyable {
  /// What was measured while a store grew to a size. Seconds.
  public struct Growth: Sendable {
    /// Documents of the store.
    public let documents: Int
    /// Median over the batches before, for each document, its share of the commit included.
    public let secondsPerDocument: Double
    /// The slowest batch.
    public let slowestBatchSeconds: Double
    /// Adding one document alone, with its commit.
    public let secondsAlone: Double
    /// Opening the store.
    public let openingSeconds: Double
    /// Finding a document, and a chunk that is there.
    public let findingSeconds: Double
    /// Looking for a chunk that is not there.
    public let missingSeconds: Double
    /// Of all of the store's files.
    public let byteCount: Int
    /// Of the catalog's.
    public let catalogByteCount: Int
    /// Segments and tables.
    public let fileCount: Int

    public var json: JSONValue {
      .members([
        "documents": .integer(documents), "seconds_per_document": .number(secondsPerDocument),
        "slowest_commit_seconds": .number(slowestBatchSeconds), "alone_seconds": .number(secondsAlone),
        "opening_seconds": .number(openingSeconds), "finding_seconds": .number(findingSeconds),
        "missing_seconds": .number(missingSeconds), "bytes": .integer(byteCount),
        "catalog_bytes": .integer(catalogByteCount), "files": .integer(fileCount),
      ])
    }
  }

  private let path: String
  private let chunksPerDocument: Int
  private let batch: Int
  private let configuration: TreeStoreConfiguration
  private var count = 0

  /// - Parameters:
  ///   - path: where the store is made; nothing may be there.
  ///   - chunksPerDocument: chunks of each document.
  ///   - batch: documents of each commit.
  public init(in path: String, chunksPerDocument: Int, batch: Int) {
    self.path = path
    self.chunksPerDocument = chunksPerDocument
    self.batch = batch
    guard let identity = Digest256(bytes: [UInt8](repeating: 1, count: 32)),
      let shape = TreeShape(chunkSize: 2, depth: 1, leafRatio: 1),
      let layout = NodeBlockLayout(layerCount: 1, kvHeadCount: 1, headDim: 2, encoding: .float32)
    else { preconditionFailure("a tiny form is a form") }
    configuration = TreeStoreConfiguration(
      modelIdentity: identity, shape: shape, layout: layout, embeddingSize: 1, rowNumerics: "synthetic")
  }

  private func add(_ number: Int, to writer: inout TreeStoreWriter) throws(Refusal) {
    guard let layout = configuration.tree?.layout else { return }
    var keys: [ChunkKey] = []
    for chunk in 0..<chunksPerDocument {
      let tokens = [Int32(truncatingIfNeeded: number), Int32(truncatingIfNeeded: chunk)]
      let blocks = (0..<2).map { _ in
        NodeBlock(BlockBytes(byteCount: layout.byteCount(rows: 1)) { _ in }, layout: layout, rowCount: 1)
      }
      keys.append(
        try writer.add(EncodedChunk(tokens: tokens, embeddings: [0, 1], blocks: blocks), compression: .none))
    }
    try writer.addDocument(
      name: Self.name(number), textDigest: Digest256(of: Array("\(number)".utf8)), textByteCount: 8,
      tokenCount: 2 * chunksPerDocument, chunks: DocumentChunks(keys: keys), replacing: false)
  }

  private static func name(_ number: Int) -> String {
    // Names come in no order.
    let mixed = UInt64(number) &* 0x9E37_79B9_7F4A_7C15
    return "folder-\(mixed >> 58)/note-\(String(mixed, radix: 16)).txt"
  }

  private static func seconds(_ body: () throws(Refusal) -> Void) throws(Refusal) -> Double {
    let start = ContinuousClock.now
    try body()
    return (ContinuousClock.now - start) / .seconds(1)
  }

  private static func median(_ numbers: [Double]) -> Double { numbers.sorted()[numbers.count / 2] }

  /// Adds documents until there are as many.
  /// - Throws: `Refusal` `no-space` and others.
  public mutating func grow(to documents: Int) throws(Refusal) -> Growth {
    var batches: [Double] = []
    do {
      var writer = try TreeStoreWriter(opening: path, creating: configuration)
      while count < documents - 1 {
        let start = ContinuousClock.now
        let end = min(count + batch, documents - 1)
        for number in count..<end { try add(number, to: &writer) }
        try writer.commit()
        batches.append((ContinuousClock.now - start) / .seconds(1) / Double(end - count))
        count = end
      }
    }
    let start = ContinuousClock.now
    do {
      var writer = try TreeStoreWriter(opening: path, creating: configuration)
      try add(count, to: &writer)
      try writer.commit()
      count += 1
    }
    let alone = (ContinuousClock.now - start) / .seconds(1)
    let path = path
    var opening: [Double] = []
    for _ in 0..<5 { opening.append(try Self.seconds { () throws(Refusal) in _ = try TreeStore(opening: path) }) }
    let store = try TreeStore(opening: path)
    let (finding, missing) = try find(in: store)
    let statistics = try store.statistics()
    return Growth(
      documents: count, secondsPerDocument: Self.median(batches),
      slowestBatchSeconds: (batches.max() ?? 0) * Double(batch), secondsAlone: alone,
      openingSeconds: Self.median(opening), findingSeconds: finding, missingSeconds: missing,
      byteCount: statistics.totalByteCount, catalogByteCount: statistics.catalogByteCount,
      fileCount: statistics.segments + statistics.tables)
  }

  private func find(in store: TreeStore) throws(Refusal) -> (finding: Double, missing: Double) {
    var finding: [Double] = []
    var missing: [Double] = []
    for round in 0..<200 {
      let number = round &* 7919 % count
      let configuration = configuration
      finding.append(
        try Self.seconds { () throws(Refusal) in
          guard let document = try store.document(named: Self.name(number)),
            let key = try store.chunks(of: document).keys.last, try store.chunk(key) != nil
          else { throw Refusal(.missingDocument, file: store.path, "a document that was added is not there") }
        })
      let key = configuration.chunkKey(tokens: [-1, Int32(round)])
      missing.append(try Self.seconds { () throws(Refusal) in _ = try store.chunk(key) })
    }
    return (Self.median(finding), Self.median(missing))
  }
}
