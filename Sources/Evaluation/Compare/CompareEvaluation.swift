import CanonicalJSON
import EvaluationTasks
public import FileAccess
import LlamaRuntime
import ModelPacks
public import SharedPack

/// One table of the ways to read texts of any length, at equal bytes of keys and values.
///
/// A cell is a method at a length: perplexity of the last tokens of documents, the same tokens for every method and
/// length; answers to questions about texts, the same for every method; what it takes.
public struct CompareEvaluation {
  private let model: LanguageModel
  private let options: CompareOptions
  private let methods: [ComparedMethod]
  private let byteCount: Int
  private let window: Int

  /// What is being done.
  public struct Progress: Sendable {
    /// The cell that is next; nil behind the last one.
    public let cell: String?
    public let done: Int
    public let count: Int
    /// Seconds that the rest will take.
    public let secondsLeft: Double
  }

  /// - Throws: `Refusal` `unfit-layout` when there are too few rows or tokens for what is compared.
  public init(_ model: LanguageModel, _ options: CompareOptions) throws(Refusal) {
    self.model = model
    self.options = options
    window = model.configuration.maxPositionCount
    methods =
      options.methods
      ?? ComparedMethod.allCases.filter { method in
        switch method.way {
        case .trees(let ofEncoder): model.pack.sharedLLM.map { ($0.encoder != nil) == ofEncoder } ?? false
        case .deep: model.pack.sharedLLM == nil
        case .policy, .positions, .truncated: true
        }
      }
    let size = RowSizes(model, deep: nil).own
    byteCount = options.cacheBytes ?? Int((Double(options.cacheRows ?? window / 2) * size).rounded(.up))
    func refuse(_ parameter: String, _ fault: String) -> Refusal {
      Refusal(.unfitLayout, file: model.pack.path, parameter: parameter, fault)
    }
    let rows = Int(Double(byteCount) / size)
    guard rows >= CompareOptions.rowMinimum else {
      throw refuse(
        options.cacheBytes == nil ? "cacheRows" : "cacheBytes",
        "\(rows) rows are too few for some methods; there must be \(CompareOptions.rowMinimum)")
    }
    guard options.scored > 0, options.scored < window else {
      throw refuse("scored", "\(options.scored) tokens do not fit a window of \(window)")
    }
    guard !options.windows.isEmpty, options.windows.allSatisfy({ (1...4096).contains($0) }) else {
      throw refuse("windows", "lengths are 1 to 4096 windows")
    }
  }

  /// Measures the cells that are not there yet.
  /// - Parameters:
  ///   - sources: texts that are read, and that things are hidden in.
  ///   - path: of the result, which is written after every cell; one that is there is gone on with. Nil for none.
  ///   - progress: called before each cell and behind the last one.
  /// - Throws: `Refusal` `other-settings` when the result that is there was measured otherwise, `text-too-short` when no
  ///   text is as long as the shortest length, and those of reading and writing.
  public func run(
    _ sources: [EvaluationSource], keptIn path: String?, progress: (Progress) -> Void
  ) throws(Refusal) -> EvaluationResult {
    let (texts, longest) = try texts(sources)
    let basis = basis(sources, longest: longest)
    var result = try empty(sources, basis: basis, texts, longest: longest)
    if let path, FileStatus(path) != nil {
      let known = try EvaluationResult(reading: path)
      let isSame = known.settings.contains(JSONValue.Member("basis", .string(basis)))
      guard known.protocolName == result.protocolName, isSame else {
        throw Refusal(
          .otherSettings, file: path,
          "is the result of another model, other texts or other settings; name another file, or remove it")
      }
      result.rows = known.rows
    }
    let cells = options.windows.sorted().flatMap { windows in methods.map { (method: $0, windows: windows) } }
    var missing = cells.filter { cell in !result.rows.contains { $0.isCell(cell.method, windows: cell.windows) } }
    let rows = Int(Double(byteCount) / RowSizes(model, deep: nil).own)
    var cost: CompareCost?
    while let (method, windows) = missing.first {
      let costs = cost ?? CompareCost(model, texts)
      cost = costs
      let left = missing.reduce(0) { sum, cell in
        cell.windows > longest ? sum : sum + costs.seconds(cell.method, windows: cell.windows, rows: rows)
      }
      progress(
        Progress(
          cell: "\(method.name) at \(windows) window\(windows == 1 ? "" : "s")", done: cells.count - missing.count,
          count: cells.count, secondsLeft: left))
      let start = ContinuousClock.now
      var row = try row(method, windows: windows, texts, longest: longest)
      let seconds = (ContinuousClock.now - start).seconds
      if !row.measures.isEmpty {
        row.measures["seconds"] = Measure(seconds)
        cost?.learn(method, windows: windows, rows: rows, seconds: seconds)
      }
      result.rows.append(row)
      result.rows.sort { $0.cellOrder < $1.cellOrder }
      result.seconds = result.rows.reduce(0) { $0 + ($1.measures["seconds"]?.value ?? 0) }
      missing.removeFirst()
      if let path { try result.write(to: path) }
    }
    result.seconds = result.rows.reduce(0) { $0 + ($1.measures["seconds"]?.value ?? 0) }
    progress(Progress(cell: nil, done: cells.count, count: cells.count, secondsLeft: 0))
    return result
  }

