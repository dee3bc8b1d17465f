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
  ///   - threads: share the work; nil takes the model's. Results do not depend on it.
  ///   - moments: collects the second moments of the inputs of the model's matrices.
  public convenience init(
    _ model: LlamaModel, capacity: Int, context: InjectedContext? = nil, cachePolicy: CachePolicy = .full,
    threads: ThreadPool? = nil, moments: SecondMoments? = nil
  ) {
    self.init(
      Self.ownBatch(model, capacity: capacity, threads: threads, moments: moments), capacity: capacity,
      context: context, rowPolicy: cachePolicy.makeRowPolicy())
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
  /// - Precondition: a text has a context or a prefix, not both; of a prefix, as above, and no cache policy but `full`.
  public convenience init(
    in batch: SessionBatch, capacity: Int, context: InjectedContext? = nil, behind prefix: TextPrefix? = nil,
    cachePolicy: CachePolicy = .full
  ) {
    precondition(prefix == nil || cachePolicy == .full, "a streaming policy has no prefix")
    self.init(batch, capacity: capacity, context: context, prefix: prefix, rowPolicy: cachePolicy.makeRowPolicy())
  }

  private init(
    _ batch: SessionBatch, capacity: Int, context: InjectedContext? = nil, prefix: TextPrefix? = nil,
    rowPolicy: any RowPolicy
  ) {
    self.batch = batch
    text = RunningText(
      batch.model, capacity: capacity, context: context, prefix: prefix, rowPolicy: rowPolicy,
      blockSize: batch.tokenLimit)
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
  /// - Precondition: the cache policy keeps all rows.
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

  /// Reads tokens and returns what the model expects after the last one.
  /// - Parameter afterEachPass: called with the number of tokens read so far; what it throws ends the reading, and the
  ///   passes so far stay read.
  /// - Returns: logits: (vocabulary).
  /// - Precondition: `tokens` is not empty, fits the capacity, and each token is in the vocabulary.
  public func read<Failure: Error>(
    _ tokens: some Collection<Int32>, afterEachPass: (Int) throws(Failure) -> Void
  ) throws(Failure) -> [Float] {
    let tokens = Array(tokens)
    text.prepare(for: tokens.count)
    for pass in tokens.indices.cutEvenly(atMost: passSize) {
      let lastBlock = readPass(tokens[pass], endsPrompt: pass.upperBound == tokens.count)
      if pass.upperBound == tokens.count { predict(after: lastBlock) }
      try afterEachPass(pass.upperBound)
    }
    return logitsOfOne.array(rows: 0..<1)
  }

  /// Reads tokens for their rows alone.
  /// - Precondition: as of `read(_:)`.
  public func skim(_ tokens: [Int32]) {
    text.prepare(for: tokens.count)
    for pass in tokens.indices.cutEvenly(atMost: passSize) { _ = readPass(tokens[pass], endsPrompt: true) }
  }

  /// Reads one token and replaces `logits` by what the model expects after it: (vocabulary). Does not allocate where
  /// the array has room, except for an occasional token.
  /// - Precondition: as of `read(_:)`.
  public func read(_ token: Int32, into logits: inout [Float]) {
    text.prepare(for: 1)
    batch.read(CollectionOfOne(token), of: text, endsPrompt: true)
    predict(after: 1)
    logitsOfOne.copy(rows: 0..<1, into: &logits)
  }

  /// Reads tokens and returns what the model expects after the last one: (vocabulary).
  public func read(_ tokens: some Collection<Int32>) -> [Float] {
    read(tokens) { _ in }
  }

  /// Reads tokens and returns what the model expects after each of them.
  /// - Returns: logits: (tokens, vocabulary), row-major.
  public func readAll(_ tokens: some Collection<Int32>) -> [Float] {
    let tokens = Array(tokens)
    text.prepare(for: tokens.count)
    let logits = FloatBuffer(rows: batch.tokenLimit, columns: model.configuration.vocabularySize)
    var result: [Float] = []
    for block in tokens.indices.cutEvenly(atMost: batch.tokenLimit) {
      batch.read(tokens[block], of: text, endsPrompt: block.upperBound == tokens.count)
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
  private func readPass(_ tokens: ArraySlice<Int32>, endsPrompt: Bool) -> Int {
    guard tokens.count > batch.tokenLimit else {
      batch.read(tokens, of: text, endsPrompt: endsPrompt)
      return tokens.count
    }
    return batch.readLayerByLayer(tokens, of: text, endsPrompt: endsPrompt)
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
