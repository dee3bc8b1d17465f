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
    var (keyBase, valueBase) = unsafe (self.keys(layer: layer, head: head), self.values(layer: layer, head: head))
    switch layout.encoding {
    case .int8:
      // Tiles hold values transposed.
      return unsafe (
        layout.keyTiles(rows: rowCount).floats(at: keyBase),
        layout.valueTiles(rows: rowCount).transposedFloats(at: valueBase)
      )
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
      let (element, count) = (layout.encoding.element, rowCount * layout.headDim)
      return unsafe (element.floats(count, at: keyBase), element.floats(count, at: valueBase))
    }
  }
}
