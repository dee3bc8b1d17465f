import ContextTrees
import Glibc
import NodeBlocks

/// One way to read documents.
struct PerplexityVariant: Hashable {
  var method: PerplexityOptions.Method
  var windows: Int
  /// Of the method `shared`; nil for others.
  var search: TreeSearch?
  var encoding: RowEncoding?
}

/// The score of a document that was read in one way.
struct PerplexityScore {
  /// Mean negative log likelihood of the scored tokens, in nats.
  var nll: Double
  /// Injected rows of a layer, and the bytes of all their keys and values.
  var rows = 0
  var rowBytes = 0
  var chunks = 0
  var contextTokens = 0
  var encodeSeconds = 0.0
  var readSeconds: Double
}

/// The scores of documents: the same ones, in the same order, of every variant.
struct PerplexityScores {
  private(set) var scores: [PerplexityVariant: [PerplexityScore]] = [:]
  /// Of each document.
  private(set) var domains: [String] = []

  mutating func add(_ document: [PerplexityVariant: PerplexityScore], domain: String) {
    domains.append(domain)
    for (variant, score) in document { scores[variant, default: []].append(score) }
  }

  /// Scores of a domain's documents; all for nil.
  func values(_ variant: PerplexityVariant, domain: String?) -> [PerplexityScore]? {
    guard let scores = scores[variant] else { return nil }
    return zip(scores, domains).filter { domain == nil || $0.1 == domain }.map(\.0)
  }
}

extension [PerplexityScore] {
  /// exp of the mean over documents.
  func perplexity(_ bootstrap: Bootstrap) -> Measure { bootstrap.mean(of: map(\.nll)).mapped { exp($0) } }

  /// The quotient of two perplexities, with the interval of the paired differences.
  func ratio(to other: [PerplexityScore], _ bootstrap: Bootstrap) -> Measure {
    bootstrap.difference(map(\.nll), other.map(\.nll)).mapped { exp($0) }
  }

  func mean(_ value: (PerplexityScore) -> Double) -> Measure { Measure(reduce(0) { $0 + value($1) } / Double(count)) }
}
