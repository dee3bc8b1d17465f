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
      let stored = unsafe store(keys, tiles: layout.keyTiles(rows: rowCount), at: keyOffset..<valueOffset)
      let alsoStored = unsafe store(
        values, tiles: layout.valueTiles(rows: rowCount),
        at: valueOffset..<valueOffset + layout.valueByteCount(rows: rowCount))
      isFinite = isFinite && stored && alsoStored
    }
    return isFinite
  }

  /// The block, when all layers have been written. Nothing may be written after it.
  public func finish() -> NodeBlock {
    NodeBlock(BlockBytes(memory), layout: layout, rowCount: tokens.count)
  }

  @unsafe private func store(_ floats: [Float], tiles: PackedTileLayout, at range: Range<Int>) -> Bool {
    let target = unsafe UnsafeMutableRawBufferPointer(rebasing: memory.unsafeBytes[range])
    return unsafe floats.withUnsafeBufferPointer { floats in
      switch layout.encoding {
      case .int8:
        return unsafe PackedTiles.quantizeMatrix(floats, layout: tiles, into: target)
      case .float16:
        unsafe PackedTiles.narrowToFloat16(
          floats, into: UnsafeMutableRawBufferPointer(rebasing: target[0..<floats.count * 2]))
      case .float32:
        unsafe target.copyMemory(from: UnsafeRawBufferPointer(floats))
      case .int4: preconditionFailure("a node has no layout for int4")
      }
      return unsafe PackedTiles.allFinite(floats)
    }
  }
}
