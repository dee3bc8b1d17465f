import ContextTrees
import PackedTiles
import TreeStore

/// The rows of a node's block for a layer, as floats: (rows, kv heads, head dim).
struct NodeRows {
  private(set) var keys: [Float]
  private(set) var values: [Float]

  init(block: NodeBlock, layout: NodeBlockLayout, layer: Int, node: TreeNode) {
    let rows = node.rowCount
    let headDim = layout.headDim
    let width = layout.kvHeadCount * headDim
    keys = [Float](repeating: 0, count: rows * width)
    values = keys
    for head in 0..<layout.kvHeadCount {
      let keyStart = layout.keyByteOffset(layer: layer, head: head, rows: rows)
      let valueStart = layout.valueByteOffset(layer: layer, head: head, rows: rows)
      for row in 0..<rows {
        let place = row * width + head * headDim
        switch layout.encoding {
        case .int8:
          let key = Self.dequantize(
            block, start: keyStart, layout: layout.keyTiles(rows: rows), row: row)
          keys.replaceSubrange(place..<place + headDim, with: key)
        case .float16, .float32:
          let element: FloatElement = layout.encoding == .float16 ? .float16 : .float32
          keys.replaceSubrange(
            place..<place + headDim, with: Self.floats(block, start: keyStart, row: row, headDim, element))
          values.replaceSubrange(
            place..<place + headDim, with: Self.floats(block, start: valueStart, row: row, headDim, element))
        }
      }
      if layout.encoding == .int8 {
        for d in 0..<headDim {
          let channel = Self.dequantize(
            block, start: valueStart, layout: layout.valueTiles(rows: rows), row: d)
          for row in 0..<rows { values[row * width + head * headDim + d] = channel[row] }
        }
      }
    }
  }

  private static func dequantize(_ block: NodeBlock, start: Int, layout: PackedTileLayout, row: Int) -> [Float] {
    var result = [Float](repeating: 0, count: layout.columns)
    unsafe result.withUnsafeMutableBufferPointer { result in
      unsafe PackedTiles.dequantize(
        row: row, of: UnsafeRawBufferPointer(rebasing: block.unsafeBytes[start..<start + layout.byteCount]),
        layout: layout, into: result)
    }
    return result
  }

  private static func floats(
    _ block: NodeBlock, start: Int, row: Int, _ count: Int, _ element: FloatElement
  ) -> [Float] {
    var result = [Float](repeating: 0, count: count)
    let byteCount = count * element.byteCount
    unsafe result.withUnsafeMutableBufferPointer { result in
      let offset = start + row * byteCount
      unsafe PackedTiles.widen(
        UnsafeRawBufferPointer(rebasing: block.unsafeBytes[offset..<offset + byteCount]), from: element, into: result)
    }
    return result
  }
}
