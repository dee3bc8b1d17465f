import CanonicalJSON
import ContextTrees
import EvaluationTasks
public import FileAccess
import LlamaRuntime
import ModelPacks
import NodeBlocks
public import SharedPack

/// The ablations of the paper: one factor at a time is changed, for the same scored tokens. Factors that a checkpoint
/// can only have by training are measured with other checkpoints.
/// Source: arXiv 2410.19318, Tables 5 and 9 to 12.
public struct SweepEvaluation {
  private typealias Factor = SweepConfiguration.Factor

  private let model: LanguageModel
  private let configuration: SweepConfiguration
  private let base: SweepVariant
  /// Models that were trained with another value of a factor.
  private let others: [(factor: String, value: String, model: LanguageModel)]

  /// - Throws: `Refusal` `no-injection` for a plain pack, `other-tokenizer` for a checkpoint that reads other tokens, and
  ///   those of opening a pack.
  public init(_ model: LanguageModel, _ configuration: SweepConfiguration) throws(Refusal) {
    _ = try model.requireTrees(.int8)
    guard let sharedLLM = model.pack.sharedLLM, let search = configuration.options.searches.first,
      let encoding = configuration.options.encodings.first
    else { preconditionFailure("a model with trees has them, and a configuration one default") }
    self.model = model
    self.configuration = configuration
    var others: [(factor: String, value: String, model: LanguageModel)] = []
    for (factor, value, path) in configuration.checkpoints {
      let other = try LanguageModel(
        opening: path, threadCount: model.threadCount, positions: model.runtime.positions)
      _ = try other.requireTrees(encoding)
      guard other.pack.tokenizer == model.pack.tokenizer, other.runtime.window == model.runtime.window else {
        throw Refusal(
          .otherTokenizer, file: path, "reads other tokens than \(model.pack.path), or has another window")
      }
      others.append((factor, value, other))
    }
    self.others = others
    base = SweepVariant(
      sharedLLM: sharedLLM, search: search, encoding: encoding,
      runningText: configuration.options.runningText ?? model.runtime.window)
  }

