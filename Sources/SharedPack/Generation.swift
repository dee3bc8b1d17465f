public import FileAccess
public import LlamaRuntime
import ModelPacks
import Synchronization
import Tokenization

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
  /// A streaming policy reads and writes texts longer than the model's window; what has left its cache is forgotten.
  public var cachePolicy: CachePolicy

  /// Options, those of the most likely answer unless said otherwise.
  public init(
    maxTokens: Int = 256, sampling: SamplingOptions = .greedy, stopStrings: [String] = [],
    ignoresEndOfText: Bool = false, cachePolicy: CachePolicy = .full
  ) {
    self.maxTokens = maxTokens
    self.sampling = sampling
    self.stopStrings = stopStrings
    self.ignoresEndOfText = ignoresEndOfText
    self.cachePolicy = cachePolicy
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

/// An answer, piece by piece, read by one loop.
///
/// The work starts with the stream, on a thread of its own, and keeps the model and the selection alive until it ends.
/// Leaving the loop, cancelling its task or releasing the stream ends it: before the next token or, while the prompt is
/// being read, before its next 1,024 tokens. Nothing is left behind. A loop whose task was cancelled ends without a
/// `finished` event. One whose pack or store was cut short while it was read throws `Refusal` `file-changed`.
public struct ResponseStream: AsyncSequence, Sendable {
  /// An event of a request while it runs.
  public typealias Element = ResponseEvent
  /// `CancellationError` when the reader has gone, or `Refusal` `file-changed` or, where the system has no thread for it,
  /// `no-thread`: whatever else can be refused is refused before there is a stream.
  public typealias Failure = any Error

  private let events: AsyncThrowingStream<ResponseEvent, any Error>
  private let isCancelled = CancellationFlag()

  init(_ work: @escaping @Sendable (ResponseSink) throws -> Void) {
    events = AsyncThrowingStream { [isCancelled] continuation in
      continuation.onTermination = { _ in isCancelled.set() }
      let isStarted = WorkThread.start {
        do {
          try work(ResponseSink(continuation: continuation, isCancelled: isCancelled))
          continuation.finish()
        } catch {
          continuation.finish(throwing: error)
        }
      }
      guard isStarted else {
        return continuation.finish(
          throwing: Refusal(.noThread, file: "this process", "the system has no thread for an answer"))
      }
    }
  }

  /// Starts the one loop over the answer.
  public func makeAsyncIterator() -> Iterator { Iterator(events.makeAsyncIterator(), isCancelled) }

  /// A loop over an answer.
  public struct Iterator: AsyncIteratorProtocol {
    private var events: AsyncThrowingStream<ResponseEvent, any Error>.AsyncIterator
    private let reader: Reader

    fileprivate init(
      _ events: AsyncThrowingStream<ResponseEvent, any Error>.AsyncIterator, _ isCancelled: CancellationFlag
    ) {
      self.events = events
      reader = Reader(isCancelled)
    }

    /// Waits for the next event; nil after the last one.
    public mutating func next() async throws -> ResponseEvent? { try await events.next() }

    /// Waits for the next event; nil after the last one.
    public mutating func next(isolation actor: isolated (any Actor)?) async throws -> ResponseEvent? {
      try await events.next(isolation: actor)
    }
  }

  /// Is released with its loop, even if a variable still holds the stream.
  private final class Reader: Sendable {
    private let isCancelled: CancellationFlag

    init(_ isCancelled: CancellationFlag) { self.isCancelled = isCancelled }

    deinit { isCancelled.set() }
  }

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

/// Where the work for a request leaves its results.
struct ResponseSink: Sendable {
  fileprivate let continuation: AsyncThrowingStream<ResponseEvent, any Error>.Continuation
  fileprivate let isCancelled: CancellationFlag

  func yield(_ event: ResponseEvent) throws(CancellationError) {
    try requireReader()
    continuation.yield(event)
  }

  /// - Throws: when nobody waits for the answer any more. Checked before every step, because many steps yield no text.
  func requireReader() throws(CancellationError) {
    if isCancelled.isSet { throw CancellationError() }
  }
}

private final class CancellationFlag: Sendable {
  private let flag = Atomic<Bool>(false)

  var isSet: Bool { flag.load(ordering: .relaxed) }

  func set() { flag.store(true, ordering: .relaxed) }
}

extension LanguageModel {
  /// Continues a prompt.
  /// - Parameters:
  ///   - prompt: tokens, with the begin-of-text token if the model wants one: those of ``textPrompt(_:)``, of
  ///     ``chatPrompt(_:now:)`` or, behind documents of a plain model, of ``questionPrompt(_:in:)``.
  ///   - context: what ``select(from:search:query:)`` picked from documents for the prompt; nil for none.
  ///   - options: how the answer is written.
  /// - Throws: `Refusal` `empty-prompt`, `prompt-too-long`, `token-out-of-range`, `cache-too-large`, before anything is
  ///   computed.
  public func generate(
    _ prompt: [Int32], context: ContextSelection? = nil, options: GenerationOptions = GenerationOptions()
  ) throws(Refusal) -> ResponseStream {
    try requirePrompt(prompt, behind: context, options.cachePolicy)
    return ResponseStream { sink in
      try self.generate(prompt, context: context, options: options, into: sink)
    }
  }

  /// - Throws: `Refusal` `cache-too-large` when a streaming policy keeps more than the model's window.
  package func requireCachePolicy(_ policy: CachePolicy) throws(Refusal) {
    guard let slotCount = policy.slotCount, slotCount > runtime.window else { return }
    throw Refusal(
      .cacheTooLarge, file: pack.path,
      "sinks and recent tokens are \(slotCount); the model's window holds \(runtime.window)")
  }

  /// - Throws: `Refusal` `empty-prompt`, `prompt-too-long`, `token-out-of-range`, `cache-too-large`.
  private func requirePrompt(
    _ prompt: [Int32], behind context: ContextSelection?, _ policy: CachePolicy
  ) throws(Refusal) {
    guard !prompt.isEmpty else { throw Refusal(.emptyPrompt, file: pack.path, "the prompt has no tokens") }
    try requireCachePolicy(policy)
    let before = context?.tokensBefore ?? 0
    guard policy != .full || before + prompt.count < runtime.window else {
      throw Refusal(
        .promptTooLong, file: pack.path,
        "the prompt has \(before + prompt.count) tokens; the window holds \(runtime.window), one of them for the answer"
      )
    }
    guard policy == .full || context?.text == nil else {
      throw Refusal(
        .cacheTooLarge, file: pack.path, "documents that stand before a question need the cache policy full")
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
    into sink: ResponseSink
  ) throws {
    let start = ContinuousClock.now
    let left = runtime.window - (context?.tokensBefore ?? 0) - prompt.count
    let room = options.cachePolicy == .full ? min(options.maxTokens, left) : options.maxTokens
    let capacity = prompt.count + max(room, 1)
    let session =
      context?.text.map { Session(runtime, behind: $0, capacity: capacity) }
      ?? Session(runtime, capacity: capacity, context: context?.context, cachePolicy: options.cachePolicy)
    var logits = try session.read(prompt) { (done) throws(any Error) in
      try session.requireWhole()
      try sink.yield(.promptProgress(done: done, of: prompt.count))
    }
    var sampler = Sampler(options.sampling)
    sampler.see(prompt)
    var writer = TextWriter(
      decoder: tokenizer?.makeStreamDecoder(after: prompt), stopStrings: options.stopStrings)
    var summary = ResponseSummary(
      promptTokens: prompt.count, tokens: [],
      finishReason: room < options.maxTokens ? .window : .maxTokens,
      contextChunks: context?.chunkCount ?? 0, contextRows: context?.rowCount ?? 0,
      injectionIsUntrained: context?.context != nil && injectionIsUntrained, secondsToFirstToken: 0, secondsInAll: 0)
    let endTokens = Set(configuration.endOfTextTokens + (tokenizer?.endOfTextTokens ?? []))

    while summary.tokens.count < room {
      let token = sampler.choose(logits)
      if summary.tokens.isEmpty { summary.secondsToFirstToken = (ContinuousClock.now - start).seconds }
      summary.tokens.append(token)
      if endTokens.contains(token), !options.ignoresEndOfText {
        summary.finishReason = .endOfText
        break
      }
      let text = writer.push(token)
      if !text.isEmpty { try sink.yield(.text(text)) }
      if writer.hasStopped {
        summary.finishReason = .stopString
        break
      }
      guard summary.tokens.count < room else { break }
      try sink.requireReader()
      session.read(token, into: &logits)
      try session.requireWhole()
    }
    let rest = writer.finish()
    if !rest.isEmpty { try sink.yield(.text(rest)) }
    summary.secondsInAll = (ContinuousClock.now - start).seconds
    try sink.yield(.finished(summary))
  }
}

extension ContextSelection {
  /// The text that stands before the prompt.
  fileprivate var text: TextPrefix? { if case .text(let text) = rows { text } else { nil } }

  /// Tokens that stand before the prompt in the model's window.
  fileprivate var tokensBefore: Int { text?.tokenCount ?? 0 }
}

extension Refusal.Name {
  /// A prompt has no tokens, or a question no text.
  public static let emptyPrompt = Refusal.Name("empty-prompt", .badInput)
  /// A prompt leaves no token of the model's window for the answer.
  public static let promptTooLong = Refusal.Name("prompt-too-long", .badInput)
  /// A token is not in the vocabulary.
  public static let tokenOutOfRange = Refusal.Name("token-out-of-range", .badInput)
  /// A streaming policy keeps more tokens than the model's window holds.
  public static let cacheTooLarge = Refusal.Name("cache-too-large", .badInput)
}
