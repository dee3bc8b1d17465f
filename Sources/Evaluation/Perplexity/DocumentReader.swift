import ContextTrees
import FileAccess
import Glibc
import LlamaRuntime
import ModelPacks
import NodeBlocks
import SharedPack
import TreeStore

/// A document to score: some tokens of a text.
struct EvaluationDocument {
  var domain: String
  /// Tells texts apart.
  var text: Int
  /// Where it begins in the text.
  var start: Int
  var tokens: [Int32]
}

/// Reads one document after another in all the ways that are compared.
///
/// What lengths, methods and documents share is computed once: a chunk is encoded once in each encoding, the last window
/// alone is read once. Only the rows that a policy preserves are kept, and only those of the document that is read, so
/// that memory depends on the longest context.
struct DocumentReader {
  let model: LanguageModel
  let options: PerplexityOptions
  let layout: PerplexityLayout
  private let sources: [ChunkSource]
  /// One for each source.
  private var kept: [KeptChunks]

  /// - Parameter store: where trees are taken from; nil encodes them. Its encoding is the only one of the options.
  /// - Throws: `Refusal` `no-injection` when `shared` is measured of a plain pack.
  init(
    _ model: LanguageModel, _ options: PerplexityOptions, layout: PerplexityLayout, store: DocumentStore? = nil
  ) throws(Refusal) {
    self.model = model
    self.options = options
    self.layout = layout
    var sources: [ChunkSource] = []
    if options.methods.contains(.shared) {
      for encoding in options.encodings {
        if let store {
          let layout = try model.requireTrees(encoding).layout
          precondition(store.store.configuration.rowEncoding == encoding, "a store has rows of one encoding")
          sources.append(.store(store, layout))
        } else {
          sources.append(try ChunkSource(encoding: model, encoding))
        }
      }
    }
    self.sources = sources
    kept = sources.map { _ in KeptChunks() }
  }

  /// Tokens of a document.
  var documentLength: Int { (options.windows.max() ?? 1) * layout.window }

  /// Lengths at which streaming is run, in windows: the longest stands for all above its limit.
  func streamedWindows(_ windows: Int) -> Int { min(windows, options.streamingWindows) }

  /// Tokens that are encoded or read for a document.
  var workTokens: Int {
    var tokens = 0
    if options.methods.contains(.shared) {
      for windows in options.windows {
        let parts = layout.parts(windows: windows, documentLength: documentLength)
        tokens += parts.chunks.count * layout.chunkSize * sources.count
        tokens += parts.runningText.count * options.searches.count * sources.count
      }
    }
    if options.methods.contains(.truncated) { tokens += layout.window }
    if options.methods.contains(.streaming) {
      tokens += Set(options.windows.map(streamedWindows)).reduce(0) { $0 + $1 * layout.window }
    }
    return tokens
  }

  private func chunks(of windows: [Int]) -> Set<Range<Int>> {
    Set(windows.flatMap { layout.parts(windows: $0, documentLength: documentLength).chunks })
  }

  /// Checks that a store has all chunks of some documents, so that a missing one does not come up after hours.
  /// - Throws: `Refusal` `chunk-not-stored`, or what a damaged store throws.
  func requireStored(_ documents: [EvaluationDocument]) throws(Refusal) {
    for source in sources {
      guard case .store = source else { continue }
      let shape = try model.requireTrees(source.layout.encoding).shape
      for document in documents {
        for range in chunks(of: options.windows) {
          _ = try source.chunk(
            of: Array(document.tokens[range]), shape: shape, isSearched: false, domain: document.domain)
        }
      }
    }
  }

  /// - Parameters:
  ///   - document: `documentLength` tokens. Documents of one text come in the order of their positions.
  ///   - progress: called with the tokens encoded or read since the last call.
  mutating func read(
    _ document: EvaluationDocument, progress: (Int) -> Void
  ) throws(Refusal) -> [PerplexityVariant: PerplexityScore] {
    let tokens = document.tokens
    var scores: [PerplexityVariant: PerplexityScore] = [:]
    if options.methods.contains(.truncated) {
      let score = try scored(Array(tokens.suffix(layout.window)), progress: progress)
      for windows in options.windows { scores[PerplexityVariant(method: .truncated, windows: windows)] = score }
    }
    if options.methods.contains(.streaming) {
      let policy = CachePolicy.streaming(sinks: options.sinks, recent: layout.window - options.sinks)
      var streamed: [Int: PerplexityScore] = [:]
      for windows in options.windows {
        let length = streamedWindows(windows)
        if streamed[length] == nil {
          streamed[length] = try scored(
            Array(tokens.suffix(length * layout.window)), cachePolicy: policy, progress: progress)
        }
        scores[PerplexityVariant(method: .streaming, windows: windows)] = streamed[length]
      }
    }
    for source in sources.indices { try readShared(document, source, into: &scores, progress: progress) }
    return scores
  }

  private mutating func readShared(
    _ document: EvaluationDocument, _ number: Int, into scores: inout [PerplexityVariant: PerplexityScore],
    progress: (Int) -> Void
  ) throws(Refusal) {
    let layout = sources[number].layout
    kept[number].begin(document, areShared: !options.searches.contains(where: \.policy.looksAtQuery))
    for windows in options.windows.sorted() {
      let parts = self.layout.parts(windows: windows, documentLength: document.tokens.count)
      let running = begun(Array(document.tokens[parts.runningText]))
      // Chunks that several lengths share precede the same running text, so a query's choice holds for all of them.
      let read = Array(running.dropLast())
      let query =
        options.searches.first(where: \.policy.looksAtEmbeddings).map { model.searchQuery(read, for: $0) }
        ?? SearchQuery(tokens: read)
      try keep(parts.chunks, of: document, number, query: query, progress: progress)
      let chunks = parts.chunks.compactMap { kept[number].chunks[document.start + $0.lowerBound] }
      for search in options.searches {
        let nodes = chunks.compactMap { $0.nodes[search] }
        let context = try model.makeContext(nodes.map { $0.map(\.block) }, encoding: layout.encoding)
        var score = try scored(running, isBegun: true, context: context, progress: progress)
        score.rows = context.rowCount
        score.rowBytes = nodes.reduce(0) { $0 + $1.reduce(0) { $0 + $1.block.byteCount } }
        score.chunks = chunks.count
        score.contextTokens = parts.chunks.reduce(0) { $0 + $1.count }
        score.encodeSeconds = chunks.reduce(0) { $0 + $1.seconds }
        scores[
          PerplexityVariant(method: .shared, windows: windows, search: search, encoding: layout.encoding)] = score
      }
    }
  }

