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
      let (element, count) = (layout.encoding.element, rowCount * headDim)
      return unsafe (element.floats(count, at: base), element.floats(count, at: values))
    }
    var keys = [Float](repeating: 0, count: rowCount * headDim)
    var values = keys
    let together = TextRowLayout.rowsTogether
    for start in stride(from: 0, to: rowCount, by: together) {
      let rows = min(rowCount - start, together)
      let block = layout.block(rows: rows)
      let place = unsafe base + start / together * layout.block(rows: together).byteCount
      let floats = unsafe block.floats(keys: place, values: place + block.keyByteCount)
      let range = start * headDim..<(start + rows) * headDim
      keys.replaceSubrange(range, with: floats.keys)
      values.replaceSubrange(range, with: floats.values)
    }
    return (keys, values)
  }
}
