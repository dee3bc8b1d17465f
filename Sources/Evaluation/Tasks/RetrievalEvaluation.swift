import CanonicalJSON
import ContextTrees
public import EvaluationTasks
public import FileAccess
import LlamaRuntime
import ModelPacks
public import NodeBlocks
public import SharedPack
import Tokenization

/// How often a model finds what is hidden in contexts of many windows.
///
/// Every method sees the same samples. Answers are greedy. Accuracies are means over samples.
/// Source: arXiv 2305.16300 (passkey), the needle test of G. Kamradt, and the failure cases that reviewers of
/// arXiv 2410.19318 named: a second question, repeated contexts, an answer across a boundary of chunks.
public struct RetrievalEvaluation: Sendable {
  public var tasks = RetrievalTask.allCases
  /// Lengths of contexts in windows of the model.
  public var windows = [1, 2, 4, 8]
  /// Percent of the context before what is hidden.
  public var depths = [0, 25, 50, 75, 100]
  /// Samples for each row.
  public var sampleCount = 20
  public var methods: [ContextMethod] = [.shared(.standard), .shared(TreeSearch(.right)), .truncated]
  /// The most windows that streaming reads; of a longer context it reads the end.
  public var streamingWindows = 8
  public var style = TaskStyle.trainer
  public var seed: UInt64 = 1
  public var encoding = RowEncoding.int8
  /// Where contexts are cut into chunks.
  public var borders = ChunkBorders.sentences
  /// How rows are distributed over the levels.
  var levels = RowLevels.geometric

  public init() {}

  /// A row of the result that is being filled.
  struct Row {
    var labels: [String: Label]
    var scores: [Double] = []
    /// Whether every score is 0 or 1.
    var isYesOrNo = true
    var leaves: [Double] = []
    var rows: [Double] = []
  }

  /// - Parameters:
  ///   - sources: texts that things are hidden in; the published noise if there are none.
  ///   - progress: called with samples done, of how many.
  /// - Throws: `Refusal` `no-tokenizer`, `no-injection`, `task-does-not-fit`, and those of asking.
  public func run(
    _ model: LanguageModel, haystack sources: [EvaluationSource], progress: (_ done: Int, _ of: Int) -> Void
  ) async throws -> EvaluationResult {
    let start = ContinuousClock.now
    let rows = try await rows(model, Self.haystack(model, sources), progress: progress)
    return result(model, rows, sources: sources, seconds: (ContinuousClock.now - start).seconds)
  }

  /// - Throws: `Refusal` `no-tokenizer` and those of reading a text.
  static func haystack(_ model: LanguageModel, _ sources: [EvaluationSource]) throws(Refusal) -> Haystack {
    var documents: [[Int32]] = []
    for source in sources {
      for text in source.texts { documents.append(try model.documentTokens(text, file: source.path)) }
    }
    return Haystack(documents, tokenizer: try model.requireTokenizer())
  }

  /// The scores of every sample, in rows.
  func rows(
    _ model: LanguageModel, _ haystack: Haystack, progress: (_ done: Int, _ of: Int) -> Void
  ) async throws -> [Row] {
    let window = model.configuration.maxPositionCount
    let maker = RetrievalTaskMaker(
      tokenizer: try model.requireTokenizer(), haystack: haystack,
      chunkSize: model.runtime.treeShape?.chunkSize ?? window, style: style, seed: seed)
    var rows: [Row] = []
    var done = 0
    let groups = tasks.flatMap { task in
      windows.flatMap { length in (task.hasDepth ? depths.map(Optional.some) : [nil]).map { (task, length, $0) } }
    }
    for (task, length, depth) in groups {
      var group: [Row] = []
      for number in 0..<sampleCount {
        let sample: RetrievalSample
        do throws(SampleFault) {
          sample = try maker.sample(
            task, length: length * window, depth: depth.map { Double($0) / 100 }, number: number)
        } catch {
          throw Refusal(.taskDoesNotFit, file: model.pack.path, structure: task.rawValue, error.fault)
        }
        try await ask(model, sample, into: &group)
        done += 1
        progress(done, groups.count * sampleCount)
      }
      for index in group.indices {
        group[index].labels["task"] = .text(task.rawValue)
        group[index].labels["windows"] = Label(length)
        if let depth { group[index].labels["depth"] = Label(depth) }
      }
      rows += group
    }
    return rows
  }

  /// Asks a sample's questions by every method. Rows come in the same order for every sample of a group.
  private func ask(_ model: LanguageModel, _ sample: RetrievalSample, into rows: inout [Row]) async throws {
    var context: ReadContext?
    var index = 0
    for method in methods {
      for (number, turn) in sample.turns.enumerated() {
        // A second question is asked twice: with trees searched for it, and with those found for the first.
        for isStale in number > 0 && method.policyName != nil ? [false, true] : [false] {
          if index == rows.count {
            var labels = method.labels
            if sample.turns.count > 1 {
              labels["question"] = .text(number == 0 ? "first" : isStale ? "second, first's trees" : "second")
            }
            rows.append(Row(labels: labels))
          }
          let maxTokens = turn.answer.count + 4
          let answer: (text: String, tokens: [Int32])
          let start = try model.textStart()
          switch method {
          case .truncated:
            let room = max(model.runtime.window - maxTokens - start.count - turn.continuation.count, 0)
            answer = try await model.greedyAnswer(
              start + sample.context.suffix(room) + turn.continuation, maxTokens: maxTokens)
          case .streaming(let sinks):
            let read = sample.context.suffix(streamingWindows * model.configuration.maxPositionCount)
            answer = try await model.greedyAnswer(start + read + turn.continuation, maxTokens: maxTokens, sinks: sinks)
          case .shared, .oracle:
            let read = try context ?? self.context(model, sample.context)
            context = read
            let selection = try search(model, read, by: method, for: sample.turns[isStale ? 0 : number])
            answer = try await model.greedyAnswer(turn.prompt, context: selection, maxTokens: maxTokens)
            let hits = TreeHits.best(
              selection.nodes, ranges: turn.answerRanges, chunks: read.ranges,
              depth: try model.requireTrees(encoding).shape.depth)
            rows[index].leaves.append(hits.isInLeaves ? 1 : 0)
            rows[index].rows.append(hits.rowShare)
          }
          rows[index].scores.append(turn.rule.score(answer.text, tokens: answer.tokens, right: turn.answer))
          rows[index].isYesOrNo = rows[index].isYesOrNo && turn.rule.isYesOrNo
          index += 1
        }
      }
    }
  }

