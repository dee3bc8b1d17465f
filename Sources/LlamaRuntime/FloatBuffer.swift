/// Float32 values in memory of their own, aligned to 64 bytes: (rows, columns), row-major.
///
/// Not filled at first; the system hands out its pages as they are touched. One thread writes a row at a time.
@safe final class FloatBuffer: @unchecked Sendable {
  let rows: Int
  let columns: Int
  @unsafe let base: UnsafeMutablePointer<Float>

  init(rows: Int, columns: Int) {
    self.rows = rows
    self.columns = columns
    let byteCount = max(rows * columns, 16) * MemoryLayout<Float>.size
    unsafe base = UnsafeMutableRawPointer.allocate(byteCount: byteCount, alignment: 64)
      .bindMemory(to: Float.self, capacity: max(rows * columns, 16))
  }

  deinit { unsafe UnsafeMutableRawPointer(base).deallocate() }

  /// The address of a row.
  @unsafe func row(_ row: Int) -> UnsafeMutablePointer<Float> {
    assert(row >= 0 && row <= rows)
    return unsafe base + row * columns
  }

  /// A copy of rows.
  func array(rows range: Range<Int>) -> [Float] {
    precondition(range.lowerBound >= 0 && range.upperBound <= rows)
    return unsafe Array(UnsafeBufferPointer(start: row(range.lowerBound), count: range.count * columns))
  }
}
