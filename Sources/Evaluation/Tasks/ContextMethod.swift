public import ContextTrees
import FileAccess
import SharedPack
import Tokenization

/// How a model gets to see a context that is longer than its window.
public enum ContextMethod: Sendable, Hashable {
  /// Through trees, which a policy searches.
  case shared(PathPolicy)
  /// The plain model reads the end of it, as much as the window holds.
  case truncated

  /// `shared`, `truncated`.
  public var name: String {
    switch self {
    case .shared: "shared"
    case .truncated: "truncated"
    }
  }

  /// The policy's name; nil without trees.
  public var policyName: String? {
    guard case .shared(let policy) = self else { return nil }
    switch policy {
    case .cosine: return "cosine"
    case .right: return "right"
    case .left: return "left"
    case .random: return "random"
    }
  }
}

extension LanguageModel {
  /// The text and the tokens that the model goes on with, most likely token by most likely token.
  /// - Throws: `Refusal` as `generate(_:context:options:)`.
  func greedyAnswer(
    _ prompt: [Int32], context: ContextSelection?, maxTokens: Int, stopStrings: [String] = []
  ) async throws -> (text: String, tokens: [Int32]) {
    let answer = try await generate(
      prompt, context: context, options: GenerationOptions(maxTokens: maxTokens, stopStrings: stopStrings)
    ).collect()
    return (answer.text, answer.summary.tokens)
  }

  /// The begin-of-text token, or nothing for a model without one.
  func textStart() throws(Refusal) -> [Int32] { try requireTokenizer().beginOfTextToken.map { [$0] } ?? [] }
}
