internal import ContextTrees
public import FileAccess
internal import ModelPacks
public import NodeBlocks

/// One running text on a model: what has been read so far, and the context that is injected into it.
///
/// Not thread-safe: one task or thread at a time. Sessions of one model are independent.
public final class Session {
  private let model: LlamaModel
  private let forward: ForwardPass
  /// Nil where all weights stay in memory.
  private let weightStream: WeightStream?
  private let cache: KeyValueCache
  /// What each injected layer reads; empty without a context.
  private let injectedRows: [InjectedRows]
  private let injection: SharedLLMConfiguration.Injection?
  /// Keep the memory that the spans point into.
  private let context: InjectedContext?
  private let prefix: TextPrefix?
  /// The files that the rows before the text are mapped from.
  private let mappings: [MappedFile]
  private let logitsOfOne: FloatBuffer
  /// Tokens of a prompt that all go through a layer before any goes through the next.
  private let passSize: Int
  /// Where the largest weights of the prefix's rows are collected, layer by layer; nil for nowhere.
  var prefixPeaks: [FloatBuffer]?
  /// Whether the current block is the last one of the tokens that were passed.
  private var endsPrompt = true

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
      model, capacity: capacity, context: context, rowPolicy: cachePolicy.makeRowPolicy(), threads: threads,
      moments: moments)
  }

  /// Continues a text of which stored rows are there.
  /// - Parameters:
  ///   - prefix: stands before the running text, in every layer.
  ///   - capacity: tokens that the running text may grow to.
  ///   - threads: share the work; nil takes the model's. Results do not depend on it.
  /// - Precondition: the rows are this model's, and its rotary scaling does not depend on the length of the text.
  public convenience init(_ model: LlamaModel, behind prefix: TextPrefix, capacity: Int, threads: ThreadPool? = nil) {
    self.init(model, capacity: capacity, prefix: prefix, rowPolicy: FullRows(), threads: threads)
  }

  init(
    _ model: LlamaModel, capacity: Int, context: InjectedContext? = nil, prefix: TextPrefix? = nil,
    rowPolicy: any RowPolicy, threads: ThreadPool? = nil, moments: SecondMoments? = nil
  ) {
    self.model = model
    let configuration = model.configuration
    self.prefix = prefix
    precondition(prefix.map { $0.layout == model.textRowLayout } ?? true, "the prefix is another model's")
    precondition(prefix == nil || context == nil, "a text has one beginning")
    let context = context.flatMap { $0.rowCount > 0 ? $0 : nil }
    if let layout = context?.layout {
      precondition(layout == model.nodeLayout(layout.encoding), "the context is another model's")
    }
    self.context = context
    mappings = prefix?.mappings ?? context?.mappings ?? []
    injection = context == nil ? nil : model.sharedLLM?.injection
    let firstPosition = prefix?.tokenCount ?? (injection == .mergedSoftmax ? model.mergedPositionOffset : 0)
    forward = ForwardPass(
      configuration, rotary: RotaryTable(configuration, sequenceLength: 0),
      firstPosition: prefix.map { $0.tokenCount - max($0.shifts.upperBound, 0) } ?? 0,
      blockSize: min(max(capacity, 1), model.promptBlockSize), threads: threads ?? model.threads)
    forward.compute.moments = moments
    weightStream = model.makeWeightStream(model.weights)
    cache = model.makeCache(
      layerCount: configuration.layerCount, capacity: capacity, blockSize: forward.blockSize, policy: rowPolicy,
      firstPosition: firstPosition)
    // Where rows are dropped, there is no room for more than those of a block.
    passSize = model.residency.streams && cache.keepsAllRows ? Self.streamedPassSize : forward.blockSize
    logitsOfOne = FloatBuffer(rows: 1, columns: configuration.vocabularySize)
    if let context, let shared = model.sharedLLM {
      let chunkCount = context.chunks.count
      var rows = [InjectedRows](repeating: .none, count: configuration.layerCount)
      for (source, layer) in shared.injectedLayers(of: configuration.layerCount).enumerated() {
        rows[layer] = context.rows(layer: source) { chunk in
          // Merged rows carry their in-node position and meet queries that are turned by their own.
          shared.injection == .mergedSoftmax
            ? .slot : .fixed(shared.positionMode.queryAngle(chunk: chunk, of: chunkCount))
        }
      }
      injectedRows = rows
      forward.rotary.prepare(0..<chunkCount + 2)
    } else {
      injectedRows = (0..<configuration.layerCount).map { prefix?.rows(layer: $0) ?? .none }
      if let prefix, prefix.shifts.lowerBound < 0 {
        forward.rotary.prepare(0..<firstPosition + capacity - prefix.shifts.lowerBound)
      }
    }
    if let slotCount = cache.slotCount {
      forward.rotary.keep(below: max(firstPosition + slotCount, (context?.chunks.count ?? 0) + 2))
    } else {
      forward.rotary.reserve(below: firstPosition + capacity)
    }
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
    for file in mappings { try file.requireWhole() }
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
    prepare(for: tokens.count)
    for pass in tokens.indices.cutEvenly(atMost: passSize) {
      endsPrompt = pass.upperBound == tokens.count
      let lastBlock = readPass(tokens[pass])
      if pass.upperBound == tokens.count { predict(after: lastBlock) }
      try afterEachPass(pass.upperBound)
    }
    return logitsOfOne.array(rows: 0..<1)
  }

  /// Reads tokens for their rows alone.
  /// - Precondition: as of `read(_:)`.
  public func skim(_ tokens: [Int32]) {
    prepare(for: tokens.count)
    for pass in tokens.indices.cutEvenly(atMost: passSize) { _ = readPass(tokens[pass]) }
  }

  /// Reads one token and replaces `logits` by what the model expects after it: (vocabulary). Does not allocate where
  /// the array has room, except for an occasional token.
  /// - Precondition: as of `read(_:)`.
  public func read(_ token: Int32, into logits: inout [Float]) {
    prepare(for: 1)
    readBlock(CollectionOfOne(token))
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
    prepare(for: tokens.count)
    let logits = FloatBuffer(rows: forward.blockSize, columns: model.configuration.vocabularySize)
    var result: [Float] = []
    for block in tokens.indices.cutEvenly(atMost: forward.blockSize) {
      endsPrompt = block.upperBound == tokens.count
      readBlock(tokens[block])
      weightStream?.enter(model.weights.layers.count)
      forward.logits(model.weights, tokens: block.count, last: block.count, into: logits)
      result += logits.array(rows: 0..<block.count)
    }
    return result
  }

  /// Counts tokens as read without reading them: their keys and values are small numbers. For measuring at a depth.
  public func fillForMeasurement(tokens: Int) {
    cache.fill(rows: tokens, forward.compute)
    cache.advance(tokens)
  }

  private func prepare(for tokenCount: Int) {
    precondition(tokenCount > 0 && tokenCount <= remainingCapacity, "the running text does not fit its capacity")
    adjustScaling(sequenceLength: cache.firstPosition + cache.slots(of: cache.count + tokenCount))
  }

  /// Several blocks of tokens go through a layer before any goes through the next, so that a pack larger than memory is
  /// read once for all of them.
  /// - Returns: the tokens of the last block, whose states are there.
  private func readPass(_ tokens: ArraySlice<Int32>) -> Int {
    guard tokens.count > forward.blockSize else {
      readBlock(tokens)
      return tokens.count
    }
    let start = cache.count
    let blocks = (0..<tokens.count).cutEvenly(atMost: forward.blockSize)
    let states = FloatBuffer(rows: tokens.count, columns: forward.x.columns)
    for index in model.weights.layers.indices {
      for block in blocks {
        cache.seek(start + block.lowerBound)
        if index == 0 {
          forward.embed(tokens.dropFirst(block.lowerBound).prefix(block.count), model.weights)
        } else {
          forward.x.copy(rows: block, of: states, to: 0)
        }
        readBlock(of: block.count, layer: index)
        states.copy(rows: 0..<block.count, of: forward.x, to: block.lowerBound)
      }
    }
    cache.seek(start + tokens.count)
    return blocks.last?.count ?? 0
  }

  private func readBlock(_ tokens: some Collection<Int32>) {
    cache.makeRoom(for: tokens.count)
    forward.embed(tokens, model.weights)
    for index in model.weights.layers.indices { readBlock(of: tokens.count, layer: index) }
    cache.advance(tokens.count)
  }

  /// The forward pass of SharedLLM: every layer attends to the running text; some, at the bottom in the paper,
  /// also to injected rows.
  private func readBlock(of tokens: Int, layer index: Int) {
    weightStream?.enter(index)
    let layer = model.weights.layers[index]
    let injected = injectedRows[index]
    forward.project(layer, tokens: tokens)
    forward.attention.injectedPeaks = prefixPeaks?[index]
    forward.selfAttend(
      layer, index: index, tokens: tokens, cache: cache,
      merged: prefix != nil || injection == .mergedSoftmax ? injected : .none,
      endsPrompt: endsPrompt)
    if let cross = layer.crossAttention, injection == .crossAttention, !injected.spans.isEmpty {
      forward.crossAttend(cross, tokens: tokens, to: injected)
    }
    forward.feedForward(layer, tokens: tokens)
    if index == model.weights.layers.count - 1 { forward.collectOutputMoments(model.weights, tokens: tokens) }
  }

  /// What the model expects after the last one of a block of tokens.
  private func predict(after tokens: Int) {
    weightStream?.enter(model.weights.layers.count)
    forward.logits(model.weights, tokens: tokens, last: 1, into: logitsOfOne)
  }

  /// The dynamic scaling's frequencies depend on the length of the sequence: keys in the cache are turned on when it
  /// grows beyond the trained window.
  private func adjustScaling(sequenceLength: Int) {
    guard case .dynamic = model.configuration.ropeScaling else { return }
    let old = forward.rotary.table
    let new = RotaryTable(model.configuration, sequenceLength: sequenceLength)
    guard new.frequencies != old.frequencies else { return }
    cache.rerotate(from: old, to: new, forward.compute)
    forward.rotary.replaceTable(new)
  }
}

extension Range<Int> {
  /// The fewest ranges of at most `size` each, whose lengths differ by at most one.
  func cutEvenly(atMost size: Int) -> [Range<Int>] {
    let parts = (count + size - 1) / size
    return (0..<parts).map { lowerBound + count * $0 / parts..<lowerBound + count * ($0 + 1) / parts }
  }
}
