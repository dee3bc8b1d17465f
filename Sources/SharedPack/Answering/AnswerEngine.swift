public import FileAccess
import LlamaRuntime
import NodeBlocks
import Synchronization

/// Writes answers to many requests at once, with one model.
///
/// Requests that come together are answered together: one pass over the weights writes a token of each answer, and reads
/// a slice of a prompt that came later. What runs beside an answer changes none of its bits: it is the one that
/// ``LanguageModel/generate(_:context:options:)`` gives. Conversations are kept, as far as there is memory, so that a
/// prompt that begins as one of them did is read from there on.
///
/// Safe to use from any number of tasks. The work is done on a thread of its own, which there is only while there is
/// something to do, and which keeps the engine.
public final class AnswerEngine: Sendable {
  /// The model that answers.
  public let model: LanguageModel
  /// What the engine may take; the memory is a number of bytes.
  public let limits: AnswerLimits
  private let desk: AnswerDesk
  /// Locked by the thread that works, as long as it does.
  private let rounds: Mutex<AnswerRounds>

  /// An engine without requests.
  /// - Parameters:
  ///   - model: answers.
  ///   - limits: what the engine may take.
  public init(_ model: LanguageModel, limits: AnswerLimits = AnswerLimits()) {
    self.model = model
    var limits = limits
    limits.memory = limits.memory ?? (AvailableMemory.byteCount() ?? .max) / 2
    self.limits = limits
    desk = AnswerDesk(limits)
    rounds = Mutex(AnswerRounds(model, limits, memory: limits.memory ?? .max))
  }

  /// Takes a request; returns at once.
  /// - Parameter request: what is asked.
  /// - Returns: the answer, as it is written.
  /// - Throws: `Refusal`: `policy-without-engine`; those of ``LanguageModel/generate(_:context:options:)``; `needs-more-memory` when the engine's
  ///   memory is too small for the request alone; `busy` when too many wait; `engine-closed`; `no-thread`.
  /// - Precondition: no more than 20 log probabilities are asked for.
  public func submit(_ request: AnswerRequest) throws(Refusal) -> AnswerStream {
    precondition((0...20).contains(request.logProbabilities ?? 0), "at most 20 log probabilities")
    try model.requirePrompt(request.prompt, behind: request.context, request.options)
    guard request.options.cachePolicy.readsInAnySlices else {
      throw Refusal(
        .policyWithoutEngine, file: model.pack.path,
        "the cache policy \(request.options.cachePolicy.name.rawValue) chooses when a whole prompt has been read, and an "
          + "engine reads prompts in slices")
    }
    guard request.options.rowEncoding == nil else {
      throw Refusal(.cacheEncoding, file: model.pack.path, "an engine keeps rows as is usual: conversations share them")
    }
    let (needed, memory) = (model.reservation(for: request, limits), limits.memory ?? .max)
    guard needed <= memory else {
      throw Refusal(
        .needsMoreMemory, file: model.pack.path,
        "the request takes \(needed) bytes of keys and values; there are \(memory) for all")
    }
    let (stream, sink) = AnswerStream.make()
    let isFirst = try desk.add(AnswerDesk.Ticket(request: request, sink: sink), file: model.pack.path)
    guard isFirst else { return stream }
    guard WorkThread.start({ self.rounds.withLock { $0.work(for: self.desk) } }) else {
      desk.abandon(Refusal.noThreadForAnswers)
      throw Refusal.noThreadForAnswers
    }
    return stream
  }

  /// Takes no more requests, refuses those that wait, and ends when no answer is being written any more.
  /// - Parameter time: running answers that take longer are ended as well. Their streams throw `engine-closed`.
  public func close(within time: Duration) async {
    desk.close()
    let timer = Task {
      try await Task.sleep(for: time)
      desk.endAll()
    }
    await desk.untilIdle()
    timer.cancel()
  }

  /// What the engine does, and has done.
  public var statistics: AnswerStatistics { desk.statistics }
}

extension LanguageModel {
  /// Tokens that go through the layers together, at most.
  func batchTokens(_ limits: AnswerLimits) -> Int {
    // A pack that does not stay in memory is read for every pass: with few tokens a pass, a prompt would take for ever.
    max(limits.promptSlice, fitsInMemory ? 256 : 1024) + limits.parallel
  }

  /// Bytes that a request takes while it is answered, if nothing of its prompt is kept.
  func reservation(for request: AnswerRequest, _ limits: AnswerLimits) -> Int {
    reservation(capacity: capacity(of: request.prompt, request.context, request.options), request, limits)
  }

  func reservation(capacity: Int, _ request: AnswerRequest, _ limits: AnswerLimits) -> Int {
    runtime.sessionByteCount(
      capacity: capacity, cachePolicy: request.options.cachePolicy, batchTokens: batchTokens(limits))
      + (request.context?.context?.memoryByteCount ?? 0)
  }
}

extension Refusal.Name {
  /// A cache policy depends on how a text is cut.
  public static let policyWithoutEngine = Refusal.Name("policy-without-engine", .badInput)
  /// A request needs more memory than an engine may take for all.
  public static let needsMoreMemory = Refusal.Name("needs-more-memory", .badInput)
  /// An engine was closed.
  public static let engineClosed = Refusal.Name("engine-closed", .tryAgain)
}
