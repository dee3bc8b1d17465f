public import ContextTrees
public import FileAccess
public import NodeBlocks

/// A chunk's tree in a segment: cheap to keep, read where it lies. Safe to use from any thread.
/// Format: `Formats/tree-store.md`, chunk records.
public struct StoredChunk: Sendable {
  public var key: ChunkKey { record.key }
  public var tokens: [Int32] { record.tokens }
  public let tree: ContextTree

  let record: StoredRecord
  private let form: TreeForm

  init(_ record: StoredRecord, _ form: TreeForm) {
    self.record = record
    self.form = form
    tree = ContextTree(shape: form.shape, tokenCount: record.tokens.count)
  }

  /// A node's embedding: `embeddingSize` floats.
  /// - Throws: `Refusal` `checksum-mismatch`; the embeddings are checked when the first of them is read.
  /// - Precondition: the node is one of the tree's.
  public func embedding(of node: TreeNode) throws(Refusal) -> [Float] {
    let size = form.embeddingSize
    let start = try record.search().lowerBound + tree.index(of: node) * size * 4
    let mapped = record.segment.file
    let bytes = mapped.bytes.extracting(start..<start + size * 4)
    let floats = unsafe [Float](unsafeUninitializedCapacity: size) { output, count in
      unsafe bytes.withUnsafeBytes { unsafe UnsafeMutableRawBufferPointer(output).copyMemory(from: $0) }
      count = size
    }
    try mapped.requireWhole()
    return floats
  }

  /// A node's keys and values, mapped unless they are compressed.
  /// - Throws: `Refusal` `checksum-mismatch`, `malformed-frame`; a block is checked when it is first read.
  /// - Precondition: the node is one of the tree's.
  public func block(of node: TreeNode) throws(Refusal) -> NodeBlock {
    NodeBlock(try record.block(tree.index(of: node)), layout: form.layout, rowCount: node.rowCount)
  }
}
