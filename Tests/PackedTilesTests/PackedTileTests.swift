import PackedTiles
import Testing

@Suite struct PackedTileTests {
  /// The worked example of `Formats/packed-tile.md`.
  @Test func workedExample() throws {
    let layout = try #require(PackedTileLayout(rows: 2, columns: 6, groupSize: 4))
    #expect(layout.byteCount == 256 && layout.groupCount == 2)
    let bytes = pack([127, -127, 0, 1, 2, -2, 0, 0, 0, 0, 63.5, 0], layout)
    #expect(Array(bytes[0..<12]) == [0xFF, 0x01, 0x80, 0x81] + [UInt8](repeating: 0x80, count: 8))
    #expect(Array(bytes[64..<72]) == [0, 0, 0x80, 0x3F, 0, 0, 0, 0])
    #expect(Array(bytes[128..<140]) == [0xFF, 0x01, 0x80, 0x80, 0xFF, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80])
    #expect(Array(bytes[192..<204]) == [0x04, 0x02, 0x81, 0x3C, 0, 0, 0, 0x3F, 0, 0, 0, 0])
  }

  /// The worked example of `Formats/packed-tile.md`, nibble tiles.
  @Test func workedExampleInNibbles() throws {
    let layout = try #require(PackedTileLayout(.int4, rows: 2, columns: 12, groupSize: 8))
    #expect(layout.byteCount == 192 && layout.groupCount == 2)
    let source: [Float] = [
      -127, -98, -78, 0, 12, 23, 109, 36, 0, 0, -0.5, 1, 0, 0, 0, 0, 0, 0, 0, 0, 254, -24, 0, 22,
    ]
    let bytes = pack(source, layout)
    #expect(Array(bytes[0..<4]) == [0x80, 0x3F, 0, 0] && Array(bytes[32..<36]) == [0x01, 0xBC, 0x00, 0xC0])
    #expect(Array(bytes[64..<68]) == [0x90, 0xA1, 0xF2, 0xB8])
    #expect(Array(bytes[128..<136]) == [0x88, 0x88, 0x8D, 0x80, 0x80, 0x89, 0x88, 0x87])
    #expect((4..<192).allSatisfy { (32..<36).contains($0) || $0 < 64 && bytes[$0] == 0 || $0 >= 64 && bytes[$0] != 0 })
    #expect(restored(0, bytes, layout) == [-127, -98, -78, 0, 12, 23, 109, 36, 0, 0, -0.50390625, 0.99993896])
    #expect(restored(1, bytes, layout) == [0, 0, 0, 0, 0, 0, 0, 0, 254, -24, 0, 22])
  }

  /// What the levels and the search of scales are for: rounding to 16 even steps of the largest magnitude leaves 0.0074
  /// of the square in groups of 32.
  @Test func nibblesOfNormalValuesAreNear() throws {
    let columns = 64 * 256
    var state: UInt64 = 1
    func uniform() -> Float {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return Float(Int32(truncatingIfNeeded: state >> 32)) / 2_147_483_648
    }
    // Sums of 12 uniform values.
    let source = (0..<columns).map { _ in (0..<12).reduce(0) { sum, _ in sum + uniform() } }
    let squares = source.reduce(0.0) { $0 + Double($1 * $1) }
    for (groupSize, limit) in [(32, 0.0055), (64, 0.0067), (128, 0.0077)] {
      let layout = try #require(PackedTileLayout(.int4, rows: 1, columns: columns, groupSize: groupSize))
      let error = zip(source, restored(0, pack(source, layout), layout)).reduce(0.0) {
        $0 + Double(($1.0 - $1.1) * ($1.0 - $1.1))
      }
      #expect(error / squares < limit)
    }
  }

