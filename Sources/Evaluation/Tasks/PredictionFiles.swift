import CanonicalJSON
public import EvaluationTasks
import FileAccess

/// Scores of answers that are in files already, as the published programs of benchmarks write them. No model is needed.
public enum PredictionFiles {
  /// Lines of `pred`, `answers`, `all_classes` and `length`: scores by task, class of lengths and group.
  /// - Parameters:
  ///   - files: each is named by its task, and the directory that it is in by what answered.
  ///   - task: of all files; nil takes each file's name.
  ///   - jieba: the directory of the package, or its `dict.txt` alone; nil takes every Chinese character as a word.
  /// - Throws: `Refusal` `malformed-json`, `malformed-sample` and those of reading a file.
  public static func longBench(
    _ files: [String], task: String?, jieba: String?
  ) throws -> EvaluationResult {
    let words = try BenchmarkRun.segmenter(jieba: jieba)
    var scores = BenchmarkScores()
    for path in files {
      let name = task ?? BenchmarkRun.taskName(path)
      try add(path, to: &scores) { json throws(SampleFault) in
        try LongBench.prediction(json, task: name, words: words)
      }
    }
    return result(
      "longbench", scores, columns: ["task", "length", "source", "score"],
      averages: BenchmarkRun.groupAverages(scores), notes: [BenchmarkRun.note(words)])
  }

  /// Lines of `prediction` and `ground_truth`: scores by task.
  /// - Parameter task: of all files; nil takes each file's name, without `preds_`.
  /// - Throws: `Refusal` `unknown-task`, `malformed-json`, `malformed-sample` and those of reading a file.
  public static func infiniteBench(_ files: [String], task: InfiniteBench.Task?) throws -> EvaluationResult {
    var scores = BenchmarkScores()
    for path in files {
      let task = try task ?? BenchmarkRun.infiniteBenchTask(path)
      try add(path, to: &scores) { json throws(SampleFault) in try InfiniteBench.prediction(json, task: task) }
    }
    return result("infinitebench", scores, columns: ["task", "source", "score"], averages: [], notes: [])
  }

  private static func add(
    _ path: String, to scores: inout BenchmarkScores,
    _ prediction: (JSONValue) throws(SampleFault) -> BenchmarkPrediction
  ) throws {
    let folder = Directory.split(path).directory
    let source = Label.text(folder.split(separator: "/").last.map(String.init) ?? folder)
    var reader = try SampleReader(path)
    while let read = try reader.next(prediction) {
      let labels = ["task": .text(read.task), "source": source]
      scores.add(read.score, labels: labels)
      if let length = read.lengthClass {
        scores.add(read.score, labels: labels.merging(["length": .text(length)]) { $1 })
      }
    }
  }

  private static func result(
    _ name: String, _ scores: BenchmarkScores, columns: [String], averages: [EvaluationResult.Row], notes: [String]
  ) -> EvaluationResult {
    EvaluationResult(
      protocolName: name, model: nil, settings: [], columns: columns, rows: scores.resultRows() + averages,
      notes: ["scores are percents of given answers, with the rules of the published program"] + notes)
  }
}
