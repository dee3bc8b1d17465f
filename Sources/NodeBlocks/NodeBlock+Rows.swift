internal import PackedTiles

extension NodeBlock {
  /// The rows of a layer as floats, for comparison with other implementations.
  /// - Returns: keys and values: (rows, kv heads, head dim) each.
  public func rows(layer: Int) -> (keys: [Float], values: [Float]) {
    let (headDim, width) = (layout.headDim, layout.kvHeadCount * layout.headDim)
    var keys = [Float](repeating: 0, count: rowCount * width)
    var values = keys
    for head in 0..<layout.kvHeadCount {
      let (keyBase, valueBase) = unsafe (self.keys(layer: layer, head: head), self.values(layer: layer, head: head))
      for row in 0..<rowCount {
        let target = row * width + head * headDim..<row * width + (head + 1) * headDim
        switch layout.encoding {
        case .int8:
          keys.replaceSubrange(target, with: unsafe tileRow(row, layout.keyTiles(rows: rowCount), at: keyBase))
        case .float16, .float32:
          keys.replaceSubrange(target, with: unsafe floatRow(row, at: keyBase))
          values.replaceSubrange(target, with: unsafe floatRow(row, at: valueBase))
        case .int4: preconditionFailure("a node has no layout for int4")
        }
      }
      guard layout.encoding == .int8 else { continue }
      // Tiles hold values transposed.
      for d in 0..<headDim {
        let channel = unsafe tileRow(d, layout.valueTiles(rows: rowCount), at: valueBase)
        for row in 0..<rowCount { values[row * width + head * headDim + d] = channel[row] }
      }
    }
    return (keys, values)
  }

  @unsafe private func tileRow(_ row: Int, _ tiles: PackedTileLayout, at base: UnsafeRawPointer) -> [Float] {
    var result = [Float](repeating: 0, count: tiles.columns)
    unsafe result.withUnsafeMutableBufferPointer { result in
      unsafe PackedTiles.dequantize(
        row: row, of: UnsafeRawBufferPointer(start: base, count: tiles.byteCount), layout: tiles, into: result)
    }
    return result
  }

  @unsafe private func floatRow(_ row: Int, at base: UnsafeRawPointer) -> [Float] {
    let element = layout.encoding.element
    let byteCount = layout.headDim * element.byteCount
    var result = [Float](repeating: 0, count: layout.headDim)
    unsafe result.withUnsafeMutableBufferPointer { result in
      unsafe PackedTiles.widen(
        UnsafeRawBufferPointer(start: base + row * byteCount, count: byteCount), from: element, into: result)
    }
    return result
  }
}
