/// What an engine may take.
public struct AnswerLimits: Sendable, Hashable {
  /// Answers that are written at the same time, at most: 1 … 256.
  public var parallel: Int
  /// Requests that wait for their turn, at most; one more is refused.
  public var queue: Int
  /// Bytes for the keys and values of all answers together, running and kept; nil: half of the memory that the system
  /// has available when the engine is made.
  public var memory: Int?
  /// Bytes of those that ended answers may keep, so that a conversation goes on where it was; 0 keeps nothing.
  public var keptMemory: Int
  /// Tokens of prompts that are read between two tokens of the answers that are being written, at most. Fewer let these
  /// go on more evenly; below 64 each takes longer to read, above it no less.
  public var promptSlice: Int

  /// Limits.
  /// - Parameters:
  ///   - parallel: see ``parallel``.
  ///   - queue: see ``queue``.
  ///   - memory: see ``memory``.
  ///   - keptMemory: see ``keptMemory``.
  ///   - promptSlice: see ``promptSlice``.
  /// - Precondition: `parallel` is 1 … 256, `promptSlice` 1 … 1024, and no other number is negative.
  public init(
    parallel: Int = 8, queue: Int = 64, memory: Int? = nil, keptMemory: Int = 1 << 30, promptSlice: Int = 64
  ) {
    precondition((1...256).contains(parallel) && (1...1024).contains(promptSlice), "see the precondition")
    precondition(queue >= 0 && keptMemory >= 0 && memory ?? 0 >= 0, "nothing has less than no bytes")
    self.parallel = parallel
    self.queue = queue
    self.memory = memory
    self.keptMemory = keptMemory
    self.promptSlice = promptSlice
  }
}

/// A request for an answer.
public struct AnswerRequest: Sendable {
  /// Tokens, as for ``LanguageModel/generate(_:context:options:)``.
  public var prompt: [Int32]
  /// What of documents is read before it; nil for nothing.
  public var context: ContextSelection?
  /// How the answer is written.
  public var options: GenerationOptions
  /// Whose request it is: of those who have requests waiting, each gets one answered in turn.
  public var client: String
  /// Requests go on where others of the same scope ended, and never see those of another.
  public var scope: String
  /// 0 … 20: each token comes with its log probability and those of so many most likely ones; nil: without.
  public var logProbabilities: Int?

  /// A request.
  /// - Parameters:
  ///   - prompt: see ``prompt``.
  ///   - context: see ``context``.
  ///   - options: see ``options``.
  ///   - client: see ``client``.
  ///   - scope: see ``scope``.
  ///   - logProbabilities: see ``logProbabilities``.
  public init(
    _ prompt: [Int32], context: ContextSelection? = nil, options: GenerationOptions = GenerationOptions(),
    client: String = "", scope: String = "", logProbabilities: Int? = nil
  ) {
    self.prompt = prompt
    self.context = context
    self.options = options
    self.client = client
    self.scope = scope
    self.logProbabilities = logProbabilities
  }

  /// A question about documents.
  /// - Parameters:
  ///   - inquiry: the question.
  ///   - options: see ``options``.
  ///   - client: see ``client``.
  ///   - scope: see ``scope``.
  ///   - logProbabilities: see ``logProbabilities``.
  public init(
    _ inquiry: Inquiry, options: GenerationOptions = GenerationOptions(), client: String = "", scope: String = "",
    logProbabilities: Int? = nil
  ) {
    self.init(
      inquiry.prompt, context: inquiry.context, options: options, client: client, scope: scope,
      logProbabilities: logProbabilities)
  }
}
