/// What is hidden in a context, or asked about it.
public enum RetrievalTask: String, Sendable, CaseIterable {
  /// A key in a sentence that says it twice, at a given depth.
  case passkey
  /// A fact, at a given depth.
  case needle
  /// Several facts of one form; one is asked for, or all.
  case multiNeedle = "multi-needle"
  /// A table of keys and values; one value is asked for.
  case keyValue = "key-value"
  /// The beginning of a passage of the context, to be continued as it is there.
  case repeatContext = "repeat-context"
  /// Two facts in different chunks; the second question is about what the first one did not touch.
  case secondQuestion = "second-question"
  /// Every chunk is the same, including the fact in it.
  case repeatedContext = "repeated-context"
  /// A fact whose answer begins in one chunk and ends in the next.
  case boundary

  /// Whether samples are made for given depths; else depths are drawn.
  public var hasDepth: Bool { self == .passkey || self == .needle }
}

/// How tasks are worded.
public enum TaskStyle: String, Sendable, CaseIterable {
  /// As `Tools/train` words the tasks that it teaches.
  case trainer
  /// Passkey as Landmark Attention (arXiv 2305.16300) has it, needles as G. Kamradt's test; key-value contexts are
  /// pairs alone. The rest is as in `trainer`.
  case published
}

/// A context with something in it, and questions about it.
public struct RetrievalSample: Sendable, Equatable {
  /// A question, with the whole running text that it ends.
  public struct Turn: Sendable, Equatable {
    /// The running text, whose last token the trees are searched with; the answer follows. Earlier questions stand in
    /// it with their right answers.
    public var prompt: [Int32]
    /// The same without the begin-of-text token, for use after other text.
    public var continuation: [Int32]
    /// The tokens of the right answer.
    public var answer: [Int32]
    public var rule: AnswerRule
    /// The ranges of the context's tokens that are the answer; any of them suffices.
    public var answerRanges: [Range<Int>]
  }

  public var context: [Int32]
  public var turns: [Turn]
}
