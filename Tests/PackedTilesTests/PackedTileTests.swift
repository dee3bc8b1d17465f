import PackedTiles
import Testing

@Suite struct PackedTileTests {
  /// The worked example of `Formats/packed-tile.md`.
  @Test func workedExample() throws {
    let layout = try #require(PackedTileLayout(rows: 2, columns: 6, groupSize: 4))
    #expect(layout.byteCount == 256 && layout.groupCount == 2 && layout.paddedColumns == 8)
    let bytes = pack([127, -127, 0, 1, 2, -2, 0, 0, 0, 0, 63.5, 0], layout)
    #expect(Array(bytes[0..<12]) == [0xFF, 0x01, 0x80, 0x81] + [UInt8](repeating: 0x80, count: 8))
    #expect(Array(bytes[64..<72]) == [0, 0, 0x80, 0x3F, 0, 0, 0, 0])
    #expect(Array(bytes[128..<140]) == [0xFF, 0x01, 0x80, 0x80, 0xFF, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80])
    #expect(Array(bytes[192..<204]) == [0x04, 0x02, 0x81, 0x3C, 0, 0, 0, 0x3F, 0, 0, 0, 0])
  }

  @Test(arguments: [(1, 1, 4), (16, 64, 64), (33, 172, 128), (100, 12, 8)])
  func restoredRowsAreWithinHalfAStep(rows: Int, columns: Int, groupSize: Int) throws {
    let layout = try #require(PackedTileLayout(rows: rows, columns: columns, groupSize: groupSize))
    let source = (0..<rows * columns).map { Float(($0 * 7919) % 1000) / 500 - 1 }
    let bytes = pack(source, layout)
    for row in 0..<rows {
      var restored = [Float](repeating: 0, count: columns)
      unsafe bytes.withUnsafeBytes { bytes in
        unsafe restored.withUnsafeMutableBufferPointer {
          unsafe PackedTiles.dequantize(row: row, of: bytes, layout: layout, into: $0)
        }
      }
      for group in stride(from: 0, to: columns, by: groupSize) {
        let range = group..<min(group + groupSize, columns)
        let largest = range.map { abs(source[row * columns + $0]) }.max() ?? 0
        for c in range { #expect(abs(restored[c] - source[row * columns + c]) <= largest / 127 * 0.5001) }
      }
    }
  }

  @Test func zerosAndTinyValuesHaveScaleZero() throws {
    let layout = try #require(PackedTileLayout(rows: 1, columns: 4, groupSize: 4))
    for value: Float in [0, .leastNonzeroMagnitude] {
      let bytes = pack([value, 0, 0, 0], layout)
      #expect(bytes[0..<64].allSatisfy { $0 == 128 } && bytes[64..<128].allSatisfy { $0 == 0 })
    }
  }

  @Test func impossibleLayoutsAreRefused() {
    #expect(PackedTileLayout(rows: 0, columns: 4, groupSize: 4) == nil)
    #expect(PackedTileLayout(rows: 1, columns: 0, groupSize: 4) == nil)
    #expect(PackedTileLayout(rows: 1, columns: 4, groupSize: 6) == nil)
    #expect(PackedTileLayout(rows: 1, columns: 4, groupSize: 8192) == nil)
    #expect(PackedTileLayout(rows: .max, columns: 4, groupSize: 4) == nil)
    #expect(PackedTileLayout(rows: 1 << 31, columns: 1 << 28, groupSize: 4) != nil)
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
