public import CanonicalJSON

/// LongBench: 21 tasks in English, Chinese and code, one line of JSON for each sample.
///
/// Source: Y. Bai et al., LongBench, arXiv 2308.14508; answer lengths are those of its repository.
public enum LongBench {
  public struct Task: Sendable {
    public let name: String
    public let maxNewTokens: Int
    /// Whether the prompt goes into a chat template where the model has one. Not where examples or code show the form.
    public let usesChatTemplate: Bool

    fileprivate init(_ name: String, _ maxNewTokens: Int, usesChatTemplate: Bool = true) {
      self.name = name
      self.maxNewTokens = maxNewTokens
      self.usesChatTemplate = usesChatTemplate
    }
  }

  public static let tasks: [Task] = [
    Task("narrativeqa", 128), Task("qasper", 128), Task("multifieldqa_en", 64), Task("multifieldqa_zh", 64),
    Task("hotpotqa", 32), Task("2wikimqa", 32), Task("musique", 32), Task("dureader", 128), Task("gov_report", 512),
    Task("qmsum", 512), Task("multi_news", 512), Task("vcsum", 512), Task("trec", 64, usesChatTemplate: false),
    Task("triviaqa", 32, usesChatTemplate: false), Task("samsum", 128, usesChatTemplate: false),
    Task("lsht", 64, usesChatTemplate: false), Task("passage_count", 32), Task("passage_retrieval_en", 32),
    Task("passage_retrieval_zh", 32), Task("lcc", 64, usesChatTemplate: false),
    Task("repobench-p", 64, usesChatTemplate: false),
  ]

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
    _ json: JSONValue, task name: String?, prompts: PromptTemplates, maxNewTokens: [String: Int] = [:]
  ) throws(SampleFault) -> SuiteSample {
    guard let stated = json["dataset"]?.string ?? name else { throw SampleFault("dataset", "is missing") }
    guard let task = task(named: stated) else {
      throw SampleFault("dataset", "\"\(stated)\" is not a task of LongBench")
    }
    let fields = SampleFields(json)
    let answers = try fields.texts("answers")
    guard !answers.isEmpty else { throw SampleFault("answers", "has none") }
    return SuiteSample(
      task: task.name,
      prompt: try prompts.prompt(
        for: task.name, ["context": fields.text("context"), "input": fields.text("input")]),
      maxNewTokens: maxNewTokens[task.name] ?? task.maxNewTokens,
      stopStrings: task.name == "samsum" ? ["\n"] : [], usesChatTemplate: task.usesChatTemplate,
      record: AnswerRecord(
        path: "\(stated.hasSuffix("_e") ? "pred_e" : "pred")/*/\(task.name).jsonl", key: "pred",
        ["answers": json["answers"], "all_classes": json["all_classes"] ?? .null, "length": json["length"]]))
  }
}
