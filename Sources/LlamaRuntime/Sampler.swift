import Glibc
import SeededRandom

/// How the next token is chosen.
public struct SamplingOptions: Sendable, Hashable {
  /// 0 takes the most likely token.
  public var temperature: Float
  /// Only the k most likely tokens; nil: all.
  public var topK: Int?
  /// Only the most likely tokens that together have this probability; 1: all.
  public var topP: Float
  /// Only tokens at least this likely, as a share of the most likely one's probability; 0: all.
  public var minP: Float
  /// Logits of tokens that were seen are divided by this where positive, else multiplied; 1: unchanged.
  /// Source: arXiv 1909.05858.
  public var repetitionPenalty: Float
  /// How far back tokens count as seen.
  public var repetitionWindow: Int
  public var seed: UInt64

  public init(
    temperature: Float = 0, topK: Int? = nil, topP: Float = 1, minP: Float = 0, repetitionPenalty: Float = 1,
    repetitionWindow: Int = 256, seed: UInt64 = 0
  ) {
    self.temperature = temperature
    self.topK = topK
    self.topP = topP
    self.minP = minP
    self.repetitionPenalty = repetitionPenalty
    self.repetitionWindow = repetitionWindow
    self.seed = seed
  }

  public static let greedy = SamplingOptions()
}

/// Chooses tokens. The same options and logits give the same tokens.
public struct Sampler: Sendable {
  public let options: SamplingOptions
  private var random: SplitMix64
  private var recent: [Int32] = []

  public init(_ options: SamplingOptions) {
    self.options = options
    random = SplitMix64(state: options.seed)
  }

  /// Counts tokens as seen, for the repetition penalty.
  public mutating func see(_ tokens: some Collection<Int32>) {
    guard options.repetitionPenalty != 1 else { return }
    recent.append(contentsOf: tokens.suffix(options.repetitionWindow))
    recent.removeFirst(max(0, recent.count - options.repetitionWindow))
  }

  /// Chooses the next token and counts it as seen.
  /// - Parameter logits: (vocabulary), not empty. Values that are not a number are never chosen unless all are.
  public mutating func choose(_ logits: [Float]) -> Int32 {
    precondition(!logits.isEmpty)
    var logits = logits
    for token in Set(recent) where Int(token) < logits.count {
      let logit = logits[Int(token)]
      logits[Int(token)] =
        logit > 0 ? logit / options.repetitionPenalty : logit * options.repetitionPenalty
    }
    let token = options.temperature > 0 ? sample(logits) : mostLikely(logits)
    see(CollectionOfOne(token))
    return token
  }

  /// The first of the largest logits.
  private func mostLikely(_ logits: [Float]) -> Int32 {
    var best = 0
    for (token, logit) in logits.enumerated() where logit > logits[best] || logits[best].isNaN { best = token }
    return Int32(best)
  }

  /// Temperature, then top-k, top-p and min-p, then a draw from what is left.
  private mutating func sample(_ logits: [Float]) -> Int32 {
    // Uniform in 0 ..< 1.
    let draw = Double(random.next() >> 11) / 9_007_199_254_740_992
    var candidates = logits.indices.filter { !logits[$0].isNaN }
    guard !candidates.isEmpty else { return 0 }
    // Equal logits stay in the order of their tokens, so that the choice does not depend on the sort.
    candidates.sort { logits[$0] > logits[$1] || (logits[$0] == logits[$1] && $0 < $1) }
    if let topK = options.topK { candidates.removeLast(max(0, candidates.count - max(topK, 1))) }
    let largest = Double(logits[candidates[0]])
    let weights = candidates.map { exp((Double(logits[$0]) - largest) / Double(options.temperature)) }
    let total = weights.reduce(0, +)
    var kept = 0
    var mass = 0.0
    for weight in weights {
      let isLikely = weight >= Double(options.minP) * weights[0]
      guard kept == 0 || (isLikely && mass < Double(options.topP) * total) else { break }
      mass += weight
      kept += 1
    }
    var rest = draw * mass
    for index in 0..<kept {
      rest -= weights[index]
      if rest < 0 { return Int32(candidates[index]) }
    }
    return Int32(candidates[kept - 1])
  }
}
