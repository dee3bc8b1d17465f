internal import CKernels

/// Turning floats into tiles and other floats, and back.
public enum PackedTiles {
  /// Quantizes the rows of one row block.
  /// Format: `Formats/packed-tile.md`, quantization.
  /// - Parameters:
  ///   - source: (rows, columns) float32, at most 16 rows.
  ///   - feedback: how columns make up for each other's errors; nil rounds each weight to the nearest.
  ///   - output: `layout.rowBlockByteCount` bytes.
  /// - Returns: false when a value is not finite; the output is then not to be used.
  /// - Precondition: `feedback` has as many columns, and its blocks are whole groups of at most 256 columns together.
  @unsafe public static func quantize(
    _ source: UnsafeBufferPointer<Float>, layout: PackedTileLayout, feedback: ErrorFeedback? = nil,
    into output: UnsafeMutableRawBufferPointer
  ) -> Bool {
    let rows = source.count / layout.columns
    precondition(
      (1...PackedTileLayout.tileRows).contains(rows) && source.count == rows * layout.columns
        && output.count == layout.rowBlockByteCount)
    let kernels = unsafe sp_kernels().pointee
    let bytes = unsafe output.baseAddress?.assumingMemoryBound(to: UInt8.self)
    guard let feedback else {
      return unsafe kernels.quantize_row_block(layout.kernelLayout, source.baseAddress, rows, bytes)
    }
    precondition(
      feedback.columns == layout.columns && feedback.blockColumns <= 256
        && feedback.blockColumns % layout.groupSize == 0)
    return unsafe feedback.coefficients.withUnsafeBufferPointer { coefficients in
      let feedback = unsafe sp_feedback(
        coefficients: coefficients.baseAddress, block_columns: feedback.blockColumns)
      return unsafe kernels.quantize_row_block_with_feedback(
        layout.kernelLayout, source.baseAddress, rows, feedback, bytes)
    }
  }

  /// Quantizes a whole matrix.
  /// - Parameters:
  ///   - source: (rows, columns) float32.
  ///   - output: `layout.byteCount` bytes.
  /// - Returns: false when a value is not finite.
  @unsafe public static func quantizeMatrix(
    _ source: UnsafeBufferPointer<Float>, layout: PackedTileLayout, into output: UnsafeMutableRawBufferPointer
  ) -> Bool {
    precondition(source.count == layout.rows * layout.columns && output.count == layout.byteCount)
    for block in 0..<layout.rowBlockCount {
      let rows = block * 16..<min(block * 16 + 16, layout.rows)
      let start = block * layout.rowBlockByteCount
      guard
        unsafe quantize(
          UnsafeBufferPointer(rebasing: source[rows.lowerBound * layout.columns..<rows.upperBound * layout.columns]),
          layout: layout,
          into: UnsafeMutableRawBufferPointer(rebasing: output[start..<start + layout.rowBlockByteCount]))
      else { return false }
    }
    return true
  }

  /// Restores one row of a matrix.
  /// - Parameters:
  ///   - tiles: the whole matrix.
  ///   - output: `layout.columns` float32.
  @unsafe public static func dequantize(
    row: Int, of tiles: UnsafeRawBufferPointer, layout: PackedTileLayout, into output: UnsafeMutableBufferPointer<Float>
  ) {
    precondition(
      (0..<layout.rows).contains(row) && tiles.count == layout.byteCount && output.count == layout.columns)
    let block = unsafe tiles.baseAddress! + row / 16 * layout.rowBlockByteCount
    unsafe sp_kernels().pointee.dequantize_row(
      layout.kernelLayout, block.assumingMemoryBound(to: UInt8.self), row % 16, output.baseAddress)
  }

  /// Converts floats to float32; both buffers have the same number of elements.
  @unsafe public static func widen(
    _ source: UnsafeRawBufferPointer, from element: ElementType, into output: UnsafeMutableBufferPointer<Float>
  ) {
    precondition(source.count == output.count * element.byteCount)
    unsafe sp_kernels().pointee.widen(source.baseAddress, element.kernelElement, output.count, output.baseAddress)
  }

  /// Converts float32 to float16, rounding to nearest even; values that are too large become infinite.
  @unsafe public static func narrowToFloat16(
    _ source: UnsafeBufferPointer<Float>, into output: UnsafeMutableRawBufferPointer
  ) {
    precondition(output.count == source.count * 2)
    unsafe sp_kernels().pointee.narrow_to_float16(
      source.baseAddress, source.count, output.baseAddress?.assumingMemoryBound(to: UInt16.self))
  }

  /// Whether no value is infinite or not a number.
  @unsafe public static func allFinite(_ values: UnsafeBufferPointer<Float>) -> Bool {
    unsafe sp_kernels().pointee.all_finite(values.baseAddress, values.count)
  }
}
