import ContextTrees
import FileAccess
import Glibc
import LlamaRuntime
import ModelPacks
import SharedPack

/// Reads one document after another in all the ways that are compared.
///
/// What lengths and methods share is computed once: a chunk is encoded once in each encoding, the last window alone is
/// read once. Only the rows that a policy preserves are kept, so that memory depends on the longest context.
struct DocumentReader {
  let model: LanguageModel
  let options: PerplexityOptions
  let layout: PerplexityLayout
  /// One for each encoding.
  private let encoders: [TreeEncoder]

  /// - Throws: `Refusal` `no-injection` when `shared` is measured of a plain pack.
  init(_ model: LanguageModel, _ options: PerplexityOptions, layout: PerplexityLayout) throws(Refusal) {
    self.model = model
    self.options = options
    self.layout = layout
    var encoders: [TreeEncoder] = []
    if options.methods.contains(.shared) {
      for encoding in options.encodings {
        _ = try model.requireTrees(encoding)
        guard let encoder = TreeEncoder(model.runtime, encoding: encoding, threadCount: model.threadCount) else {
          preconditionFailure("a model with trees has an encoder")
        }
        encoders.append(encoder)
      }
    }
    self.encoders = encoders
  }

  /// Tokens of a document.
  var documentLength: Int { (options.windows.max() ?? 1) * layout.window }

  /// Lengths at which streaming is run, in windows: the longest stands for all above its limit.
  func streamedWindows(_ windows: Int) -> Int { min(windows, options.streamingWindows) }

  /// Tokens that are encoded or read for a document.
  var workTokens: Int {
    var tokens = 0
    if options.methods.contains(.shared) {
      tokens += chunks(of: options.windows).count * layout.chunkSize * encoders.count
      for windows in options.windows {
        let running = layout.parts(windows: windows, documentLength: documentLength).runningText.count
        tokens += running * options.policies.count * encoders.count
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

  /// - Parameters:
  ///   - tokens: `documentLength` tokens.
  ///   - progress: called with the tokens encoded or read since the last call.
  func read(
    _ tokens: [Int32], progress: (Int) -> Void
  ) throws(Refusal) -> [PerplexityVariant: PerplexityScore] {
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
    for encoder in encoders { try readShared(tokens, encoder, into: &scores, progress: progress) }
    return scores
  }

  private func readShared(
    _ tokens: [Int32], _ encoder: TreeEncoder, into scores: inout [PerplexityVariant: PerplexityScore],
    progress: (Int) -> Void
  ) throws(Refusal) {
    var kept: [Range<Int>: EncodedChunk] = [:]
    for windows in options.windows.sorted() {
      let parts = layout.parts(windows: windows, documentLength: tokens.count)
      let running = begun(Array(tokens[parts.runningText]))
      // Chunks that several lengths have stand before the same running text, so a query's choice holds for all.
      let query =
        options.policies.contains(.cosine)
        ? model.runtime.queryEmbedding(running.dropLast(), threadCount: model.threadCount) : []
      for range in parts.chunks where kept[range] == nil {
        kept[range] = try EncodedChunk(
          Array(tokens[range]), encoder, shape: model.requireTrees(encoder.layout.encoding).shape,
          policies: options.policies, number: range.lowerBound, query: query)
        progress(range.count)
      }
      let chunks = parts.chunks.compactMap { kept[$0] }
      for policy in options.policies {
        let nodes = chunks.compactMap { $0.nodes[policy] }
        let context = InjectedContext(layout: encoder.layout, chunks: nodes.map { $0.map(\.injected) })
        var score = try scored(running, isBegun: true, context: context, progress: progress)
        score.rows = context.rowCount
        score.rowBytes = nodes.reduce(0) { $0 + $1.reduce(0) { $0 + $1.byteCount } }
        score.chunks = chunks.count
        score.contextTokens = parts.chunks.reduce(0) { $0 + $1.count }
        score.encodeSeconds = chunks.reduce(0) { $0 + $1.seconds }
        scores[
          PerplexityVariant(
            method: .shared, windows: windows, policy: policy, encoding: encoder.layout.encoding)] = score
      }
    }
  }

  /// The text with the begin-of-text token in the place of its first one, if so asked.
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
      model.runtime, capacity: text.count, context: context, cachePolicy: cachePolicy,
      threadCount: model.threadCount)
    let first = text.count - 1 - layout.scored
    if first > 0 {
      var done = 0
      _ = session.read(text.prefix(first)) { read in
        progress(read - done)
        done = read
      }
    }
    let logits = session.readAll(text[first..<text.count - 1])
    progress(layout.scored)
    let vocabulary = model.configuration.vocabularySize
    var sum = 0.0
    for (index, token) in text.suffix(layout.scored).enumerated() {
      sum -= LogProbabilities.of(Int(token), in: logits[index * vocabulary..<(index + 1) * vocabulary])
    }
    guard sum.isFinite else {
      throw Refusal(.notFinite, file: model.pack.path, "predicts no finite probabilities for a text")
    }
    return PerplexityScore(nll: sum / Double(layout.scored), readSeconds: (ContinuousClock.now - start).seconds)
  }
}

/// What policies keep of a chunk.
private struct EncodedChunk {
  struct Node {
    var injected: InjectedNode
    var byteCount: Int
  }

  var nodes: [PathPolicy: [Node]] = [:]
  let seconds: Double

  /// Encodes the whole tree where the query decides, and only the nodes that are kept where it does not.
  /// - Parameter number: tells chunks apart, for the random policy.
  init(
    _ tokens: [Int32], _ encoder: TreeEncoder, shape: TreeShape, policies: [PathPolicy], number: Int, query: [Float]
  ) throws(Refusal) {
    let start = ContinuousClock.now
    let tree = ContextTree(shape: shape, tokenCount: tokens.count)
    var encoded: [TreeNode: TreeEncoder.EncodedNode] = [:]
    if policies.contains(.cosine) {
      for node in try encoder.encode(tokens) { encoded[node.node] = node }
    }
    var kept: [TreeNode: Node] = [:]
    for policy in policies {
      let preserved = tree.preservedNodes(policy: policy, chunk: number) { node in
        cosineSimilarity(query, encoded[node]?.embedding ?? [])
      }
      for node in preserved where kept[node] == nil {
        let whole: TreeEncoder.EncodedNode
        if let known = encoded[node] { whole = known } else { whole = try encoder.encode(alone: node, of: tokens) }
        kept[node] = Node(injected: InjectedNode(copying: whole), byteCount: whole.block.count)
      }
      nodes[policy] = preserved.compactMap { kept[$0] }
    }
    seconds = (ContinuousClock.now - start).seconds
  }
}
