public import ContextTrees
public import FileAccess
public import NodeBlocks

/// A chunk's tree in a segment: cheap to keep, read where it lies. Safe to use from any thread.
/// Format: `Formats/tree-store.md`, chunk records.
public struct StoredChunk: Sendable {
  public let key: ChunkKey
  public let tokens: [Int32]
  public let tree: ContextTree

  let segment: Segment
  let entryIndex: Int
  let entries: [NodeEntry]
  let layout: RecordLayout
  private let embeddingsChecksum: BlockChecksum

  /// Reads a record's head.
  /// - Throws: `Refusal` `checksum-mismatch`, `malformed-record`.
  init(in segment: Segment, at entryIndex: Int) throws(Refusal) {
    let entry = segment.index.entry(at: entryIndex)
    let configuration = segment.configuration
    let key = entry.key
    let file = segment.path
    let structure = "chunk \(key.short)"
    func malformed(_ fault: String) -> Refusal {
      Refusal(.malformedRecord, file: file, structure: structure, fault)
    }
    let tree = ContextTree(shape: configuration.shape, tokenCount: entry.tokenCount)
    let headByteCount = RecordLayout.headByteCount(nodes: tree.nodes.count, tokens: entry.tokenCount)
    guard headByteCount <= entry.byteCount else {
      throw malformed("a head of \(headByteCount) bytes does not fit a record of \(entry.byteCount)")
    }
    let headRange = entry.byteOffset..<entry.byteOffset + headByteCount
    try segment.verifyOnce(entryIndex, part: 0) { () throws(Refusal) in
      let location = BlockLocation(salt: segment.salt, key: key, kind: .head)
      guard segment.checksum(of: headRange, at: location) == entry.headChecksum else {
        throw Refusal(.checksumMismatch, file: file, structure: structure, "the head is damaged or misplaced")
      }
    }

    let mapped = segment.file
    let head = mapped.bytes.extracting(headRange)
    var reader = ByteReader(head, file: file, structure: structure)
    let (storedKey, tokenCount, nodeCount, zero) = (
      ChunkKey(head, at: 0), try reader.skippingKey(), try reader.integer(UInt32.self),
      try reader.integer(UInt64.self)
    )
    guard storedKey == key, Int(tokenCount) == entry.tokenCount, Int(nodeCount) == tree.nodes.count, zero == 0 else {
      throw malformed("the head is not that of the index")
    }
    embeddingsChecksum = try BlockChecksum(from: &reader)
    var entries: [NodeEntry] = []
    for node in tree.nodes {
      let entry = try NodeEntry(from: &reader)
      let byteCount = configuration.layout.byteCount(rows: node.rowCount)
      // A block that compression does not shorten is stored as it is.
      guard let entry, entry.compression == .none ? entry.byteCount == byteCount : entry.byteCount < byteCount,
        entry.byteCount > 0
      else { throw malformed("node \(node.number) of \(byteCount) bytes is stored in an impossible way") }
      entries.append(entry)
    }
    self.entries = entries
    var tokens: [Int32] = []
    tokens.reserveCapacity(entry.tokenCount)
    for _ in 0..<entry.tokenCount { tokens.append(try reader.integer(Int32.self)) }
    guard
      let layout = RecordLayout(
        at: entry.byteOffset, tokens: entry.tokenCount,
        embeddingByteCount: tree.nodes.count * configuration.embeddingSize * 4,
        blockByteCounts: entries.map(\.byteCount)), layout.end == entry.byteOffset + entry.byteCount
    else { throw malformed("the parts do not make a record of \(entry.byteCount) bytes") }
    self.layout = layout
    self.key = key
    self.tokens = tokens
    self.tree = tree
    self.segment = segment
    self.entryIndex = entryIndex
    // The key is what the tokens hash to, so equal keys have equal tokens.
    try segment.verifyOnce(entryIndex, part: 1) { () throws(Refusal) in
      guard configuration.chunkKey(tokens: tokens) == key else {
        throw malformed("the key is not the digest of the tokens")
      }
    }
  }