  /// Measures the default and every variant.
  /// - Parameter progress: called with a variant's name, variants done and all of them.
  /// - Throws: `Refusal` `malformed-sweep` for a value that its factor does not have, and those of
  ///   `PerplexityEvaluation`.
  public func run(
    _ sources: [EvaluationSource], progress: (_ name: String, _ done: Int, _ of: Int) -> Void
  ) async throws -> EvaluationResult {
    let start = ContinuousClock.now
    var variants: [(factor: Factor, value: Label, variant: SweepVariant)] = []
    for factor in Factor.allCases {
      for value in configuration.factors[factor] ?? base.usualValues(of: factor, scored: configuration.options.scored) {
        guard let variant = base.changing(factor, to: value) else {
          throw Refusal(
            .malformedSweep, file: configuration.path, structure: "factors, \(factor.rawValue)",
            "\(String(decoding: value.canonical, as: UTF8.self)) is not one of its values")
        }
        variants.append((factor, variant.value(of: factor), variant))
      }
    }
    let evaluation = try ways(base)[0].perplexity
    let (documents, counts) = try evaluation.documents(sources)
    let haystack = configuration.tasks.isEmpty ? nil : try RetrievalEvaluation.haystack(model, sources)
    let total = variants.count + others.count + 1
    progress("default", 0, total)
    // The first pass reads the pack into memory, which must not count in any variant's time.
    _ = try evaluation.scores(Array(documents.prefix(1))) { _, _ in }
    let standard = try await outcome(ways(base), documents, haystack)
    var outcomes: [(factor: Factor, value: Label, outcome: Outcome?, remark: String?)] = []
    // The same way of reading may be a value of several factors.
    var known = [base: standard]
    for (number, entry) in variants.enumerated() {
      progress("\(entry.factor.rawValue) \(entry.value.description)", number + 1, total)
      let standing = entry.variant.remark(default: base)
      if let outcome = known[entry.variant] {
        outcomes.append((entry.factor, entry.value, outcome, standing))
        continue
      }
      let ways: [Way]
      do throws(Refusal) {
        ways = try self.ways(entry.variant)
      } catch {
        outcomes.append((entry.factor, entry.value, nil, error.fault))
        continue
      }
      let outcome = try await outcome(ways, documents, haystack)
      known[entry.variant] = outcome
      let remark = ways.count > 1 ? "mean of \(ways.count) seeds" : standing
      outcomes.append((entry.factor, entry.value, outcome, remark))
    }
    var trained: [(factor: String, value: String, outcome: Outcome)] = []
    for (number, other) in others.enumerated() {
      guard let sharedLLM = other.model.pack.sharedLLM else { preconditionFailure("a model with trees has them") }
      progress("\(other.factor) \(other.value)", variants.count + number + 1, total)
      var variant = base
      variant.sharedLLM = sharedLLM
      trained.append(
        (other.factor, other.value, try await outcome(ways(variant, of: other.model), documents, haystack)))
    }
    var result = EvaluationResult(
      protocolName: "sweep", model: EvaluationResult.Model(model),
      settings: evaluation.settings + [
        JSONValue.Member("windows", .integer(configuration.options.windows[0])),
        JSONValue.Member("seeds", .integer(configuration.seedCount)),
        JSONValue.Member("tasks", .array(configuration.tasks.map { .string($0.rawValue) })),
        JSONValue.Member("samples", .integer(configuration.sampleCount)),
      ],
      columns: [
        "table", "factor", "value", "perplexity", "to_default", "seed_deviation", "accuracy", "leaf", "own_rows",
        "ratio",
        "rows_per_chunk", "row_bytes",
        "encode_seconds", "read_seconds", "peak_bytes", "remark",
      ],
      notes: [
        "One factor is changed at a time; the model stays as it was trained with its default. depth: rows for each node "
          + "stay. ratio: tokens of a chunk for each row. injected_layers: the bottom ones of those that were trained. "
          + "levels: how the rows of a chunk are shared out among the levels; leaves leaves the others out.",
        "similarity is a policy that looks at the query; expansion is of the cosine policy. both:0.25 opens both children "
          + "of the quarter of nodes whose children's scores differ least, none:0.25 no child of the quarter whose better "
          + "child scores least; best-first opens the best nodes of all chunks together, with the rows of one path a chunk, "
          + "or so many times as many. bm25 compares tokens, not vectors.",
        "perplexity is exp of the mean over \(documents.count) documents of \(configuration.options.windows[0]) windows; "
          + "to_default is the quotient to the default's, paired by document; 95 % bootstrap intervals.",
        "Seconds are means over documents with \(model.threadCount) threads: encode_seconds for the context's trees, "
          + "read_seconds for the running text; peak_bytes is the peak of memory that was resident. seed_deviation is the "
          + "standard deviation of the perplexity over the seeds of the random policy.",
      ] + counts)
    if haystack != nil {
      result.notes.append(
        "accuracy: share of right answers to \(configuration.tasks.map(\.rawValue).joined(separator: ", ")), "
          + "\(configuration.sampleCount) samples each, in contexts of \(configuration.options.windows[0]) windows; leaf: "
          + "share of samples whose answer lies in leaves of the searched trees; own_rows: share of the answer's tokens "
          + "that have rows of their own. Where the search is not what is changed, questions are searched for best first "
          + "by cosine, as `ask` does. right, left and random do not look at the question. Their intervals are Wilson's "
          + "where a sample is right or wrong, else bootstraps over samples.")
    }
    if model.injectionIsUntrained { result.notes.append("The context is injected untrained.") }
    result.rows = rows(outcomes, trained, standard)
    result.seconds = (ContinuousClock.now - start).seconds
    return result
  }

  /// The results of reading all documents in one way.
  private struct Outcome {
    /// Means over the seeds, where there are several.
    var scores: [PerplexityScore]
    var peakBytes: Int?
    /// The deviation of the perplexity over the seeds.
    var seedDeviation: Double?
    /// The rows of the retrieval tasks, of all seeds.
    var samples: [RetrievalEvaluation.Row] = []
  }

