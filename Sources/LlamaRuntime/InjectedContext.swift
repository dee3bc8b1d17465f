internal import FileAccess
public import ModelPacks
public import NodeBlocks

/// What is injected into the upper model: the rows of the preserved nodes of every chunk, chunks in order, as its layers
/// read them.
/// Source: arXiv 2410.19318, section 3.3.
public struct InjectedContext: Sendable {
  public let layout: NodeBlockLayout
  /// The preserved nodes of each chunk.
  public let chunks: [[NodeBlock]]

  /// - Precondition: all blocks have the layout.
  public init(layout: NodeBlockLayout, chunks: [[NodeBlock]]) {
    precondition(chunks.allSatisfy { $0.allSatisfy { $0.layout == layout } }, "a context has rows of one layout")
    self.layout = layout
    self.chunks = chunks
  }

  /// Rows of all nodes.
  public var rowCount: Int { chunks.reduce(0) { $0 + $1.reduce(0) { $0 + $1.rowCount } } }

  /// The files that the rows are mapped from.
  var mappings: [MappedFile] { chunks.flatMap { $0.compactMap(\.storage.mapping) }.distinct }

  /// The rows of a layer, with the angles that the position mode gives each chunk.
  func rows(layer: Int, angle: (_ chunk: Int) -> RowSpan.QueryAngle) -> InjectedRows {
    InjectedRows(
      chunks.enumerated().flatMap { chunk, nodes in
        nodes.map { RowSpan.node($0, layer: layer, queryAngle: angle(chunk)) }
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
