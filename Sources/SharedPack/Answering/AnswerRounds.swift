import FileAccess
import LlamaRuntime
import NodeBlocks

/// The work on answers, round by round: each is a pass over the weights, which writes a token of every answer that has
/// begun and reads a slice of the prompts of those that have not. Not thread-safe.
struct AnswerRounds: ~Copyable {
  private let model: LanguageModel
  private let limits: AnswerLimits
  private let memory: Int
  private let batch: SessionBatch
  /// In the order in which they came.
  private var running: [RunningAnswer] = []
  /// Comes next, as soon as there is memory for it.
  private var held: AnswerDesk.Ticket?
  private var kept: KeptConversations
  /// Have ended in this round. They are told when the statistics know.
  private var ended: [RunningAnswer] = []
  private var reserved = 0
  private var logits: [Float] = []

  /// - Parameter memory: bytes of the answers, running and kept.
  init(_ model: LanguageModel, _ limits: AnswerLimits, memory: Int) {
    self.model = model
    self.limits = limits
    self.memory = memory
    batch = SessionBatch(model.runtime, tokens: model.batchTokens(limits))
    kept = KeptConversations(layout: model.runtime.textRowLayout)
  }

  /// Answers requests until there are none.
  mutating func work(for desk: AnswerDesk) {
    repeat {
      let start = ContinuousClock.now
      var done = AnswerStatistics()
      endAbandoned(&done)
      if !desk.isOpen { close(endsRunning: desk.endsAll, &done) }
      admit(from: desk, &done)
      if !running.isEmpty { round(&done) }
      note(done, seconds: (ContinuousClock.now - start).seconds, at: desk)
      for answer in ended { answer.tellEnd() }
      ended = []
    } while !running.isEmpty || held != nil || !desk.leave()
  }

  private func note(_ done: AnswerStatistics, seconds: Double, at desk: AnswerDesk) {
    desk.note { all in
      all.running = running.count
      all.waiting = held == nil ? 0 : 1
      all.finished += done.finished
      all.abandoned += done.abandoned
      all.failed += done.failed
      all.promptTokens += done.promptTokens
      all.cachedTokens += done.cachedTokens
      all.answerTokens += done.answerTokens
      all.passes += done.passes
      all.busySeconds += seconds
      all.keptConversations = kept.count
      all.keptBytes = kept.byteCount
      all.reservedBytes = reserved
    }
  }

  // MARK: Coming and going

  private mutating func admit(from desk: AnswerDesk, _ done: inout AnswerStatistics) {
    while running.count < limits.parallel, let ticket = held ?? desk.next() {
      held = nil
      guard ticket.sink.hasReader else {
        done.abandoned += 1
        continue
      }
      guard let answer = start(ticket) else {
        held = ticket
        return
      }
      done.cachedTokens += answer.cachedTokens
      running.append(answer)
    }
  }

  /// - Returns: nil when there is no memory for it yet.
  private mutating func start(_ ticket: AnswerDesk.Ticket) -> RunningAnswer? {
    let request = ticket.request
    var writer = AnswerWriter(model, request.prompt, context: request.context, options: request.options)
    let keeps = keepsRows(of: request)
    var beginning =
      keeps ? kept.retainBeginning(of: request.prompt, scope: request.scope) : KeptConversations.Beginning()
    var needed = model.reservation(capacity: writer.capacity - beginning.tokenCount, request, limits)
    if !makeRoom(for: needed) {
      kept.release(beginning)
      guard running.isEmpty else { return nil }
      // Nothing else runs: it goes without what is kept, for which it was known to fit.
      beginning = KeptConversations.Beginning()
      needed = model.reservation(capacity: writer.capacity, request, limits)
      _ = makeRoom(for: needed)
    }
    reserved += needed
    writer.skip(cachedTokens: beginning.tokenCount)
    let session = Session(
      in: batch, capacity: writer.capacity - beginning.tokenCount, context: request.context?.context,
      behind: request.context?.text ?? beginning.textPrefix, cachePolicy: request.options.cachePolicy)
    try? ticket.sink.yield(.started(cachedTokens: beginning.tokenCount))
    return RunningAnswer(
      ticket, session, writer, behind: beginning, reservation: needed, keepsRows: keeps)
  }

  /// Forgets kept conversations until there is memory for an answer.
  private mutating func makeRoom(for bytes: Int) -> Bool {
    let left = memory - reserved - bytes
    if kept.byteCount > left { kept.shrink(to: max(left, 0)) }
    return kept.byteCount <= left
  }

  /// Whether a text's rows can stand before others: they depend on nothing but its tokens.
  private func keepsRows(of request: AnswerRequest) -> Bool {
    if case .dynamic = model.configuration.ropeScaling { return false }
    return limits.keptMemory > 0 && request.context == nil && request.options.cachePolicy == .full
  }

  private mutating func endAbandoned(_ done: inout AnswerStatistics) {
    for answer in running where !answer.ticket.sink.hasReader {
      done.abandoned += 1
      leave(answer)
    }
    running.removeAll(where: \.hasLeft)
  }

  private mutating func close(endsRunning: Bool, _ done: inout AnswerStatistics) {
    let refusal = Refusal.engineClosed(model.pack.path)
    if let held {
      held.sink.finish(throwing: refusal)
      done.failed += 1
    }
    held = nil
    guard endsRunning else { return }
    for answer in running { fail(answer, refusal, &done) }
    running = []
  }

