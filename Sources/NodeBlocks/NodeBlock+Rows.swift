internal import PackedTiles

extension NodeBlock {
  /// The rows of a layer as floats, for comparison with other implementations.
  /// - Returns: keys and values: (rows, kv heads, head dim) each.
  public func rows(layer: Int) -> (keys: [Float], values: [Float]) {
    let (headDim, width) = (layout.headDim, layout.kvHeadCount * layout.headDim)
    var keys = [Float](repeating: 0, count: rowCount * width)
    var values = keys
    for head in 0..<layout.kvHeadCount {
      let floats = floats(layer: layer, head: head)
      for row in 0..<rowCount {
        let source = row * headDim..<(row + 1) * headDim
        let target = row * width + head * headDim..<row * width + (head + 1) * headDim
        keys.replaceSubrange(target, with: floats.keys[source])
        values.replaceSubrange(target, with: floats.values[source])
      }
    }
    return (keys, values)
  }

  /// The rows of a head: (rows, head dim) each.
  private func floats(layer: Int, head: Int) -> (keys: [Float], values: [Float]) {
    let headDim = layout.headDim
    var (keyBase, valueBase) = unsafe (self.keys(layer: layer, head: head), self.values(layer: layer, head: head))
    switch layout.encoding {
    case .int8:
      // Tiles hold values transposed.
      let transposed = unsafe layout.valueTiles(rows: rowCount).floats(at: valueBase)
      var values = [Float](repeating: 0, count: rowCount * headDim)
      for row in 0..<rowCount {
        for d in 0..<headDim { values[row * headDim + d] = transposed[d * rowCount + row] }
      }
      return unsafe (layout.keyTiles(rows: rowCount).floats(at: keyBase), values)
    case .int4:
      var (keys, values): ([Float], [Float]) = ([], [])
      for block in layout.int4Blocks(rows: rowCount) {
        let floats = unsafe block.floats(keys: keyBase, values: valueBase)
        keys += floats.keys
        values += floats.values
        unsafe keyBase += block.keyByteCount
        unsafe valueBase += block.valueByteCount
      }
      return (keys, values)
    case .float16, .float32:
      return unsafe (widened(at: keyBase), widened(at: valueBase))
    }
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
}
