public import FileAccess
internal import ModelPacks
public import NodeBlocks

/// One running text on a model: what has been read so far, and the context that is injected into it.
///
/// Not thread-safe: one task or thread at a time. Sessions of one model are independent.
public final class Session {
  /// The session's own, or one that it shares.
  let batch: SessionBatch
  let text: RunningText
  private let logitsOfOne: FloatBuffer
  /// Tokens of a prompt that all go through a layer before any goes through the next.
  private let passSize: Int

  /// A pack larger than memory is read once for this many tokens. With more of them their states would take more
  /// memory, and progress, which is reported after each pass, would come more rarely.
  private static let streamedPassSize = 1024

  /// - Parameters:
  ///   - capacity: tokens that the running text may grow to.
  ///   - context: what is injected; nil, or one without rows, is the plain model.
  ///   - cachePolicy: which tokens of the running text stay.
  ///   - kinds: of the model's tokens, which FastGen asks for.
  ///   - rowEncoding: how rows are kept, one of the model's `rowEncodings`; nil as is usual: as the pack keeps weights, but
  ///     float16 where int8 rows are chosen one by one.
  ///   - scratch: the memory for what InfLLM keeps beyond its window, of `LlamaModel.scratchByteCount`; nil for some of
  ///     the process's own.
  ///   - threads: share the work; nil takes the model's. Results do not depend on it.
  ///   - moments: collects the second moments of the inputs of the model's matrices.
  public convenience init(
    _ model: LlamaModel, capacity: Int, context: InjectedContext? = nil, cachePolicy: CachePolicy = .full,
    kinds: TokenKinds = TokenKinds(), rowEncoding: RowEncoding? = nil, scratch: ScratchMapping? = nil,
    threads: ThreadPool? = nil,
    moments: SecondMoments? = nil
  ) {
    self.init(
      Self.ownBatch(model, capacity: capacity, threads: threads, moments: moments), capacity: capacity,
      context: context, rowPolicy: model.rowPolicy(cachePolicy, kinds: kinds), rowEncoding: rowEncoding,
      scratch: scratch)
  }

  /// Continues a text of which stored rows are there.
  /// - Parameters:
  ///   - prefix: stands before the running text, in every layer.
  ///   - capacity: tokens that the running text may grow to.
  ///   - threads: share the work; nil takes the model's. Results do not depend on it.
  /// - Precondition: the rows are this model's, and its rotary scaling does not depend on the length of the text.
  public convenience init(_ model: LlamaModel, behind prefix: TextPrefix, capacity: Int, threads: ThreadPool? = nil) {
    self.init(
      Self.ownBatch(model, capacity: capacity, threads: threads), capacity: capacity, prefix: prefix,
      rowPolicy: FullRows())
  }

  convenience init(
    _ model: LlamaModel, capacity: Int, prefix: TextPrefix? = nil, rowPolicy: any RowPolicy, threads: ThreadPool? = nil
  ) {
    self.init(
      Self.ownBatch(model, capacity: capacity, threads: threads), capacity: capacity, prefix: prefix,
      rowPolicy: rowPolicy)
  }

  /// A session that is read together with others.
  /// - Parameters:
  ///   - batch: reads it.
  ///   - capacity: tokens that the running text may grow to.
  ///   - context: what is injected; nil, or one without rows, is the plain model.
  ///   - prefix: stands before the running text, in every layer; nil for nothing.
  ///   - cachePolicy: which tokens of the running text stay.
  /// - Precondition: a text has a context or a prefix, not both; of a prefix, as above, and no cache policy but `full`;
  ///   the policy reads in any slices.
  public convenience init(
    in batch: SessionBatch, capacity: Int, context: InjectedContext? = nil, behind prefix: TextPrefix? = nil,
    cachePolicy: CachePolicy = .full
  ) {
    precondition(prefix == nil || cachePolicy == .full, "what stands before a text stays")
    precondition(cachePolicy.readsInAnySlices, "what is read together is not the session's to say")
    self.init(
      batch, capacity: capacity, context: context, prefix: prefix, rowPolicy: batch.model.rowPolicy(cachePolicy))
  }

