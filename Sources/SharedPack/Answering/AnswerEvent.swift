public import LlamaRuntime

/// An event of a request to an ``AnswerEngine``.
public enum AnswerEvent: Sendable, Hashable {
  /// The request no longer waits. So many tokens of its prompt need not be read.
  case started(cachedTokens: Int)
  /// How many tokens of the prompt are there, and of how many.
  case promptProgress(done: Int, of: Int)
  /// A piece of the answer.
  case piece(AnswerPiece)
  /// The end of the answer.
  case finished(ResponseSummary)
}

/// A piece of an answer.
public struct AnswerPiece: Sendable, Hashable {
  /// Whole characters, possibly several; possibly none where log probabilities were asked for.
  public var text: String
  /// The tokens that were chosen since the last piece, where log probabilities were asked for. Text may come later than
  /// its tokens: a character may have several, and what could be the beginning of a stop string waits.
  public var tokens: [TokenChoice]
}

/// A token of an answer. Probabilities are the model's own, before sampling options change them.
public struct TokenChoice: Sendable, Hashable {
  /// The token that was chosen.
  public var chosen: TokenProbability
  /// The most likely ones, most likely first, as many as were asked for.
  public var mostLikely: [TokenProbability]
}

/// An answer of an ``AnswerEngine``, piece by piece, read by one loop.
public typealias AnswerStream = EventStream<AnswerEvent>

/// A whole answer of an ``AnswerEngine``.
public struct Answer: Sendable, Hashable {
  /// The whole text.
  public var text: String
  /// Its tokens, where log probabilities were asked for.
  public var tokens: [TokenChoice]
  /// What it was made of.
  public var summary: ResponseSummary
}

extension EventStream<AnswerEvent> {
  /// Waits for the whole answer.
  /// - Throws: `CancellationError` when the task is cancelled meanwhile, and `Refusal` `file-changed`, `engine-closed`.
  public func collect() async throws -> Answer {
    var text = ""
    var tokens: [TokenChoice] = []
    for try await event in self {
      switch event {
      case .started, .promptProgress: break
      case .piece(let piece):
        text += piece.text
        tokens += piece.tokens
      case .finished(let summary): return Answer(text: text, tokens: tokens, summary: summary)
      }
    }
    throw CancellationError()
  }
}

/// What an engine does, and has done since it was made.
public struct AnswerStatistics: Sendable, Hashable {
  /// Answers that are being read for or written.
  public var running = 0
  /// Requests that wait.
  public var waiting = 0
  /// Answers that came to their end.
  public var finished = 0
  /// Those whose reader had gone before.
  public var abandoned = 0
  /// Those that ended with a refusal.
  public var failed = 0
  /// Requests that were refused because too many waited.
  public var refused = 0
  /// Tokens of prompts that were read.
  public var promptTokens = 0
  /// Tokens of prompts that need not be read, because they had been kept.
  public var cachedTokens = 0
  /// Tokens that were written.
  public var answerTokens = 0
  /// Conversations that are kept.
  public var keptConversations = 0
  /// Bytes of what is kept, with what of it running answers still use.
  public var keptBytes = 0
  /// Bytes reserved for the running answers.
  public var reservedBytes = 0
  /// Passes over the weights.
  public var passes = 0
  /// Seconds in which there was something to do.
  public var busySeconds = 0.0
}
