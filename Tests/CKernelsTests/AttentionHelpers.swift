import CKernels
import SeededRandom

/// Attention of some queries, not yet divided by the sums of the weights.
struct AttentionResult: Equatable {
  let headDim: Int
  var maxima: [Float]
  var sums: [Float]
  var outputs: [Float]

  /// To no rows.
  init(queries: Int, headDim: Int) {
    self.headDim = headDim
    maxima = [Float](repeating: -.infinity, count: queries)
    sums = [Float](repeating: 0, count: queries)
    outputs = [Float](repeating: 0, count: queries * headDim)
  }

  var divided: [Float] { outputs.enumerated().map { $1 / sums[$0 / headDim] } }

  func query(_ query: Int) -> AttentionResult {
    var result = AttentionResult(queries: 1, headDim: headDim)
    result.maxima = [maxima[query]]
    result.sums = [sums[query]]
    result.outputs = Array(outputs[query * headDim..<(query + 1) * headDim])
    return result
  }

  @unsafe mutating func update(_ body: (sp_attention) -> Void) {
    unsafe maxima.withUnsafeMutableBufferPointer { maxima in
      unsafe sums.withUnsafeMutableBufferPointer { sums in
        unsafe outputs.withUnsafeMutableBufferPointer { outputs in
          unsafe body(
            sp_attention(maxima: maxima.baseAddress, sums: sums.baseAddress, outputs: outputs.baseAddress))
        }
      }
    }
  }

  mutating func merge(_ more: AttentionResult, _ kernels: Kernels) {
    var more = more
    let (count, headDim) = (maxima.count, headDim)
    unsafe update { soFar in
      unsafe more.update { more in unsafe kernels.pointee.merge_attention(more, count, headDim, soFar) }
    }
  }
}

/// The rows that queries see: each one sees from `first` on and before `end`, or so many rows later.
struct Window: Sendable {
  var first = -1_000_000
  var end = 1_000_000
  var moves = true

  static let all = Window(moves: false)

  func rows(query: Int, of rows: Int) -> Range<Int> {
    let moved = moves ? query : 0
    return (first + moved..<end + moved).clamped(to: 0..<rows)
  }

  /// As it is for queries from `query` on.
  func kernelRows(from query: Int) -> sp_visible_rows {
    let moved = moves ? query : 0
    return sp_visible_rows(first: first + moved, end: end + moved, queries_per_row: moves ? 1 : 0)
  }
}

/// Random queries and rows of one head.
struct AttentionRows {
  let shape: AttentionKernelTests.Shape
  let queries: [Float]
  let keys: [Float]
  let values: [Float]

  init(_ shape: AttentionKernelTests.Shape) {
    self.shape = shape
    var random = SplitMix64(state: UInt64(shape.rows))
    // Scores of a few units.
    let factor = 6 / Float(shape.headDim).squareRoot()
    queries = random.floats(shape.queries * shape.headDim).map { $0 * factor }
    keys = random.floats(shape.rows * shape.headDim)
    values = random.floats(shape.rows * shape.headDim)
  }

  func exact(_ window: Window) -> [Float] {
    let headDim = shape.headDim
    var result: [Float] = []
    for query in 0..<shape.queries {
      let (rows, weights) = softmax(query, window)
      for d in 0..<headDim {
        result.append(Float(zip(rows, weights).reduce(0) { $0 + $1.1 * Double(values[$1.0 * headDim + d]) }))
      }
    }
    return result
  }

  private func softmax(_ query: Int, _ window: Window) -> (rows: Range<Int>, weights: [Double]) {
    let headDim = shape.headDim
    let rows = window.rows(query: query, of: shape.rows)
    let scores = rows.map { row in
      (0..<headDim).reduce(0) { $0 + Double(queries[query * headDim + $1]) * Double(keys[row * headDim + $1]) }
    }
    let largest = scores.max() ?? 0
    let weights = scores.map { reference(exp: $0 - largest) }
    let sum = weights.reduce(0, +)
    return (rows, weights.map { $0 / sum })
  }

  /// The weight of each row in the softmax, summed over all queries.
  func exactWeights(_ window: Window) -> [Float] {
    var result = [Double](repeating: 0, count: shape.rows)
    for query in 0..<shape.queries {
      let (rows, weights) = softmax(query, window)
      for (row, weight) in zip(rows, weights) { result[row] += weight }
    }
    return result.map { Float($0) }
  }

  /// The same as the kernels compute it.
  func weights(_ kernels: Kernels, _ window: Window, of element: sp_element) -> [Float] {
    var result = [Float](repeating: 0, count: shape.rows)
    unsafe result.withUnsafeMutableBufferPointer { weights in
      if element == SP_FLOAT32 {
        unsafe _ = visitFloats(kernels, window, adding: weights.baseAddress)
      } else {
        unsafe _ = visitPacked(kernels, window, element, adding: weights.baseAddress)
      }
    }
    return result
  }

