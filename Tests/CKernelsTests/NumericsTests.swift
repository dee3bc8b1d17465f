import CKernels
import SeededRandom
import Testing

/// Stores keep rows that these numbers made, and a program refuses rows of another version of them: the version has to
/// change whenever they do.
@Suite struct NumericsTests {
  /// The outputs of all operations of the portable set, which every other set equals bit for bit.
  ///
  /// All of them use nothing but IEEE sums, products, fused products, quotients and roots, so that no C library has a
  /// say; only what a not-a-number's fraction becomes is left out.
  @Test func goldenSum() {
    let numerics = (version: SP_NUMERICS_VERSION, sum: sumOfAllOperations(Kernels.available[0]))
    #expect(
      numerics == (2, 0xBE5A_AD90_E6F2_C999),
      """
      The numbers that kernels compute have changed. If that is meant, raise SP_NUMERICS_VERSION in CKernels.h and write \
      the new version and sum into this test: stores with rows of the old numbers are then refused.
      """)
  }

  private func sumOfAllOperations(_ kernels: Kernels) -> UInt64 {
    var sum = Checksum()
    for element in KernelEqualityTests.packed {
      for shape in KernelEqualityTests.shapes {
        var random = SplitMix64(state: 1)
        let weights = random.floats(shape.rows * shape.columns)
        let input = random.floats(shape.tokens * shape.columns)
        let product = packedProduct(element, kernels, weights, input, shape)
        sum.add(product.tiles)
        sum.add(product.restored)
        sum.add(product.activations)
        sum.add(product.output)
        guard shape.groupSize <= 256 else { continue }
        let block = 256 / shape.groupSize * shape.groupSize
        let layout = sp_tile_layout(element: element, columns: shape.columns, group_size: shape.groupSize)
        let feedback = random.floats(shape.columns * block).map { $0 / 8 }
        sum.add(tiles(kernels, layout, weights, rows: shape.rows, feedback: feedback, blockColumns: block))
      }
    }
    let shape = KernelEqualityTests.Shape(tokens: 13, rows: 33, columns: 127, groupSize: 64)
    var random = SplitMix64(state: 2)
    let weights = random.floats(shape.rows * shape.columns)
    let input = random.floats(shape.tokens * shape.columns)
    sum.add(floatProduct(kernels, weights, SP_FLOAT32, input, shape))
    sum.add(floatProduct(kernels, weights, SP_FLOAT32, input, shape, onto: 0.3))
    for element in KernelEqualityTests.packed {
      sum.add(packedProduct(element, kernels, weights, input, shape, onto: 0.3).output)
    }
    var halves = [UInt16](repeating: 0, count: weights.count)
    unsafe kernels.pointee.narrow_to_float16(weights, weights.count, &halves)
    sum.add(halves)
    for element in [SP_FLOAT16, SP_BFLOAT16] {
      var widened = [Float](repeating: 0, count: halves.count)
      unsafe kernels.pointee.widen(halves, element, halves.count, &widened)
      sum.add(widened)
      sum.add(floatProduct(kernels, halves, element, input, shape))
    }
    for shape in AttentionKernelTests.shapes {
      let rows = AttentionRows(shape)
      for window in AttentionKernelTests.windows(shape) {
        var result = rows.attendPacked(kernels, window)
        sum.add(result)
        let floats = rows.attendFloats(kernels, window)
        sum.add(floats)
        result.merge(floats, kernels)
        sum.add(result)
        sum.add(rows.attendPacked(kernels, window, SP_INT4))
        for element in [SP_FLOAT32, SP_INT8, SP_INT4] { sum.add(rows.weights(kernels, window, of: element)) }
      }
    }
    for count in [1, 8, 15, 16, 17, 64, 100] { sum.add(vectorResults(kernels, count: count)) }
    return sum.value
  }
}

/// FNV-1a of the bytes of results, in the order in which they come.
private struct Checksum {
  var value: UInt64 = 0xCBF2_9CE4_8422_2325

  mutating func add(_ results: [some BitwiseCopyable]) {
    let bytes = unsafe results.withUnsafeBytes { unsafe Array($0) }
    for byte in bytes { value = (value ^ UInt64(byte)) &* 0x100_0000_01B3 }
  }

  mutating func add(_ result: AttentionResult) {
    add(result.maxima)
    add(result.sums)
    add(result.outputs)
  }
}
