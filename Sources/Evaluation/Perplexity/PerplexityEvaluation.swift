import CanonicalJSON
import ContextTrees
public import FileAccess
import LlamaRuntime
import ModelPacks
import NodeBlocks
public import SharedPack
import TreeStore

/// Perplexity of the end of long documents, by the length of what is read before it.
///
/// Of each document the last tokens are scored, always the same ones; perplexity is exp of the mean over documents of
/// their mean negative log likelihood. Methods are compared on the same tokens, document by document.
/// Source: arXiv 2410.19318, section 4.1; the layout in `PerplexityLayout`.
public struct PerplexityEvaluation {
  private let model: LanguageModel
  private let options: PerplexityOptions
  private let layout: PerplexityLayout
  private let store: DocumentStore?
  private let reader: DocumentReader

  /// - Parameter store: where trees are taken from; nil encodes them. The result is the same to the last bit, except
  ///   for the times. Its encoding replaces that of the options.
  /// - Throws: `Refusal` `no-injection` for `shared` of a plain pack, `unfit-layout` when scored tokens or running text
  ///   do not fit the model, or chunks those of a store.
  public init(
    _ model: LanguageModel, _ options: PerplexityOptions, store: DocumentStore? = nil
  ) throws(Refusal) {
    var options = options
    if let store { options.encodings = [store.store.configuration.rowEncoding] }
    let window = model.configuration.maxPositionCount
    let runningText = options.runningText ?? model.runtime.window
    func refuse(_ fault: String) -> Refusal { Refusal(.unfitLayout, file: model.pack.path, fault) }
    guard options.scored > 0, options.scored < min(window, runningText) else {
      throw refuse("\(options.scored) scored tokens do not fit \(min(window, runningText)) of running text")
    }
    guard runningText <= model.runtime.window else {
      throw refuse("running text of \(runningText) tokens; the model's window holds \(model.runtime.window)")
    }
    guard options.sinks >= 0, options.sinks < window else {
      throw refuse("\(options.sinks) sinks leave no room in a window of \(window)")
    }
    guard options.windows.allSatisfy({ $0 > 0 && $0 <= 1 << 20 }), !options.windows.isEmpty else {
      throw refuse("lengths are 1 window or more")
    }
    let layout = PerplexityLayout(
      window: window, chunkSize: model.runtime.treeShape?.chunkSize ?? window, runningText: runningText,
      scored: options.scored)
    if store != nil {
      guard !options.joinsTexts else { throw refuse("a store has the chunks of single texts, not of joined ones") }
      let counts = Set(options.windows.map { layout.parts(windows: $0, documentLength: $0 * window).runningText.count })
      guard Set(counts.map { $0 % layout.chunkSize }).count == 1 else {
        throw refuse(
          "running texts of \(counts.sorted().map(String.init).joined(separator: " and ")) tokens cannot all follow the "
            + "chunks of \(layout.chunkSize) tokens that a store has")
      }
    }
    self.model = model
    self.options = options
    self.layout = layout
    self.store = store
    reader = try DocumentReader(model, options, layout: layout, store: store)
  }

  /// Measures all documents of the sources.
  /// - Parameter progress: called with tokens encoded or read, and all that will be.
  /// - Throws: `Refusal` `text-too-short` when a source has no document of the longest length, `chunk-not-stored`,
  ///   `not-finite`, and those of reading and tokenizing.
  public func run(
    _ sources: [EvaluationSource], progress: (_ done: Int, _ of: Int) -> Void
  ) throws(Refusal) -> EvaluationResult {
    let start = ContinuousClock.now
    let (documents, counts) = try documents(sources)
    try reader.requireStored(documents)
    let scores = try scores(documents, progress: progress)
    var result = result(scores)
    result.notes.insert(contentsOf: counts, at: 1)
    result.seconds = (ContinuousClock.now - start).seconds
    return result
  }