  /// Searches the trees of the chunks that are not kept yet.
  private mutating func keep(
    _ ranges: [Range<Int>], of document: EvaluationDocument, _ number: Int, query: SearchQuery, progress: (Int) -> Void
  ) throws(Refusal) {
    let source = sources[number]
    let shape = try model.requireTrees(source.layout.encoding).shape
    let isJoint = options.searches.contains(where: \.isJoint)
    if isJoint { kept[number].chunks = [:] }
    var joint: [(position: Int, chunk: ContextChunk)] = []
    for range in ranges {
      let position = document.start + range.lowerBound
      if kept[number].chunks[position] == nil {
        let start = ContinuousClock.now
        let chunk = try source.chunk(
          of: Array(document.tokens[range]), shape: shape,
          isSearched: options.searches.contains(where: \.policy.looksAtEmbeddings), domain: document.domain)
        var keptOfChunk = KeptChunks.Chunk()
        for search in options.searches where !search.isJoint {
          // The number tells chunks apart, for the random policy.
          let nodes = try search.preservedNodes(of: [chunk], query: query, firstNumber: position / shape.chunkSize)[0]
          keptOfChunk.nodes[search] = try rows(nodes, of: chunk, source, reusing: keptOfChunk)
        }
        if isJoint { joint.append((position, chunk)) }
        keptOfChunk.seconds = (ContinuousClock.now - start).seconds
        kept[number].chunks[position] = keptOfChunk
      }
      progress(range.count)
    }
    guard isJoint else { return }
    let start = ContinuousClock.now
    for search in options.searches where search.isJoint {
      let nodes = try search.preservedNodes(of: joint.map(\.chunk), query: query)
      for (entry, nodes) in zip(joint, nodes) {
        let rows = try rows(nodes, of: entry.chunk, source, reusing: kept[number].chunks[entry.position])
        kept[number].chunks[entry.position]?.nodes[search] = rows
      }
    }
    let seconds = (ContinuousClock.now - start).seconds
    for entry in joint { kept[number].chunks[entry.position]?.seconds += seconds / Double(joint.count) }
  }

  /// - Parameter kept: what other searches keep of the chunk.
  private func rows(
    _ nodes: [TreeNode], of chunk: ContextChunk, _ source: ChunkSource, reusing kept: KeptChunks.Chunk?
  ) throws(Refusal) -> [KeptNode] {
    var result: [KeptNode] = []
    for node in options.levels.shared(nodes, depth: chunk.tree.shape.depth) {
      if let known = kept?.node(node) {
        result.append(known)
      } else {
        result.append(KeptNode(node: node, block: try source.block(of: node, in: chunk)))
      }
    }
    return result
  }

  /// The text with the begin-of-text token in place of its first one, where the options say so.
  private func begun(_ tokens: [Int32]) -> [Int32] {
    guard options.beginsText, let begin = model.configuration.beginOfTextToken else { return tokens }
    return [begin] + tokens.dropFirst()
  }

  /// Reads all tokens but the last and scores the last ones as they are predicted.
  private func scored(
    _ tokens: [Int32], isBegun: Bool = false, context: InjectedContext? = nil, cachePolicy: CachePolicy = .full,
    progress: (Int) -> Void
  ) throws(Refusal) -> PerplexityScore {
    let start = ContinuousClock.now
    let text = isBegun ? tokens : begun(tokens)
    let session = Session(
      model.runtime, capacity: text.count, context: context, cachePolicy: cachePolicy)
    let first = text.count - 1 - layout.scored
    if first > 0 {
      var done = 0
      _ = session.read(text.prefix(first)) { read in
        progress(read - done)
        done = read
      }
    }
    let logits = session.readAll(text[first..<text.count - 1])
    try session.requireWhole()
    progress(layout.scored)
    let loss = try LogProbabilities.meanLoss(of: text.suffix(layout.scored), in: logits, model)
    return PerplexityScore(nll: loss, readSeconds: (ContinuousClock.now - start).seconds)
  }
}

/// A node that a policy keeps, with its rows.
private struct KeptNode {
  var node: TreeNode
  var block: NodeBlock
}

/// What policies keep of the chunks of a document.
private struct KeptChunks {
  struct Chunk {
    var nodes: [TreeSearch: [KeptNode]] = [:]
    var seconds = 0.0

    func node(_ node: TreeNode) -> KeptNode? {
      nodes.values.lazy.compactMap { $0.first { $0.node == node } }.first
    }
  }

  /// By the position of the first token in the text.
  var chunks: [Int: Chunk] = [:]
  private var text: Int?

  /// Drops what does not belong to the document.
  /// - Parameter areShared: whether the same is kept of a chunk in every document.
  mutating func begin(_ document: EvaluationDocument, areShared: Bool) {
    if areShared, text == document.text {
      chunks = chunks.filter { $0.key >= document.start }
    } else {
      chunks = [:]
    }
    text = document.text
  }
}
