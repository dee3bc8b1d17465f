/// What stands around the documents in a prompt of a plain model: all that comes before them, which is the same for
/// every question, and what follows them.
/// Format: `Formats/tree-store.md`, frames.
public struct ReadingFrame: Sendable, Hashable {
  /// The tokens before the documents.
  public let opening: [Int32]
  /// The text between the documents and the question.
  public let beforeQuestion: String
  /// The text behind the question.
  public let afterQuestion: String

  /// Tokens of an opening.
  package static let openingTokenCounts = 1...1024
  /// Bytes of the text before or behind a question, at most.
  package static let textByteLimit = 1 << 16

  /// - Returns: nil when the opening has no tokens or more than 1,024, or a text more than 65,536 bytes.
  public init?(opening: [Int32], beforeQuestion: String, afterQuestion: String) {
    guard Self.openingTokenCounts.contains(opening.count),
      max(beforeQuestion.utf8.count, afterQuestion.utf8.count) <= Self.textByteLimit
    else { return nil }
    self.opening = opening
    self.beforeQuestion = beforeQuestion
    self.afterQuestion = afterQuestion
  }
}
