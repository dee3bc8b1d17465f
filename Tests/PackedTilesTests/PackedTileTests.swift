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

  private func pack(_ source: [Float], _ layout: PackedTileLayout) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: layout.byteCount)
    let isFinite = unsafe source.withUnsafeBufferPointer { source in
      unsafe bytes.withUnsafeMutableBytes { unsafe PackedTiles.quantizeMatrix(source, layout: layout, into: $0) }
    }
    #expect(isFinite)
    return bytes
  }
}
