public import CanonicalJSON
import SharedPack

/// How an answer is told, whole or in pieces.
protocol AnswerShape: Sendable {
  /// The pieces with which an answer begins.
  mutating func start() -> [AnswerEventText]
  mutating func piece(_ text: String, _ tokens: [TokenChoice], _ tokenizer: Tokenizer?) -> AnswerEventText
  /// The last pieces.
  mutating func end(_ summary: ResponseSummary) -> [AnswerEventText]
  mutating func whole(
    _ text: String, _ tokens: [TokenChoice], _ summary: ResponseSummary, _ tokenizer: Tokenizer?
  ) -> JSONValue
}

/// A piece of an answer as a server-sent event.
public struct AnswerEventText: Sendable, Hashable {
  /// Nil for one that clients know by what it holds; after the last of those, they wait for `[DONE]`.
  public var name: String?
  public var json: JSONValue
}