  /// - Parameter rows: the rows that there are.
  func attendFloats(
    _ kernels: Kernels, _ window: Window, rows: Range<Int>? = nil, queries: Range<Int>? = nil
  ) -> AttentionResult {
    unsafe visitFloats(kernels, window, rows: rows, queries: queries, adding: nil)
  }

  func attendPacked(
    _ kernels: Kernels, _ window: Window, _ element: sp_element = SP_INT8, queries: Range<Int>? = nil
  ) -> AttentionResult {
    unsafe visitPacked(kernels, window, element, queries: queries, adding: nil)
  }

  /// - Parameter weights: where the weights of the rows are added; nil for nowhere.
  @unsafe private func visitBytes(
    _ kernels: Kernels, _ window: Window, queries range: Range<Int>? = nil, adding weights: UnsafeMutablePointer<Float>?
  ) -> AttentionResult {
    let range = range ?? 0..<shape.queries
    let headDim = shape.headDim
    let (keys, keyScales) = byteRows(keys)
    let (values, valueScales) = byteRows(values)
    var result = AttentionResult(queries: range.count, headDim: headDim)
    let queries = Array(queries[range.lowerBound * headDim..<range.upperBound * headDim])
    unsafe result.update { soFar in
      unsafe keys.withUnsafeBufferPointer { keys in
        unsafe values.withUnsafeBufferPointer { values in
          unsafe keyScales.withUnsafeBufferPointer { keyScales in
            unsafe valueScales.withUnsafeBufferPointer { valueScales in
              let rows = unsafe sp_float_rows(
                keys: keys.baseAddress, values: values.baseAddress, element: SP_INT8,
                key_scales: keyScales.baseAddress, value_scales: valueScales.baseAddress, rows: shape.rows,
                visible: window.kernelRows(from: range.lowerBound))
              unsafe kernels.pointee.attend_floats(rows, queries, range.count, headDim, soFar)
              if let weights = unsafe weights {
                unsafe kernels.pointee.weigh_floats(rows, queries, range.count, headDim, soFar, weights)
              }
            }
          }
        }
      }
    }
    return result
  }

  /// Rows in int8, with one scale each.
  private func byteRows(_ floats: [Float]) -> (bytes: [Int8], scales: [Float]) {
    var bytes: [Int8] = []
    var scales: [Float] = []
    for row in 0..<shape.rows {
      let numbers = floats[row * shape.headDim..<(row + 1) * shape.headDim]
      let scale = (numbers.map(abs).max() ?? 0) / 127
      bytes += numbers.map { scale > 0 ? Int8(($0 / scale).rounded()) : 0 }
      scales.append(scale)
    }
    return (bytes, scales)
  }

  /// Attends to rows of int8 that stand one by one.
  func attendBytes(_ kernels: Kernels, _ window: Window, queries: Range<Int>? = nil) -> AttentionResult {
    unsafe visitBytes(kernels, window, queries: queries, adding: nil)
  }

  func byteWeights(_ kernels: Kernels, _ window: Window) -> [Float] {
    var weights = [Float](repeating: 0, count: shape.rows)
    unsafe weights.withUnsafeMutableBufferPointer {
      unsafe _ = visitBytes(kernels, window, adding: $0.baseAddress)
    }
    return weights
  }

  /// - Parameter weights: where the weights of the rows are added; nil for nowhere.
  @unsafe private func visitFloats(
    _ kernels: Kernels, _ window: Window, rows: Range<Int>? = nil, queries range: Range<Int>? = nil,
    adding weights: UnsafeMutablePointer<Float>?
  ) -> AttentionResult {
    let rows = rows ?? 0..<shape.rows
    let range = range ?? 0..<shape.queries
    var result = AttentionResult(queries: range.count, headDim: shape.headDim)
    let queries = Array(queries[range.lowerBound * shape.headDim..<range.upperBound * shape.headDim])
    unsafe result.update { soFar in
      unsafe keys.withUnsafeBufferPointer { keys in
        unsafe values.withUnsafeBufferPointer { values in
          let offset = rows.lowerBound * shape.headDim
          let floats = unsafe sp_float_rows(
            keys: keys.baseAddress! + offset, values: values.baseAddress! + offset, element: SP_FLOAT32,
            key_scales: nil, value_scales: nil, rows: rows.count, visible: window.kernelRows(from: range.lowerBound))
          unsafe kernels.pointee.attend_floats(floats, queries, range.count, shape.headDim, soFar)
          if let weights = unsafe weights {
            unsafe kernels.pointee.weigh_floats(floats, queries, range.count, shape.headDim, soFar, weights)
          }
        }
      }
    }
    return result
  }

