internal import FileAccess
internal import PackedTiles

/// Makes a node's block, layer by layer. Not thread-safe.
@safe public final class NodeBlockWriter {
  private let layout: NodeBlockLayout
  /// The tokens of a pass whose rows are kept.
  private let tokens: [Int]
  private let memory: AlignedMemory

  /// - Parameter tokens: the numbers of the tokens in a pass that have a row each; not empty.
  public init(layout: NodeBlockLayout, keeping tokens: [Int]) {
    self.layout = layout
    self.tokens = tokens
    memory = AlignedMemory(byteCount: layout.byteCount(rows: tokens.count), isZeroed: true)
  }

  /// Writes a layer's rows.
  /// - Parameters:
  ///   - passKeys, passValues: (tokens of the pass, kv heads · head dim) float32.
  /// - Returns: false when a value is not finite.
  @unsafe public func write(
    layer: Int, keys passKeys: UnsafePointer<Float>, values passValues: UnsafePointer<Float>
  ) -> Bool {
    let (headDim, width) = (layout.headDim, layout.kvHeadCount * layout.headDim)
    let (isTransposed, rowCount) = (layout.encoding == .int8, tokens.count)
    // Of one head: (rows, head dim). Locals, as the loops would check every access to an object's arrays.
    var keys = [Float](repeating: 0, count: rowCount * headDim)
    var values = keys
    var isFinite = true
    for head in 0..<layout.kvHeadCount {
      for (row, token) in tokens.enumerated() {
        let key = unsafe passKeys + token * width + head * headDim
        let value = unsafe passValues + token * width + head * headDim
        for d in 0..<headDim {
          keys[row * headDim + d] = unsafe key[d]
          // Tiles hold values transposed.
          values[isTransposed ? d * rowCount + row : row * headDim + d] = unsafe value[d]
        }
      }
      let keyOffset = layout.keyByteOffset(layer: layer, head: head, rows: rowCount)
      let valueOffset = layout.valueByteOffset(layer: layer, head: head, rows: rowCount)
      let end = valueOffset + layout.valueByteCount(rows: rowCount)
      let stored = unsafe keys.withUnsafeBufferPointer { keys in
        unsafe values.withUnsafeBufferPointer { values in
          let keyTarget = unsafe UnsafeMutableRawBufferPointer(rebasing: memory.unsafeBytes[keyOffset..<valueOffset])
          let valueTarget = unsafe UnsafeMutableRawBufferPointer(rebasing: memory.unsafeBytes[valueOffset..<end])
          return unsafe store(keys, values, at: keyTarget, valueTarget)
        }
      }
      isFinite = isFinite && stored
    }
    return isFinite
  }

  /// The block, when all layers have been written. Nothing may be written after it.
  public func finish() -> NodeBlock {
    NodeBlock(BlockBytes(memory), layout: layout, rowCount: tokens.count)
  }

  /// Writes one head.
  @unsafe private func store(
    _ keys: UnsafeBufferPointer<Float>, _ values: UnsafeBufferPointer<Float>,
    at keyTarget: UnsafeMutableRawBufferPointer, _ valueTarget: UnsafeMutableRawBufferPointer
  ) -> Bool {
    switch layout.encoding {
    case .int8:
      let keyTiles = layout.keyTiles(rows: tokens.count)
      let isFinite = unsafe PackedTiles.quantizeMatrix(keys, layout: keyTiles, into: keyTarget)
      let valueTiles = layout.valueTiles(rows: tokens.count)
      return unsafe PackedTiles.quantizeMatrix(values, layout: valueTiles, into: valueTarget) && isFinite
    case .int4:
      var (start, keyOffset, valueOffset) = (0, 0, 0)
      for block in layout.int4Blocks(rows: tokens.count) {
        let range = start..<start + block.rows * layout.headDim
        let isFinite = unsafe block.write(
          keys: UnsafeBufferPointer(rebasing: keys[range]), values: UnsafeBufferPointer(rebasing: values[range]),
          to: keyTarget.baseAddress! + keyOffset, valueTarget.baseAddress! + valueOffset)
        guard isFinite else { return false }
        start = range.upperBound
        keyOffset += block.keyByteCount
        valueOffset += block.valueByteCount
      }
      return true
    case .float16:
      unsafe PackedTiles.narrowToFloat16(
        keys, into: UnsafeMutableRawBufferPointer(rebasing: keyTarget[0..<keys.count * 2]))
      unsafe PackedTiles.narrowToFloat16(
        values, into: UnsafeMutableRawBufferPointer(rebasing: valueTarget[0..<values.count * 2]))
    case .float32:
      unsafe keyTarget.copyMemory(from: UnsafeRawBufferPointer(keys))
      unsafe valueTarget.copyMemory(from: UnsafeRawBufferPointer(values))
    }
    return unsafe PackedTiles.allFinite(keys) && PackedTiles.allFinite(values)
  }
}
