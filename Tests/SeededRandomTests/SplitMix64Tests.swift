import SeededRandom
import Testing

/// Searches, samples and intervals are repeated by others: the sequence must be the published one.
@Suite struct SplitMix64Tests {
  private static let published: [UInt64] = [
    6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423,
  ]

  /// The first numbers of the published generator for the state 1234567.
  @Test func sequence() {
    var generator = SplitMix64(state: 1_234_567)
    #expect([generator.next(), generator.next(), generator.next()] == Self.published)
    #expect((0..<1000).allSatisfy { _ in (0..<7).contains(generator.next(below: 7)) })
  }

  @Test func valueAfterOthers() {
    #expect((0..<3).map { SplitMix64(state: 1_234_567).value(after: $0) } == Self.published)
  }

  /// The published hash of "a", and another sequence for another seed.
  @Test func names() {
    var named = SplitMix64(name: "a")
    var hashed = SplitMix64(state: 0xAF63_DC4C_8601_EC8C)
    #expect(named.next() == hashed.next())
    var seeded = SplitMix64(seed: 1, name: "a")
    #expect(seeded.next() != SplitMix64(name: "a").value(after: 0))
  }
}
