internal import ModelPacks

/// Sessions that are read together: one pass over the weights serves the tokens of all of them.
///
/// A pass is prepared by `add`, once for each session that takes part, and run by `read`. What a session reads gives the
/// same bits as it does alone, whatever is read beside it. Not thread-safe: a batch and its sessions belong to one task
/// or thread at a time.
public final class SessionBatch {
  let model: LlamaModel
  let forward: ForwardPass
  /// Nil where all weights stay in memory.
  private let weightStream: WeightStream?
  /// Those of the next pass, or of the last one, and their tokens, one slice behind the other.
  private var pending: [(text: RunningText, count: Int, wantsLogits: Bool)] = []
  private var tokens: [Int32] = []
  /// The pass's, those with cross-attention first.
  private var slices: [TextSlice] = []
  private var crossCount = 0
  /// Rows whose states logits were computed from, and the number of the added session of each.
  private var logitRows: [Int] = []
  private var logitOwners: [Int] = []
  private var logits: FloatBuffer
  private var isRead = false

  /// - Parameters:
  ///   - tokens: of a pass, at most.
  ///   - threads: share the work; nil takes the model's. Results do not depend on it.
  public convenience init(_ model: LlamaModel, tokens: Int, threads: ThreadPool? = nil) {
    self.init(model, blockSize: tokens, threads: threads, moments: nil)
  }

  init(_ model: LlamaModel, blockSize: Int, threads: ThreadPool?, moments: SecondMoments?) {
    self.model = model
    forward = ForwardPass(model.configuration, blockSize: blockSize, threads: threads ?? model.threads)
    forward.compute.moments = moments
    weightStream = model.makeWeightStream(model.weights)
    logits = FloatBuffer(rows: 1, columns: model.configuration.vocabularySize)
  }

  /// Tokens of a pass, at most.
  public var tokenLimit: Int { forward.blockSize }

  /// Tokens of the sessions that were added to the next pass.
  public var tokenCount: Int { isRead ? 0 : tokens.count }

  /// Adds tokens of a session to the next pass.
  /// - Parameters:
  ///   - tokens: the session's next ones.
  ///   - wantsLogits: whether what the model expects after the last of them is computed.
  /// - Returns: the session's number in the pass, for `copyLogits`.
  /// - Precondition: the session was made for the batch and is not in the pass yet; the tokens are not empty, fit its
  ///   capacity and the batch's limit, and each is in the vocabulary.
  @discardableResult
  public func add(_ session: Session, _ tokens: some Collection<Int32>, wantsLogits: Bool) -> Int {
    precondition(session.batch === self, "the session was made for another batch")
    begin()
    precondition(!pending.contains { $0.text === session.text }, "a session is in a pass once")
    return append(session.text, tokens, wantsLogits: wantsLogits)
  }

  /// Forgets the last pass, if one has been run.
  private func begin() {
    guard isRead else { return }
    isRead = false
    pending.removeAll(keepingCapacity: true)
    tokens.removeAll(keepingCapacity: true)
  }

  private func append(_ text: RunningText, _ tokens: some Collection<Int32>, wantsLogits: Bool) -> Int {
    text.prepare(for: tokens)
    precondition(tokens.count == 1 || !text.cache.choosesRows, "rows are chosen when a whole prompt has been read")
    precondition(self.tokens.count + tokens.count <= tokenLimit, "the batch was made for fewer tokens")
    pending.append((text, tokens.count, wantsLogits))
    self.tokens.append(contentsOf: tokens)
    return pending.count - 1
  }

  /// Runs the pass.
  public func read() {
    precondition(!isRead && !pending.isEmpty, "nothing was added")
    slices.removeAll(keepingCapacity: true)
    logitRows.removeAll(keepingCapacity: true)
    logitOwners.removeAll(keepingCapacity: true)
    // Cross-attention is a matter of the first slices, so that their tokens lie together.
    place(crossAttending: true)
    crossCount = slices.count
    place(crossAttending: false)
    for slice in slices { slice.text.cache.makeRoom(for: slice.rows.count) }
    for index in model.weights.layers.indices { readLayer(index) }
    for slice in slices { slice.text.cache.advance(slice.rows.count) }
    predict()
    isRead = true
  }

