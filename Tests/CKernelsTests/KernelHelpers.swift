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

  /// The sets that are built for this family of processors, whether or not this one can run them.
  static let built: Set<String> = {
    #if arch(x86_64)
      ["portable", "avx2", "avx-vnni", "avx512-vnni"]
    #elseif arch(arm64)
      ["portable", "neon-dotprod"]
    #else
      ["portable"]
    #endif
  }()
}

struct PackedResult {
  let tiles: [UInt8]
  /// The weights that the tiles stand for.
  let restored: [Float]
  let activations: [Int8]
  let output: [Float]
}

extension sp_tile_layout {
  var groupCount: Int { (columns + group_size - 1) / group_size }
  var rowBlockByteCount: Int {
    element == SP_INT8 ? (columns + 3) / 4 * 64 + groupCount * 64 : (columns + 7) / 8 * 64 + (groupCount + 1) / 2 * 64
  }
}

/// A matrix (rows, columns) in packed tiles.
/// - Parameter feedback: (columns, blockColumns), if columns are to make up for errors.
func tiles(
  _ kernels: Kernels, _ layout: sp_tile_layout, _ weights: [Float], rows: Int, feedback: [Float]? = nil,
  blockColumns: Int = 0
) -> [UInt8] {
  let table = unsafe kernels.pointee
  var tiles = [UInt8](repeating: 0, count: (rows + 15) / 16 * layout.rowBlockByteCount)
  for block in 0..<(rows + 15) / 16 {
    unsafe tiles.withUnsafeMutableBufferPointer { tiles in
      unsafe weights.withUnsafeBufferPointer { weights in
        let source = unsafe weights.baseAddress! + block * 16 * layout.columns
        let output = unsafe tiles.baseAddress! + block * layout.rowBlockByteCount
        let count = min(16, rows - block * 16)
        guard let feedback else {
          _ = unsafe table.quantize_row_block(layout, source, count, output)
          return
        }
        unsafe feedback.withUnsafeBufferPointer { feedback in
          let feedback = unsafe sp_feedback(coefficients: feedback.baseAddress, block_columns: blockColumns)
          _ = unsafe table.quantize_row_block_with_feedback(layout, source, count, feedback, output)
        }
      }
    }
  }
  return tiles
}

/// Calls `body` with activations (tokens, columns), quantized.
/// - Returns: the quantized values, (tokens, columns padded to a multiple of 8).
@unsafe func withActivations(
  _ kernels: Kernels, _ input: [Float], tokens: Int, columns: Int, groupSize: Int, _ body: (sp_activations) -> Void
) -> [Int8] {
  let stride = (columns + 7) / 8 * 8
  let groups = (columns + groupSize - 1) / groupSize
  var values = [Int8](repeating: 1, count: tokens * stride)
  var scales = [Float](repeating: 0, count: tokens * groups)
  var offsets = [Int32](repeating: 0, count: tokens * groups)
  unsafe values.withUnsafeMutableBufferPointer { values in
    unsafe scales.withUnsafeMutableBufferPointer { scales in
      unsafe offsets.withUnsafeMutableBufferPointer { offsets in
        let activations = unsafe sp_activations(
          values: values.baseAddress, scales: scales.baseAddress, offsets: offsets.baseAddress, tokens: tokens,
          columns: columns, group_size: groupSize, stride: stride)
        unsafe kernels.pointee.quantize_activations(input, 0, tokens, activations)
        unsafe body(activations)
      }
    }
  }
  return values
}

/// - Parameter start: what the product is added to, if to anything.
func packedProduct(
  _ element: sp_element, _ kernels: Kernels, _ weights: [Float], _ input: [Float], _ shape: KernelEqualityTests.Shape,
  onto start: Float? = nil
) -> PackedResult {
  let layout = sp_tile_layout(element: element, columns: shape.columns, group_size: shape.groupSize)
  let tiles = tiles(kernels, layout, weights, rows: shape.rows)
  var output = [Float](repeating: start ?? 0, count: shape.tokens * shape.rows)
  let activations = unsafe withActivations(
    kernels, input, tokens: shape.tokens, columns: shape.columns, groupSize: shape.groupSize
  ) { activations in
    unsafe tiles.withUnsafeBufferPointer { tiles in
      unsafe output.withUnsafeMutableBufferPointer { output in
        let matrix = unsafe sp_matrix(
          values: tiles.baseAddress, element: element, rows: shape.rows, columns: shape.columns,
          group_size: shape.groupSize, row_block_bytes: layout.rowBlockByteCount)
        unsafe kernels.pointee.product_packed(
          matrix, 0, (shape.rows + 15) / 16, activations,
          sp_output(values: output.baseAddress, stride: shape.rows, accumulate: start != nil))
      }
    }
  }
  var restored = [Float](repeating: 0, count: shape.rows * shape.columns)
  for row in 0..<shape.rows {
    unsafe tiles.withUnsafeBufferPointer { tiles in
      unsafe restored.withUnsafeMutableBufferPointer { restored in
        unsafe kernels.pointee.dequantize_row(
          layout, tiles.baseAddress! + row / 16 * layout.rowBlockByteCount, row % 16,
          restored.baseAddress! + row * shape.columns)
      }
    }
  }
  return PackedResult(tiles: tiles, restored: restored, activations: activations, output: output)
}

/// - Parameter start: what the product is added to, if to anything.
func floatProduct<Element: BitwiseCopyable>(
  _ kernels: Kernels, _ weights: [Element], _ element: sp_element, _ input: [Float],
  _ shape: KernelEqualityTests.Shape, onto start: Float? = nil
) -> [Float] {
  var output = [Float](repeating: start ?? 0, count: shape.tokens * shape.rows)
  unsafe weights.withUnsafeBytes { weights in
    unsafe output.withUnsafeMutableBufferPointer { output in
      let matrix = unsafe sp_matrix(
        values: weights.baseAddress, element: element, rows: shape.rows, columns: shape.columns, group_size: 0,
        row_block_bytes: 0)
      unsafe kernels.pointee.product_floats(
        matrix, 0, (shape.rows + 15) / 16, input, shape.tokens,
        sp_output(values: output.baseAddress, stride: shape.rows, accumulate: start != nil))
    }
  }
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
  unsafe kernels.pointee.scale(&output, 0.3, count)
  results += output
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