  /// The documents, and a sentence for each domain about how many there are.
  func documents(_ sources: [EvaluationSource]) throws(Refusal) -> (documents: [EvaluationDocument], counts: [String]) {
    var documents: [EvaluationDocument] = []
    var counts: [String] = []
    let length = reader.documentLength
    var textCount = 0
    for source in sources {
      var texts: [[Int32]] = []
      for text in source.texts { texts.append(try model.documentTokens(text, file: source.path)) }
      let tokenCount = texts.reduce(0) { $0 + $1.count }
      if options.joinsTexts { texts = [texts.flatMap(\.self)] }
      // Documents end so that the chunks of the longest context are those of the whole text: what a store has.
      let running = layout.parts(windows: options.windows.max() ?? 1, documentLength: length).runningText.count
      let positions = DocumentPositions(
        tokenCounts: texts.map(\.count), length: length, count: options.documentCount,
        spacing: options.overlaps ? options.scored : length, step: layout.chunkSize,
        offset: running % layout.chunkSize
      ).positions
      guard !positions.isEmpty else {
        let longest = texts.map(\.count).max() ?? 0
        let hint =
          options.joinsTexts || tokenCount < length + layout.chunkSize
          ? "fewer windows need less" : "joined, its texts have \(tokenCount)"
        throw Refusal(
          .textTooShort, file: source.path,
          "no text has the \(length) tokens of the longest length; the longest text has \(longest); \(hint)")
      }
      documents += positions.map {
        EvaluationDocument(
          domain: source.domain, text: textCount + $0.text, start: $0.end - length,
          tokens: Array(texts[$0.text][$0.end - length..<$0.end]))
      }
      textCount += texts.count
      counts.append(
        "\(source.domain): \(positions.count) document\(positions.count == 1 ? "" : "s") from \(tokenCount) tokens in "
          + "\(source.texts.count) text\(source.texts.count == 1 ? "" : "s")\(options.joinsTexts ? ", joined" : "")"
          + (positions.count < options.documentCount
            ? ": all that they give\(options.overlaps ? "" : " when none shares a token with another")." : "."))
    }
    return (documents, counts)
  }

  func scores(
    _ documents: [EvaluationDocument], progress: (_ done: Int, _ of: Int) -> Void
  ) throws(Refusal) -> PerplexityScores {
    var scores = PerplexityScores()
    var reader = reader
    let total = reader.workTokens * documents.count
    var done = 0
    for document in documents {
      let score = try reader.read(document) { tokens in
        done += tokens
        progress(done, total)
      }
      scores.add(score, domain: document.domain)
    }
    return scores
  }
}

extension PerplexityEvaluation {
  private func result(_ scores: PerplexityScores) -> EvaluationResult {
    var result = EvaluationResult(
      protocolName: "perplexity", model: EvaluationResult.Model(model), settings: settings,
      columns: [
        "domain", "method", "policy", "expansion", "kv", "windows", "perplexity", "to_truncated", "to_streaming",
        "to_1_window",
        "to_8_windows", "to_float32", "rows", "documents",
      ], notes: notes)
    var domains: [String] = []
    for domain in scores.domains where !domains.contains(domain) { domains.append(domain) }
    for domain in domains.map(Optional.some) + (domains.count > 1 ? [nil] : []) {
      for variant in variants { result.rows += [row(variant, domain: domain, scores)].compactMap(\.self) }
    }
    return result
  }

  private var variants: [PerplexityVariant] {
    options.methods.flatMap { method -> [PerplexityVariant] in
      let kinds: [(TreeSearch?, RowEncoding?)] =
        method == .shared
        ? options.searches.flatMap { search in options.encodings.map { (search, $0) } } : [(nil, nil)]
      return kinds.flatMap { search, encoding in
        options.windows.sorted().map {
          PerplexityVariant(method: method, windows: $0, search: search, encoding: encoding)
        }
      }
    }
  }