  /// A model that is set up as a variant, and its evaluations.
  private struct Way {
    var model: LanguageModel
    var perplexity: PerplexityEvaluation
    var retrieval: RetrievalEvaluation
  }

  /// - Parameter ways: one for each seed.
  private func outcome(
    _ ways: [Way], _ documents: [EvaluationDocument], _ haystack: Haystack?
  ) async throws -> Outcome {
    let isReset = ProcessMemory.resetPeak()
    var runs: [[PerplexityScore]] = []
    for way in ways { runs += try way.perplexity.scores(documents) { _, _ in }.scores.values }
    let count = Double(runs.count)
    let mean = documents.indices.map { document in
      var score = runs[0][document]
      score.nll = runs.reduce(0) { $0 + $1[document].nll } / count
      score.encodeSeconds = runs.reduce(0) { $0 + $1[document].encodeSeconds } / count
      score.readSeconds = runs.reduce(0) { $0 + $1[document].readSeconds } / count
      return score
    }
    var outcome = Outcome(scores: mean, peakBytes: isReset ? ProcessMemory.peakByteCount() : nil)
    if let haystack {
      for way in ways { outcome.samples += try await way.retrieval.rows(way.model, haystack) { _, _ in } }
    }
    if runs.count > 1 {
      let perplexities = runs.map { $0.perplexity(configuration.options.bootstrap).value }
      let center = perplexities.reduce(0, +) / count
      outcome.seedDeviation =
        (perplexities.reduce(0) { $0 + ($1 - center) * ($1 - center) } / (count - 1)).squareRoot()
    }
    return outcome
  }

  /// One way, or one for each seed of the random policy.
  /// - Throws: `Refusal` `unfit-layout` where the checkpoint or its window does not allow the variant.
  private func ways(_ variant: SweepVariant, of other: LanguageModel? = nil) throws(Refusal) -> [Way] {
    let pack = (other ?? model).pack
    guard
      let runtime = LlamaModel(
        pack, reading: variant.sharedLLM, positions: model.runtime.positions, threads: model.runtime.threads)
    else {
      throw Refusal(
        .unfitLayout, file: pack.path, "the checkpoint has no weights for it, or no tree has this shape")
    }
    let model = try LanguageModel(runtime)
    var searches = [(variant.search, variant.taskSearch)]
    if case .random = variant.search.policy {
      searches = (0..<configuration.seedCount).map {
        let random = TreeSearch(.random(seed: UInt64($0)))
        return (random, variant.taskSearch == variant.search ? random : variant.taskSearch)
      }
    }
    var ways: [Way] = []
    for (search, taskSearch) in searches {
      var options = configuration.options
      options.searches = [search]
      options.encodings = [variant.encoding]
      options.runningText = variant.runningText
      options.levels = variant.levels
      var retrieval = RetrievalEvaluation()
      retrieval.tasks = configuration.tasks
      retrieval.windows = configuration.options.windows
      retrieval.depths = [50]
      retrieval.sampleCount = configuration.sampleCount
      retrieval.methods = [.shared(taskSearch)]
      retrieval.encoding = variant.encoding
      retrieval.levels = variant.levels
      ways.append(
        Way(model: model, perplexity: try PerplexityEvaluation(model, options), retrieval: retrieval))
    }
    return ways
  }
}

