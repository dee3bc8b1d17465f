internal import FileAccess
internal import PackedTiles

/// The keys and values of consecutive tokens of a text in every layer, as the kernels read them: mapped from a file or
/// freshly read. Safe to use from any thread.
@safe public struct TextRows: Sendable {
  public let layout: TextRowLayout
  public let rowCount: Int
  /// `layout.byteCount(rows: rowCount)` bytes.
  public let storage: BlockBytes

  /// - Precondition: the storage has as many bytes as the layout says.
  public init(_ storage: BlockBytes, layout: TextRowLayout, rowCount: Int) {
    precondition(storage.byteCount == layout.byteCount(rows: rowCount), "text rows have the bytes of their layout")
    self.layout = layout
    self.rowCount = rowCount
    self.storage = storage
  }

  /// A head in a layer, for the kernels; the next head follows after `layout.headByteCount(rows:)`. Valid as long as the
  /// storage lives.
  @unsafe package func head(_ head: Int, layer: Int) -> UnsafeRawPointer {
    unsafe storage.unsafeBytes.baseAddress! + layout.byteOffset(layer: layer, head: head, rows: rowCount)
  }
}

/// Makes the rows of a text, head by head. Not thread-safe, but different heads may be written at the same time.
@safe package final class TextRowWriter: @unchecked Sendable {
  package let layout: TextRowLayout
  package let rowCount: Int
  private let memory: AlignedMemory

  /// - Precondition: `rowCount` is positive.
  package init(layout: TextRowLayout, rowCount: Int) {
    self.layout = layout
    self.rowCount = rowCount
    memory = AlignedMemory(byteCount: layout.byteCount(rows: rowCount), isZeroed: true)
  }

  /// Where a head goes. Valid as long as this object lives.
  @unsafe package func head(_ head: Int, layer: Int) -> UnsafeMutableRawPointer {
    unsafe memory.base + layout.byteOffset(layer: layer, head: head, rows: rowCount)
  }

  /// Writes all rows of a head.
  /// - Parameters:
  ///   - keys, values: (rows, head dim); keys not mixed.
  /// - Returns: false when a value is not finite.
  package func write(head: Int, layer: Int, keys: [Float], values: [Float]) -> Bool {
    precondition(keys.count == rowCount * layout.headDim && values.count == keys.count, "as many numbers as rows have")
    return unsafe keys.withUnsafeBufferPointer { keys in
      unsafe values.withUnsafeBufferPointer { values in
        guard layout.isPacked else {
          let target = unsafe self.head(head, layer: layer)
          let stored = unsafe store(floats: keys, at: target)
          return unsafe store(floats: values, at: target + layout.floatByteCount(rows: rowCount)) && stored
        }
        return (0..<(rowCount + TextRowLayout.rowsTogether - 1) / TextRowLayout.rowsTogether).allSatisfy { block in
          let offset = block * TextRowLayout.rowsTogether * layout.headDim
          return unsafe write(
            block: block, head: head, layer: layer, keys: keys.baseAddress! + offset,
            values: values.baseAddress! + offset)
        }
      }
    }
  }

  @unsafe private func store(floats: UnsafeBufferPointer<Float>, at target: UnsafeMutableRawPointer) -> Bool {
    let byteCount = floats.count * layout.encoding.element.byteCount
    if layout.encoding == .float16 {
      unsafe PackedTiles.narrowToFloat16(
        floats, into: UnsafeMutableRawBufferPointer(start: target, count: byteCount))
    } else {
      unsafe target.copyMemory(from: floats.baseAddress!, byteCount: byteCount)
    }
    return unsafe PackedTiles.allFinite(floats)
  }

  /// Packs the rows of a block: 64, or what is left in the last one.
  /// - Parameters:
  ///   - keys, values: (rows, head dim) float32; keys not mixed.
  /// - Returns: false when a value is not finite.
  @unsafe package func write(
    block: Int, head: Int, layer: Int, keys: UnsafePointer<Float>, values: UnsafePointer<Float>
  ) -> Bool {
    let together = TextRowLayout.rowsTogether
    precondition(layout.isPacked && block * together < rowCount, "floats are not packed in blocks")
    let rows = min(rowCount - block * together, together)
    let headDim = layout.headDim
    let start =
      unsafe self.head(head, layer: layer) + block * layout.blockByteCount(blockRows: together)
    let (keyTiles, valueTiles) = (layout.keyTiles(blockRows: rows), layout.valueTiles(blockRows: rows))
    var transposed = [Float](repeating: 0, count: rows * headDim)
    for row in 0..<rows {
      for d in 0..<headDim { transposed[d * rows + row] = unsafe values[row * headDim + d] }
    }
    var keyRows = unsafe Array(UnsafeBufferPointer(start: keys, count: rows * headDim))
    if layout.encoding == .int4 {
      unsafe keyRows.withUnsafeMutableBufferPointer { keyRows in
        for row in 0..<rows { unsafe KeyMixing.mix(keyRows.baseAddress! + row * headDim, headDim: headDim) }
      }
    }
    let stored = unsafe store(keyRows, keyTiles, at: start)
    return unsafe store(transposed, valueTiles, at: start + layout.byteCount(keyTiles)) && stored
  }

  @unsafe private func store(_ matrix: [Float], _ tiles: PackedTileLayout, at target: UnsafeMutableRawPointer) -> Bool {
    unsafe matrix.withUnsafeBufferPointer { matrix in
      guard layout.encoding == .int4 else {
        return unsafe PackedTiles.quantizeMatrix(
          matrix, layout: tiles, into: UnsafeMutableRawBufferPointer(start: target, count: tiles.byteCount))
      }
      // Scales move behind all tiles, where those of one group do not take the place of two groups'.
      var packed = [UInt8](repeating: 0, count: tiles.byteCount)
      return unsafe packed.withUnsafeMutableBytes { packed in
        guard unsafe PackedTiles.quantizeMatrix(matrix, layout: tiles, into: packed) else { return false }
        let tileByteCount = TextRowLayout.int4TileByteCount(tiles)
        let scaleByteCount = TextRowLayout.int4ScaleByteCount
        for rowBlock in 0..<tiles.rowBlockCount {
          let source = unsafe packed.baseAddress! + rowBlock * tiles.rowBlockByteCount
          unsafe (target + rowBlock * tileByteCount).copyMemory(
            from: source + PackedTileLayout.tileByteCount, byteCount: tileByteCount)
          unsafe (target + tiles.rowBlockCount * tileByteCount + rowBlock * scaleByteCount).copyMemory(
            from: source, byteCount: scaleByteCount)
        }
        return true
      }
    }
  }

  /// The rows, when all heads have been written. Nothing may be written after it.
  package func finish() -> TextRows { TextRows(BlockBytes(memory), layout: layout, rowCount: rowCount) }
}