  private func row(
    _ variant: PerplexityVariant, domain: String?, _ scores: PerplexityScores
  ) -> EvaluationResult.Row? {
    guard let own = scores.values(variant, domain: domain) else { return nil }
    let bootstrap = options.bootstrap
    var row = EvaluationResult.Row(
      labels: [
        "domain": .text(domain ?? "all"), "method": .text(variant.method.rawValue), "windows": Label(variant.windows),
      ],
      measures: [
        "documents": Measure(Double(own.count)), "perplexity": own.perplexity(bootstrap),
        "read_seconds": own.mean(\.readSeconds),
      ])
    func compare(_ name: String, _ change: (inout PerplexityVariant) -> Void) {
      var other = variant
      change(&other)
      guard other != variant, let values = scores.values(other, domain: domain) else { return }
      row.measures[name] = own.ratio(to: values, bootstrap)
    }
    compare("to_truncated") { $0 = PerplexityVariant(method: .truncated, windows: $0.windows) }
    guard variant.method == .shared else { return row }
    if let search = variant.search {
      row.labels["policy"] = .text(search.policy.name)
      if search.policy.looksAtQuery { row.labels["expansion"] = .text(search.expansion.description) }
    }
    row.labels["kv"] = variant.encoding.map { .text("\($0)") }
    row.measures["rows"] = own.mean { Double($0.rows) }
    row.measures["row_bytes"] = own.mean { Double($0.rowBytes) }
    row.measures["encode_seconds"] = own.mean(\.encodeSeconds)
    compare("to_streaming") { $0 = PerplexityVariant(method: .streaming, windows: $0.windows) }
    compare("to_1_window") { $0.windows = 1 }
    if variant.windows > 8 { compare("to_8_windows") { $0.windows = 8 } }
    compare("to_float32") { $0.encoding = .float32 }
    return row
  }

  /// The settings that the numbers depend on.
  var settings: [JSONValue.Member] {
    var members: [(String, JSONValue)] = [
      ("window", .integer(layout.window)), ("scored", .integer(options.scored)),
      ("running_text", .integer(layout.runningText)), ("documents", .integer(options.documentCount)),
      ("begins_text", .boolean(options.beginsText)), ("joins_texts", .boolean(options.joinsTexts)),
      ("overlaps", .boolean(options.overlaps)),
      (
        "bootstrap",
        .members([
          "resamples": .integer(options.bootstrap.resampleCount), "seed": .integer(Int(options.bootstrap.seed)),
        ])
      ),
    ]
    if options.methods.contains(.streaming) {
      members += [
        ("sinks", .integer(options.sinks)), ("recent", .integer(layout.window - options.sinks)),
        ("streaming_windows", .integer(options.streamingWindows)),
      ]
    }
    if let shared = model.runtime.sharedLLM, options.methods.contains(.shared) {
      members.append(("trees", shared.json))
      members.append(("trees_from", .string(store == nil ? "encoder" : "store")))
    }
    return members.map { JSONValue.Member($0.0, $0.1) }
  }

  private var notes: [String] {
    var notes = [
      "Scored are the last \(options.scored) tokens of each document, the same for every method and length; the interval "
        + "is a 95 % bootstrap over documents; a to_ column is the quotient of two perplexities, paired by document.",
      options.beginsText
        ? "What is read begins with the begin-of-text token, in the place of its first token."
        : "What is read begins in the middle of a text, without a begin-of-text token.",
    ]
    if options.methods.contains(.truncated) { notes.append("truncated reads the last window alone, at every length.") }
    if options.methods.contains(.streaming) {
      notes.append(
        "streaming keeps \(options.sinks) sinks and \(layout.window - options.sinks) recent tokens"
          + (options.windows.contains { $0 > options.streamingWindows }
            ? "; above \(options.streamingWindows) windows it reads the last \(options.streamingWindows) only." : "."))
    }
    if options.methods.contains(.shared) {
      notes.append(
        "shared reads running text of \(layout.runningText) tokens, at most half of the document; the context before it "
          + "is cut into whole chunks of \(layout.chunkSize) tokens from its end; rows are the rows of keys and values that "
          + "each of the lower layers reads of it.")
      if store != nil { notes.append("Trees were taken from a store; encode_seconds is the time that it took.") }
      if model.injectionIsUntrained { notes.append("The context is injected untrained.") }
    }
    if options.overlaps { notes.append("Documents of a text share tokens, but for those that are scored.") }
    return notes
  }
}

extension SharedLLMConfiguration {
  var json: JSONValue {
    .members([
      "chunk_size": .integer(chunkSize), "depth": .integer(treeDepth), "leaf_ratio": .integer(leafRatio),
      "injected_layers": .integer(injectedLayerCount), "place": .string(injectionPlace.rawValue),
      "positions": .string(positionMode.rawValue),
      "injection": .string(injection.rawValue),
    ])
  }
}

extension Refusal.Name {
  public static let unfitLayout = Refusal.Name("unfit-layout", .usage)
  public static let textTooShort = Refusal.Name("text-too-short", .badInput)
}
