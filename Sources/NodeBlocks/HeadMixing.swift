/// A rotation of keys or values, which makes the few numbers that are much larger than the others part of all numbers, so
/// that four bits with one scale lose less. With queries that are rotated alike, products stay as they are; weighted sums
/// of rotated values are rotated back.
///
/// Each run of the largest power of two numbers that divides the head dim is multiplied by the Hadamard matrix of that
/// size over the root of it, which is its own inverse.
/// Source: arXiv 2404.00456, section 4.
package enum HeadMixing {
  /// - Parameters:
  ///   - x: (head dim) float32.
  @unsafe package static func mix(_ x: UnsafeMutablePointer<Float>, headDim: Int) {
    let run = headDim & -headDim
    var distance = 1
    while distance < run {
      for start in stride(from: 0, to: headDim, by: 2 * distance) {
        let (low, high) = unsafe (x + start, x + start + distance)
        for i in 0..<distance {
          let (a, b) = unsafe (low[i], high[i])
          unsafe low[i] = a + b
          unsafe high[i] = a - b
        }
      }
      distance *= 2
    }
    let factor = 1 / Float(run).squareRoot()
    for i in 0..<headDim { unsafe x[i] *= factor }
  }
}
