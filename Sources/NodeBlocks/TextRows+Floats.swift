internal import PackedTiles

extension TextRows {
  /// The rows of a head in a layer as floats, to be encoded otherwise or compared.
  /// - Returns: keys and values: (rows, head dim) each.
  public func floats(head: Int, layer: Int) -> (keys: [Float], values: [Float]) {
    let headDim = layout.headDim
    let rowCount = rowCount(head: head, layer: layer)
    let base = unsafe self.head(head, layer: layer)
    guard layout.isPacked else {
      let values = unsafe base + layout.floatByteCount(rows: rowCount)
      return unsafe (widened(rowCount * headDim, at: base), widened(rowCount * headDim, at: values))
    }
    var keys = [Float](repeating: 0, count: rowCount * headDim)
    var values = keys
    let together = TextRowLayout.rowsTogether
    for start in stride(from: 0, to: rowCount, by: together) {
      let rows = min(rowCount - start, together)
      let (keyTiles, valueTiles) = (layout.keyTiles(blockRows: rows), layout.valueTiles(blockRows: rows))
      let block = unsafe base + start / together * layout.blockByteCount(blockRows: together)
      let valueStart = unsafe block + layout.keyByteCount(blockRows: rows)
      let range = start * headDim..<(start + rows) * headDim
      if layout.encoding == .int4 {
        keys.replaceSubrange(range, with: unsafe Int4Levels(reading: block, keyTiles, transposed: false).floats)
        values.replaceSubrange(range, with: unsafe Int4Levels(reading: valueStart, valueTiles, transposed: true).floats)
        continue
      }
      keys.replaceSubrange(range, with: unsafe restored(keyTiles, at: block))
      let transposed = unsafe restored(valueTiles, at: valueStart)
      for row in 0..<rows {
        for d in 0..<headDim { values[(start + row) * headDim + d] = transposed[d * rows + row] }
      }
    }
    return (keys, values)
  }

  @unsafe private func widened(_ count: Int, at base: UnsafeRawPointer) -> [Float] {
    let element = layout.encoding.element
    var result = [Float](repeating: 0, count: count)
    unsafe result.withUnsafeMutableBufferPointer { result in
      let source = unsafe UnsafeRawBufferPointer(start: base, count: result.count * element.byteCount)
      unsafe PackedTiles.widen(source, from: element, into: result)
    }
    return result
  }

  /// A whole matrix of int8: (rows, columns).
  @unsafe private func restored(_ tiles: PackedTileLayout, at base: UnsafeRawPointer) -> [Float] {
    let packed = unsafe UnsafeRawBufferPointer(start: base, count: tiles.byteCount)
    var result = [Float](repeating: 0, count: tiles.rows * tiles.columns)
    unsafe result.withUnsafeMutableBufferPointer { result in
      for row in 0..<tiles.rows {
        let target = unsafe UnsafeMutableBufferPointer(
          rebasing: result[row * tiles.columns..<(row + 1) * tiles.columns])
        unsafe PackedTiles.dequantize(row: row, of: packed, layout: tiles, into: target)
      }
    }
    return result
  }
}
