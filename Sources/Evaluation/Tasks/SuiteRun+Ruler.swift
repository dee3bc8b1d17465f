import CanonicalJSON
public import EvaluationTasks
import FileAccess
import ModelPacks
public import SharedPack
import Tokenization

/// How RULER's samples are made.
public struct RulerOptions: Sendable {
  public var tasks = Ruler.Task.allCases
  /// Lengths of prompt and answer together, in windows of the model.
  public var windows = [1, 2, 4]
  public var sampleCount = 20
  public var seed: UInt64 = 1
  /// Texts that needles are hidden in; the published noise if there are none.
  public var essays: [EvaluationSource] = []
  /// SQuAD 2.0 in its published form, for qa_1.
  public var squadPath: String?
  /// HotpotQA with distractors in its published form, for qa_2.
  public var hotpotPath: String?

  public init() {}
}

extension SuiteRun {
  /// RULER: scores by task and length, the average of the tasks, and the effective length.
  /// - Throws: `Refusal` `task-does-not-fit`, `malformed-sample` and others.
  public mutating func ruler(_ model: LanguageModel, _ options: RulerOptions) async throws -> EvaluationResult {
    let tokenizer = try model.requireTokenizer()
    var essay = ""
    for source in options.essays {
      for text in source.texts { essay += String(decoding: text, as: UTF8.self) + "\n" }
    }
    let generator = RulerGenerator(
      essay: essay,
      squad: try options.squadPath.map { (path) throws(Refusal) in
        try Self.read(path, .malformedSample) { json throws(SampleFault) in try QuestionSet(squad: json) }
      },
      hotpot: try options.hotpotPath.map { (path) throws(Refusal) in
        try Self.read(path, .malformedSample) { json throws(SampleFault) in try QuestionSet(hotpot: json) }
      },
      seed: options.seed
    ) { tokenizer.encode($0, addingBeginOfText: true).count }
    var notes = ["scores are percents of references found; words, prompts and haystacks are our own"]
    try createDirectory()
    for windows in options.windows {
      let length = windows * model.configuration.maxPositionCount
      for task in options.tasks where generator.canMake(task) {
        var samples: [SuiteSample] = []
        do throws(SampleFault) {
          let size = try generator.size(task, length: length)
          for number in 0..<options.sampleCount {
            samples.append(try generator.sample(task, size: size, length: length, number: number))
          }
        } catch {
          notes.append("\(error.field) is skipped at \(Label(windows)) windows: \(error.fault)")
        }
        for sample in samples { try await ask(model, sample, labels: ["windows": Label(windows)]) }
      }
    }
    let averages = Self.averages(resultRows())
    guard !averages.isEmpty else {
      throw Refusal(.taskDoesNotFit, file: model.pack.path, structure: "ruler", notes.last ?? "")
    }
    for task in options.tasks where !generator.canMake(task) {
      notes.append("\(task.rawValue) is skipped: its questions were not given")
    }
    if options.essays.isEmpty { notes.append("essays are the published noise, as no text was given") }
    notes += Self.effectiveLengths(averages)
    return try finish(
      "ruler", model,
      settings: [
        JSONValue.Member("samples", .integer(options.sampleCount)),
        JSONValue.Member("seed", .integer(Int(options.seed))),
        JSONValue.Member("essays", .array(options.essays.map { .string($0.domain) })),
      ],
      columns: ["windows", "task", "method", "policy", "expansion", "score", "prompt"], averages: averages, notes: notes
    )
  }

  /// The means over tasks of rows that differ in nothing else.
  private static func averages(_ rows: [EvaluationResult.Row]) -> [EvaluationResult.Row] {
    var groups: [(labels: [String: Label], scores: [Double])] = []
    for row in rows {
      guard let score = row.measures["score"]?.value else { continue }
      let labels = row.labels.merging(["task": "average"]) { $1 }
      if let index = groups.firstIndex(where: { $0.labels == labels }) {
        groups[index].scores.append(score)
      } else {
        groups.append((labels, [score]))
      }
    }
    return groups.map {
      EvaluationResult.Row(
        labels: $0.labels,
        measures: ["score": Measure($0.scores.reduce(0, +) / Double($0.scores.count), count: $0.scores.count)])
    }
  }

  /// The longest length of every method whose average reaches the threshold.
  private static func effectiveLengths(_ averages: [EvaluationResult.Row]) -> [String] {
    var lengths: [String: Double] = [:]
    for row in averages {
      let method = [row.labels["method"], row.labels["policy"]].compactMap { $0?.description }.joined(separator: " ")
      guard case .number(let windows)? = row.labels["windows"], let score = row.measures["score"]?.value else {
        continue
      }
      lengths[method] = max(lengths[method] ?? 0, score >= Ruler.effectiveThreshold ? windows : 0)
    }
    return lengths.sorted { $0.key < $1.key }.map { method, windows in
      windows > 0
        ? "effective length of \(method): \(Label.number(windows)) windows (average of \(Ruler.effectiveThreshold) or more)"
        : "\(method) has no effective length: no average reaches \(Ruler.effectiveThreshold)"
    }
  }
}