  private mutating func fail(_ answer: RunningAnswer, _ refusal: Refusal, _ done: inout AnswerStatistics) {
    done.failed += 1
    answer.refusal = refusal
    answer.keepsRows = false
    leave(answer)
  }

  /// Gives back what an answer had, and keeps what it has read.
  private mutating func leave(_ answer: RunningAnswer) {
    guard !answer.hasLeft else { return }
    answer.hasLeft = true
    ended.append(answer)
    reserved -= answer.reservation
    if answer.keepsRows {
      kept.keep(
        answer.session, answer.readTokens, behind: answer.beginning, scope: answer.ticket.request.scope,
        limit: min(limits.keptMemory, max(memory - reserved, 0)))
    }
    kept.release(answer.beginning)
  }

  // MARK: A round

  private mutating func round(_ done: inout AnswerStatistics) {
    for answer in running { answer.passNumber = nil }
    // A token of every answer that has begun.
    var isWriting = false
    for answer in running {
      guard let token = answer.writer.next else { continue }
      isWriting = true
      answer.passNumber = batch.add(answer.session, CollectionOfOne(token), wantsLogits: true)
    }
    // A slice of the prompts, the oldest first; a longer one where nobody waits for a token.
    var left = isWriting && model.fitsInMemory ? limits.promptSlice : batch.tokenLimit - batch.tokenCount
    for answer in running where left > 0 && !answer.promptIsRead {
      let slice = answer.unread.prefix(left)
      left -= slice.count
      done.promptTokens += slice.count
      answer.passNumber = batch.add(
        answer.session, slice, wantsLogits: slice.count == answer.unread.count && !answer.writer.hasEnded)
    }
    batch.read()
    done.passes += 1
    for answer in running where answer.passNumber != nil {
      do throws(Refusal) {
        try answer.session.requireWhole()
      } catch {
        fail(answer, error, &done)
        continue
      }
      go(on: answer, &done)
    }
    running.removeAll(where: \.hasLeft)
  }

  /// Writes the next token of an answer, once its prompt has been read, and ends it where it ends.
  private mutating func go(on answer: RunningAnswer, _ done: inout AnswerStatistics) {
    let isPrompt = answer.writer.summary.tokens.isEmpty
    if isPrompt { answer.tell(.promptProgress(done: answer.promptTokensRead, of: answer.ticket.request.prompt.count)) }
    guard answer.promptIsRead, let number = answer.passNumber else { return }
    if !answer.writer.hasEnded {
      batch.copyLogits(number, into: &logits)
      answer.write(after: logits)
      done.answerTokens += 1
    }
    guard answer.writer.hasEnded else { return }
    done.finished += 1
    leave(answer)
  }
}

/// An answer that is being read for or written. Not thread-safe.
final class RunningAnswer {
  let ticket: AnswerDesk.Ticket
  let session: Session
  fileprivate(set) var writer: AnswerWriter
  /// What of the prompt was known.
  let beginning: KeptConversations.Beginning
  /// Bytes that are reserved for it.
  let reservation: Int
  /// Whether what it has read is kept when it ends.
  fileprivate(set) var keepsRows: Bool
  /// Its number in the current pass; nil where it takes no part.
  fileprivate(set) var passNumber: Int?
  fileprivate(set) var hasLeft = false
  /// Why it ended before its end; nil where it did not.
  fileprivate(set) var refusal: Refusal?

  fileprivate init(
    _ ticket: AnswerDesk.Ticket, _ session: Session, _ writer: AnswerWriter,
    behind beginning: KeptConversations.Beginning, reservation: Int, keepsRows: Bool
  ) {
    self.ticket = ticket
    self.session = session
    self.writer = writer
    self.beginning = beginning
    self.reservation = reservation
    self.keepsRows = keepsRows
  }

  var cachedTokens: Int { beginning.tokenCount }

  /// Tokens of the prompt that are there.
  var promptTokensRead: Int { min(cachedTokens + session.tokenCount, ticket.request.prompt.count) }

  var promptIsRead: Bool { promptTokensRead == ticket.request.prompt.count }

  /// The tokens of the prompt that are still to be read.
  var unread: ArraySlice<Int32> { ticket.request.prompt.dropFirst(promptTokensRead) }

  /// The tokens whose rows are there, in the beginning or in the session.
  var readTokens: [Int32] {
    Array((ticket.request.prompt + writer.summary.tokens).prefix(cachedTokens + session.tokenCount))
  }

  /// Sends an event, unless nobody waits for it any more, which the next round finds.
  func tell(_ event: AnswerEvent) { try? ticket.sink.yield(event) }

  func write(after logits: [Float]) {
    let text = writer.write(after: logits)
    var tokens: [TokenChoice] = []
    if let count = ticket.request.logProbabilities, let token = writer.summary.tokens.last {
      let probabilities = TokenProbabilities(logits)
      tokens = [
        TokenChoice(chosen: probabilities.probability(of: token), mostLikely: probabilities.mostLikely(count))
      ]
    }
    if !text.isEmpty || !tokens.isEmpty { tell(.piece(AnswerPiece(text: text, tokens: tokens))) }
  }

  func tellEnd() {
    if let refusal { return ticket.sink.finish(throwing: refusal) }
    let (rest, summary) = writer.finish()
    if !rest.isEmpty { tell(.piece(AnswerPiece(text: rest, tokens: []))) }
    tell(.finished(summary))
    ticket.sink.finish()
  }
}
