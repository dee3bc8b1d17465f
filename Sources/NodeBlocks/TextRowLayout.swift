internal import PackedTiles

/// Where the keys and values of consecutive tokens of a text lie in their bytes: layer by layer, in a layer head by
/// head, as a session keeps them, so that they can stand in for having been read. A token may have no row in some heads:
/// then each head has as many as it has.
///
/// A head in int8 or int4: blocks of 64 rows, each its keys and then its values; the last block has the rest: see
/// `HeadBlockLayout`. In floats: the keys and then the values, row-major, each padded with zeros to 64 bytes.
public struct TextRowLayout: Sendable, Hashable {
  /// All layers of the model.
  public let layerCount: Int
  public let kvHeadCount: Int
  public let headDim: Int
  public let encoding: RowEncoding

  /// Rows that are packed together in int8 and int4.
  public static let rowsTogether = 64
  /// - Returns: nil when a number is not positive or larger than any model's, or a head too large for int4.
  public init?(layerCount: Int, kvHeadCount: Int, headDim: Int, encoding: RowEncoding) {
    guard (1...1024).contains(layerCount), (1...1024).contains(kvHeadCount), (2...1024).contains(headDim),
      encoding != .int4 || headDim <= RowEncoding.int4HeadDimLimit
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

  /// A block of a head in int8 or int4: its keys, and its values behind them.
  package func block(rows: Int) -> HeadBlockLayout { HeadBlockLayout(encoding, rows: rows, headDim: headDim) }

  /// Bytes of one head's keys in floats; its values follow and take as many.
  package func floatByteCount(rows: Int) -> Int {
    (rows * headDim * encoding.element.byteCount + 63) / 64 * 64
  }

  /// Bytes of one head.
  public func headByteCount(rows: Int) -> Int {
    guard isPacked else { return 2 * floatByteCount(rows: rows) }
    let rest = rows % Self.rowsTogether
    return rows / Self.rowsTogether * block(rows: Self.rowsTogether).byteCount
      + (rest == 0 ? 0 : block(rows: rest).byteCount)
  }

  /// Bytes of all layers. A multiple of 64.
  public func byteCount(rows: Int) -> Int { layerCount * kvHeadCount * headByteCount(rows: rows) }

  /// Bytes of all layers.
  /// - Parameter rowCounts: of each head: (layer, kv head).
  public func byteCount(rowCounts: [Int]) -> Int { rowCounts.reduce(0) { $0 + headByteCount(rows: $1) } }
}
