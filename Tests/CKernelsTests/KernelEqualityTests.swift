import CKernels
import SeededRandom
import Testing

/// Every instruction set must compute what the portable one computes, to the last bit: a pack or a store that one
/// machine wrote answers alike on all.
@Suite struct KernelEqualityTests {
  static let portable = Kernels.available[0]
  static let accelerated = Array(Kernels.available.dropFirst())
  static let packed = [SP_INT8, SP_INT4]

  struct Shape: Sendable {
    let tokens, rows, columns, groupSize: Int
  }

  static let shapes: [Shape] = [
    Shape(tokens: 1, rows: 16, columns: 64, groupSize: 64),
    Shape(tokens: 1, rows: 1, columns: 1, groupSize: 8),
    Shape(tokens: 3, rows: 17, columns: 172, groupSize: 128),
    Shape(tokens: 12, rows: 32, columns: 128, groupSize: 128),
    Shape(tokens: 13, rows: 33, columns: 127, groupSize: 64),
    Shape(tokens: 29, rows: 100, columns: 260, groupSize: 32),
    Shape(tokens: 5, rows: 48, columns: 8, groupSize: 8),
    Shape(tokens: 2, rows: 40, columns: 72, groupSize: 24),
    // More tokens, row blocks and columns than are worked on together, and some that are left.
    Shape(tokens: 7, rows: 150, columns: 4300, groupSize: 128),
    Shape(tokens: 37, rows: 290, columns: 2300, groupSize: 128),
    Shape(tokens: 18, rows: 270, columns: 2060, groupSize: 1000),
  ]

  /// Says which instruction sets have no cases in this run, of those that the kernels are built for.
  @Test func setsOfOtherProcessors() {
    let available = Set(Kernels.available.map(\.testDescription))
    #expect(available.isSubset(of: Kernels.built), "a set is missing in the list of those that are built")
    for name in Kernels.built.subtracting(available).sorted() {
      print("skipped: kernel tests on \(name): this processor lacks the instructions, 0 cases ran")
    }
  }

  @Test(arguments: packed, shapes)
  func packedProducts(element: sp_element, shape: Shape) {
    var random = SplitMix64(state: 1)
    let weights = random.floats(shape.rows * shape.columns)
    let input = random.floats(shape.tokens * shape.columns)
    let expected = packedProduct(element, Self.portable, weights, input, shape)
    for kernels in Self.accelerated {
      let actual = packedProduct(element, kernels, weights, input, shape)
      #expect(actual.tiles == expected.tiles)
      #expect(actual.restored == expected.restored)
      #expect(actual.activations == expected.activations)
      #expect(actual.output == expected.output)
    }
    // And the product is the one that was asked for: the steps of the activations are 1/127 of their largest magnitude.
    for t in 0..<shape.tokens {
      for r in 0..<shape.rows {
        var exact: Float = 0
        for c in 0..<shape.columns { exact += expected.restored[r * shape.columns + c] * input[t * shape.columns + c] }
        #expect(abs(exact - expected.output[t * shape.rows + r]) < 0.03 * Float(shape.columns).squareRoot())
      }
    }
    let farthest = zip(weights, expected.restored).reduce(0) { max($0, abs($1.0 - $1.1)) }
    #expect(farthest < (element == SP_INT8 ? 0.5001 / 127 : 0.2))
  }

  /// With feedback: the same tiles everywhere, and without anything to make up for those of plain rounding.
  @Test(arguments: packed, [(17, 172, 8), (33, 300, 32), (16, 520, 64), (5, 1000, 256), (1, 8, 72)])
  func quantizationWithFeedback(element: sp_element, shape: (rows: Int, columns: Int, groupSize: Int)) {
    var random = SplitMix64(state: 3)
    let weights = random.floats(shape.rows * shape.columns)
    let block = 256 / shape.groupSize * shape.groupSize
    let feedback = random.floats(shape.columns * block).map { $0 / 8 }
    let layout = sp_tile_layout(element: element, columns: shape.columns, group_size: shape.groupSize)
    func made(_ kernels: Kernels, _ feedback: [Float]?) -> [UInt8] {
      tiles(kernels, layout, weights, rows: shape.rows, feedback: feedback, blockColumns: block)
    }
    let plain = made(Self.portable, nil)
    let expected = made(Self.portable, feedback)
    #expect(made(Self.portable, feedback.map { _ in 0 }) == plain)
    #expect(expected != plain || shape.columns < 9)
    for kernels in Self.accelerated {
      #expect(made(kernels, feedback) == expected)
    }
  }

