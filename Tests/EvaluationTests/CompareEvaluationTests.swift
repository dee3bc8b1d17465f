import Conversion
import FileAccess
import Glibc
import LlamaRuntime
import ModelPacks
import SharedPack
import Testing
import TinyCheckpoint

@testable import Evaluation

/// On models of made-up numbers: not how good a method is, but that each reads what it should and that all is counted.
@Suite struct CompareEvaluationTests {
  let scratch: Scratch
  private let source: EvaluationSource

  init() throws {
    scratch = try Scratch()
    let text = (0..<120).map { "it rained on day \($0 * $0 % 91) and nobody came to the gate. " }.joined()
    try PublishedFile.write(Array(text.utf8.prefix(2200)), to: "\(scratch.path)/novel.txt")
    source = try EvaluationSource(reading: "\(scratch.path)/novel.txt")
  }

  /// What a model is trained to read beside its text.
  enum Reading: String, CaseIterable { case deep, shared, cepe }

  private func pack(_ reading: Reading) throws -> String {
    let name = reading.rawValue
    try Directory.create("\(scratch.path)/\(name)")
    try TinyCheckpoint.write(
      to: "\(scratch.path)/\(name)", injectionPlace: reading == .shared ? .bottom : nil, window: 512,
      hasEncoder: reading == .cepe)
    _ = try Converter(directory: "\(scratch.path)/\(name)", options: Converter.Options())
      .run(output: "\(scratch.path)/\(name).spk")
    return "\(scratch.path)/\(name).spk"
  }

  private func model(_ reading: Reading = .deep) throws -> LanguageModel {
    try LanguageModel(opening: pack(reading), threadCount: 1)
  }

  private var options: CompareOptions {
    var options = CompareOptions()
    options.windows = [4, 1]
    options.documentCount = 1
    options.scored = 16
    options.sampleCount = 1
    return options
  }

  private func rows(
    _ model: LanguageModel, _ options: CompareOptions, keptIn path: String? = nil
  ) throws -> [String: EvaluationResult.Row] {
    let result = try CompareEvaluation(model, options).run([source], keptIn: path) { _ in }
    return Dictionary(uniqueKeysWithValues: result.rows.map { ($0.name(["method", "windows"]), $0) })
  }

  private func perplexity(
    _ model: LanguageModel, _ method: PerplexityOptions.Method, windows: Int
  ) throws -> Double? {
    var options = PerplexityOptions()
    options.methods = [method]
    options.windows = [windows]
    options.documentCount = 1
    options.scored = 16
    return try PerplexityEvaluation(model, options).run([source]) { _, _ in }.rows[0].measures["perplexity"]?.value
  }

  /// Of the one document of four windows, read at once.
  private func perplexity(_ model: LanguageModel) throws -> Double {
    let tokens = try model.documentTokens(source.texts[0], file: "text").prefix(2048)
    let logits = Session(model.runtime, capacity: tokens.count).readAll(tokens.dropLast())
    return exp(
      try LogProbabilities.meanLoss(
        of: tokens.suffix(16), in: Array(logits.suffix(16 * model.configuration.vocabularySize)), model))
  }

  /// What other evaluations measure in their own way is the same, bit for bit.
  @Test func perplexitiesAreThoseOfOtherEvaluations() throws {
    let path = try pack(.deep)
    let model = try LanguageModel(opening: path, threadCount: 1)
    var options = options
    options.methods = ["full", "truncated", "streaming", "linear", "ntk"].compactMap(ComparedMethod.init)
    options.cacheRows = 512
    let rows = try rows(model, options)
    func value(_ name: String) -> Double? { rows[name]?.measures["perplexity"]?.value }
    // The last window alone.
    #expect(try value("full windows 1") == perplexity(model, .truncated, windows: 4))
    #expect(try value("streaming windows 4") == perplexity(model, .streaming, windows: 4))
    let linear = try LanguageModel(
      opening: path, threadCount: 1, positions: PositionScaling(.linear, factor: 4))
    #expect(try value("linear windows 4") == perplexity(linear))
    let ntk = try LanguageModel(opening: path, threadCount: 1, positions: PositionScaling(.ntk, factor: 4))
    #expect(try value("ntk windows 4") == perplexity(ntk))
    #expect(try value("full windows 4") == perplexity(model))
    // All different, and of as many tokens.
    #expect(Set(rows.values.compactMap { $0.measures["perplexity"]?.value }).count == 6)
  }