  private init(
    _ batch: SessionBatch, capacity: Int, context: InjectedContext? = nil, prefix: TextPrefix? = nil,
    rowPolicy: any RowPolicy, rowEncoding: RowEncoding? = nil, scratch: ScratchMapping? = nil
  ) {
    precondition(rowEncoding.map(batch.model.rowEncodings.contains) ?? true, "an encoding that keys can be kept in")
    self.batch = batch
    text = RunningText(
      batch.model, capacity: capacity, context: context, prefix: prefix, rowPolicy: rowPolicy,
      blockSize: batch.tokenLimit, encoding: rowEncoding, scratch: scratch)
    // Where rows are dropped, there is no room for more than those of a block.
    passSize = batch.model.residency.streams && text.cache.keepsAllRows ? Self.streamedPassSize : batch.tokenLimit
    logitsOfOne = FloatBuffer(rows: 1, columns: batch.model.configuration.vocabularySize)
  }

  private static func ownBatch(
    _ model: LlamaModel, capacity: Int, threads: ThreadPool?, moments: SecondMoments? = nil
  ) -> SessionBatch {
    SessionBatch(
      model, blockSize: min(max(capacity, 1), model.promptBlockSize), threads: threads, moments: moments)
  }

  private var model: LlamaModel { batch.model }
  private var cache: KeyValueCache { text.cache }

  /// See `RunningText`.
  var prefixPeaks: [FloatBuffer]? {
    get { text.prefixPeaks }
    set { text.prefixPeaks = newValue }
  }

  /// Tokens read so far.
  public var tokenCount: Int { cache.count }

  /// A copy of the rows of some of the tokens read, to stand before another text.
  /// - Parameter range: at most 1,024 tokens, from a multiple of 64 to another or to the end.
  /// - Throws: `Refusal` `not-finite` when the weights make keys or values overflow, `file-changed`.
  /// - Precondition: the cache policy does not choose among rows.
  public func rows(_ range: Range<Int>) throws(Refusal) -> TextRows {
    guard let rows = cache.textRows(range, layout: model.textRowLayout) else {
      try requireWhole()
      throw Refusal(.notFinite, file: model.pack.path, structure: "keys and values", "they overflow")
    }
    try requireWhole()
    return rows
  }

  /// Ensures that what has been read so far came of files that were whole: before logits are used.
  /// - Throws: `Refusal` `file-changed` when the pack or a file with rows was cut short while it was read.
  public func requireWhole() throws(Refusal) {
    try model.pack.requireWhole()
    for file in text.mappings { try file.requireWhole() }
  }

  /// Tokens that still fit.
  public var remainingCapacity: Int { cache.capacity - cache.count }

  /// Bytes reserved for the keys and values of the running text.
  public var cacheByteCount: Int { cache.byteCount }

  /// Bytes of the rows that the cache policy keeps.
  public var rowByteCount: Int { cache.rowByteCount }

  /// Reads tokens and returns what the model expects after the last one.
  /// - Parameter afterEachPass: called with the number of tokens read so far; what it throws ends the reading, and the
  ///   passes so far stay read, but where the policy chooses rows: there a prompt goes through the layers one by one, as
  ///   many tokens count as read as layers have been through, and the session is of no use when it ends before.
  /// - Returns: logits: (vocabulary).
  /// - Precondition: `tokens` is not empty, fits the capacity, and each token is in the vocabulary.
  public func read<Failure: Error>(
    _ tokens: some Collection<Int32>, afterEachPass: (Int) throws(Failure) -> Void
  ) throws(Failure) -> [Float] {
    let tokens = Array(tokens)
    text.prepare(for: tokens)
    if cache.choosesRows, tokens.count > 1 {
      try readChoosing(tokens, afterEachPass: afterEachPass)
      return logitsOfOne.array(rows: 0..<1)
    }
    for pass in passes(of: tokens.count, atMost: passSize) {
      let lastBlock = readPass(tokens[pass])
      if pass.upperBound == tokens.count { predict(after: lastBlock) }
      try afterEachPass(pass.upperBound)
    }
    return logitsOfOne.array(rows: 0..<1)
  }

