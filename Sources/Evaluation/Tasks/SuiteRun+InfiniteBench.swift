import CanonicalJSON
public import EvaluationTasks
public import FileAccess
public import SharedPack

extension SuiteRun {
  /// InfiniteBench: answers to the samples of files.
  /// - Parameters:
  ///   - files: lines of samples.
  ///   - task: of all files; nil takes each file's name.
  ///   - promptsPath: an object of templates by task; nil takes our own.
  /// - Throws: `Refusal` `unknown-task`, `malformed-sample`, `malformed-prompts` and others.
  public mutating func infiniteBench(
    _ model: LanguageModel, files: [String], task: InfiniteBench.Task? = nil, promptsPath: String? = nil
  ) async throws -> EvaluationResult {
    let prompts = try Self.prompts(promptsPath, defaults: InfiniteBench.prompts)
    try createDirectory()
    for path in files {
      guard let task = task ?? InfiniteBench.Task(rawValue: Self.taskName(path)) else {
        throw Refusal(
          .unknownTask, file: path,
          "its name is not a task of InfiniteBench; the tasks are "
            + InfiniteBench.Task.allCases.map(\.rawValue).joined(separator: ", "))
      }
      try await ask(model, linesOf: path) { json throws(SampleFault) in
        try InfiniteBench.sample(json, task: task, prompts: prompts)
      }
    }
    return try finishAnswers("infinitebench", model, ownPrompts: promptsPath == nil)
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
