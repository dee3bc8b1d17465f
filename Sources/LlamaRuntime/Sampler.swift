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
    var likely = LikelyTokens(logits)
    guard let largest = likely.first.map({ Double(logits[Int($0)]) }) else { return 0 }
    let temperature = Double(options.temperature)
    func weight(_ logit: Float) -> Double { exp((Double(logit) - largest) / temperature) }
    var candidates: [(token: Int32, weight: Double)] = []
    func addCandidate() -> Bool {
      guard let token = likely.popFirst() else { return false }
      candidates.append((token, weight(logits[Int(token)])))
      return true
    }
    let total: Double
    if let topK = options.topK {
      while candidates.count < max(topK, 1), addCandidate() {}
      total = candidates.reduce(0) { $0 + $1.weight }
    } else {
      // Further candidates are taken as they are needed, which is often not far: a vocabulary takes long to sort.
      total = logits.reduce(0) { $1.isNaN ? $0 : $0 + weight($1) }
    }
    let isCut = options.topP < 1 || options.minP > 0
    var kept = 0
    var mass = 0.0
    while kept < candidates.count || options.topK == nil && addCandidate() {
      let (token, weight) = candidates[kept]
      let isLikely = weight >= Double(options.minP) * candidates[0].weight
      guard kept == 0 || (isLikely && mass < Double(options.topP) * total) else { break }
      mass += weight
      kept += 1
      if !isCut, mass > draw * total { return token }
    }
    var rest = draw * mass
    for (token, weight) in candidates[..<kept] {
      rest -= weight
      if rest < 0 { return token }
    }
    return candidates[kept - 1].token
  }
}

/// Tokens from the most likely one on, taken as far as they are needed: a heap. Of equals, the first of the vocabulary
/// comes first; those whose logit is not a number do not come.
struct LikelyTokens {
  private let logits: [Float]
  private var heap: [Int32]

  init(_ logits: [Float]) {
    self.logits = logits
    heap = []
    heap.reserveCapacity(logits.count)
    for (token, logit) in logits.enumerated() where !logit.isNaN { heap.append(Int32(token)) }
    for index in (0..<heap.count / 2).reversed() { sink(index) }
  }

  var first: Int32? { heap.first }

  mutating func popFirst() -> Int32? {
    guard let first = heap.first, let last = heap.popLast() else { return nil }
    if !heap.isEmpty {
      heap[0] = last
      sink(0)
    }
    return first
  }

  private func comes(_ token: Int32, before other: Int32) -> Bool {
    let (logit, otherLogit) = (logits[Int(token)], logits[Int(other)])
    return logit > otherLogit || logit == otherLogit && token < other
  }

  private mutating func sink(_ start: Int) {
    var index = start
    let token = heap[index]
    while true {
      var child = 2 * index + 1
      guard child < heap.count else { break }
      if child + 1 < heap.count, comes(heap[child + 1], before: heap[child]) { child += 1 }
      guard comes(heap[child], before: token) else { break }
      heap[index] = heap[child]
      index = child
    }
    heap[index] = token
  }
}