  /// A context with the ranges of its chunks and their trees.
  private struct ReadContext {
    var source: ChunkSource
    var ranges: [Range<Int>]
    var chunks: [ContextChunk] = []
  }

  private func context(_ model: LanguageModel, _ tokens: [Int32]) throws(Refusal) -> ReadContext {
    let source = try ChunkSource(encoding: model, encoding)
    let shape = try model.requireTrees(encoding).shape
    var context = ReadContext(source: source, ranges: model.chunks(of: tokens, shape: shape, borders: borders))
    for range in context.ranges {
      context.chunks.append(
        try source.chunk(of: Array(tokens[range]), shape: shape, isSearched: true, domain: "context"))
    }
    return context
  }

  private func search(
    _ model: LanguageModel, _ context: ReadContext, by method: ContextMethod, for turn: RetrievalSample.Turn
  ) throws(Refusal) -> ContextSelection {
    let (shape, layout) = try model.requireTrees(encoding)
    var nodes: [[TreeNode]]
    switch method {
    case .shared(let search):
      nodes = try search.preservedNodes(of: context.chunks, query: model.searchQuery(turn.prompt, for: search))
    case .oracle:
      nodes = zip(context.ranges, context.chunks).map { range, chunk in
        chunk.tree.preservedNodes(rule: .path) { node in
          let start = range.lowerBound
          let tokens = start + node.range.lowerBound..<start + node.range.upperBound
          return Float(turn.answerRanges.reduce(0) { $0 + $1.clamped(to: tokens).count })
        }
      }
    case .truncated, .streaming: preconditionFailure("only trees are searched")
    }
    var injected: [[NodeBlock]] = []
    for (index, chunk) in context.chunks.enumerated() {
      nodes[index] = levels.shared(nodes[index], depth: shape.depth)
      var blocks: [NodeBlock] = []
      for node in nodes[index] { blocks.append(try context.source.block(of: node, in: chunk)) }
      injected.append(blocks)
    }
    return ContextSelection(nodes: nodes, context: try model.makeContext(injected, encoding: layout.encoding))
  }

  private func result(
    _ model: LanguageModel, _ rows: [Row], sources: [EvaluationSource], seconds: Double
  ) -> EvaluationResult {
    let bootstrap = Bootstrap(seed: seed)
    let trees = model.runtime.treeShape
    var notes = [
      "accuracy: share of right answers (multi-needle and needle in the published style: of key words; repeat-context: "
        + "of tokens before the first wrong one)",
      "leaf: share of samples whose answer lies in leaves of the searched trees; rows: share of the answer's tokens "
        + "that have rows of their own",
      "intervals are 95 %: Wilson's where a sample is right or wrong, else bootstraps over samples",
    ]
    if methods.contains(where: { if case .streaming = $0 { true } else { false } }),
      windows.contains(where: { $0 > streamingWindows })
    {
      notes.append("streaming reads the last \(streamingWindows) windows of longer contexts")
    }
    if model.injectionIsUntrained { notes.append("the injection of this model is untrained (merged softmax)") }
    return EvaluationResult(
      protocolName: "tasks", model: EvaluationResult.Model(model),
      settings: [
        JSONValue.Member("window", .integer(model.configuration.maxPositionCount)),
        JSONValue.Member("chunk", trees.map { .integer($0.chunkSize) } ?? .null),
        JSONValue.Member("chunk_borders", .string(borders.rawValue)),
        JSONValue.Member("tree_depth", trees.map { .integer($0.depth) } ?? .null),
        JSONValue.Member("leaf_ratio", trees.map { .integer($0.leafRatio) } ?? .null),
        JSONValue.Member("rows", .string("\(encoding)")),
        JSONValue.Member("samples", .integer(sampleCount)), JSONValue.Member("seed", .integer(Int(seed))),
        JSONValue.Member("style", .string(style.rawValue)),
        JSONValue.Member("haystack", .array(sources.map { .string($0.domain) })),
      ],
      columns: [
        "task", "windows", "depth", "question", "method", "policy", "expansion", "accuracy", "leaf", "rows",
      ],
      rows: rows.map { row in
        var measures = ["accuracy": bootstrap.mean(of: row.scores, areYesOrNo: row.isYesOrNo)]
        if !row.leaves.isEmpty {
          measures["leaf"] = .proportion(of: row.leaves)
          measures["rows"] = bootstrap.mean(of: row.rows)
        }
        return EvaluationResult.Row(labels: row.labels, measures: measures)
      }, notes: notes, seconds: seconds)
  }
}

extension Refusal.Name {
  public static let taskDoesNotFit = Refusal.Name("task-does-not-fit", .badInput)
}
