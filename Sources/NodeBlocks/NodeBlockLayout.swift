package import PackedTiles

/// How keys and values are stored: those of nodes, those of the running text in its cache, and those of prepared texts.
public enum RowEncoding: UInt8, Sendable, Hashable, CaseIterable {
  /// Packed tiles: keys as a matrix (rows, head dim), values transposed as a matrix (head dim, rows), so that both
  /// scores and weighted sums are the product that the weights use.
  case int8 = 1
  /// Row-major, keys (rows, head dim) and values (rows, head dim).
  case float16 = 2
  case float32 = 3
  /// Packed tiles of mixed numbers, with a scale for each row: see `TextRowLayout`.
  case int4 = 4

  /// Those of caches, which take rows one by one.
  public static let ofCaches: [RowEncoding] = [.int8, .float16, .float32]

  /// The largest head that int4 takes.
  public static let int4HeadDimLimit = 256

  package var element: ElementType {
    switch self {
    case .int8: .int8
    case .float16: .float16
    case .float32: .float32
    case .int4: .int4
    }
  }
}

/// Where the keys and values of a node lie in its block of bytes: layer by layer, in a layer head by head, in a head
/// the keys and then the values, each padded with zeros to 64 bytes. In int4 each
/// 128 rows, and the rest, are packed for themselves.
/// Format: `Formats/tree-store.md`, node blocks.
public struct NodeBlockLayout: Sendable, Hashable {
  /// M: layers whose keys and values are kept.
  public let layerCount: Int
  public let kvHeadCount: Int
  public let headDim: Int
  public let encoding: RowEncoding

  /// Rows of int8 values that share a scale per channel, and rows of int4 that are packed together, at most.
  public static let valueGroupSize = 128

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

  /// The tiles of one head's keys: (rows, head dim), one group.
  package func keyTiles(rows: Int) -> PackedTileLayout {
    tiles(rows: rows, columns: headDim, groupSize: headDim)
  }

  /// The tiles of one head's values, transposed: (head dim, rows).
  package func valueTiles(rows: Int) -> PackedTileLayout {
    tiles(rows: headDim, columns: rows, groupSize: min(rows, Self.valueGroupSize))
  }

  private func tiles(rows: Int, columns: Int, groupSize: Int) -> PackedTileLayout {
    guard let layout = PackedTileLayout(rows: rows, columns: columns, groupSize: (groupSize + 3) / 4 * 4) else {
      preconditionFailure("a node has at least one row and no more than a chunk has tokens")
    }
    return layout
  }

  /// The rows of int4 that are packed together, in order.
  package func int4Blocks(rows: Int) -> [HeadBlockLayout] {
    stride(from: 0, to: rows, by: Self.valueGroupSize).map { int4Block(rows: min(rows - $0, Self.valueGroupSize)) }
  }

  /// The first rows of int4, as many as are packed together.
  package func firstInt4Block(rows: Int) -> HeadBlockLayout { int4Block(rows: min(rows, Self.valueGroupSize)) }

  private func int4Block(rows: Int) -> HeadBlockLayout { HeadBlockLayout(.int4, rows: rows, headDim: headDim) }

  private func int4ByteCount(rows: Int, _ byteCount: (HeadBlockLayout) -> Int) -> Int {
    let (whole, rest) = rows.quotientAndRemainder(dividingBy: Self.valueGroupSize)
    return (whole == 0 ? 0 : whole * byteCount(int4Block(rows: Self.valueGroupSize)))
      + (rest == 0 ? 0 : byteCount(int4Block(rows: rest)))
  }

  /// Bytes of one head's keys.
  public func keyByteCount(rows: Int) -> Int {
    switch encoding {
    case .int8: keyTiles(rows: rows).byteCount
    case .int4: int4ByteCount(rows: rows, \.keyByteCount)
    case .float16, .float32: rowMajorByteCount(rows: rows)
    }
  }

  /// Bytes of one head's values.
  public func valueByteCount(rows: Int) -> Int {
    switch encoding {
    case .int8: valueTiles(rows: rows).byteCount
    case .int4: int4ByteCount(rows: rows, \.valueByteCount)
    case .float16, .float32: rowMajorByteCount(rows: rows)
    }
  }

  /// Bytes from one head's keys to the next one's, and from one head's values.
  public func headByteCount(rows: Int) -> Int { keyByteCount(rows: rows) + valueByteCount(rows: rows) }

  private func rowMajorByteCount(rows: Int) -> Int {
    let byteCount = rows * headDim * encoding.element.byteCount
    return (byteCount + 63) / 64 * 64
  }

  /// The offset of a head's keys in the block; its values follow.
  public func keyByteOffset(layer: Int, head: Int, rows: Int) -> Int {
    (layer * kvHeadCount + head) * headByteCount(rows: rows)
  }

  /// The offset of a head's values in the block.
  public func valueByteOffset(layer: Int, head: Int, rows: Int) -> Int {
    keyByteOffset(layer: layer, head: head, rows: rows) + keyByteCount(rows: rows)
  }

  /// Bytes of a node's block. A multiple of 64.
  public func byteCount(rows: Int) -> Int { layerCount * kvHeadCount * headByteCount(rows: rows) }
}