  @Test(arguments: accelerated, packed)
  func extremeBytesDoNotOverflow(kernels: Kernels, element: sp_element) {
    // All weights 127, all activations -127, the widest group: the largest sums there are.
    let shape = Shape(tokens: 13, rows: 32, columns: 4096, groupSize: 4096)
    let weights = [Float](repeating: 127, count: shape.rows * shape.columns)
    let input = [Float](repeating: -127, count: shape.tokens * shape.columns)
    let actual = packedProduct(element, kernels, weights, input, shape)
    #expect(actual.output.allSatisfy { $0 == -127 * 127 * 4096 })
  }

  @Test(arguments: accelerated, packed)
  func oneTokenEqualsManyTokens(kernels: Kernels, element: sp_element) {
    var random = SplitMix64(state: 2)
    let shape = Shape(tokens: 31, rows: 50, columns: 300, groupSize: 128)
    let weights = random.floats(shape.rows * shape.columns)
    let input = random.floats(shape.tokens * shape.columns)
    let together = packedProduct(element, kernels, weights, input, shape).output
    let togetherFloat = floatProduct(kernels, weights, SP_FLOAT32, input, shape)
    for t in 0..<shape.tokens {
      let one = Shape(tokens: 1, rows: shape.rows, columns: shape.columns, groupSize: shape.groupSize)
      let token = Array(input[t * shape.columns..<(t + 1) * shape.columns])
      let range = t * shape.rows..<(t + 1) * shape.rows
      #expect(packedProduct(element, kernels, weights, token, one).output == Array(together[range]))
      #expect(floatProduct(kernels, weights, SP_FLOAT32, token, one) == Array(togetherFloat[range]))
    }
  }

  @Test(arguments: accelerated, shapes)
  func floatProducts(kernels: Kernels, shape: Shape) {
    var random = SplitMix64(state: 3)
    let weights = random.floats(shape.rows * shape.columns)
    let input = random.floats(shape.tokens * shape.columns)
    #expect(
      floatProduct(kernels, weights, SP_FLOAT32, input, shape)
        == floatProduct(Self.portable, weights, SP_FLOAT32, input, shape))
    var halves = [UInt16](repeating: 0, count: weights.count)
    unsafe Self.portable.pointee.narrow_to_float16(weights, weights.count, &halves)
    #expect(
      floatProduct(kernels, halves, SP_FLOAT16, input, shape)
        == floatProduct(Self.portable, halves, SP_FLOAT16, input, shape))
  }

  @Test(arguments: accelerated)
  func float16Conversions(kernels: Kernels) {
    let halves = (0...UInt16.max).map { $0 }
    var expected = [Float](repeating: 0, count: halves.count)
    var actual = expected
    unsafe Self.portable.pointee.widen(halves, SP_FLOAT16, halves.count, &expected)
    unsafe kernels.pointee.widen(halves, SP_FLOAT16, halves.count, &actual)
    for (half, (x, y)) in zip(halves, zip(expected, actual)) {
      let isNaN = half & 0x7C00 == 0x7C00 && half & 0x3FF != 0
      #expect(isNaN ? x.isNaN && y.isNaN : x.bitPattern == y.bitPattern)
    }
    // Every float16 and the midpoints between neighbours, which must go to the even one.
    var values: [Float] = []
    for half in 0..<UInt16(0x7BFF) {
      let x = expected[Int(half)]
      let y = expected[Int(half) + 1]
      values += [x, (x + y) / 2, ((x + y) / 2).nextUp, -((x + y) / 2).nextDown]
    }
    values += [65519.9, 65520, 1e9, -.infinity, 1e-9]
    var narrowed = [UInt16](repeating: 0, count: values.count)
    var narrowedHere = narrowed
    unsafe Self.portable.pointee.narrow_to_float16(values, values.count, &narrowed)
    unsafe kernels.pointee.narrow_to_float16(values, values.count, &narrowedHere)
    #expect(narrowed == narrowedHere)
    #expect(narrowed[0] == 0 && narrowed[4] == 1 && narrowed[5] == 2)
  }

  @Test(arguments: accelerated, [1, 8, 15, 16, 17, 64, 100])
  func vectorOperations(kernels: Kernels, count: Int) {
    #expect(vectorResults(kernels, count: count) == vectorResults(Self.portable, count: count))
  }

  @Test(arguments: [Float.nan, .infinity, -.infinity], [0, 5, 30])
  func quantizerRefusesWhatIsNotFinite(value: Float, index: Int) {
    var weights = [Float](repeating: 1, count: 31)
    weights[index] = value
    for kernels in Kernels.available {
      for element in Self.packed {
        let layout = sp_tile_layout(element: element, columns: 31, group_size: 32)
        var tiles = [UInt8](repeating: 0, count: layout.rowBlockByteCount)
        let isFinite = unsafe kernels.pointee.quantize_row_block(layout, weights, 1, &tiles)
        #expect(!isFinite)
      }
    }
  }
}
