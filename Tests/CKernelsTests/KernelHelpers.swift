import CKernels
import SeededRandom
import Testing

extension SplitMix64 {
  /// Uniform in -1 ..< 1.
  mutating func floats(_ count: Int) -> [Float] {
    (0..<count).map { _ in Float(Int32(truncatingIfNeeded: next() >> 32)) / 2_147_483_648 }
  }
}

/// One instruction set's operations. The table is immutable C data.
@safe struct Kernels: @unchecked Sendable, CustomTestStringConvertible {
  let pointee: sp_kernels_table

  var testDescription: String { unsafe String(cString: pointee.name) }

  /// All of this machine, the portable one first.
  static let available: [Kernels] = {
    var tables = unsafe [UnsafePointer<sp_kernels_table>?](repeating: nil, count: 8)
    let count = unsafe sp_available_kernels(&tables, 8)
    return unsafe tables.prefix(count).compactMap { unsafe $0.map { unsafe Kernels(pointee: $0.pointee) } }
  }()
}

/// A packed form of a matrix.
enum PackedForm: CaseIterable {
  case int8, int4
}

struct PackedResult {
  let tiles: [UInt8]
  /// The weights that the tiles stand for.
  let restored: [Float]
  let activations: [Int8]
  let output: [Float]
}

/// A matrix (rows, columns) in packed tiles.
/// - Parameters:
///   - quantize: makes a row block.
///   - blockBytes: of a row block.
func tiles(
  _ quantize: (UnsafePointer<Float>?, Int, Int, Int, UnsafeMutablePointer<UInt8>?) -> Bool, _ weights: [Float],
  rows: Int, columns: Int, groupSize: Int, blockBytes: Int
) -> [UInt8] {
  let blocks = (rows + 15) / 16
  var tiles = [UInt8](repeating: 0, count: blocks * blockBytes)
  for block in 0..<blocks {
    unsafe tiles.withUnsafeMutableBufferPointer { tiles in
      unsafe weights.withUnsafeBufferPointer { weights in
        _ = unsafe quantize(
          weights.baseAddress! + block * 16 * columns, min(16, rows - block * 16), columns, groupSize,
          tiles.baseAddress! + block * blockBytes)
      }
    }
  }
  return tiles
}

func packedProduct(
  _ form: PackedForm, _ kernels: Kernels, _ weights: [Float], _ input: [Float], _ shape: KernelEqualityTests.Shape
) -> PackedResult {
  let padded = (shape.columns + 7) / 8 * 8
  let groups = (shape.columns + shape.groupSize - 1) / shape.groupSize
  let blocks = (shape.rows + 15) / 16
  let blockBytes = form == .int8 ? (shape.columns + 3) / 4 * 64 + groups * 64 : padded * 8 + (groups + 1) / 2 * 64
  let table = unsafe kernels.pointee
  let quantize = unsafe form == .int8 ? table.quantize_row_block : table.quantize_row_block_int4
  let dequantize = unsafe form == .int8 ? table.dequantize_row : table.dequantize_row_int4
  let product = unsafe form == .int8 ? table.product_int8 : table.product_int4
  let tiles = unsafe tiles(
    quantize!, weights, rows: shape.rows, columns: shape.columns, groupSize: shape.groupSize, blockBytes: blockBytes)
  var values = [Int8](repeating: 1, count: shape.tokens * padded)
  var scales = [Float](repeating: 0, count: shape.tokens * groups)
  var offsets = [Int32](repeating: 0, count: shape.tokens * groups)
  var output = [Float](repeating: 0, count: shape.tokens * shape.rows)
  unsafe values.withUnsafeMutableBufferPointer { values in
    unsafe scales.withUnsafeMutableBufferPointer { scales in
      unsafe offsets.withUnsafeMutableBufferPointer { offsets in
        let activations = unsafe sp_activations(
          values: values.baseAddress, scales: scales.baseAddress, offsets: offsets.baseAddress, stride: padded)
        unsafe kernels.pointee.quantize_activations(
          input, shape.columns, 0, shape.tokens, shape.columns, shape.groupSize, activations)
        unsafe product!(
          tiles, blockBytes, 0, blocks, shape.rows, shape.columns, shape.groupSize, activations, shape.tokens, &output,
          shape.rows, false)
      }
    }
  }
  var restored = [Float](repeating: 0, count: shape.rows * shape.columns)
  for row in 0..<shape.rows {
    unsafe tiles.withUnsafeBufferPointer { tiles in
      unsafe restored.withUnsafeMutableBufferPointer { restored in
        unsafe dequantize!(
          tiles.baseAddress! + row / 16 * blockBytes, row % 16, shape.columns, shape.groupSize,
          restored.baseAddress! + row * shape.columns)
      }
    }
  }
  return PackedResult(tiles: tiles, restored: restored, activations: values, output: output)
}

func floatProduct<Element: BitwiseCopyable>(
  _ kernels: Kernels, _ weights: [Element], _ element: sp_element, _ input: [Float],
  _ shape: KernelEqualityTests.Shape
) -> [Float] {
  var output = [Float](repeating: 0, count: shape.tokens * shape.rows)
  unsafe kernels.pointee.product_float(
    weights, element, 0, shape.rows, shape.columns, input, shape.tokens, &output, shape.rows, false)
  return output
}

/// The results of all operations on vectors, one after another.
func vectorResults(_ kernels: Kernels, count: Int) -> [UInt32] {
  var random = SplitMix64(state: UInt64(count))
  let x = random.floats(count)
  let y = random.floats(count)
  var results: [Float] = []
  var output = [Float](repeating: 0, count: count)
  unsafe kernels.pointee.rms_norm(x, y, count, 1e-5, &output)
  results += output
  output = x.map { $0 * 30 }
  unsafe kernels.pointee.swiglu(&output, y, count)
  results += output
  unsafe kernels.pointee.add(&output, y, count)
  unsafe kernels.pointee.scale(&output, 0.3, count)
  results += output
  results.append(unsafe kernels.pointee.dot(x, y, count))
  var heads = random.floats(4 * count)
  unsafe kernels.pointee.rotate(&heads, 2, 2 * count, x, y)
  results += heads
  return results.map(\.bitPattern)
}

/// e^x in double precision by its series, after halving x until it is small.
func reference(exp x: Double) -> Double {
  let halvings = 10
  let r = x / Double(1 << halvings)
  var term = 1.0
  var sum = 1.0
  for n in 1...20 {
    term *= r / Double(n)
    sum += term
  }
  for _ in 0..<halvings { sum *= sum }
  return sum
}
