public import FileAccess
public import LlamaRuntime
import ModelPacks

/// How an answer is written.
public struct GenerationOptions: Sendable, Hashable {
  /// Tokens of the answer, at most; fewer when the model's window ends before.
  public var maxTokens: Int
  /// How each token is chosen.
  public var sampling: SamplingOptions
  /// The answer ends before any of these.
  public var stopStrings: [String]
  /// Whether the answer continues past the model's end-of-text tokens.
  public var ignoresEndOfText: Bool
  /// Which tokens of the prompt and the answer the model still sees. A streaming policy reads and writes texts longer than
  /// the model's window; what has left its cache is forgotten.
  public var cachePolicy: CachePolicy
  /// How keys and values are kept; nil as is usual: as the pack keeps weights, but float16 where the policy chooses rows
  /// of an int8 pack.
  public var rowEncoding: RowEncoding?

  /// Options, those of the most likely answer unless said otherwise.
  public init(
    maxTokens: Int = 256, sampling: SamplingOptions = .greedy, stopStrings: [String] = [],
    ignoresEndOfText: Bool = false, cachePolicy: CachePolicy = .full, rowEncoding: RowEncoding? = nil
  ) {
    self.maxTokens = maxTokens
    self.sampling = sampling
    self.stopStrings = stopStrings
    self.ignoresEndOfText = ignoresEndOfText
    self.cachePolicy = cachePolicy
    self.rowEncoding = rowEncoding
  }
}

/// Why an answer ended.
public enum FinishReason: String, Sendable, Hashable {
  /// The model ended it.
  case endOfText = "end-of-text"
  /// A stop string came next.
  case stopString = "stop-string"
  /// It has as many tokens as were asked for.
  case maxTokens = "max-tokens"
  /// The model's trained window is full.
  case window
}

/// Figures about an answer.
public struct ResponseSummary: Sendable, Hashable {
  /// Tokens of the prompt.
  public var promptTokens: Int
  /// Those of them that were not read, because an ``AnswerEngine`` had kept what the model knows of them.
  public var cachedTokens: Int
  /// All generated tokens, with the one that ended the answer.
  public var tokens: [Int32]
  /// Why it ended.
  public var finishReason: FinishReason
  /// Chunks of the injected context; 0 without one.
  public var contextChunks: Int
  /// Rows of keys and values that were injected into each layer; 0 without a context.
  public var contextRows: Int
  /// Whether the context was injected without weights that were trained for it.
  public var injectionIsUntrained: Bool
  /// From the start of the work until the first token was chosen.
  public var secondsToFirstToken: Double
  /// From the start of the work to its end.
  public var secondsInAll: Double
}

/// An event of a request while it runs.
public enum ResponseEvent: Sendable, Hashable {
  /// How many tokens of the prompt have been read, and of how many.
  case promptProgress(done: Int, of: Int)
  /// A piece of the answer: whole characters, possibly several.
  case text(String)
  /// The end of the answer.
  case finished(ResponseSummary)
}

/// A whole answer.
public struct Response: Sendable, Hashable {
  /// The whole text.
  public var text: String
  /// What it was made of.
  public var summary: ResponseSummary
}

/// An answer, piece by piece, read by one loop; the work is done on a thread of its own.
public typealias ResponseStream = EventStream<ResponseEvent>

extension EventStream<ResponseEvent> {
  /// Waits for the whole answer.
  /// - Throws: `CancellationError` when the task is cancelled meanwhile, and `Refusal` `file-changed`.
  public func collect() async throws -> Response {
    var text = ""
    for try await event in self {
      switch event {
      case .promptProgress: break
      case .text(let piece): text += piece
      case .finished(let summary): return Response(text: text, summary: summary)
      }
    }
    throw CancellationError()
  }
}

extension LanguageModel {
  /// Continues a prompt.
  /// - Parameters:
  ///   - prompt: tokens, with the begin-of-text token if the model wants one: those of ``textPrompt(_:)``, of
  ///     ``chatPrompt(_:now:)`` or, behind documents of a plain model, of ``questionPrompt(_:in:)``.
  ///   - context: what ``select(from:search:query:)`` picked from documents for the prompt; nil for none.
  ///   - options: how the answer is written.
  /// - Throws: `Refusal` `empty-prompt`, `prompt-too-long`, `token-out-of-range`, `cache-too-large`,
  ///   `policy-without-documents`, `cache-encoding`, before anything is computed.
  public func generate(
    _ prompt: [Int32], context: ContextSelection? = nil, options: GenerationOptions = GenerationOptions()
  ) throws(Refusal) -> ResponseStream {
    try requirePrompt(prompt, behind: context, options)
    return ResponseStream { sink in
      try self.generate(prompt, context: context, options: options, into: sink)
    }
  }

  /// - Throws: `Refusal` `cache-too-large` when a policy needs more positions than the model's window has.
  package func requireCachePolicy(_ policy: CachePolicy) throws(Refusal) {
    guard let positions = policy.positionCount, positions > runtime.window else { return }
    throw Refusal(
      .cacheTooLarge, file: pack.path,
      "the cache policy \(policy.name.rawValue) takes \(positions) positions; the model's window holds "
        + "\(runtime.window)")
  }

  /// Bytes of the keys and values of a number of rows of every head, in the form that a policy's cache keeps.
  /// - Parameters:
  ///   - rows: what a token sees of each head.
  ///   - policy: chooses them.
  ///   - encoding: of the rows; nil for the one that is usual.
  public func cacheByteCount(rows: Int, _ policy: CachePolicy.Name, encoding: RowEncoding? = nil) -> Int {
    rows * runtime.rowByteCount(CachePolicy(policy, rows: CachePolicy.leastRows), encoding: encoding)
  }