extension SweepEvaluation {
  private func rows(
    _ outcomes: [(factor: Factor, value: Label, outcome: Outcome?, remark: String?)],
    _ trained: [(factor: String, value: String, outcome: Outcome)], _ standard: Outcome
  ) -> [EvaluationResult.Row] {
    let quality = ["perplexity", "to_default", "accuracy", "leaf", "own_rows"]
    func rows(_ table: String, _ factors: [Factor], measures: [String]?) -> [EvaluationResult.Row] {
      factors.flatMap { factor in
        outcomes.filter { $0.factor == factor }.map { entry in
          var row = EvaluationResult.Row(
            labels: ["table": .text(table), "factor": .text(factor.rawValue), "value": entry.value], measures: [:])
          row.labels["remark"] = entry.remark.map { .text($0) }
          if let outcome = entry.outcome { row.measures = self.measures(outcome, standard) }
          if let measures { row.measures = row.measures.filter { measures.contains($0.key) } }
          return row
        }
      }
    }
    let ablation = "Table 5: ablation"
    let shown = quality + ["seed_deviation", "ratio"]
    func row(_ factor: String, _ value: String, _ outcome: Outcome?, _ remark: String) -> EvaluationResult.Row {
      EvaluationResult.Row(
        labels: ["table": .text(ablation), "factor": .text(factor), "value": .text(value), "remark": .text(remark)],
        measures: outcome.map { measures($0, standard).filter { shown.contains($0.key) } } ?? [:])
    }
    // The factors that the paper varied, then any others that there are checkpoints of.
    var others =
      SharedLLMConfiguration.InjectionPlace.allCases.map { ("injection", $0.rawValue) } + [("split noise", "0")]
    for (factor, value, _) in trained where !others.contains(where: { $0 == (factor, value) }) {
      others.append((factor, value))
    }
    let ofOthers = others.map { factor, value in
      if factor == "injection", value == base.sharedLLM.injectionPlace.rawValue {
        return row(factor, value, standard, "default")
      }
      let found = trained.first { $0.factor == factor && $0.value == value }
      return row(
        factor, value, found?.outcome, found == nil ? "not measured: needs another checkpoint" : "another checkpoint")
    }
    return rows(
      ablation, [.depth, .leafRatio, .levels, .policy, .similarity, .expansion, .positions], measures: shown)
      + ofOthers
      + rows("Table 9: injected layers, time and memory", [.injectedLayers], measures: nil)
      + rows("Table 10: compression ratio, time and memory", [.leafRatio], measures: nil)
      + rows("Table 11: tree depth, time and memory", [.depth], measures: nil)
      + rows("Table 12: retrieval, time and memory", [.policy, .similarity, .expansion], measures: nil)
      + rows("Chunk size", [.chunkSize], measures: nil) + rows("Storage of rows", [.rows], measures: nil)
      + rows("Running text", [.runningText], measures: nil)
  }

  private func measures(_ outcome: Outcome, _ standard: Outcome) -> [String: Measure] {
    let bootstrap = configuration.options.bootstrap
    let scores = outcome.scores
    var measures = [
      "perplexity": scores.perplexity(bootstrap),
      "to_default": scores.ratio(to: standard.scores, bootstrap),
      "row_bytes": scores.mean { Double($0.rowBytes) },
      "encode_seconds": scores.mean(\.encodeSeconds),
      "read_seconds": scores.mean(\.readSeconds),
    ]
    if !outcome.samples.isEmpty {
      measures["accuracy"] = bootstrap.mean(
        of: outcome.samples.flatMap(\.scores), areYesOrNo: outcome.samples.allSatisfy(\.isYesOrNo))
      measures["leaf"] = .proportion(of: outcome.samples.flatMap(\.leaves))
      measures["own_rows"] = bootstrap.mean(of: outcome.samples.flatMap(\.rows))
    }
    measures["peak_bytes"] = outcome.peakBytes.map { Measure(Double($0)) }
    measures["seed_deviation"] = outcome.seedDeviation.map { Measure($0) }
    let (rows, chunks) = scores.reduce((0, 0)) { ($0.0 + $1.rows, $0.1 + $1.chunks) }
    let tokens = scores.reduce(0) { $0 + $1.contextTokens }
    if chunks > 0, rows > 0 {
      measures["rows_per_chunk"] = Measure(Double(rows) / Double(chunks))
      measures["ratio"] = Measure(Double(tokens) / Double(rows))
    }
    return measures
  }
}

extension Refusal.Name {
  public static let otherTokenizer = Refusal.Name("other-tokenizer", .badInput)
}
