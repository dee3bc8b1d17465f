public import CanonicalJSON

/// LongBench: 21 tasks in English, Chinese and code, a line of JSON a sample.
///
/// Source: Y. Bai et al., LongBench, arXiv 2308.14508; metrics, answer lengths and groups are those of its repository.
public enum LongBench {
  /// What a task is and how it is scored.
  public struct Task: Sendable {
    public let name: String
    public let group: Group
    public let metric: Metric
    public let maxNewTokens: Int
    /// Whether only the first line of an answer counts.
    public let readsFirstLine: Bool
    /// Whether the prompt goes into a chat template where the model has one. Not where examples or code show the form.
    public let usesChatTemplate: Bool

    fileprivate init(
      _ name: String, _ group: Group, _ metric: Metric, _ maxNewTokens: Int, readsFirstLine: Bool = false,
      usesChatTemplate: Bool = true
    ) {
      self.name = name
      self.group = group
      self.metric = metric
      self.maxNewTokens = maxNewTokens
      self.readsFirstLine = readsFirstLine
      self.usesChatTemplate = usesChatTemplate
    }
  }

  public enum Group: String, Sendable, CaseIterable {
    case singleDocument = "single-document QA"
    case multiDocument = "multi-document QA"
    case summarization
    case fewShot = "few-shot"
    case synthetic
    case code
  }

  public enum Metric: String, Sendable, CaseIterable {
    case questionF1 = "qa-f1"
    case chineseF1 = "qa-f1-zh"
    case rouge = "rouge-l"
    case chineseRouge = "rouge-l-zh"
    case classification, retrieval
    case chineseRetrieval = "retrieval-zh"
    case count
    case code = "code-similarity"
  }

  public static let tasks: [Task] = [
    Task("narrativeqa", .singleDocument, .questionF1, 128), Task("qasper", .singleDocument, .questionF1, 128),
    Task("multifieldqa_en", .singleDocument, .questionF1, 64), Task("multifieldqa_zh", .singleDocument, .chineseF1, 64),
    Task("hotpotqa", .multiDocument, .questionF1, 32), Task("2wikimqa", .multiDocument, .questionF1, 32),
    Task("musique", .multiDocument, .questionF1, 32), Task("dureader", .multiDocument, .chineseRouge, 128),
    Task("gov_report", .summarization, .rouge, 512), Task("qmsum", .summarization, .rouge, 512),
    Task("multi_news", .summarization, .rouge, 512), Task("vcsum", .summarization, .chineseRouge, 512),
    Task("trec", .fewShot, .classification, 64, readsFirstLine: true, usesChatTemplate: false),
    Task("triviaqa", .fewShot, .questionF1, 32, readsFirstLine: true, usesChatTemplate: false),
    Task("samsum", .fewShot, .rouge, 128, readsFirstLine: true, usesChatTemplate: false),
    Task("lsht", .fewShot, .classification, 64, readsFirstLine: true, usesChatTemplate: false),
    Task("passage_count", .synthetic, .count, 32), Task("passage_retrieval_en", .synthetic, .retrieval, 32),
    Task("passage_retrieval_zh", .synthetic, .chineseRetrieval, 32),
    Task("lcc", .code, .code, 64, usesChatTemplate: false),
    Task("repobench-p", .code, .code, 64, usesChatTemplate: false),
  ]

  /// The bounds of the length classes of LongBench-E, in words as the samples give them.
  public static func lengthClass(_ length: Int) -> String { length < 4000 ? "0-4k" : length < 8000 ? "4-8k" : "8k+" }

  /// A task by the name that samples give; LongBench-E appends `_e`.
  public static func task(named name: String) -> Task? {
    let name = name.hasSuffix("_e") ? String(name.dropLast(2)) : name
    return tasks.first { $0.name == name }
  }

  /// Reads one line of a published file.
  /// - Parameters:
  ///   - name: the task, where the sample does not say.
  ///   - prompts: published templates by task, or ours.
  ///   - maxNewTokens: published answer lengths by task.
  /// - Throws: `SampleFault`.
  public static func sample(
    _ json: JSONValue, task name: String?, prompts: PromptTemplates, maxNewTokens: [String: Int] = [:],
    words: WordSegmenter = .characters
  ) throws(SampleFault) -> BenchmarkSample {
    let fields = SampleFields(json)
    let task = try statedTask(json, name)
    let answers = try fields.texts("answers")
    let prompt = try prompts.prompt(
      for: task.name, ["context": fields.text("context"), "input": fields.text("input")])
    return BenchmarkSample(
      identifier: json["_id"]?.string ?? "", task: task.name, prompt: prompt, answers: answers,
      maxNewTokens: maxNewTokens[task.name] ?? task.maxNewTokens,
      stopStrings: task.name == "samsum" ? ["\n"] : [], usesChatTemplate: task.usesChatTemplate,
      lengthClass: json["length"]?.integer.map(lengthClass), score: try scorer(of: task, json, words))
  }

  /// Reads one line of the predictions that the published program writes: `pred`, `answers`, `all_classes`, `length`.
  /// - Parameter name: the task, where the line does not say.
  /// - Throws: `SampleFault`.
  public static func prediction(
    _ json: JSONValue, task name: String?, words: WordSegmenter = .characters
  ) throws(SampleFault) -> BenchmarkPrediction {
    let task = try statedTask(json, name)
    let score = try scorer(of: task, json, words)
    return BenchmarkPrediction(
      task: task.name, lengthClass: json["length"]?.integer.map(lengthClass),
      score: score(try SampleFields(json).text("pred")))
  }

  private static func statedTask(_ json: JSONValue, _ name: String?) throws(SampleFault) -> Task {
    let stated = json["dataset"]?.string ?? name
    guard let stated, let task = task(named: stated) else {
      throw SampleFault("dataset", stated.map { "\"\($0)\" is no task of LongBench" } ?? "is missing")
    }
    return task
  }

  /// What an answer to a sample is worth, 0 to 1: the best over the right answers.
  private static func scorer(
    of task: Task, _ json: JSONValue, _ words: WordSegmenter
  ) throws(SampleFault) -> @Sendable (String) -> Double {
    let fields = SampleFields(json)
    let answers = try fields.texts("answers")
    guard !answers.isEmpty else { throw SampleFault("answers", "has none") }
    let classes = json["all_classes"] == nil || json["all_classes"] == .null ? [] : try fields.texts("all_classes")
    switch task.metric {
    case .classification where classes.isEmpty: throw SampleFault("all_classes", "is missing")
    case .retrieval, .chineseRetrieval:
      guard answers.allSatisfy({ LongBenchMetrics.paragraph($0, task.metric) != nil }) else {
        throw SampleFault("answers", "names no paragraph")
      }
    default: break
    }
    return { prediction in
      let prediction = task.readsFirstLine ? LongBenchMetrics.firstLine(prediction) : prediction
      return answers.map {
        LongBenchMetrics.score(task.metric, prediction, $0, classes: classes, words: words)
      }.max() ?? 0
    }
  }
}