  private func place(crossAttending: Bool) {
    var first = 0
    for (number, (text, count, wantsLogits)) in pending.enumerated() {
      defer { first += count }
      guard text.crossAttends == crossAttending else { continue }
      let start = slices.last?.rows.upperBound ?? 0
      forward.embed(tokens[first..<first + count], model.weights, at: start)
      slices.append(TextSlice(text: text, rows: start..<start + count))
      guard wantsLogits else { continue }
      logitRows.append(start + count - 1)
      logitOwners.append(number)
    }
  }

  /// The forward pass of SharedLLM: every layer attends to the running texts; some, at the bottom in the paper, also to
  /// injected rows.
  private func readLayer(_ index: Int) {
    weightStream?.enter(index)
    let layer = model.weights.layers[index]
    let tokens = slices.tokenCount
    forward.project(layer, tokens: tokens)
    forward.selfAttend(layer, index: index, slices)
    if let cross = layer.crossAttention, crossCount > 0, !slices[0].text.injectedRows[index].spans.isEmpty {
      forward.crossAttend(cross, index: index, slices[..<crossCount])
    }
    forward.feedForward(layer, tokens: tokens)
    if index == model.weights.layers.count - 1 { forward.collectOutputMoments(model.weights, tokens: tokens) }
  }

  private func predict() {
    guard !logitRows.isEmpty else { return }
    weightStream?.enter(model.weights.layers.count)
    if logits.rows < logitRows.count {
      logits = FloatBuffer(rows: logitRows.count, columns: logits.columns)
    }
    forward.logits(model.weights, rows: logitRows, into: logits)
  }

  /// Replaces `logits` by what the model expects after the tokens of a session in the last pass: (vocabulary). Does not
  /// allocate where the array has room.
  /// - Parameter number: as `add` returned it.
  /// - Precondition: the session wanted logits.
  public func copyLogits(_ number: Int, into logits: inout [Float]) {
    guard isRead, let row = logitOwners.firstIndex(of: number) else { preconditionFailure("no logits were wanted") }
    self.logits.copy(rows: row..<row + 1, into: &logits)
  }
}

// What a session does on its own.
extension SessionBatch {
  /// Tokens of one text go through all layers.
  func read(_ tokens: some Collection<Int32>, of text: RunningText) {
    place(tokens.count, of: text)
    text.cache.makeRoom(for: tokens.count)
    forward.embed(tokens, model.weights)
    for index in model.weights.layers.indices { readLayer(index) }
    text.cache.advance(tokens.count)
  }

  /// Several blocks of tokens go through a layer before any goes through the next, so that a pack larger than memory is
  /// read once for all of them, or rows are chosen when all have been.
  /// - Parameters:
  ///   - blocks: of the tokens; each fits a pass.
  ///   - afterEachLayer: called with the number of layers; what it throws leaves the text of no use.
  func readLayerByLayer<Failure: Error>(
    _ tokens: ArraySlice<Int32>, in blocks: [Range<Int>], of text: RunningText,
    afterEachLayer: (Int) throws(Failure) -> Void
  ) throws(Failure) {
    let start = text.cache.count
    let states = FloatBuffer(rows: tokens.count, columns: forward.x.columns)
    for index in model.weights.layers.indices {
      for block in blocks {
        text.cache.seek(start + block.lowerBound)
        if index == 0 {
          forward.embed(tokens.dropFirst(block.lowerBound).prefix(block.count), model.weights)
        } else {
          forward.x.copy(rows: block, of: states, to: 0)
        }
        place(block.count, of: text)
        readLayer(index)
        states.copy(rows: 0..<block.count, of: forward.x, to: block.lowerBound)
      }
      try afterEachLayer(index + 1)
    }
    text.cache.seek(start + tokens.count)
  }

  private func place(_ tokenCount: Int, of text: RunningText) {
    slices.removeAll(keepingCapacity: true)
    slices.append(TextSlice(text: text, rows: 0..<tokenCount))
    crossCount = text.crossAttends ? 1 : 0
  }

  /// What the model expects after some of the tokens whose states are there: (rows, vocabulary).
  func predict(after rows: some Collection<Int>, into logits: FloatBuffer) {
    weightStream?.enter(model.weights.layers.count)
    forward.logits(model.weights, rows: rows, into: logits)
  }
}
