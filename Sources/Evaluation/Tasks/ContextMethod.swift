public import ContextTrees
import FileAccess
import LlamaRuntime
import ModelPacks
import SharedPack
import Tokenization

/// How a model gets to see a context that is longer than its window.
public enum ContextMethod: Sendable, Hashable {
  /// Through trees that are searched in this way.
  case shared(TreeSearch)
  /// Through trees that are searched with knowledge of where the answer is, as a perfect policy would.
  case oracle
  /// The plain model reads as much as the window holds.
  case truncated
  /// The plain model reads all with StreamingLLM's cache: sinks and recent tokens, a window in all.
  case streaming(sinks: Int)

  /// `shared`, `truncated` or `streaming`.
  public var name: String {
    switch self {
    case .shared, .oracle: PerplexityOptions.Method.shared.rawValue
    case .truncated: PerplexityOptions.Method.truncated.rawValue
    case .streaming: PerplexityOptions.Method.streaming.rawValue
    }
  }

  /// The policy's name; nil without trees.
  public var policyName: String? {
    switch self {
    case .shared(let search): search.policy.name
    case .oracle: "oracle"
    case .truncated, .streaming: nil
    }
  }

  /// The expansion's name; nil where the policy does not look at the question.
  public var expansionName: String? {
    guard case .shared(let search) = self, search.policy.looksAtQuery else { return nil }
    return search.expansion.description
  }

  /// The method's name in the paths of answers.
  var fileName: String { [name, policyName, expansionName].compactMap(\.self).joined(separator: "-") }

  /// The labels that tell the method's rows from others.
  var labels: [String: Label] {
    var labels: [String: Label] = ["method": .text(name)]
    if let policyName { labels["policy"] = .text(policyName) }
    if let expansionName { labels["expansion"] = .text(expansionName) }
    return labels
  }
}

extension LanguageModel {
  /// The text and the tokens of the model's greedy continuation.
  /// - Throws: `Refusal` as `generate(_:context:options:)`.
  func greedyAnswer(
    _ prompt: [Int32], context: ContextSelection? = nil, maxTokens: Int, stopStrings: [String] = [], sinks: Int? = nil
  ) async throws -> (text: String, tokens: [Int32]) {
    let cachePolicy = sinks.map { CachePolicy.streaming(sinks: $0, recent: configuration.maxPositionCount - $0) }
    let answer = try await generate(
      prompt, context: context,
      options: GenerationOptions(maxTokens: maxTokens, stopStrings: stopStrings, cachePolicy: cachePolicy ?? .full)
    ).collect()
    return (answer.text, answer.summary.tokens)
  }

  /// The begin-of-text token, or nothing for a model without one.
  func textStart() throws(Refusal) -> [Int32] { try requireTokenizer().beginOfTextToken.map { [$0] } ?? [] }
}
