import NodeBlocks
import Testing

/// Rows of prepared texts in other encodings than they were read in, and fewer of them.
@Suite struct TextRowsTests {
  private static func layout(_ encoding: RowEncoding, headDim: Int = 64) throws -> TextRowLayout {
    try #require(TextRowLayout(layerCount: 2, kvHeadCount: 3, headDim: headDim, encoding: encoding))
  }

  /// Rows of one very large number in each key, as models have them.
  private static func rows(_ count: Int, headDim: Int) throws -> TextRows {
    let layout = try layout(.float32, headDim: headDim)
    var floats = uniform(layout.byteCount(rows: count) / 4)
    let head = layout.headByteCount(rows: count) / 4
    for start in stride(from: 0, to: floats.count, by: head) {
      for row in 0..<count { floats[start + row * headDim + 1] += 6 }
    }
    return TextRows(BlockBytes(unsafe floats.withUnsafeBytes { unsafe Array($0) }), layout: layout, rowCount: count)
  }

  /// 64 rows of a head of 64: four bits a number, and two bytes for the scale of each row and of each channel: half of
  /// what int8 takes.
  @Test func int4TakesHalf() throws {
    let (int8, int4) = (try Self.layout(.int8), try Self.layout(.int4))
    #expect(int4.headByteCount(rows: 64) == 2 * (64 * 32 + 64 * 2))
    for rows in [64, 128, 512, 1024] { #expect(2 * int4.byteCount(rows: rows) == int8.byteCount(rows: rows)) }
    for rows in [1, 15, 16, 17, 63, 65, 100] {
      #expect(int4.headByteCount(rows: rows) % 64 == 0)
      #expect(int4.byteCount(rows: rows) < int8.byteCount(rows: rows))
    }
    #expect(TextRowLayout(layerCount: 1, kvHeadCount: 1, headDim: 257, encoding: .int4) == nil)
  }

  static let errors: [(RowEncoding, Float)] = [(.int4, 0.16), (.int8, 0.016), (.float16, 0.0005), (.float32, 0)]

  @Test(arguments: errors, [(rows: 130, headDim: 64), (rows: 64, headDim: 24), (rows: 5, headDim: 33)])
  func restoredRowsAreNear(encoding: (RowEncoding, Float), shape: (rows: Int, headDim: Int)) throws {
    let rows = try Self.rows(shape.rows, headDim: shape.headDim)
    let encoded = try #require(rows.compressed(as: encoding.0))
    #expect(
      encoded.storage.byteCount == (try Self.layout(encoding.0, headDim: shape.headDim)).byteCount(rows: shape.rows))
    for (layer, head) in [(0, 0), (0, 2), (1, 1)] {
      let (exact, restored) = (rows.floats(head: head, layer: layer), encoded.floats(head: head, layer: layer))
      #expect(relativeError(restored.keys, exact.keys) <= encoding.1)
      #expect(relativeError(restored.values, exact.values) <= encoding.1)
    }
  }

  /// Each head of each layer keeps rows of its own, and as many as it has.
  @Test(arguments: [(RowEncoding.float32, Float(0)), (.int8, 0.016), (.int4, 0.16)])
  func keptRowsAreThoseOfTheirHead(encoding: RowEncoding, error: Float) throws {
    let rows = try Self.rows(100, headDim: 16)
    let numbers = (0..<6).map { head in (0..<70 - 9 * head).map { Int32(($0 * 10 + head) / 7) } }
    let kept = try #require(KeptRows(layerCount: 2, kvHeadCount: 3, numbers: numbers))
    let few = try #require(rows.compressed(as: encoding, keeping: kept))
    #expect(few.rowCounts == [70, 61, 52, 43, 34, 25] && few.rowCount == 70)
    #expect(few.storage.byteCount == few.layout.byteCount(rowCounts: few.rowCounts))
    for layer in 0..<2 {
      for head in 0..<3 {
        let (all, some) = (rows.floats(head: head, layer: layer), few.floats(head: head, layer: layer))
        let exact = kept.rows(layer: layer, head: head).map { Int($0) * 16..<Int($0) * 16 + 16 }
        #expect(some.keys.count == exact.count * 16 && some.values.count == exact.count * 16)
        #expect(relativeError(some.keys, exact.flatMap { all.keys[$0] }) <= error)
        #expect(relativeError(some.values, exact.flatMap { all.values[$0] }) <= error)
      }
    }
  }

  /// Of each head the best rows stay, and of all heads the best sixteens: here 3 beside each head's first.
  @Test func theBestRowsStay() {
    var scores = [Float](repeating: 0, count: 2 * 50)
    for row in 20..<36 { scores[row] = 2 }
    for row in 2..<45 { scores[50 + row] = Float(row) }
    #expect(KeptRows.rowCounts(bestOf: scores, heads: 2, count: 40) == [32, 48])
    let kept = KeptRows(bestOf: scores, layerCount: 2, kvHeadCount: 1, rowCounts: [18, 5], first: 2, last: 1)
    #expect(kept.rows(layer: 0, head: 0) == [0, 1] + (20..<35).map { Int32($0) } + [49])
    #expect(kept.rows(layer: 1, head: 0) == [0, 1, 43, 44, 49])
    #expect(kept.rowCounts == [18, 5])
    let few = KeptRows(bestOf: scores, layerCount: 2, kvHeadCount: 1, rowCounts: [2, 1], first: 2, last: 1)
    #expect(few.rowCounts == [2, 1] && few.rows(layer: 1, head: 0) == [0])
    #expect(KeptRows(layerCount: 1, kvHeadCount: 1, numbers: [[1, 1]]) == nil)
    #expect(KeptRows(layerCount: 1, kvHeadCount: 1, numbers: [[-1, 1]]) == nil)
    #expect(KeptRows(layerCount: 1, kvHeadCount: 2, numbers: [[0, 1]]) == nil)
    #expect(KeptRows(layerCount: 1, kvHeadCount: 1, numbers: [[]]) == nil)
  }

  /// Shares are what texts need on average, and give sixteens of rows.
  @Test func sharesOfHeads() throws {
    let shares = HeadShares(averaging: [[512, 16, 128], [1024, 16, 768]], tokenCounts: [512, 1024])
    #expect(shares.shares == [64, 2, 32])
    #expect(shares.rowCounts(tokens: 500) == [500, 16, 256])
    #expect(shares.rowCounts(tokens: 10) == [10, 10, 10])
    #expect(HeadShares([64, 0]) == nil && HeadShares([65]) == nil && HeadShares([]) == nil)
  }

  /// What is not finite is refused, as by every writer of rows.
  @Test(arguments: RowEncoding.allCases) func notFinite(encoding: RowEncoding) throws {
    let rows = try Self.rows(3, headDim: 16)
    var bytes = [UInt8](repeating: 0, count: rows.storage.byteCount)
    bytes.replaceSubrange(0..<4, with: [0, 0, 0x80, 0x7F])
    let infinite = TextRows(BlockBytes(bytes), layout: rows.layout, rowCount: 3)
    #expect(infinite.compressed(as: encoding) == nil)
  }
}
