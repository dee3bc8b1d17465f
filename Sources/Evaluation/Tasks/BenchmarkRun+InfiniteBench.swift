import CanonicalJSON
public import EvaluationTasks
public import FileAccess
public import SharedPack

extension BenchmarkRun {
  /// InfiniteBench: scores by task.
  /// - Parameters:
  ///   - files: lines of samples.
  ///   - task: of all files; nil takes each file's name.
  ///   - promptsPath: an object of templates by task; nil takes our own.
  /// - Throws: `Refusal` `unknown-task`, `malformed-sample`, `malformed-prompts` and others.
  public mutating func infiniteBench(
    _ model: LanguageModel, files: [String], task: InfiniteBench.Task?, promptsPath: String?
  ) async throws -> EvaluationResult {
    let prompts = try BenchmarkFile.prompts(promptsPath, defaults: InfiniteBench.prompts)
    for path in files {
      let task = try task ?? Self.infiniteBenchTask(path)
      try await lines(of: path, ask: model) { json throws(SampleFault) in
        try InfiniteBench.sample(json, task: task, prompts: prompts)
      }
    }
    var notes = ["scores are percents, with the rules of the published program"]
    if promptsPath == nil { notes.append("prompts are our own: not comparable with published scores") }
    return try finish(
      "infinitebench", model, settings: [JSONValue.Member("prompts", .string(promptsPath == nil ? "own" : "given"))],
      columns: ["task", "method", "policy", "expansion", "score", "prompt"], averages: [], notes: notes)
  }

  /// The task that a file is named by, with or without the `preds_` of predictions.
  static func infiniteBenchTask(_ path: String) throws(Refusal) -> InfiniteBench.Task {
    let name = taskName(path)
    guard let task = InfiniteBench.Task(rawValue: name.hasPrefix("preds_") ? String(name.dropFirst(6)) : name) else {
      throw Refusal(
        .unknownTask, file: path,
        "its name is no task of InfiniteBench, which are "
          + InfiniteBench.Task.allCases.map(\.rawValue).joined(separator: ", "))
    }
    return task
  }

  /// Writes samples of a synthetic task in the published form, at depths spread from the start to the end.
  /// - Throws: `Refusal` when the file cannot be written.
  public static func writeInfiniteBench(
    _ generator: InfiniteBenchGenerator, count: Int, to path: String
  ) throws(Refusal) {
    var generator = generator
    var file = try PublishedFile(creating: path)
    for number in 0..<count {
      let sample = generator.sample(number: number, depth: count > 1 ? Double(number) / Double(count - 1) : 0.5)
      try file.append(sample.canonical + [UInt8(ascii: "\n")])
    }
    try file.publish()
  }
}
