import CanonicalJSON
import EvaluationTasks
import FileAccess
public import SharedPack

/// The files that LongBench is read with.
public struct LongBenchFiles: Sendable {
  /// Lines of samples.
  public var samples: [String]
  /// The task of samples that do not name theirs; nil takes the file's name.
  public var task: String?
  /// `dataset2prompt.json`; nil takes our own prompts.
  public var prompts: String?
  /// `dataset2maxlen.json`; nil takes the published lengths.
  public var maxNewTokens: String?
  /// The directory of the package jieba, or its `dict.txt` alone; nil takes every Chinese character as a word.
  public var jieba: String?

  public init(
    samples: [String], task: String? = nil, prompts: String? = nil, maxNewTokens: String? = nil,
    jieba: String? = nil
  ) {
    self.samples = samples
    self.task = task
    self.prompts = prompts
    self.maxNewTokens = maxNewTokens
    self.jieba = jieba
  }
}

extension BenchmarkRun {
  /// LongBench, or LongBench-E: scores by task, by class of lengths where samples tell them, and by group.
  /// - Throws: `Refusal` `malformed-sample`, `malformed-prompts` and others.
  public mutating func longBench(_ model: LanguageModel, _ files: LongBenchFiles) async throws -> EvaluationResult {
    let prompts = try BenchmarkFile.prompts(files.prompts, defaults: LongBench.prompts)
    var counts: [String: Int] = [:]
    if let path = files.maxNewTokens {
      let json = try BenchmarkFile.json(path)
      do throws(SampleFault) {
        counts = try PromptTemplates.counts(json)
      } catch {
        throw Refusal(.malformedPrompts, file: path, structure: error.field, error.fault)
      }
    }
    let words = try Self.segmenter(jieba: files.jieba)
    for path in files.samples {
      let name = files.task ?? Self.taskName(path)
      try await lines(of: path, ask: model) { json throws(SampleFault) in
        try LongBench.sample(json, task: name, prompts: prompts, maxNewTokens: counts, words: words)
      }
    }
    var notes = ["scores are percents, with the metrics of the published program"]
    if files.prompts == nil { notes.append("prompts are our own: not comparable with published scores") }
    notes.append(Self.note(words))
    return try finish(
      "longbench", model,
      settings: [
        JSONValue.Member("prompts", .string(files.prompts == nil ? "own" : "given")),
        JSONValue.Member(
          "chinese_words", .string(words.hasBoundaryModel ? "jieba" : words.hasDictionary ? "dictionary" : "characters")
        ),
      ],
      columns: ["task", "length", "method", "policy", "expansion", "score", "prompt"],
      averages: Self.groupAverages(currentScores),
      notes: notes)
  }

  static func groupAverages(_ scores: BenchmarkScores) -> [EvaluationResult.Row] {
    scores.averages(over: "task") { row in
      guard row.labels["length"] == nil, case .text(let task)? = row.labels["task"] else { return nil }
      return LongBench.task(named: task).map { "average, \($0.group.rawValue)" }
    }
  }

  static func note(_ words: WordSegmenter) -> String {
    if words.hasBoundaryModel { return "Chinese words are jieba's" }
    return words.hasDictionary
      ? "Chinese words are jieba's without its hidden Markov model: not comparable with published scores"
      : "Chinese words are single characters, not jieba's: not comparable with published scores"
  }

  static func segmenter(jieba path: String?) throws(Refusal) -> WordSegmenter {
    guard let path else { return .characters }
    func text(_ path: String) throws(Refusal) -> String {
      String(decoding: try DocumentSource(name: path, path: path).text(), as: UTF8.self)
    }
    let isPackage = Directory.exists(path) == .directory
    let dictionary = try text(isPackage ? path + "/dict.txt" : path)
    var boundaries: WordSegmenter.BoundaryProbabilities?
    if isPackage {
      boundaries = WordSegmenter.BoundaryProbabilities(
        start: try text(path + "/finalseg/prob_start.py"), transitions: try text(path + "/finalseg/prob_trans.py"),
        emissions: try text(path + "/finalseg/prob_emit.py"))
    }
    do throws(SampleFault) {
      return try WordSegmenter(dictionary: dictionary, boundaries: boundaries)
    } catch {
      throw Refusal(.malformedSample, file: path, structure: error.field, error.fault)
    }
  }

  /// The last part of a path without its ending.
  static func taskName(_ path: String) -> String {
    let name = Directory.split(path).name
    return name.lastIndex(of: ".").map { String(name[..<$0]) } ?? name
  }
}