  /// A table of all methods that suit a model, with reasons where there is nothing.
  @Test(arguments: Reading.allCases) func everyMethodIsMeasured(_ reading: Reading) throws {
    let model = try model(reading)
    var options = options
    options.windows = [1, 4, 1000]
    options.cacheRows = 384
    let rows = try rows(model, options)
    let methods = ComparedMethod.allCases.filter { Reading(rawValue: $0.name).map { $0 == reading } ?? true }
    #expect(rows.count == methods.count * 3)
    let scaled = ["linear", "ntk", "dynamic-ntk", "yarn"]
    let budget = try #require(rows["truncated windows 4"]?.measures["view_bytes"]?.value)
    for method in methods {
      #expect(rows["\(method.name) windows 1000"]?.labels["remark"] == "no text is as long")
      let short = try #require(rows["\(method.name) windows 1"])
      if scaled.contains(method.name) {
        #expect(short.labels["remark"] == "the window holds the text: as full" && short.measures.isEmpty)
      } else {
        #expect(short.labels["remark"] == nil && short.measures["passkey"]?.count == 1, "\(short.labels)")
      }
      let long = try #require(rows["\(method.name) windows 4"])
      #expect(long.labels["remark"] == nil, "\(long.labels)")
      for task in ["passkey", "key_value", "fact", "second_question"] {
        #expect(long.measures[task]?.count == 1, "\(method.name) \(task)")
      }
      for measure in ["read_per_second", "write_per_second", "kept_bytes", "perplexity"] {
        #expect(try #require(long.measures[measure]).value > 0, "\(method.name) \(measure)")
      }
      guard !["full", "fastgen"].contains(method.name), !scaled.contains(method.name) else { continue }
      #expect(try #require(long.measures["view_bytes"]).value <= budget * 1.01, "\(method.name)")
    }
    let full = try #require(rows["full windows 4"]?.measures["view_bytes"]?.value)
    // All tokens but those that are scored.
    #expect(abs(full / budget - 2032.0 / 384) < 0.05)
    let own = try #require(rows["\(reading) windows 4"])
    #expect(try #require(own.measures["index_bytes"]).value > 0)
    // An encoder's states are fewer bytes than the keys and values of the layers that read them.
    guard reading != .cepe else { return }
    #expect(try #require(own.measures["kept_bytes"]).value > #require(own.measures["view_bytes"]).value)
  }

  /// What was measured stays, to the last bit; what was measured otherwise is not mixed with it.
  @Test func anInterruptedRunGoesOn() throws {
    let path = try pack(.deep)
    let model = try LanguageModel(opening: path, threadCount: 1)
    let kept = "\(scratch.path)/compare.json"
    var options = options
    options.methods = ["full"].compactMap(ComparedMethod.init)
    let first = try rows(model, options, keptIn: kept)
    #expect(first.count == 2)
    options.methods = ["truncated", "full"].compactMap(ComparedMethod.init)
    var cells: [String] = []
    let result = try CompareEvaluation(model, options).run([source], keptIn: kept) { progress in
      cells.append("\(progress.done) of \(progress.count): \(progress.cell ?? "end")")
      #expect(progress.secondsLeft >= 0 && (progress.cell == nil) == (progress.secondsLeft == 0))
    }
    #expect(cells == ["2 of 4: truncated at 1 window", "3 of 4: truncated at 4 windows", "4 of 4: end"])
    #expect(result.rows.map { $0.name(["method"]) } == ["full", "truncated", "full", "truncated"])
    for row in result.rows where row.labels["method"] == "full" {
      #expect(row == first[row.name(["method", "windows"])])
    }
    #expect(try EvaluationResult(reading: kept).rows == result.rows)
    options.scored = 17
    func refusal() -> Refusal? {
      #expect(throws: Refusal.self) {
        try CompareEvaluation(model, options).run([source], keptIn: kept) { _ in }
      }
    }
    #expect(refusal()?.name == .otherSettings && refusal()?.file == kept)
    options.scored = 16
    try PublishedFile.write(Array("{}".utf8), to: kept)
    #expect(refusal()?.name == .malformedResult)
  }

  @Test func whatDoesNotFitIsRefused() throws {
    let model = try model()
    func fault(_ change: (inout CompareOptions) -> Void) -> String? {
      var options = options
      change(&options)
      let refusal = #expect(throws: Refusal.self) { _ = try CompareEvaluation(model, options) }
      return refusal.map { "\($0.parameter ?? ""): \($0.fault)" }
    }
    #expect(fault { $0.cacheRows = 8 } == "cacheRows: 8 rows are too few for some methods; there must be 32")
    #expect(fault { $0.cacheBytes = 100 } == "cacheBytes: 0 rows are too few for some methods; there must be 32")
    #expect(fault { $0.scored = 512 } == "scored: 512 tokens do not fit a window of 512")
    var few = options
    few.windows = [100]
    #expect(throws: Refusal.self) { try CompareEvaluation(model, few).run([source], keptIn: nil) { _ in } }
  }

  /// The page tells methods apart that are more than colours, and what explodes does not hide the others.
  @Test func page() throws {
    let rows = ComparedMethod.allCases.flatMap { method in
      [1, 4].map { windows in
        EvaluationResult.Row(
          labels: ["method": .text(method.name), "windows": Label(windows), "setting": .text("\(windows)")],
          measures: ["perplexity": Measure(method.name == "full" && windows == 4 ? 5000 : 12), "passkey": Measure(0.5)])
      }
    }
    let result = ReportTests.result(rows, columns: ["windows", "method", "setting", "perplexity", "passkey"])
    let html = EvaluationReport([result]).html
    #expect(html.ranges(of: "<polyline").count == 2 * ComparedMethod.allCases.count)
    #expect(html.contains("class=\"series s1 d1\"") && html.contains(">pass keys found</text>"))
    #expect(html.contains(">10000</text>") && html.contains(">10</text>"))
  }
}
