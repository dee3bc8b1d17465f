package import PackedTiles

/// Where the keys and values of consecutive tokens of a text lie in their bytes: layer by layer, in a layer head by
/// head, as a session keeps them, so that they can stand in for having been read. A token may have no row in some heads:
/// then each head has as many as it has.
///
/// A head in int8: blocks of 64 rows, each its keys and then its values; the last block has the rest. In floats: the keys
/// and then the values, row-major, each padded with zeros to 64 bytes.
///
/// In int4, blocks as of int8: the tiles of 16 rows × 8 columns of the keys, and of the values transposed, of all row
/// blocks, and behind them a bfloat16 scale for each of the block's rows, up to a multiple of 16 rows, padded with zeros
/// to 64 bytes. Keys and values are mixed: see `HeadMixing`.
public struct TextRowLayout: Sendable, Hashable {
  /// All layers of the model.
  public let layerCount: Int
  public let kvHeadCount: Int
  public let headDim: Int
  public let encoding: RowEncoding

  /// Rows that are packed together in int8 and int4.
  public static let rowsTogether = 64
  /// The largest head that int4 takes.
  public static let int4HeadDimLimit = 256

  /// - Returns: nil when a number is not positive or larger than any model's, or a head too large for int4.
  public init?(layerCount: Int, kvHeadCount: Int, headDim: Int, encoding: RowEncoding) {
    guard (1...1024).contains(layerCount), (1...1024).contains(kvHeadCount), (2...1024).contains(headDim),
      encoding != .int4 || headDim <= Self.int4HeadDimLimit
    else { return nil }
    self.layerCount = layerCount
    self.kvHeadCount = kvHeadCount
    self.headDim = headDim
    self.encoding = encoding
  }

  /// The same heads in another encoding.
  /// - Returns: nil when a head is too large for int4.
  public func encoded(as encoding: RowEncoding) -> TextRowLayout? {
    TextRowLayout(layerCount: layerCount, kvHeadCount: kvHeadCount, headDim: headDim, encoding: encoding)
  }

  /// Whether rows are packed in blocks.
  package var isPacked: Bool { encoding == .int8 || encoding == .int4 }

  /// The tiles of the keys of a block: (rows, head dim), one group.
  package func keyTiles(blockRows: Int) -> PackedTileLayout {
    tiles(rows: blockRows, columns: headDim)
  }

  /// The tiles of the values of a block, transposed: (head dim, rows), one group.
  package func valueTiles(blockRows: Int) -> PackedTileLayout {
    tiles(rows: headDim, columns: blockRows)
  }

  private func tiles(rows: Int, columns: Int) -> PackedTileLayout {
    let element = encoding.element
    let step = element.tileColumns
    guard
      let layout = PackedTileLayout(
        element, rows: rows, columns: columns, groupSize: (columns + step - 1) / step * step)
    else { preconditionFailure("a block has 1 to 64 rows") }
    return layout
  }

  /// Bytes of the keys of a block in int8 or int4; its values follow.
  package func keyByteCount(blockRows: Int) -> Int { byteCount(keyTiles(blockRows: blockRows), blockRows: blockRows) }

  private func byteCount(_ tiles: PackedTileLayout, blockRows: Int) -> Int {
    guard encoding == .int4 else { return tiles.byteCount }
    let scales = (blockRows + PackedTileLayout.tileRows - 1) / PackedTileLayout.tileRows * PackedTileLayout.tileRows * 2
    return (Self.int4TileByteCount(tiles) + scales + 63) / 64 * 64
  }

  /// Bytes of the tiles of a matrix of int4, without scales.
  package static func int4TileByteCount(_ tiles: PackedTileLayout) -> Int {
    tiles.byteCount - tiles.rowBlockCount * PackedTileLayout.tileByteCount
  }

  /// Bytes of a block of one head in int8 or int4.
  package func blockByteCount(blockRows: Int) -> Int {
    keyByteCount(blockRows: blockRows) + byteCount(valueTiles(blockRows: blockRows), blockRows: blockRows)
  }

  /// Bytes of one head's keys in floats; its values follow and take as many.
  package func floatByteCount(rows: Int) -> Int {
    (rows * headDim * encoding.element.byteCount + 63) / 64 * 64
  }

  /// Bytes of one head.
  public func headByteCount(rows: Int) -> Int {
    guard isPacked else { return 2 * floatByteCount(rows: rows) }
    let rest = rows % Self.rowsTogether
    return rows / Self.rowsTogether * blockByteCount(blockRows: Self.rowsTogether)
      + (rest == 0 ? 0 : blockByteCount(blockRows: rest))
  }

  /// Bytes of all layers. A multiple of 64.
  public func byteCount(rows: Int) -> Int { layerCount * kvHeadCount * headByteCount(rows: rows) }

  /// Bytes of all layers.
  /// - Parameter rowCounts: of each head: (layer, kv head).
  public func byteCount(rowCounts: [Int]) -> Int { rowCounts.reduce(0) { $0 + headByteCount(rows: $1) } }
}
