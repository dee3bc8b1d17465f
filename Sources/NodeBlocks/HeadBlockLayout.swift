package import PackedTiles

/// Rows of one head that are packed together, in int8 or int4: keys as a matrix (rows, head dim), values transposed as a
/// matrix (head dim, rows), each in one group.
///
/// In int4 a matrix is the tiles of 16 rows × 8 columns of all its row blocks and, behind them, a bfloat16 scale for each
/// of the rows that are packed together, be it of keys or of values, up to a multiple of 16, padded with zeros to 64
/// bytes. Keys and values are mixed: see `HeadMixing`.
package struct HeadBlockLayout: Sendable, Hashable {
  package let keyTiles: PackedTileLayout
  package let valueTiles: PackedTileLayout

  /// - Precondition: the encoding is int8 or int4, and there is a row.
  init(_ encoding: RowEncoding, rows: Int, headDim: Int) {
    let element = encoding.element
    func tiles(rows: Int, columns: Int) -> PackedTileLayout {
      let step = element.tileColumns
      guard
        let layout = PackedTileLayout(
          element, rows: rows, columns: columns, groupSize: (columns + step - 1) / step * step)
      else { preconditionFailure("a block has at least one row, and is packed") }
      return layout
    }
    keyTiles = tiles(rows: rows, columns: headDim)
    valueTiles = tiles(rows: headDim, columns: rows)
  }

  package var rows: Int { keyTiles.rows }
  private var isInt4: Bool { keyTiles.element == .int4 }

  package var keyByteCount: Int { byteCount(keyTiles) }
  package var valueByteCount: Int { byteCount(valueTiles) }
  /// Bytes of keys and values, one behind the other.
  package var byteCount: Int { keyByteCount + valueByteCount }

  private func byteCount(_ tiles: PackedTileLayout) -> Int {
    guard isInt4 else { return tiles.byteCount }
    let scales = (rows + PackedTileLayout.tileRows - 1) / PackedTileLayout.tileRows * PackedTileLayout.tileRows * 2
    return (Self.int4TileByteCount(tiles) + scales + 63) / 64 * 64
  }

  /// Bytes of the tiles of a matrix of int4, without scales.
  static func int4TileByteCount(_ tiles: PackedTileLayout) -> Int {
    tiles.byteCount - tiles.rowBlockCount * PackedTileLayout.tileByteCount
  }
}

extension HeadBlockLayout {
  /// Packs rows.
  /// - Parameters:
  ///   - keys, values: (rows, head dim) float32, not mixed.
  ///   - keyTarget, valueTarget: zeros, as many bytes as the layout says.
  /// - Returns: false when a value is not finite.
  @unsafe func write(
    keys: UnsafeBufferPointer<Float>, values: UnsafeBufferPointer<Float>, to keyTarget: UnsafeMutableRawPointer,
    _ valueTarget: UnsafeMutableRawPointer
  ) -> Bool {
    let (rows, headDim) = (rows, keyTiles.columns)
    if isInt4 {
      guard let keyLevels = unsafe Int4Levels(keys, headDim: headDim),
        let valueLevels = unsafe Int4Levels(values, headDim: headDim)
      else { return false }
      unsafe keyLevels.write(to: keyTarget, keyTiles, transposed: false)
      unsafe valueLevels.write(to: valueTarget, valueTiles, transposed: true)
      return true
    }
    var transposed = [Float](repeating: 0, count: rows * headDim)
    for row in 0..<rows {
      for d in 0..<headDim { transposed[d * rows + row] = unsafe values[row * headDim + d] }
    }
    let stored = unsafe PackedTiles.quantizeMatrix(
      keys, layout: keyTiles, into: UnsafeMutableRawBufferPointer(start: keyTarget, count: keyTiles.byteCount))
    return unsafe transposed.withUnsafeBufferPointer { transposed in
      unsafe PackedTiles.quantizeMatrix(
        transposed, layout: valueTiles,
        into: UnsafeMutableRawBufferPointer(start: valueTarget, count: valueTiles.byteCount))
    } && stored
  }

  /// What was packed: (rows, head dim) each, no longer mixed.
  @unsafe func floats(keys: UnsafeRawPointer, values: UnsafeRawPointer) -> (keys: [Float], values: [Float]) {
    if isInt4 {
      return unsafe (
        Int4Levels(reading: keys, keyTiles, transposed: false).floats,
        Int4Levels(reading: values, valueTiles, transposed: true).floats
      )
    }
    return unsafe (keyTiles.floats(at: keys), valueTiles.transposedFloats(at: values))
  }
}

extension PackedTileLayout {
  /// A whole matrix: (rows, columns).
  @unsafe func floats(at base: UnsafeRawPointer) -> [Float] {
    let packed = unsafe UnsafeRawBufferPointer(start: base, count: byteCount)
    var result = [Float](repeating: 0, count: rows * columns)
    unsafe result.withUnsafeMutableBufferPointer { result in
      for row in 0..<rows {
        let target = unsafe UnsafeMutableBufferPointer(rebasing: result[row * columns..<(row + 1) * columns])
        unsafe PackedTiles.dequantize(row: row, of: packed, layout: self, into: target)
      }
    }
    return result
  }

  /// A whole matrix: (columns, rows).
  @unsafe func transposedFloats(at base: UnsafeRawPointer) -> [Float] {
    let matrix = unsafe floats(at: base)
    var result = [Float](repeating: 0, count: matrix.count)
    for row in 0..<rows {
      for column in 0..<columns { result[column * rows + row] = matrix[row * columns + column] }
    }
    return result
  }
}

extension ElementType {
  /// Floats that stand one behind the other.
  @unsafe func floats(_ count: Int, at base: UnsafeRawPointer) -> [Float] {
    var result = [Float](repeating: 0, count: count)
    unsafe result.withUnsafeMutableBufferPointer { result in
      let source = unsafe UnsafeRawBufferPointer(start: base, count: result.count * byteCount)
      unsafe PackedTiles.widen(source, from: self, into: result)
    }
    return result
  }
}
