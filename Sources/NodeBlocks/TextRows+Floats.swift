internal import PackedTiles

extension TextRows {
  /// The rows of a head in a layer as floats, to be encoded otherwise or compared.
  /// - Returns: keys and values: (rows, head dim) each.
  public func floats(head: Int, layer: Int) -> (keys: [Float], values: [Float]) {
    let headDim = layout.headDim
    let base = unsafe self.head(head, layer: layer)
    guard layout.isPacked else {
      return unsafe (
        widened(at: base), widened(at: base + layout.floatByteCount(rows: rowCount))
      )
    }
    var keys = [Float](repeating: 0, count: rowCount * headDim)
    var values = keys
    let together = TextRowLayout.rowsTogether
    for start in stride(from: 0, to: rowCount, by: together) {
      let rows = min(rowCount - start, together)
      let (keyTiles, valueTiles) = (layout.keyTiles(blockRows: rows), layout.valueTiles(blockRows: rows))
      let block = unsafe base + start / together * layout.blockByteCount(blockRows: together)
      keys.replaceSubrange(
        start * headDim..<(start + rows) * headDim, with: unsafe restored(keyTiles, at: block))
      let transposed = unsafe restored(valueTiles, at: block + layout.byteCount(keyTiles))
      for row in 0..<rows {
        for d in 0..<headDim { values[(start + row) * headDim + d] = transposed[d * rows + row] }
      }
    }
    if layout.encoding == .int4 {
      unsafe keys.withUnsafeMutableBufferPointer { keys in
        for row in 0..<rowCount { unsafe KeyMixing.mix(keys.baseAddress! + row * headDim, headDim: headDim) }
      }
    }
    return (keys, values)
  }

  @unsafe private func widened(at base: UnsafeRawPointer) -> [Float] {
    let element = layout.encoding.element
    var result = [Float](repeating: 0, count: rowCount * layout.headDim)
    unsafe result.withUnsafeMutableBufferPointer { result in
      let source = unsafe UnsafeRawBufferPointer(start: base, count: result.count * element.byteCount)
      unsafe PackedTiles.widen(source, from: element, into: result)
    }
    return result
  }

  /// A whole matrix: (rows, columns).
  @unsafe private func restored(_ tiles: PackedTileLayout, at base: UnsafeRawPointer) -> [Float] {
    let packed: UnsafeRawBufferPointer
    var joined: [UInt8] = []
    if layout.encoding == .int4 {
      let tileByteCount = TextRowLayout.int4TileByteCount(tiles)
      let scaleByteCount = TextRowLayout.int4ScaleByteCount
      for rowBlock in 0..<tiles.rowBlockCount {
        let scales = unsafe base + tiles.rowBlockCount * tileByteCount + rowBlock * scaleByteCount
        unsafe joined.append(contentsOf: UnsafeRawBufferPointer(start: scales, count: scaleByteCount))
        joined += [UInt8](repeating: 0, count: PackedTileLayout.tileByteCount - scaleByteCount)
        let rows = unsafe base + rowBlock * tileByteCount
        unsafe joined.append(contentsOf: UnsafeRawBufferPointer(start: rows, count: tileByteCount))
      }
      unsafe packed = UnsafeRawBufferPointer(start: nil, count: 0)
    } else {
      unsafe packed = UnsafeRawBufferPointer(start: base, count: tiles.byteCount)
    }
    var result = [Float](repeating: 0, count: tiles.rows * tiles.columns)
    unsafe joined.withUnsafeBytes { joined in
      unsafe result.withUnsafeMutableBufferPointer { result in
        for row in 0..<tiles.rows {
          let target = unsafe UnsafeMutableBufferPointer(
            rebasing: result[row * tiles.columns..<(row + 1) * tiles.columns])
          unsafe PackedTiles.dequantize(
            row: row, of: layout.encoding == .int4 ? joined : packed, layout: tiles, into: target)
        }
      }
    }
    return result
  }
}
