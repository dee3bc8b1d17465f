/// A generator whose sequence is the same everywhere, for what others repeat: searches, samples, tests. Not for secrets.
///
/// Source: G. Steele, D. Lea, C. Flood, Fast splittable pseudorandom number generators, OOPSLA 2014.
public struct SplitMix64: RandomNumberGenerator, Sendable {
  private static let increment: UInt64 = 0x9E37_79B9_7F4A_7C15

  private var state: UInt64

  public init(state: UInt64) { self.state = state }

  /// Starts from a name: its FNV-1a hash, whose first state is changed by the seed.
  public init(seed: UInt64 = 0, name: String) {
    state = name.utf8.reduce(seed ^ 0xCBF2_9CE4_8422_2325) { ($0 ^ UInt64($1)) &* 0x100_0000_01B3 }
  }

  public mutating func next() -> UInt64 {
    state &+= Self.increment
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }

  /// A number from 0 up to, not including, `limit`. Its bias is below limit / 2^64.
  public mutating func next(below limit: Int) -> Int {
    precondition(limit > 0)
    return Int(next().multipliedFullWidth(by: UInt64(limit)).high)
  }

  /// The number that `next()` gives after `count` others, without drawing them.
  public func value(after count: UInt64) -> UInt64 {
    var generator = SplitMix64(state: state &+ Self.increment &* count)
    return generator.next()
  }
}