  /// - Parameter weights: where the weights of the rows are added; nil for nowhere.
  @unsafe private func visitPacked(
    _ kernels: Kernels, _ window: Window, _ element: sp_element, queries range: Range<Int>? = nil,
    adding weights: UnsafeMutablePointer<Float>?
  ) -> AttentionResult {
    let range = range ?? 0..<shape.queries
    let headDim = shape.headDim
    let padded = (headDim + 3) / 4 * 4
    let packed = element == SP_INT4 ? int4Blocks(kernels) : int8Blocks(kernels)
    var result = AttentionResult(queries: range.count, headDim: headDim)
    let some = Array(queries[range.lowerBound * headDim..<range.upperBound * headDim])
    _ = unsafe withActivations(kernels, some, tokens: range.count, columns: headDim, groupSize: padded) { activations in
      unsafe result.update { soFar in
        unsafe packed.keys.withUnsafeBufferPointer { keys in
          unsafe packed.values.withUnsafeBufferPointer { values in
            let rows = unsafe sp_packed_rows(
              keys: keys.baseAddress, values: values.baseAddress, element: element, rows: shape.rows,
              block_rows: shape.blockRows, key_block_bytes: packed.keyBlockByteCount,
              value_block_bytes: packed.valueBlockByteCount, value_channel_bytes: packed.valueChannelByteCount,
              visible: window.kernelRows(from: range.lowerBound))
            unsafe kernels.pointee.attend_packed(rows, activations, soFar)
            if let weights = unsafe weights { unsafe kernels.pointee.weigh_packed(rows, activations, soFar, weights) }
          }
        }
      }
    }
    return result
  }

  private struct Packed {
    var keys: [UInt8]
    var values: [UInt8]
    var keyBlockByteCount: Int
    var valueBlockByteCount: Int
    var valueChannelByteCount = 0
  }

  /// Of all rows: (head dim, rows).
  private func transposedValues(_ rows: Range<Int>) -> [Float] {
    (0..<shape.headDim).flatMap { d in rows.map { values[$0 * shape.headDim + d] } }
  }

  private func int8Blocks(_ kernels: Kernels) -> Packed {
    let headDim = shape.headDim
    let keyLayout = sp_tile_layout(element: SP_INT8, columns: headDim, group_size: (headDim + 3) / 4 * 4)
    let valueLayout = sp_tile_layout(element: SP_INT8, columns: shape.rows, group_size: shape.blockRows)
    return Packed(
      keys: tiles(kernels, keyLayout, keys, rows: shape.rows),
      values: tiles(kernels, valueLayout, transposedValues(0..<shape.rows), rows: headDim),
      keyBlockByteCount: shape.blockRows / 16 * keyLayout.rowBlockByteCount,
      valueBlockByteCount: shape.blockRows * 16 + 64, valueChannelByteCount: valueLayout.rowBlockByteCount)
  }

  private func int4Blocks(_ kernels: Kernels) -> Packed {
    let headDim = shape.headDim
    var (keyBlocks, valueBlocks): ([[UInt8]], [[UInt8]]) = ([], [])
    for start in stride(from: 0, to: shape.rows, by: shape.blockRows) {
      let range = start * headDim..<min(start + shape.blockRows, shape.rows) * headDim
      keyBlocks.append(int4Matrix(kernels, Array(keys[range]), transposed: false))
      valueBlocks.append(int4Matrix(kernels, Array(values[range]), transposed: true))
    }
    return Packed(
      keys: keyBlocks.flatMap(\.self), values: valueBlocks.flatMap(\.self),
      keyBlockByteCount: keyBlocks[0].count, valueBlockByteCount: valueBlocks[0].count)
  }

  /// A block's keys or values, with a scale for each row: the tiles of all row blocks, transposed or not, then the scales.
  private func int4Matrix(_ kernels: Kernels, _ matrix: [Float], transposed: Bool) -> [UInt8] {
    let headDim = shape.headDim
    let layout = sp_tile_layout(element: SP_INT4, columns: headDim, group_size: (headDim + 7) / 8 * 8)
    let packed = tiles(kernels, layout, matrix, rows: matrix.count / headDim)
    let blocks = stride(from: 0, to: packed.count, by: layout.rowBlockByteCount)
    let scales = blocks.flatMap { packed[$0..<$0 + 32] }
    guard transposed else { return blocks.flatMap { packed[$0 + 64..<$0 + layout.rowBlockByteCount] } + scales }
    let rows = matrix.count / headDim
    let blockByteCount = (rows + 7) / 8 * 64
    var result = [UInt8](repeating: 0x88, count: (headDim + 15) / 16 * blockByteCount)
    for row in 0..<rows {
      for d in 0..<headDim {
        let byte = packed[row / 16 * layout.rowBlockByteCount + 64 + d / 8 * 64 + row % 16 * 4 + d % 4]
        let index = d % 8 < 4 ? byte & 15 : byte >> 4
        let target = d / 16 * blockByteCount + row / 8 * 64 + d % 16 * 4 + row % 4
        result[target] = row % 8 < 4 ? result[target] & 0xF0 | index : result[target] & 15 | index << 4
      }
    }
    return result + scales
  }
}

func largestDifference(_ x: [Float], _ y: [Float]) -> Float { zip(x, y).map { abs($0 - $1) }.max() ?? .infinity }
