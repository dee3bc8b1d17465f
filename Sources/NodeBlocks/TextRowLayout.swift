package import PackedTiles

/// Where the keys and values of consecutive tokens of a text lie in their bytes: layer by layer, in a layer head by
/// head, as a session keeps them, so that they can stand in for having been read.
///
/// A head in int8: blocks of 64 rows, each its keys and then its values; the last block has the rest. In floats: the keys
/// and then the values, row-major, each padded with zeros to 64 bytes.
public struct TextRowLayout: Sendable, Hashable {
  /// All layers of the model.
  public let layerCount: Int
  public let kvHeadCount: Int
  public let headDim: Int
  public let encoding: RowEncoding

  /// Rows that are packed together in int8.
  public static let rowsTogether = 64

  /// - Returns: nil when a number is not positive or larger than any model's.
  public init?(layerCount: Int, kvHeadCount: Int, headDim: Int, encoding: RowEncoding) {
    guard (1...1024).contains(layerCount), (1...1024).contains(kvHeadCount), (2...1024).contains(headDim) else {
      return nil
    }
    self.layerCount = layerCount
    self.kvHeadCount = kvHeadCount
    self.headDim = headDim
    self.encoding = encoding
  }

  /// The tiles of the keys of a block: (rows, head dim), one group.
  package func keyTiles(blockRows: Int) -> PackedTileLayout {
    tiles(rows: blockRows, columns: headDim)
  }

  /// The tiles of the values of a block, transposed: (head dim, rows), one group.
  package func valueTiles(blockRows: Int) -> PackedTileLayout {
    tiles(rows: headDim, columns: blockRows)
  }

  private func tiles(rows: Int, columns: Int) -> PackedTileLayout {
    guard let layout = PackedTileLayout(rows: rows, columns: columns, groupSize: (columns + 3) / 4 * 4) else {
      preconditionFailure("a block has 1 to 64 rows")
    }
    return layout
  }

  /// Bytes of a block of one head in int8.
  package func blockByteCount(blockRows: Int) -> Int {
    keyTiles(blockRows: blockRows).byteCount + valueTiles(blockRows: blockRows).byteCount
  }

  /// Bytes of one head's keys in floats; its values follow and take as many.
  package func floatByteCount(rows: Int) -> Int {
    (rows * headDim * encoding.element.byteCount + 63) / 64 * 64
  }

  /// Bytes of one head.
  public func headByteCount(rows: Int) -> Int {
    guard encoding == .int8 else { return 2 * floatByteCount(rows: rows) }
    let rest = rows % Self.rowsTogether
    return rows / Self.rowsTogether * blockByteCount(blockRows: Self.rowsTogether)
      + (rest == 0 ? 0 : blockByteCount(blockRows: rest))
  }

  /// The offset of a head.
  public func byteOffset(layer: Int, head: Int, rows: Int) -> Int {
    (layer * kvHeadCount + head) * headByteCount(rows: rows)
  }

  /// Bytes of all layers. A multiple of 64.
  public func byteCount(rows: Int) -> Int { layerCount * kvHeadCount * headByteCount(rows: rows) }
}
