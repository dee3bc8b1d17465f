import FileAccess
import NodeBlocks
import Testing

/// Blocks without their padding: exactly the numbers and scales, and restored to the bit.
@Suite struct BlockGeometryTests {
  private func expectRestored(_ block: BlockBytes, _ geometry: BlockGeometry, _ message: String) throws {
    #expect(geometry.byteCount == block.byteCount, "\(message)")
    let dense = try #require(geometry.dense(block), "the padding is not the packer's: \(message)")
    #expect(dense.byteCount == geometry.denseByteCount && dense.byteCount <= block.byteCount, "\(message)")
    let bytes = unsafe Array(dense.unsafeBytes)
    let isEqual = unsafe expanded(bytes, geometry) == Array(block.unsafeBytes)
    #expect(isEqual, "\(message)")
    #expect(expanded(bytes.dropLast(), geometry) == nil && expanded(bytes + [0], geometry) == nil)
  }

  private func expanded(_ dense: [UInt8], _ geometry: BlockGeometry) -> [UInt8]? {
    guard let block = unsafe geometry.expanded(dense.span.bytes) else { return nil }
    return unsafe Array(block.unsafeBytes)
  }

  @Test(arguments: RowEncoding.allCases, [2, 64, 80, 128])
  func nodes(encoding: RowEncoding, headDim: Int) throws {
    let layout = try #require(
      NodeBlockLayout(layerCount: 2, kvHeadCount: 3, headDim: headDim, encoding: encoding))
    let rowCounts = headDim > 64 ? [1, 2, 15, 16, 17, 127, 128, 129] : Array(1...130)
    for rows in rowCounts {
      let writer = NodeBlockWriter(layout: layout, keeping: Array(0..<rows))
      for layer in 0..<2 {
        let (keys, values) = (uniform(rows * 3 * headDim), uniform(rows * 3 * headDim))
        let stored = unsafe keys.withUnsafeBufferPointer { keys in
          unsafe values.withUnsafeBufferPointer { values in
            unsafe writer.write(layer: layer, keys: keys.baseAddress!, values: values.baseAddress!)
          }
        }
        #expect(stored)
      }
      let geometry = BlockGeometry.node(layout, rowCount: rows)
      try expectRestored(writer.finish().storage, geometry, "\(rows) rows")
      // Nothing but numbers and scales.
      let head =
        switch encoding {
        case .int8: rows * (headDim + 4) + headDim * (rows + 4 * ((rows + 127) / 128))
        case .int4: rows * headDim + 4 * rows
        case .float16: 4 * rows * headDim
        case .float32: 8 * rows * headDim
        }
      guard encoding != .int4 || headDim % 16 == 0 else { continue }
      #expect(geometry.denseByteCount == 6 * head, "\(rows) rows")
    }
  }

  @Test(arguments: RowEncoding.allCases, [2, 33, 64, 80, 128])
  func texts(encoding: RowEncoding, headDim: Int) throws {
    let plain = try #require(
      TextRowLayout(layerCount: 2, kvHeadCount: 2, headDim: headDim, encoding: .float32))
    let layout = try #require(plain.encoded(as: encoding))
    let rowCounts = headDim > 64 ? [1, 2, 5, 20, 63, 64, 65, 130] : Array(1...130)
    for rows in rowCounts {
      let floats = uniform(plain.byteCount(rows: rows) / 4)
      // Whatever stands in the padding of floats is not read.
      let bytes = unsafe floats.withUnsafeBytes { unsafe Array($0) }
      let whole = TextRows(BlockBytes(bytes), layout: plain, rowCount: rows)
      // Other numbers of rows in each head.
      let numbers = (0..<4).map { head in (0..<max(1, rows - 7 * head)).map { Int32($0) } }
      let kept = try #require(KeptRows(layerCount: 2, kvHeadCount: 2, numbers: numbers))
      for kept in [nil, kept] {
        let encoded = try #require(whole.compressed(as: encoding, keeping: kept))
        let geometry = BlockGeometry.text(layout, rowCounts: encoded.rowCounts)
        try expectRestored(encoded.storage, geometry, "\(rows) rows")
        guard headDim % 16 == 0 else { continue }
        let heads = encoded.rowCounts.map { rows in
          let blocks = (rows + 63) / 64
          return switch encoding {
          case .int8: rows * (headDim + 4) + headDim * (rows + 4 * blocks)
          case .int4: rows * headDim + 4 * rows
          case .float16: 4 * rows * headDim
          case .float32: 8 * rows * headDim
          }
        }
        #expect(geometry.denseByteCount == heads.reduce(0, +), "\(rows) rows")
      }
    }
  }

  /// 20 rows of a head of 64 in int8, which take a third more with their padding, and 2, which take three times as many.
  @Test func fewRows() throws {
    let layout = try #require(TextRowLayout(layerCount: 1, kvHeadCount: 1, headDim: 64, encoding: .int8))
    func geometry(_ rows: Int) -> BlockGeometry { .text(layout, rowCounts: [rows]) }
    #expect(geometry(20).byteCount == 2 * 17 * 64 + 4 * 6 * 64 && geometry(20).denseByteCount == 2896)
    #expect(geometry(2).byteCount == 17 * 64 + 4 * 2 * 64 && geometry(2).denseByteCount == 520)
    #expect(geometry(64).denseByteCount == geometry(64).byteCount)
  }

  /// What no packer makes is kept as it is, or refused.
  @Test func otherPadding() throws {
    let layout = try #require(TextRowLayout(layerCount: 1, kvHeadCount: 1, headDim: 33, encoding: .int4))
    let geometry = BlockGeometry.text(layout, rowCounts: [5])
    #expect(geometry.dense(BlockBytes([UInt8](repeating: 1, count: geometry.byteCount))) == nil)
    // The fifth row's last number is half a byte, and the rest of it zero.
    var dense = [UInt8](repeating: 0, count: geometry.denseByteCount)
    #expect(expanded(dense, geometry) != nil)
    dense[5 * 16 + 2] = 0x10
    #expect(expanded(dense, geometry) == nil)
  }
}
