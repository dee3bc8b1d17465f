import NodeBlocks
import Testing

/// Where keys and values lie in a node's block: aligned, in order, without gaps or overlaps.
@Suite struct NodeBlockLayoutTests {
  @Test(arguments: RowEncoding.allCases, [1, 2, 15, 16, 17, 32, 129, 300]) func parts(encoding: RowEncoding, rows: Int)
    throws
  {
    for headDim in [2, 16, 20, 64, 128] {
      let layout = try #require(NodeBlockLayout(layerCount: 3, kvHeadCount: 2, headDim: headDim, encoding: encoding))
      var end = 0
      for layer in 0..<3 {
        for head in 0..<2 {
          #expect(layout.keyByteOffset(layer: layer, head: head, rows: rows) == end)
          end += layout.keyByteCount(rows: rows)
          #expect(layout.valueByteOffset(layer: layer, head: head, rows: rows) == end)
          end += layout.valueByteCount(rows: rows)
          #expect(end % 64 == 0)
        }
      }
      #expect(layout.byteCount(rows: rows) == end)
      let raw = rows * headDim
      switch encoding {
      case .int8: #expect(layout.keyByteCount(rows: rows) >= raw + 64)
      case .float16: #expect((raw * 2..<raw * 2 + 64).contains(layout.keyByteCount(rows: rows)))
      case .float32: #expect((raw * 4..<raw * 4 + 64).contains(layout.keyByteCount(rows: rows)))
      case .int4:
        #expect(layout.keyByteCount(rows: rows) >= raw / 2 + 2 * rows)
        #expect(layout.valueByteCount(rows: rows) >= raw / 2 + 2 * rows)
      }
    }
  }

  /// LLaMA-2-7B, four layers, 32 rows: a tile's scales cost 1/32 of the keys and 1/8 of the values.
  @Test func largeModel() throws {
    let layout = try #require(NodeBlockLayout(layerCount: 4, kvHeadCount: 32, headDim: 128, encoding: .int8))
    #expect(layout.keyByteCount(rows: 32) == 32 * 128 + 2 * 64)
    #expect(layout.valueByteCount(rows: 32) == 32 * 128 + 8 * 64)
  }

  /// The same in int4: half a byte a number, and two bytes for each row's keys and for each row's values. Rows beyond 128
  /// are packed for themselves.
  @Test func int4() throws {
    let layout = try #require(NodeBlockLayout(layerCount: 4, kvHeadCount: 32, headDim: 128, encoding: .int4))
    #expect(layout.keyByteCount(rows: 32) == 32 * 64 + 64 && layout.valueByteCount(rows: 32) == 32 * 64 + 64)
    #expect(layout.keyByteCount(rows: 300) == 2 * layout.keyByteCount(rows: 128) + layout.keyByteCount(rows: 44))
    #expect(layout.int4Blocks(rows: 300).map(\.rows) == [128, 128, 44])
  }

  @Test func bounds() {
    #expect(NodeBlockLayout(layerCount: 0, kvHeadCount: 1, headDim: 64, encoding: .int8) == nil)
    #expect(NodeBlockLayout(layerCount: 1, kvHeadCount: 0, headDim: 64, encoding: .int8) == nil)
    #expect(NodeBlockLayout(layerCount: 1, kvHeadCount: 1, headDim: 1, encoding: .int8) == nil)
    #expect(NodeBlockLayout(layerCount: 1025, kvHeadCount: 1, headDim: 64, encoding: .int8) == nil)
    #expect(NodeBlockLayout(layerCount: 1, kvHeadCount: 1, headDim: 1025, encoding: .int8) == nil)
    #expect(NodeBlockLayout(layerCount: 1, kvHeadCount: 1, headDim: 257, encoding: .int4) == nil)
  }
}
