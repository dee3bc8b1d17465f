import LlamaRuntime
import Testing

@Suite struct SamplerTests {
  static let logits: [Float] = [0, 3, 1, 3, -2, 2.5]

  @Test func greedyTakesTheFirstOfTheLargest() {
    var sampler = Sampler(.greedy)
    #expect(sampler.choose(Self.logits) == 1)
    #expect(sampler.choose([.nan, 1, .nan]) == 1)
  }

  @Test func seedsRepeat() {
    func draw(_ seed: UInt64) -> [Int32] {
      var sampler = Sampler(SamplingOptions(temperature: 1, seed: seed))
      return (0..<50).map { _ in sampler.choose(Self.logits) }
    }
    #expect(draw(3) == draw(3))
    #expect(draw(3) != draw(4))
  }

  @Test func cutsKeepWhatTheySay() {
    func drawn(_ options: SamplingOptions) -> Set<Int32> {
      var sampler = Sampler(options)
      return Set((0..<400).map { _ in sampler.choose(Self.logits) })
    }
    #expect(drawn(SamplingOptions(temperature: 2)) == [0, 1, 2, 3, 4, 5])
    #expect(drawn(SamplingOptions(temperature: 2, topK: 2)) == [1, 3])
    // e^-0.5 of the most likely is 0.61: the third stays; 1 is e^-2 of it.
    #expect(drawn(SamplingOptions(temperature: 1, minP: 0.5)) == [1, 3, 5])
    #expect(drawn(SamplingOptions(temperature: 1, topP: 0.3)) == [1])
    #expect(drawn(SamplingOptions(temperature: 1, topP: 0.0001)) == [1])
  }

  @Test func frequenciesFollowTheSoftmax() {
    var sampler = Sampler(SamplingOptions(temperature: 1, seed: 9))
    var counts = [0, 0]
    for _ in 0..<20_000 { counts[Int(sampler.choose([0, 1]))] += 1 }
    // e / (1 + e) = 0.731; five standard deviations are 0.016.
    #expect(abs(Double(counts[1]) / 20_000 - 0.731) < 0.016)
  }

  @Test func repetitionIsPenalized() {
    var sampler = Sampler(SamplingOptions(repetitionPenalty: 2, repetitionWindow: 2))
    #expect(sampler.choose(Self.logits) == 1)
    #expect(sampler.choose(Self.logits) == 3)
    #expect(sampler.choose(Self.logits) == 5)
    // 1 has left the window of two.
    #expect(sampler.choose(Self.logits) == 1)
  }
}