  /// Tokens that are read together: pieces that the cache's policy wants, cut evenly.
  private func passes(of count: Int, atMost size: Int) -> [Range<Int>] {
    let cuts = cache.cuts(ofPrompt: count) + [count]
    return zip(cuts, cuts.dropFirst()).flatMap { start, end in
      (0..<end - start).cutEvenly(atMost: size).map { start + $0.lowerBound..<start + $0.upperBound }
    }
  }

  private func readChoosing<Failure: Error>(
    _ tokens: [Int32], afterEachPass: (Int) throws(Failure) -> Void
  ) throws(Failure) {
    cache.beginPrompt(tokens: tokens.count)
    let blocks = passes(of: tokens.count, atMost: batch.tokenLimit)
    let layerCount = model.configuration.layerCount
    try batch.readLayerByLayer(tokens[...], in: blocks, of: text) { (layers) throws(Failure) in
      if layers < layerCount { try afterEachPass(tokens.count * layers / layerCount) }
    }
    cache.endPrompt()
    predict(after: blocks.last?.count ?? 0)
    try afterEachPass(tokens.count)
  }

  /// Reads tokens for their rows alone.
  /// - Precondition: as of `read(_:)`; the cache policy does not choose among rows.
  public func skim(_ tokens: [Int32]) {
    precondition(!cache.choosesRows)
    text.prepare(for: tokens)
    for pass in passes(of: tokens.count, atMost: passSize) { _ = readPass(tokens[pass]) }
  }

  /// Reads one token and replaces `logits` by what the model expects after it: (vocabulary). Does not allocate where
  /// the array has room, except for an occasional token.
  /// - Precondition: as of `read(_:)`.
  public func read(_ token: Int32, into logits: inout [Float]) {
    text.prepare(for: CollectionOfOne(token))
    batch.read(CollectionOfOne(token), of: text)
    predict(after: 1)
    logitsOfOne.copy(rows: 0..<1, into: &logits)
  }

  /// Reads tokens and returns what the model expects after the last one: (vocabulary).
  public func read(_ tokens: some Collection<Int32>) -> [Float] {
    read(tokens) { _ in }
  }

  /// Reads tokens and returns what the model expects after each of them.
  /// - Returns: logits: (tokens, vocabulary), row-major.
  /// - Precondition: the cache policy does not choose among rows.
  public func readAll(_ tokens: some Collection<Int32>) -> [Float] {
    precondition(!cache.choosesRows)
    let tokens = Array(tokens)
    text.prepare(for: tokens)
    let logits = FloatBuffer(rows: batch.tokenLimit, columns: model.configuration.vocabularySize)
    var result: [Float] = []
    for block in passes(of: tokens.count, atMost: batch.tokenLimit) {
      batch.read(tokens[block], of: text)
      batch.predict(after: 0..<block.count, into: logits)
      result += logits.array(rows: 0..<block.count)
    }
    return result
  }

  /// Counts tokens as read without reading them: their keys and values are small numbers. For measuring at a depth.
  public func fillForMeasurement(tokens: Int) {
    cache.fill(rows: tokens, batch.forward.compute)
    cache.advance(tokens)
  }

  /// - Returns: the tokens of the last block, whose states are there.
  private func readPass(_ tokens: ArraySlice<Int32>) -> Int {
    guard tokens.count > batch.tokenLimit else {
      batch.read(tokens, of: text)
      return tokens.count
    }
    let blocks = (0..<tokens.count).cutEvenly(atMost: batch.tokenLimit)
    batch.readLayerByLayer(tokens, in: blocks, of: text) { _ in }
    return blocks.last?.count ?? 0
  }

  /// What the model expects after the last one of a block of tokens.
  private func predict(after tokens: Int) {
    batch.predict(after: CollectionOfOne(tokens - 1), into: logitsOfOne)
  }
}

extension Range<Int> {
  /// The fewest ranges of at most `size` each, whose lengths differ by at most one.
  func cutEvenly(atMost size: Int) -> [Range<Int>] {
    let parts = (count + size - 1) / size
    return (0..<parts).map { lowerBound + count * $0 / parts..<lowerBound + count * ($0 + 1) / parts }
  }
}
