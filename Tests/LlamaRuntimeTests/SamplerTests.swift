import Foundation
import SeededRandom
import Testing

@testable import LlamaRuntime

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

  /// The order of a sort, with equal logits and some that are no numbers.
  @Test func likelyTokensComeInOrder() {
    var random = SplitMix64(state: 5)
    for count in [0, 1, 2, 3, 10, 1000] {
      var logits = (0..<count).map { _ in Float(random.next() % 50) - 25 }
      for index in stride(from: 3, to: count, by: 7) { logits[index] = .nan }
      var likely = LikelyTokens(logits)
      var tokens: [Int32] = []
      while let token = likely.popFirst() { tokens.append(token) }
      let sorted = logits.indices.filter { !logits[$0].isNaN }.sorted {
        logits[$0] > logits[$1] || logits[$0] == logits[$1] && $0 < $1
      }
      #expect(tokens == sorted.map(Int32.init))
    }
  }

  /// What is left of many tokens by each cut is drawn as often as its share says.
  @Test(arguments: [
    SamplingOptions(temperature: 1.5, seed: 1), SamplingOptions(temperature: 1.5, topK: 3, seed: 2),
    SamplingOptions(temperature: 1.5, topP: 0.6, seed: 3),
    SamplingOptions(temperature: 1.5, topK: 4, minP: 0.4, seed: 4),
    SamplingOptions(temperature: 1.5, topK: 5, topP: 0.5, seed: 5),
  ])
  func frequenciesFollowTheCutSoftmax(_ options: SamplingOptions) {
    let logits: [Float] = [0.5, 3, 1, 2.9, -2, 2.5, .nan, 2]
    let sorted = logits.filter { !$0.isNaN }.sorted(by: >)
    var weights = sorted.map { exp(Double($0 - 3) / 1.5) }
    if let topK = options.topK { weights = Array(weights.prefix(topK)) }
    let total = weights.reduce(0, +)
    var mass = 0.0
    weights = weights.enumerated().prefix { index, weight in
      defer { mass += weight }
      return index == 0 || weight >= Double(options.minP) && mass < Double(options.topP) * total
    }.map(\.element)
    var sampler = Sampler(options)
    var counts: [Float: Int] = [:]
    for _ in 0..<20_000 { counts[logits[Int(sampler.choose(logits))], default: 0] += 1 }
    for (logit, weight) in zip(sorted, weights) {
      let share = weight / weights.reduce(0, +)
      #expect(abs(Double(counts[logit] ?? 0) / 20_000 - share) < 0.018, "\(logit)")
    }
    #expect(counts.count == weights.count)
  }
}