  /// The texts of all cells, and the longest length that there are documents of.
  private func texts(_ sources: [EvaluationSource]) throws(Refusal) -> (texts: ComparedTexts, longest: Int) {
    var documents: [[Int32]] = []
    var longest = 0
    var fault: Refusal?
    for windows in options.windows.sorted(by: >) {
      var perplexity = PerplexityOptions()
      perplexity.methods = [.truncated]
      perplexity.windows = [windows]
      perplexity.documentCount = options.documentCount
      perplexity.scored = options.scored
      perplexity.joinsTexts = options.joinsTexts
      perplexity.overlaps = options.overlaps
      do throws(Refusal) {
        documents = try PerplexityEvaluation(model, perplexity).documents(sources).documents.map(\.tokens)
        longest = windows
        break
      } catch {
        guard error.name == .textTooShort else { throw error }
        fault = error
      }
    }
    if let fault, documents.isEmpty { throw fault }
    let haystack = try RetrievalEvaluation.haystack(model, sources)
    let tokenizer = try model.requireTokenizer()
    return (
      ComparedTexts(
        options: options, documents: documents,
        maker: RetrievalTaskMaker(
          tokenizer: tokenizer, haystack: haystack, chunkSize: model.runtime.treeShape?.chunkSize ?? window,
          style: options.style, seed: options.seed),
        facts: FactSampleMaker(tokenizer: tokenizer, haystack: haystack, seed: options.seed), window: window), longest
    )
  }

  /// Everything that decides a cell but its method and length, in a digest.
  private func basis(_ sources: [EvaluationSource], longest: Int) -> String {
    var texts = Hasher256()
    for text in sources.flatMap(\.texts) {
      texts.update(text)
      texts.update([0])
    }
    let all = JSONValue.object(
      options.json + [
        JSONValue.Member("model", .string(model.pack.identity.description)),
        JSONValue.Member("texts", .string(texts.finalize().description)),
        JSONValue.Member("bytes", .integer(byteCount)), JSONValue.Member("longest", .integer(longest)),
        JSONValue.Member("threads", .integer(model.threadCount)),
        JSONValue.Member("numerics", .string(model.runtime.textRowNumerics)),
        // One more whenever what is measured changes.
        JSONValue.Member("version", .integer(1)),
      ])
    var hasher = Hasher256()
    hasher.update(all.canonical)
    return hasher.finalize().description
  }

