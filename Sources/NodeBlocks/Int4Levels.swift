internal import PackedTiles

/// Some rows of one head, mixed, in four bits a number and with a scale for each row. Attention reads keys as a matrix of
/// rows and values as one of channels, but the scales are the rows' in both: rows differ more than channels do.
struct Int4Levels {
  private let rows: Int
  private let headDim: Int
  /// The indices of the levels: (rows, head dim).
  private var indices: [UInt8]
  /// bfloat16, low byte first: (rows, 2).
  private var scales: [UInt8]

  /// The index of level 0, in both halves of a byte.
  private static let zeros: UInt8 = 0x88

  /// - Parameter matrix: (rows, head dim) float32, not mixed.
  /// - Returns: nil when a value is not finite.
  @unsafe init?(_ matrix: UnsafeBufferPointer<Float>, headDim: Int) {
    rows = matrix.count / headDim
    self.headDim = headDim
    var mixed = unsafe Array(matrix)
    unsafe mixed.withUnsafeMutableBufferPointer { mixed in
      for start in stride(from: 0, to: mixed.count, by: headDim) {
        unsafe HeadMixing.mix(mixed.baseAddress! + start, headDim: headDim)
      }
    }
    let layout = Self.layout(rows: rows, headDim: headDim)
    var packed = [UInt8](repeating: 0, count: layout.byteCount)
    let isFinite = unsafe mixed.withUnsafeBufferPointer { mixed in
      unsafe packed.withUnsafeMutableBytes { unsafe PackedTiles.quantizeMatrix(mixed, layout: layout, into: $0) }
    }
    guard isFinite else { return nil }
    indices = [UInt8](repeating: 0, count: rows * headDim)
    scales = []
    for row in 0..<rows {
      let block = row / PackedTileLayout.tileRows * layout.rowBlockByteCount
      let scale = block + row % PackedTileLayout.tileRows * 2
      scales += packed[scale..<scale + 2]
      for d in 0..<headDim {
        let byte = packed[block + PackedTileLayout.tileByteCount + Self.byte(row: row % PackedTileLayout.tileRows, d)]
        indices[row * headDim + d] = d % 8 < 4 ? byte & 15 : byte >> 4
      }
    }
  }

  /// Reads what `write` has written.
  @unsafe init(reading source: UnsafeRawPointer, _ tiles: PackedTileLayout, transposed: Bool) {
    rows = transposed ? tiles.columns : tiles.rows
    headDim = transposed ? tiles.rows : tiles.columns
    let (rows, headDim) = (rows, headDim)
    let tileBytes = unsafe UnsafeRawBufferPointer(start: source, count: HeadBlockLayout.int4TileByteCount(tiles))
    indices = [UInt8](repeating: 0, count: rows * headDim)
    for row in 0..<rows {
      for d in 0..<headDim {
        let (tileRow, column) = transposed ? (d, row) : (row, d)
        let byte = unsafe tileBytes[Self.byte(row: tileRow, column, of: tiles)]
        indices[row * headDim + d] = column % 8 < 4 ? byte & 15 : byte >> 4
      }
    }
    scales = unsafe Array(UnsafeRawBufferPointer(start: source + tileBytes.count, count: 2 * rows))
  }

  /// - Parameters:
  ///   - target: zeros, as many bytes as the layout says.
  ///   - tiles: of the rows, or of the channels, where transposed.
  @unsafe func write(to target: UnsafeMutableRawPointer, _ tiles: PackedTileLayout, transposed: Bool) {
    let tileBytes = unsafe UnsafeMutableRawBufferPointer(
      start: target, count: HeadBlockLayout.int4TileByteCount(tiles))
    for byte in tileBytes.indices { unsafe tileBytes[byte] = Self.zeros }
    for row in 0..<rows {
      for d in 0..<headDim {
        let (tileRow, column) = transposed ? (d, row) : (row, d)
        let byte = Self.byte(row: tileRow, column, of: tiles)
        let index = indices[row * headDim + d]
        let other = unsafe tileBytes[byte]
        unsafe tileBytes[byte] = column % 8 < 4 ? other & 0xF0 | index : other & 15 | index << 4
      }
    }
    unsafe UnsafeMutableRawBufferPointer(start: target + tileBytes.count, count: scales.count).copyBytes(from: scales)
  }

  /// (rows, head dim) float32, no longer mixed.
  var floats: [Float] {
    let layout = Self.layout(rows: rows, headDim: headDim)
    var packed = [UInt8](repeating: 0, count: layout.byteCount)
    for row in 0..<rows {
      let block = row / PackedTileLayout.tileRows * layout.rowBlockByteCount
      let scale = block + row % PackedTileLayout.tileRows * 2
      packed.replaceSubrange(scale..<scale + 2, with: scales[2 * row..<2 * row + 2])
      for d in 0..<headDim {
        let byte = block + PackedTileLayout.tileByteCount + Self.byte(row: row % PackedTileLayout.tileRows, d)
        packed[byte] |= indices[row * headDim + d] << (d % 8 < 4 ? 0 : 4)
      }
    }
    var result = [Float](repeating: 0, count: rows * headDim)
    unsafe packed.withUnsafeBytes { packed in
      unsafe result.withUnsafeMutableBufferPointer { result in
        for row in 0..<rows {
          let target = unsafe UnsafeMutableBufferPointer(rebasing: result[row * headDim..<(row + 1) * headDim])
          unsafe PackedTiles.dequantize(row: row, of: packed, layout: layout, into: target)
          unsafe HeadMixing.mix(target.baseAddress!, headDim: headDim)
        }
      }
    }
    return result
  }

  private static func layout(rows: Int, headDim: Int) -> PackedTileLayout {
    guard let layout = PackedTileLayout(.int4, rows: rows, columns: headDim, groupSize: (headDim + 7) / 8 * 8) else {
      preconditionFailure("a block has at least one row")
    }
    return layout
  }

  /// The byte of a number among the tiles of one row block.
  private static func byte(row: Int, _ column: Int) -> Int {
    column / 8 * PackedTileLayout.tileByteCount + 4 * row + column % 4
  }

  /// The byte of a number among the tiles of all row blocks.
  private static func byte(row: Int, _ column: Int, of tiles: PackedTileLayout) -> Int {
    let rowBlock = row / PackedTileLayout.tileRows
    return rowBlock * HeadBlockLayout.int4TileByteCount(tiles) / tiles.rowBlockCount
      + byte(row: row % PackedTileLayout.tileRows, column)
  }
}