  /// A node's embedding: `embeddingSize` floats.
  /// - Throws: `Refusal` `checksum-mismatch`; the embeddings are checked when the first of them is read.
  /// - Precondition: the node is one of the tree's.
  public func embedding(of node: TreeNode) throws(Refusal) -> [Float] {
    try verifyEmbeddings()
    let size = segment.configuration.embeddingSize
    let start = layout.embeddings.lowerBound + tree.index(of: node) * size * 4
    let mapped = segment.file
    let bytes = mapped.bytes.extracting(start..<start + size * 4)
    return unsafe [Float](unsafeUninitializedCapacity: size) { output, count in
      unsafe bytes.withUnsafeBytes { unsafe UnsafeMutableRawBufferPointer(output).copyMemory(from: $0) }
      count = size
    }
  }

  /// A node's keys and values, mapped unless they are compressed.
  /// - Throws: `Refusal` `checksum-mismatch`, `malformed-frame`; a block is checked when it is first read.
  /// - Precondition: the node is one of the tree's.
  public func block(of node: TreeNode) throws(Refusal) -> NodeBlock {
    let stored = try storedBlock(of: node)
    let compression = entries[tree.index(of: node)].compression
    let configuration = segment.configuration
    guard compression != .none else {
      return NodeBlock(stored, layout: configuration.layout, rowCount: node.rowCount)
    }
    var isWhole = false
    // The length is the geometry's: a frame cannot ask for more.
    let byteCount = configuration.layout.byteCount(rows: node.rowCount)
    let block = BlockBytes(byteCount: byteCount) { output in
      isWhole = compression.decompress(stored.bytes, into: &output)
    }
    guard isWhole else {
      throw Refusal(
        .malformedFrame, file: segment.path, structure: structure(node), "is not a frame of \(byteCount) bytes")
    }
    return NodeBlock(block, layout: configuration.layout, rowCount: node.rowCount)
  }

  /// How a node's block is stored.
  func compression(of node: TreeNode) -> Compression { entries[tree.index(of: node)].compression }

  /// A node's block as it is stored, checked.
  func storedBlock(of node: TreeNode) throws(Refusal) -> BlockBytes {
    let number = tree.index(of: node)
    let range = layout.blocks[number]
    let block = BlockBytes(mapped: segment.file, at: range.lowerBound, byteCount: range.count)
    try segment.verifyOnce(entryIndex, part: 3 + number) { () throws(Refusal) in
      let location = BlockLocation(salt: segment.salt, key: key, kind: .rows, node: node.number)
      guard location.checksum(of: block.bytes) == entries[number].checksum else {
        throw Refusal(
          .checksumMismatch, file: segment.path, structure: structure(node),
          "the keys and values are damaged or misplaced")
      }
    }
    return block
  }

  /// The embeddings of all nodes, (nodes, embedding size), checked.
  func embeddings() throws(Refusal) -> [Float] {
    var result: [Float] = []
    for node in tree.nodes { result += try embedding(of: node) }
    return result
  }

  private func verifyEmbeddings() throws(Refusal) {
    try segment.verifyOnce(entryIndex, part: 2) { () throws(Refusal) in
      let location = BlockLocation(salt: segment.salt, key: key, kind: .embeddings)
      guard segment.checksum(of: layout.embeddings, at: location) == embeddingsChecksum else {
        throw Refusal(
          .checksumMismatch, file: segment.path, structure: "chunk \(key.short)",
          "the embeddings are damaged or misplaced")
      }
    }
  }

  private func structure(_ node: TreeNode) -> String { "chunk \(key.short), node \(node.number)" }
}

extension BlockChecksum {
  @_lifetime(reader: copy reader)
  init(from reader: inout ByteReader) throws(Refusal) {
    let low = try reader.integer(UInt64.self)
    self.init(high: try reader.integer(UInt64.self), low: low)
  }
}

extension NodeEntry {
  /// - Returns: nil when the compression is unknown or a byte that must be 0 is not.
  @_lifetime(reader: copy reader)
  init?(from reader: inout ByteReader) throws(Refusal) {
    byteCount = try reader.size()
    let kind = try reader.integer(UInt64.self)
    checksum = try BlockChecksum(from: &reader)
    guard let compression = UInt8(exactly: kind).flatMap(Compression.init) else { return nil }
    self.compression = compression
  }

  func write(into writer: inout ByteWriter) {
    writer.integer(UInt64(byteCount))
    writer.integer(UInt64(compression.rawValue))
    writer.integer(checksum.low)
    writer.integer(checksum.high)
  }
}

extension ByteReader {
  /// Skips the key and reads the token count after it.
  @_lifetime(self: copy self)
  fileprivate mutating func skippingKey() throws(Refusal) -> UInt32 {
    try seek(to: 32)
    return try integer(UInt32.self)
  }
}
