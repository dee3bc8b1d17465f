import NodeBlocks
import Testing

/// Rows of nodes are what was written, as nearly as their encoding can keep them.
@Suite struct NodeBlockTests {
  static let errors: [(RowEncoding, Float)] = [(.int4, 0.16), (.int8, 0.016), (.float16, 0.0005), (.float32, 0)]

  /// Rows of one very large number in each key, as models have them; every second token of a pass is kept.
  @Test(arguments: errors, [(rows: 1, headDim: 64), (rows: 17, headDim: 24), (rows: 130, headDim: 33)])
  func restoredRowsAreNear(encoding: (RowEncoding, Float), shape: (rows: Int, headDim: Int)) throws {
    let (rows, headDim) = shape
    let layout = try #require(
      NodeBlockLayout(layerCount: 2, kvHeadCount: 3, headDim: headDim, encoding: encoding.0))
    let width = 3 * headDim
    let writer = NodeBlockWriter(layout: layout, keeping: (0..<rows).map { 2 * $0 })
    var written: [(keys: [Float], values: [Float])] = []
    for layer in 0..<2 {
      var keys = uniform(2 * rows * width, seed: UInt64(layer))
      let values = uniform(2 * rows * width, seed: UInt64(layer + 7))
      for start in stride(from: 0, to: keys.count, by: headDim) { keys[start + 1] += 6 }
      let stored = unsafe keys.withUnsafeBufferPointer { keys in
        unsafe values.withUnsafeBufferPointer { values in
          unsafe writer.write(layer: layer, keys: keys.baseAddress!, values: values.baseAddress!)
        }
      }
      #expect(stored)
      func kept(_ all: [Float]) -> [Float] { (0..<rows).flatMap { all[2 * $0 * width..<(2 * $0 + 1) * width] } }
      written.append((kept(keys), kept(values)))
    }
    let block = writer.finish()
    for (layer, exact) in written.enumerated() {
      let restored = block.rows(layer: layer)
      #expect(relativeError(restored.keys, exact.keys) <= encoding.1)
      #expect(relativeError(restored.values, exact.values) <= encoding.1)
    }
  }

  /// What is not finite is refused, be it a key or a value, in the first rows or in the last.
  @Test(arguments: RowEncoding.allCases) func notFinite(encoding: RowEncoding) throws {
    let layout = try #require(NodeBlockLayout(layerCount: 1, kvHeadCount: 1, headDim: 16, encoding: encoding))
    for (isKey, place) in [(true, 0), (true, 130 * 16 - 1), (false, 5), (false, 129 * 16)] {
      let finite = [Float](repeating: 1, count: 130 * 16)
      var infinite = finite
      infinite[place] = .infinity
      let (keys, values) = isKey ? (infinite, finite) : (finite, infinite)
      let writer = NodeBlockWriter(layout: layout, keeping: Array(0..<130))
      let stored = unsafe keys.withUnsafeBufferPointer { keys in
        unsafe values.withUnsafeBufferPointer { values in
          unsafe writer.write(layer: 0, keys: keys.baseAddress!, values: values.baseAddress!)
        }
      }
      #expect(!stored)
    }
  }
}
