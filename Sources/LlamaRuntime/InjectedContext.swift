public import ContextTrees
public import ModelPacks

/// The rows of one node, ready to be attended to.
@safe public struct InjectedNode: @unchecked Sendable {
  let rows: Int
  @unsafe let block: UnsafeRawPointer
  /// Keeps the block's memory, or its mapping, alive.
  private let owner: any Sendable & AnyObject

  /// - Parameters:
  ///   - block: the node's keys and values in the form of a `NodeBlockLayout`, on a multiple of 64 bytes.
  ///   - owner: what keeps the block alive.
  @unsafe public init(rows: Int, block: UnsafeRawPointer, owner: any Sendable & AnyObject) {
    self.rows = rows
    unsafe self.block = block
    self.owner = owner
  }

  /// Rows in memory of their own.
  public init(copying encoded: TreeEncoder.EncodedNode) {
    let copy = AlignedBytes(encoded.block)
    unsafe self.init(rows: encoded.node.rowCount, block: copy.base, owner: copy)
  }
}

/// A copy of bytes on a multiple of 64 bytes.
@safe private final class AlignedBytes: @unchecked Sendable {
  @unsafe let base: UnsafeRawPointer

  init(_ bytes: [UInt8]) {
    let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: max(bytes.count, 64), alignment: 64)
    unsafe memory.copyBytes(from: bytes)
    unsafe base = UnsafeRawPointer(memory.baseAddress!)
  }

  deinit { unsafe base.deallocate() }
}

/// What is injected into the upper model: the preserved nodes of every chunk, chunks in order.
/// Source: arXiv 2410.19318, section 3.3.
public struct InjectedContext: Sendable {
  public let layout: NodeBlockLayout
  /// The preserved nodes of each chunk.
  public let chunks: [[InjectedNode]]

  public init(layout: NodeBlockLayout, chunks: [[InjectedNode]]) {
    self.layout = layout
    self.chunks = chunks
  }

  /// Rows of all nodes.
  public var rowCount: Int { chunks.reduce(0) { $0 + $1.reduce(0) { $0 + $1.rows } } }

  /// The rows of a layer, with the angles that the position mode gives each chunk.
  func rows(layer: Int, angle: (_ chunk: Int) -> RowSpan.QueryAngle) -> InjectedRows {
    InjectedRows(
      chunks.enumerated().flatMap { chunk, nodes in
        nodes.map { node in
          unsafe RowSpan.node(node.block, layout: layout, layer: layer, rows: node.rows, queryAngle: angle(chunk))
        }
      })
  }
}

extension PositionMode {
  /// Whether a stored key is turned by its in-node position.
  public var storedKeysCarryPosition: Bool { self != .replace }

  /// The angle by which a query is turned before it meets the stored keys of a chunk: the query's angle less the
  /// chunk's part of the key's. Rotating the query back replaces rotating every key.
  func queryAngle(chunk: Int, of chunkCount: Int) -> Int {
    switch self {
    case .replace, .compose: chunkCount - chunk
    case .composePlusOne: chunkCount + 1 - chunk
    case .local: chunkCount + 1
    case .none: 0
    }
  }
}