  /// A cell, or why there is none.
  private func row(
    _ method: ComparedMethod, windows: Int, _ texts: ComparedTexts, longest: Int
  ) throws(Refusal) -> EvaluationResult.Row {
    var row = EvaluationResult.Row(labels: ["method": .text(method.name), "windows": Label(windows)], measures: [:])
    guard windows <= longest else {
      row.labels["remark"] = .text("no text is as long")
      return row
    }
    do throws(Refusal) {
      let reader = try ComparedReader(method, model, windows: windows, byteCount: byteCount)
      row.labels["setting"] = .text(reader.setting)
      let isReset = ProcessMemory.resetPeak()
      let cell = try texts.measure(reader, windows: windows)
      row.measures = cell.measures(Bootstrap(seed: options.seed))
      if !cell.faults.isEmpty { row.labels["remark"] = .text(cell.faults.joined(separator: "; ")) }
      if isReset, let peak = ProcessMemory.peakByteCount() { row.measures["peak_bytes"] = Measure(Double(peak)) }
    } catch {
      guard Self.cellFaults.contains(error.name) else { throw error }
      row.labels["remark"] = .text(error.fault)
    }
    return row
  }

  /// What makes a cell impossible, and not the whole run.
  private static let cellFaults: Set<Refusal.Name> = [
    .noInjection, .unfitPositions, .rowLimit, .needsMoreMemory, .cacheTooLarge, .noSpace, .notFinite,
    .unsupportedEncoding,
  ]

  private func empty(
    _ sources: [EvaluationSource], basis: String, _ texts: ComparedTexts, longest: Int
  ) throws(Refusal) -> EvaluationResult {
    let names = Set(methods.map(\.name))
    return EvaluationResult(
      protocolName: "compare", model: EvaluationResult.Model(model),
      settings: options.json + [
        JSONValue.Member("window", .integer(window)), JSONValue.Member("bytes", .integer(byteCount)),
        JSONValue.Member("threads", .integer(model.threadCount)),
        JSONValue.Member("texts", .array(sources.map { .string($0.domain) })),
        JSONValue.Member("basis", .string(basis)),
      ],
      columns: [
        "windows", "method", "setting", "perplexity", "passkey", "key_value", "fact", "second_question",
        "read_per_second", "write_per_second", "view_bytes", "kept_bytes", "index_bytes", "peak_bytes", "remark",
      ],
      notes: [
        "Every method but full and the scalings of positions may keep keys and values of \(byteCount) bytes of a text: "
          + "\(Int(Double(byteCount) / RowSizes(model, deep: nil).own)) rows as the model's cache keeps them; fastgen keeps "
          + "what it needs, and blocks that infllm chooses count as rows of the cache. What is scored or answered comes on "
          + "top where a method does not drop rows after a prompt. "
          + "Positions are those of the text, but for streaming, lm-infinite and infllm, which have no limit, and the "
          + "scalings.",
        "Methods: "
          + ComparedMethod.allCases.filter { names.contains($0.name) }.map { "\($0.name): \($0.summary)" }
          .joined(separator: "; ") + ".",
        "perplexity of the last \(options.scored) tokens of \(texts.documents.count) documents, the same for every method "
          + "and length; intervals are 95 % bootstraps over documents.",
        "passkey, key_value, fact and second_question: share of right answers to \(options.sampleCount) samples each, "
          + "the same for every method, with Wilson's 95 % intervals. The question is read with the text; the second "
          + "question is read after what was kept for the first one. Trees and chunks are searched for either.",
        "read_per_second: tokens that went through layers, for the document's beginning; write_per_second: tokens one at "
          + "a time behind it; \(model.threadCount) threads.",
        "view_bytes: keys and values that a token attends to behind a document, kept_bytes: those that are kept of it in "
          + "memory or in a store, index_bytes: what they are found by; of rows, without room for more. peak_bytes: the most "
          + "memory of the process that was resident while the cell was measured, with mapped weights and what the program "
          + "keeps of earlier cells.",
      ])
  }
}

extension EvaluationResult.Row {
  fileprivate func isCell(_ method: ComparedMethod, windows: Int) -> Bool {
    labels["method"] == .text(method.name) && labels["windows"] == Label(windows)
  }

  /// By length, then in the order of the methods.
  fileprivate var cellOrder: (Double, Int) {
    let methods = ComparedMethod.allCases
    guard case .number(let windows) = labels["windows"], case .text(let name) = labels["method"] else { return (0, 0) }
    return (windows, methods.firstIndex { $0.name == name } ?? methods.count)
  }
}

extension Refusal.Name {
  /// A result to go on with was measured of something else.
  public static let otherSettings = Refusal.Name("other-settings", .cannotCreate)
}
