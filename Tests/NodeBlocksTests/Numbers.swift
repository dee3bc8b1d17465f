/// Floats in -1 ..< 1 from a linear congruential generator.
func uniform(_ count: Int, seed: UInt64 = 7) -> [Float] {
  var state = seed
  return (0..<count).map { _ in
    state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
    return Float(state >> 40) / Float(1 << 23) - 1
  }
}

/// The root of the mean squared error over the root of the mean square.
func relativeError(_ x: [Float], _ y: [Float]) -> Float {
  let error = zip(x, y).reduce(Float(0)) { $0 + ($1.0 - $1.1) * ($1.0 - $1.1) }
  return (error / y.reduce(0) { $0 + $1 * $1 }).squareRoot()
}
