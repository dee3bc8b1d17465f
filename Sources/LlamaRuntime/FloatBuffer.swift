internal import FileAccess

/// Float32 values in memory of their own, aligned to 64 bytes: (rows, columns), row-major.
///
/// The memory is not initialized; the system provides its pages as they are touched. One thread writes a row at a time.
@safe final class FloatBuffer: @unchecked Sendable {
  let rows: Int
  let columns: Int
  private let memory: AlignedMemory
  @unsafe let base: UnsafeMutablePointer<Float>

  init(rows: Int, columns: Int) {
    self.rows = rows
    self.columns = columns
    memory = AlignedMemory(byteCount: rows * columns * MemoryLayout<Float>.size, prefersHugePages: true)
    unsafe base = memory.base.bindMemory(to: Float.self, capacity: rows * columns)
  }

  /// The address of a row.
  @unsafe func row(_ row: Int) -> UnsafeMutablePointer<Float> {
    assert(row >= 0 && row <= rows)
    return unsafe base + row * columns
  }

  /// A copy of rows.
  func array(rows range: Range<Int>) -> [Float] {
    var result: [Float] = []
    copy(rows: range, into: &result)
    return result
  }

  /// Copies rows of another buffer that has the same number of columns.
  func copy(rows range: Range<Int>, of other: FloatBuffer, to row: Int) {
    precondition(other.columns == columns && range.upperBound <= other.rows && row + range.count <= rows)
    unsafe self.row(row).update(from: other.row(range.lowerBound), count: range.count * columns)
  }

  /// Replaces the contents of an array by rows, without an allocation where the array has room.
  func copy(rows range: Range<Int>, into array: inout [Float]) {
    precondition(range.lowerBound >= 0 && range.upperBound <= rows)
    array.removeAll(keepingCapacity: true)
    unsafe array.append(contentsOf: UnsafeBufferPointer(start: row(range.lowerBound), count: range.count * columns))
  }
}