  /// Scales are searched in units of the largest value, so that none overflows or vanishes on the way.
  @Test(arguments: [1e-36, 1e-20, 1, 1e20, 3e38] as [Float]) func nibblesOfAnyMagnitude(magnitude: Float) throws {
    let layout = try #require(PackedTileLayout(.int4, rows: 1, columns: 24, groupSize: 24))
    let source = (0..<24).map { magnitude * (Float($0 * 7 % 24) / 12 - 1) }
    for (x, y) in zip(source, restored(0, pack(source, layout), layout)) { #expect(abs(x - y) < 0.13 * magnitude) }
  }

  @Test(arguments: [(1, 1, 4), (16, 64, 64), (33, 172, 128), (100, 12, 8)])
  func restoredRowsAreWithinHalfAStep(rows: Int, columns: Int, groupSize: Int) throws {
    let layout = try #require(PackedTileLayout(rows: rows, columns: columns, groupSize: groupSize))
    let source = (0..<rows * columns).map { Float(($0 * 7919) % 1000) / 500 - 1 }
    let bytes = pack(source, layout)
    for row in 0..<rows {
      let restored = restored(row, bytes, layout)
      for group in stride(from: 0, to: columns, by: groupSize) {
        let range = group..<min(group + groupSize, columns)
        let largest = range.map { abs(source[row * columns + $0]) }.max() ?? 0
        for c in range { #expect(abs(restored[c] - source[row * columns + c]) <= largest / 127 * 0.5001) }
      }
    }
  }

  @Test func zerosAndTinyValuesHaveScaleZero() throws {
    let layout = try #require(PackedTileLayout(rows: 1, columns: 4, groupSize: 4))
    let nibbles = try #require(PackedTileLayout(.int4, rows: 1, columns: 4, groupSize: 8))
    for value: Float in [0, .leastNonzeroMagnitude] {
      let bytes = pack([value, 0, 0, 0], layout)
      #expect(bytes[0..<64].allSatisfy { $0 == 128 } && bytes[64..<128].allSatisfy { $0 == 0 })
      let half = pack([value, 0, 0, 0], nibbles)
      #expect(half[0..<64].allSatisfy { $0 == 0 } && half[64..<128].allSatisfy { $0 == 0x88 })
    }
  }

  /// Two columns with equal inputs: what rounding the first loses, the second makes up for.
  @Test func aColumnMakesUpForTheOneBefore() throws {
    let layout = try #require(PackedTileLayout(rows: 1, columns: 4, groupSize: 4))
    // Inputs of columns 0 and 1 are the same but for what damping adds, the others are independent.
    let moments: [Float] = [1, 1, 0, 0, 1, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1]
    let feedback = ErrorFeedback(moments: moments, columns: 4, blockColumns: 4)
    // Of steps of 1: 10.4 becomes 10, and 5.3 with the 0.4 that are lost 6.
    #expect(restored(0, pack([10.4, 5.3, -127, 0.4], layout), layout) == [10, 5, -127, 0])
    #expect(restored(0, pack([10.4, 5.3, -127, 0.4], layout, feedback), layout) == [10, 6, -127, 0])
  }

  /// Products with inputs of known moments lose far less than with every weight rounded to the nearest; also where the
  /// columns are more than a block, and the inputs of some are always zero.
  @Test(arguments: [ElementType.int8, .int4], [40, 256, 300])
  func feedbackKeepsProducts(element: ElementType, columns: Int) throws {
    let groupSize = 32
    let block = try #require(ErrorFeedback.blockColumns(groupSize: groupSize))
    #expect(block == 256 && ErrorFeedback.blockColumns(groupSize: 72) == 216)
    #expect(ErrorFeedback.blockColumns(groupSize: 257) == nil)
    var state: UInt64 = 7
    func uniform() -> Float {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return Float(Int32(truncatingIfNeeded: state >> 32)) / 2_147_483_648
    }
    // Inputs of few causes, with some noise; column 3 never gets one.
    let causes = (0..<8).map { _ in (0..<columns).map { _ in uniform() } }
    let inputs = (0..<600).map { _ in
      let strengths = causes.map { _ in uniform() }
      return (0..<columns).map { c in
        c == 3 ? 0 : zip(causes, strengths).reduce(0.1 * uniform()) { $0 + $1.0[c] * $1.1 }
      }
    }
    var moments = [Float](repeating: 0, count: columns * block)
    for x in inputs {
      for c in 0..<columns {
        let first = c / block * block
        for k in first..<min(first + block, columns) { moments[c * block + k - first] += x[c] * x[k] }
      }
    }
    let feedback = ErrorFeedback(moments: moments, columns: columns, blockColumns: block)
    let rows = 5
    let layout = try #require(PackedTileLayout(element, rows: rows, columns: columns, groupSize: groupSize))
    let weights = (0..<rows * columns).map { _ in uniform() }
    func lost(_ bytes: [UInt8]) -> Float {
      (0..<rows).reduce(0) { sum, row in
        let errors = zip(restored(row, bytes, layout), weights[row * columns..<(row + 1) * columns]).map(-)
        return inputs.reduce(sum) { sum, x in
          let error = zip(errors, x).reduce(0) { $0 + $1.0 * $1.1 }
          return sum + error * error
        }
      }
    }
    #expect(lost(pack(weights, layout, feedback)) < lost(pack(weights, layout)) / 4)
  }

  @Test func impossibleLayoutsAreRefused() {
    #expect(PackedTileLayout(rows: 0, columns: 4, groupSize: 4) == nil)
    #expect(PackedTileLayout(rows: 1, columns: 0, groupSize: 4) == nil)
    #expect(PackedTileLayout(rows: 1, columns: 4, groupSize: 6) == nil)
    #expect(PackedTileLayout(.int4, rows: 1, columns: 4, groupSize: 12) == nil)
    #expect(PackedTileLayout(rows: 1, columns: 4, groupSize: 8192) == nil)
    #expect(PackedTileLayout(rows: .max, columns: 4, groupSize: 4) == nil)
    #expect(PackedTileLayout(rows: 1 << 31, columns: 1 << 28, groupSize: 4) != nil)
  }

  private func restored(_ row: Int, _ bytes: [UInt8], _ layout: PackedTileLayout) -> [Float] {
    var restored = [Float](repeating: 1, count: layout.columns)
    unsafe bytes.withUnsafeBytes { bytes in
      unsafe restored.withUnsafeMutableBufferPointer {
        unsafe PackedTiles.dequantize(row: row, of: bytes, layout: layout, into: $0)
      }
    }
    return restored
  }

  /// - Parameter feedback: for matrices of one row block.
  private func pack(_ source: [Float], _ layout: PackedTileLayout, _ feedback: ErrorFeedback? = nil) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: layout.byteCount)
    let isFinite = unsafe source.withUnsafeBufferPointer { source in
      unsafe bytes.withUnsafeMutableBytes {
        guard let feedback else { return unsafe PackedTiles.quantizeMatrix(source, layout: layout, into: $0) }
        return unsafe PackedTiles.quantize(source, layout: layout, feedback: feedback, into: $0)
      }
    }
    #expect(isFinite)
    return bytes
  }
}
