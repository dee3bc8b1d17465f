import CKernels
import Testing

/// Attention, block by block, must be the softmax over all rows, and the same bits on every instruction set.
@Suite struct AttentionKernelTests {
  struct Shape: Sendable {
    let queries, rows, headDim, blockRows: Int
  }

  static let shapes: [Shape] = [
    Shape(queries: 1, rows: 64, headDim: 64, blockRows: 64),
    Shape(queries: 1, rows: 1, headDim: 8, blockRows: 4),
    Shape(queries: 8, rows: 200, headDim: 128, blockRows: 64),
    Shape(queries: 3, rows: 37, headDim: 72, blockRows: 40),
    Shape(queries: 13, rows: 300, headDim: 20, blockRows: 128),
    Shape(queries: 70, rows: 65, headDim: 33, blockRows: 64),
  ]

  /// All rows, running text, and a window that moves over it.
  static func windows(_ shape: Shape) -> [Window] {
    let end = max(1, shape.rows - shape.queries / 2)
    return [.all, Window(end: end), Window(first: shape.rows / 3, end: end)]
  }

  @Test(arguments: Kernels.available, shapes)
  func packedRows(kernels: Kernels, shape: Shape) {
    let rows = AttentionRows(shape)
    for window in Self.windows(shape) {
      let result = rows.attendPacked(kernels, window)
      #expect(result == rows.attendPacked(Kernels.available[0], window))
      // Scores are off by the steps of keys and queries, weights and values by 1 / 127 of the largest.
      #expect(largestDifference(result.divided, rows.exact(window)) < 0.05)
      for query in 0..<shape.queries {
        #expect(rows.attendPacked(kernels, window, queries: query..<query + 1) == result.query(query))
      }
    }
  }

  /// Rows of int4 are attended to as those of int8 are that have the same levels and scales.
  @Test(arguments: Kernels.available, shapes)
  func int4Rows(kernels: Kernels, shape: Shape) {
    let rows = AttentionRows(shape)
    for window in Self.windows(shape) {
      let result = rows.attendPacked(kernels, window, SP_INT4)
      #expect(result == rows.attendPacked(Kernels.available[0], window, SP_INT4))
      // Values are off by half a step of 16 levels, and scores by a little.
      let difference = largestDifference(result.divided, rows.exact(window))
      #expect(difference < 0.35 && (difference > 0.001 || shape.rows == 1))
      for query in 0..<shape.queries {
        #expect(rows.attendPacked(kernels, window, SP_INT4, queries: query..<query + 1) == result.query(query))
      }
    }
  }

  @Test(arguments: Kernels.available, shapes)
  func floatRows(kernels: Kernels, shape: Shape) {
    let rows = AttentionRows(shape)
    for window in Self.windows(shape) {
      let result = rows.attendFloats(kernels, window)
      #expect(result == rows.attendFloats(Kernels.available[0], window))
      #expect(largestDifference(result.divided, rows.exact(window)) < 1e-5)
      for query in 0..<shape.queries {
        #expect(rows.attendFloats(kernels, window, queries: query..<query + 1) == result.query(query))
      }
    }
  }

  /// Rows of int8 that stand one by one: what a cache keeps whose policy drops rows one by one.
  @Test(arguments: Kernels.available, shapes)
  func byteRows(kernels: Kernels, shape: Shape) {
    let rows = AttentionRows(shape)
    for window in Self.windows(shape) {
      let result = rows.attendBytes(kernels, window)
      #expect(result == rows.attendBytes(Kernels.available[0], window))
      #expect(largestDifference(result.divided, rows.exact(window)) < 0.02)
      for query in 0..<shape.queries {
        #expect(rows.attendBytes(kernels, window, queries: query..<query + 1) == result.query(query))
      }
      let weights = rows.byteWeights(kernels, window)
      #expect(weights == rows.byteWeights(Kernels.available[0], window))
      #expect(largestDifference(weights, rows.exactWeights(window)) < 0.02 * Float(shape.queries))
    }
  }

  /// The weights of rows are those of the softmax, and the same on every instruction set.
  @Test(arguments: Kernels.available, shapes)
  func weights(kernels: Kernels, shape: Shape) {
    let rows = AttentionRows(shape)
    for window in Self.windows(shape) {
      for (element, tolerance): (sp_element, Float) in [(SP_FLOAT32, 1e-5), (SP_INT8, 0.05), (SP_INT4, 0.3)] {
        let weights = rows.weights(kernels, window, of: element)
        #expect(weights == rows.weights(Kernels.available[0], window, of: element))
        #expect(largestDifference(weights, rows.exactWeights(window)) < tolerance * Float(shape.queries))
      }
    }
  }

  @Test(arguments: Kernels.available)
  func partsMergeToTheWhole(kernels: Kernels) {
    let shape = Shape(queries: 5, rows: 192, headDim: 40, blockRows: 64)
    let rows = AttentionRows(shape)
    var merged = AttentionResult(queries: 5, headDim: 40)
    let nothing = merged
    for start in [0, 64, 128] {
      merged.merge(rows.attendFloats(kernels, .all, rows: start..<start + 64), kernels)
    }
    #expect(largestDifference(merged.divided, rows.exact(.all)) < 1e-5)
    // What has seen no rows changes nothing: prompts that are read at once have such parts, single tokens have not.
    var unchanged = merged
    unchanged.merge(nothing, kernels)
    #expect(unchanged == merged)
  }

  @Test(arguments: Kernels.available)
  func exponentialIsAccurate(kernels: Kernels) {
    var worst: Double = 0
    for x in stride(from: Float(-80), through: 0, by: 0.0137) {
      // The first row has the score 0 and counts nothing, the second one has the score x and counts once.
      var result = AttentionResult(queries: 1, headDim: 1)
      unsafe result.update { soFar in
        unsafe [0, x].withUnsafeBufferPointer { keys in
          unsafe [0, 1].withUnsafeBufferPointer { (values: UnsafeBufferPointer<Float>) in
            let rows = unsafe sp_float_rows(
              keys: keys.baseAddress, values: values.baseAddress, element: SP_FLOAT32, key_scales: nil,
              value_scales: nil, rows: 2,
              visible: Window.all.kernelRows(from: 0))
            unsafe kernels.pointee.attend_floats(rows, [1], 1, 1, soFar)
          }
        }
      }
      let exact = reference(exp: Double(x))
      worst = max(worst, abs(Double(result.outputs[0]) - exact) / exact)
    }
    #expect(worst < 2e-7)
  }
}
