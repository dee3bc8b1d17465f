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

  /// Packs the last rows of a head, fewer than a block has.
  /// - Parameters:
  ///   - keys, values: (rows, head dim) float32.
  /// - Returns: false when a value is not finite.
  @unsafe package func writeLast(
    _ rows: Int, head: Int, layer: Int, keys: UnsafePointer<Float>, values: UnsafePointer<Float>
  ) -> Bool {
    precondition(rows == rowCount % TextRowLayout.rowsTogether && layout.encoding == .int8)
    let full = rowCount / TextRowLayout.rowsTogether
    let start =
      unsafe self.head(head, layer: layer)
      + full * layout.blockByteCount(blockRows: TextRowLayout.rowsTogether)
    let (keyTiles, valueTiles) = (layout.keyTiles(blockRows: rows), layout.valueTiles(blockRows: rows))
    var transposed = [Float](repeating: 0, count: rows * layout.headDim)
    for row in 0..<rows {
      for d in 0..<layout.headDim { transposed[d * rows + row] = unsafe values[row * layout.headDim + d] }
    }
    let stored = unsafe PackedTiles.quantizeMatrix(
      UnsafeBufferPointer(start: keys, count: rows * layout.headDim), layout: keyTiles,
      into: UnsafeMutableRawBufferPointer(start: start, count: keyTiles.byteCount))
    return unsafe transposed.withUnsafeBufferPointer { transposed in
      unsafe PackedTiles.quantizeMatrix(
        transposed, layout: valueTiles,
        into: UnsafeMutableRawBufferPointer(start: start + keyTiles.byteCount, count: valueTiles.byteCount))
    } && stored
  }

  /// The rows, when all heads have been written. Nothing may be written after it.
  package func finish() -> TextRows { TextRows(BlockBytes(memory), layout: layout, rowCount: rowCount) }
}