  /// Rows of every head whose keys and values fit a number of bytes.
  public func cacheRows(inBytes bytes: Int, _ policy: CachePolicy.Name, encoding: RowEncoding? = nil) -> Int {
    bytes / cacheByteCount(rows: 1, policy, encoding: encoding)
  }

  /// A session for a text, with what the policy needs.
  /// - Throws: `Refusal` `cache-too-large`; `no-space` and others when there is no file for what a policy keeps in one.
  package func makeSession(
    capacity: Int, context: InjectedContext? = nil, cachePolicy: CachePolicy, rowEncoding: RowEncoding? = nil,
    threads: ThreadPool? = nil
  ) throws(Refusal) -> Session {
    try requireCachePolicy(cachePolicy)
    if let rowEncoding, !runtime.rowEncodings.contains(rowEncoding) {
      throw Refusal(
        .cacheEncoding, file: pack.path,
        "the dynamic scaling of positions turns keys again when a text grows, which takes float32")
    }
    let scratch = runtime.scratchByteCount(cachePolicy, capacity: capacity, encoding: rowEncoding)
    var kinds = TokenKinds()
    if case .fastGen = cachePolicy, let tokenizer { kinds = tokenizer.kinds }
    return Session(
      runtime, capacity: capacity, context: context, cachePolicy: cachePolicy, kinds: kinds, rowEncoding: rowEncoding,
      scratch: scratch > 0 ? try ScratchMapping(byteCount: scratch) : nil, threads: threads)
  }

  /// - Throws: `Refusal` `empty-prompt`, `prompt-too-long`, `token-out-of-range`, `cache-too-large`, `policy-without-documents`,
  ///   `cache-encoding`.
  func requirePrompt(
    _ prompt: [Int32], behind context: ContextSelection?, _ options: GenerationOptions
  ) throws(Refusal) {
    let policy = options.cachePolicy
    guard !prompt.isEmpty else { throw Refusal(.emptyPrompt, file: pack.path, "the prompt has no tokens") }
    try requireCachePolicy(policy)
    let before = context?.tokensBefore ?? 0
    guard policy.positionCount != nil || before + prompt.count < runtime.window else {
      throw Refusal(
        .promptTooLong, file: pack.path,
        "the prompt has \(before + prompt.count) tokens; the window holds \(runtime.window), one of them for the answer"
      )
    }
    guard policy == .full || context?.text == nil else {
      throw Refusal(
        .policyWithoutDocuments, file: pack.path,
        "documents that stand before a question need the cache policy full: their rows stay in the store, and of a "
          + "question and its answer there is little to choose")
    }
    guard options.rowEncoding == nil || context?.text == nil else {
      throw Refusal(
        .cacheEncoding, file: pack.path,
        "behind documents that stand before a question, rows are kept as is usual: the store has an encoding of its own"
      )
    }
    try requireTokens(prompt, file: pack.path)
  }

  /// - Throws: `Refusal` `token-out-of-range` when a token is not in the vocabulary.
  package func requireTokens(_ tokens: [Int32], file: String) throws(Refusal) {
    if let token = tokens.first(where: { $0 < 0 || Int($0) >= configuration.vocabularySize }) {
      throw Refusal(
        .tokenOutOfRange, file: file,
        "token \(token) is not in the model's vocabulary of \(configuration.vocabularySize)")
    }
  }

  private func generate(
    _ prompt: [Int32], context: ContextSelection?, options: GenerationOptions,
    into sink: EventSink<ResponseEvent>
  ) throws {
    var writer = AnswerWriter(self, prompt, context: context, options: options)
    let capacity = writer.capacity
    let session =
      if let text = context?.text {
        Session(runtime, behind: text, capacity: capacity)
      } else {
        try makeSession(
          capacity: capacity, context: context?.context, cachePolicy: options.cachePolicy,
          rowEncoding: options.rowEncoding)
      }
    var logits = try session.read(prompt) { (done) throws(any Error) in
      try session.requireWhole()
      try sink.yield(.promptProgress(done: done, of: prompt.count))
    }
    while !writer.hasEnded {
      let text = writer.write(after: logits)
      if !text.isEmpty { try sink.yield(.text(text)) }
      guard let token = writer.next else { break }
      try sink.requireReader()
      session.read(token, into: &logits)
      try session.requireWhole()
    }
    let (rest, summary) = writer.finish()
    if !rest.isEmpty { try sink.yield(.text(rest)) }
    try sink.yield(.finished(summary))
  }
}

extension ContextSelection {
  /// The text that stands before the prompt.
  var text: TextPrefix? { if case .text(let text) = rows { text } else { nil } }

  /// Tokens that stand before the prompt in the model's window.
  package var tokensBefore: Int { text?.tokenCount ?? 0 }
}

extension Refusal.Name {
  /// A prompt has no tokens, or a question no text.
  public static let emptyPrompt = Refusal.Name("empty-prompt", .badInput)
  /// A prompt leaves no token of the model's window for the answer.
  public static let promptTooLong = Refusal.Name("prompt-too-long", .badInput)
  /// A token is not in the vocabulary.
  public static let tokenOutOfRange = Refusal.Name("token-out-of-range", .badInput)
  /// A cache policy needs more positions than the model's window has.
  public static let cacheTooLarge = Refusal.Name("cache-too-large", .badInput)
  /// Keys and values cannot be kept in an encoding.
  public static let cacheEncoding = Refusal.Name("cache-encoding", .badInput)
  /// A cache policy other than `full` is asked for behind documents of a plain model.
  public static let policyWithoutDocuments = Refusal.Name("policy-without-documents", .badInput)
}
