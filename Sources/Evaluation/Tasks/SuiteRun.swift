import CanonicalJSON
import ContextTrees
import EvaluationTasks
import FileAccess
import LlamaRuntime
import ModelPacks
public import NodeBlocks
import SharedPack

/// A suite of tasks, from its files or from a generator: a model answers its prompts by every method.
///
/// Answers are written as the suite's own program writes them, for its scorer (`Tools/score`). RULER's, whose prompts
/// are ours, are scored here.
public struct SuiteRun {
  public var methods: [ContextMethod] = [.shared(.standard), .truncated]
  public var encoding = RowEncoding.int8
  /// The most tokens of a prompt; of a longer one both ends are kept. Nil: no limit.
  public var promptLimit: Int?
  /// Whether prompts go into the model's chat template, where the task says so and the model has one.
  public var usesChatTemplate = true
  /// Samples of each task, at most; nil takes all.
  public var sampleLimit: Int?
  /// The directory that answers are written to; nil: they are not written.
  public var predictionsPath: String?
  /// Called with a task and the samples of it that are done.
  public var progress: (_ task: String, _ done: Int) -> Void = { _, _ in }

  /// The samples of a task that a method has answered.
  private struct Row {
    var labels: [String: Label]
    var sampleCount = 0
    var promptTokens = 0
    /// 0 to 1; empty where the suite's own program scores.
    var scores: [Double] = []
    var isYesOrNo = true
  }

  private var rows: [Row] = []
  /// Lines of answers by file.
  private var predictions: [String: [UInt8]] = [:]
  private var counts: [String: Int] = [:]
  private var answerLimits: Set<String> = []
  private var contextless = 0
  private let start = ContinuousClock.now

  public init() {}

  /// Creates the directory of predictions, so that it fails before time is spent on them.
  func createDirectory() throws(Refusal) {
    if let predictionsPath { try Directory.create(predictionsPath) }
  }

  /// A note that says how to score the predictions by the suite's own rules.
  func scoringNote(_ suite: String) -> [String] {
    guard let predictionsPath else { return [] }
    let files = Set(predictions.keys.map { "\(predictionsPath)/\($0.prefix { $0 != "/" })/*/*.jsonl" })
    return [
      "score the predictions with .build/python/bin/python Tools/score/score.py \(suite) "
        + files.sorted().joined(separator: " ")
    ]
  }

  /// Reads samples line by line and asks those that are wanted.
  /// - Throws: `Refusal` `malformed-json` and `malformed-sample`, naming the line; and those of asking.
  mutating func ask(
    _ model: LanguageModel, linesOf path: String, _ sample: (JSONValue) throws(SampleFault) -> SuiteSample
  ) async throws {
    var reader = try LineReader(path)
    while let line = try reader.next() {
      guard line.contains(where: { $0 > 0x20 }) else { continue }
      let structure = "line \(reader.lineNumber)"
      do {
        let sample = try sample(try JSONValue(parsingFile: line))
        if sampleLimit.map({ counts[sample.task, default: 0] < $0 }) ?? true { try await ask(model, sample) }
      } catch let error as JSONError {
        throw Refusal(
          .malformedJSON, file: path, structure: "\(structure), column \(error.column)", error.reason)
      } catch let error as SampleFault {
        throw Refusal(.malformedSample, file: path, structure: "\(structure), \(error.field)", error.fault)
      }
    }
  }

  /// Asks one sample by every method and counts it.
  mutating func ask(_ model: LanguageModel, _ sample: SuiteSample, labels: [String: Label] = [:]) async throws {
    for answer in try await answers(model, sample) {
      let labels = labels.merging(answer.method.labels) { $1 }.merging(["task": .text(sample.task)]) { $1 }
      let index = rows.firstIndex { $0.labels == labels } ?? rows.count
      if index == rows.count { rows.append(Row(labels: labels)) }
      rows[index].sampleCount += 1
      rows[index].promptTokens += answer.promptTokens
      if let rule = sample.rule {
        rows[index].scores.append(rule.score(answer.text))
        rows[index].isYesOrNo = rows[index].isYesOrNo && rule.isYesOrNo
      }
      if let limit = answer.limit { answerLimits.insert("\(sample.task): \(limit)") }
      if answer.method.policyName != nil, answer.contextChunks == 0 { contextless += 1 }
      let file = sample.record.path.replacing("*", with: answer.method.fileName)
      predictions[file, default: []] += sample.record.line(answer.text).canonical + [UInt8(ascii: "\n")]
    }
    counts[sample.task, default: 0] += 1
    progress(sample.task, counts[sample.task, default: 0])
  }

  /// A row for every task and method: `score` in percent with its interval, or else `samples`; and `prompt`, the mean of
  /// the prompts' tokens.
  func resultRows() -> [EvaluationResult.Row] {
    rows.map { row in
      var measures = ["prompt": Measure(Double(row.promptTokens) / Double(row.sampleCount))]
      if row.scores.isEmpty {
        measures["samples"] = Measure(Double(row.sampleCount))
      } else {
        measures["score"] = Bootstrap().mean(of: row.scores, areYesOrNo: row.isYesOrNo).mapped { 100 * $0 }
      }
      return EvaluationResult.Row(labels: row.labels, measures: measures)
    }
  }

  /// Writes the predictions and makes the table.
  /// - Parameter averages: rows that follow those of the tasks.
  func finish(
    _ name: String, _ model: LanguageModel, settings: [JSONValue.Member], columns: [String],
    averages: [EvaluationResult.Row] = [], notes: [String]
  ) throws(Refusal) -> EvaluationResult {
    var notes = notes
    if let predictionsPath {
      for (file, lines) in predictions {
        var folder = predictionsPath
        for part in file.split(separator: "/").dropLast() {
          folder += "/\(part)"
          try Directory.create(folder)
        }
        try PublishedFile.write(lines, to: "\(predictionsPath)/\(file)")
      }
    }
    if !answerLimits.isEmpty {
      notes.append(
        "the window leaves fewer tokens for answers than the suite allows: "
          + answerLimits.sorted().joined(separator: ", "))
    }
    if contextless > 0 { notes.append("prompts that fitted the window and had no context: \(contextless)") }
    if model.injectionIsUntrained { notes.append("the injection of this model is untrained (merged softmax)") }
    return EvaluationResult(
      protocolName: name, model: EvaluationResult.Model(model),
      settings: [
        JSONValue.Member("window", .integer(model.configuration.maxPositionCount)),
        JSONValue.Member("chunk", model.runtime.treeShape.map { .integer($0.chunkSize) } ?? .null),
        JSONValue.Member("rows", .string("\(encoding)")),
        JSONValue.Member("prompt_limit", promptLimit.map(JSONValue.integer) ?? .null),
        JSONValue.Member("sample_limit", sampleLimit.map(JSONValue.integer) ?? .null),
        JSONValue.Member("chat_template", .boolean(usesChatTemplate && model.chatTemplate != nil)),
      ] + settings, columns: columns, rows: resultRows() + averages, notes: notes,
      seconds: (ContinuousClock.now - start).seconds)
  }
}
