internal import PackedTiles

/// The bytes of one head's keys and values: which of them are numbers and scales, and what the others are. The number of
/// rows and the head dim alone decide it.
/// Format: `Formats/tree-store.md`, dense blocks.
struct HeadPieces {
  /// Equal pieces at equal distances, which follow each other without gaps in a dense block.
  struct Run: Equatable {
    /// In the head.
    var byteOffset: Int
    /// Bytes of a piece.
    var width: Int
    /// Bytes from the start of a piece to that of the next.
    var stride: Int
    var count: Int
    /// Whether only the lower halves of the bytes are numbers: a dense block has two of them in a byte, the first one in
    /// its lower half, and zeros behind the last one.
    var isHalf = false

    var denseByteCount: Int { isHalf ? (width * count + 1) / 2 : width * count }
  }

  /// In the order of a dense block; the pieces of none overlap.
  private(set) var runs: [Run] = []
  /// Parts in which bytes that are no numbers have this value; elsewhere they are 0.
  private(set) var fills: [(range: Range<Int>, value: UInt8)] = []
  private(set) var byteCount = 0
  private(set) var denseByteCount = 0

  private static let tile = PackedTileLayout.tileByteCount
  private static let tileRows = PackedTileLayout.tileRows
  /// The code of zero in int8, and twice that of int4.
  private static let zeroOfInt8: UInt8 = 0x80
  private static let zeroOfInt4: UInt8 = 0x88

  private mutating func append(_ run: Run) {
    guard run.width > 0, run.count > 0 else { return }
    var run = run
    if run.width == run.stride {
      run.width *= run.count
      run.stride = run.width
      run.count = 1
    }
    denseByteCount += run.denseByteCount
    // What lies together is copied at once.
    if let last = runs.last, last.count == 1, run.count == 1, !last.isHalf, !run.isHalf,
      last.byteOffset + last.width == run.byteOffset
    {
      runs[runs.count - 1].width += run.width
      runs[runs.count - 1].stride += run.width
    } else {
      runs.append(run)
    }
  }

  /// Row-major floats, padded to 64 bytes.
  mutating func append(floatByteCount: Int) {
    append(Run(byteOffset: byteCount, width: floatByteCount, stride: floatByteCount, count: 1))
    byteCount += (floatByteCount + Self.tile - 1) / Self.tile * Self.tile
  }

  /// A matrix of int8 with its scales.
  mutating func append(int8 tiles: PackedTileLayout) {
    let rest = tiles.columns % tiles.element.tileColumns
    let units = tiles.rowBlockByteCount / Self.tile
    for block in 0..<tiles.rowBlockCount {
      let rows = min(tiles.rows - block * Self.tileRows, Self.tileRows)
      let start = byteCount
      byteCount += tiles.rowBlockByteCount
      if rows < Self.tileRows || rest > 0 { fill(int8: tiles, at: start) }
      // Four bytes of each row, in tiles as in scales.
      guard rest > 0 else {
        append(Run(byteOffset: start, width: 4 * rows, stride: Self.tile, count: units))
        continue
      }
      let lastTile = start + (units - 2) * Self.tile
      append(Run(byteOffset: start, width: 4 * rows, stride: Self.tile, count: units - 2))
      append(Run(byteOffset: lastTile, width: rest, stride: 4, count: rows))
      append(Run(byteOffset: lastTile + Self.tile, width: 4 * rows, stride: Self.tile, count: 1))
    }
  }

  /// The tiles of a row block, but not the scales behind those of each group.
  private mutating func fill(int8 tiles: PackedTileLayout, at start: Int) {
    var start = start
    for group in 0..<tiles.groupCount {
      let columns = min(tiles.columns - group * tiles.groupSize, tiles.groupSize)
      let end = start + (columns + tiles.element.tileColumns - 1) / tiles.element.tileColumns * Self.tile
      fills.append((start..<end, Self.zeroOfInt8))
      start = end + Self.tile
    }
  }

  /// A matrix of int4: the tiles of all row blocks, and a scale for each of the rows that are packed together.
  private mutating func append(int4 tiles: PackedTileLayout, byteCount matrixByteCount: Int, rows packedRows: Int) {
    let tileBytes = HeadBlockLayout.int4TileByteCount(tiles)
    let blockBytes = tileBytes / tiles.rowBlockCount
    let (whole, rest) = (tiles.columns / tiles.element.tileColumns, tiles.columns % tiles.element.tileColumns)
    for block in 0..<tiles.rowBlockCount {
      let rows = min(tiles.rows - block * Self.tileRows, Self.tileRows)
      let start = byteCount + block * blockBytes
      if rows < Self.tileRows || rest > 0 { fills.append((start..<start + blockBytes, Self.zeroOfInt4)) }
      append(Run(byteOffset: start, width: 4 * rows, stride: Self.tile, count: whole))
      // Columns 0 to 3 are lower halves, columns 4 to 7 upper ones.
      let lastTile = start + whole * Self.tile
      let bytes = max(rest - 4, 0)
      append(Run(byteOffset: lastTile, width: bytes, stride: 4, count: rows))
      append(
        Run(byteOffset: lastTile + bytes, width: min(rest, 4) - bytes, stride: 4, count: rows, isHalf: true))
    }
    append(Run(byteOffset: byteCount + tileBytes, width: 2 * packedRows, stride: 2 * packedRows, count: 1))
    byteCount += matrixByteCount
  }

  /// The keys of a block of int4.
  mutating func append(int4KeysOf block: HeadBlockLayout) {
    append(int4: block.keyTiles, byteCount: block.keyByteCount, rows: block.rows)
  }

  /// The values of a block of int4.
  mutating func append(int4ValuesOf block: HeadBlockLayout) {
    append(int4: block.valueTiles, byteCount: block.valueByteCount, rows: block.rows)
  }
}

extension HeadPieces {
  /// A head of a node.
  init(_ layout: NodeBlockLayout, rows: Int) {
    switch layout.encoding {
    case .int8:
      append(int8: layout.keyTiles(rows: rows))
      append(int8: layout.valueTiles(rows: rows))
    case .int4:
      let blocks = layout.int4Blocks(rows: rows)
      for block in blocks { append(int4KeysOf: block) }
      for block in blocks { append(int4ValuesOf: block) }
    case .float16, .float32:
      for _ in 0..<2 { append(floatByteCount: rows * layout.headDim * layout.encoding.element.byteCount) }
    }
  }

  /// A head of a text.
  init(_ layout: TextRowLayout, rows: Int) {
    guard layout.isPacked else {
      for _ in 0..<2 { append(floatByteCount: rows * layout.headDim * layout.encoding.element.byteCount) }
      return
    }
    for start in stride(from: 0, to: rows, by: TextRowLayout.rowsTogether) {
      let block = layout.block(rows: min(rows - start, TextRowLayout.rowsTogether))
      if layout.encoding == .int8 {
        append(int8: block.keyTiles)
        append(int8: block.valueTiles)
      } else {
        append(int4KeysOf: block)
        append(int4ValuesOf: block)
      }
    }
  }
}
