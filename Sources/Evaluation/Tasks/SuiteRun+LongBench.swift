import CanonicalJSON
import EvaluationTasks
public import FileAccess
public import SharedPack

extension SuiteRun {
  /// LongBench, or LongBench-E: answers to the samples of files.
  /// - Parameters:
  ///   - files: lines of samples.
  ///   - task: of samples that do not name theirs; nil takes the file's name.
  ///   - promptsPath: `dataset2prompt.json`; nil takes our own prompts.
  ///   - lengthsPath: `dataset2maxlen.json`; nil takes the published lengths.
  /// - Throws: `Refusal` `malformed-sample`, `malformed-prompts` and others.
  public mutating func longBench(
    _ model: LanguageModel, files: [String], task: String? = nil, promptsPath: String? = nil, lengthsPath: String? = nil
  ) async throws -> EvaluationResult {
    let prompts = try Self.prompts(promptsPath, defaults: LongBench.prompts)
    let lengths = try lengthsPath.map { (path) throws(Refusal) in
      try Self.read(path, .malformedPrompts, PromptTemplates.counts)
    }
    try createDirectory()
    for path in files {
      try await ask(model, linesOf: path) { json throws(SampleFault) in
        try LongBench.sample(
          json, task: task ?? Self.taskName(path), prompts: prompts, maxNewTokens: lengths ?? [:])
      }
    }
    return try finishAnswers("longbench", model, ownPrompts: promptsPath == nil)
  }

  /// The result of a suite that its own program scores.
  func finishAnswers(_ name: String, _ model: LanguageModel, ownPrompts: Bool) throws(Refusal) -> EvaluationResult {
    try finish(
      name, model, settings: [JSONValue.Member("prompts", .string(ownPrompts ? "own" : "given"))],
      columns: ["task", "method", "policy", "expansion", "samples", "prompt"],
      notes: scoringNote(name) + (ownPrompts ? ["prompts are our own: not comparable with published scores"] : []))
  }

  /// The last part of a path without its ending.
  static func taskName(_ path: String) -> String {
    let name = Directory.split(path).name
    return name.lastIndex(of: ".").map { String(name[..<$0]) } ?? name
  }

  static func prompts(_ path: String?, defaults: PromptTemplates) throws(Refusal) -> PromptTemplates {
    guard let path else { return defaults }
    return try read(path, .malformedPrompts) { json throws(SampleFault) in
      try PromptTemplates(json, defaults: defaults)
    }
  }

  /// Reads a file that a suite publishes beside its samples.
  /// - Throws: `Refusal` `malformed-json` and the one that is named.
  static func read<Value>(
    _ path: String, _ name: Refusal.Name, _ value: (JSONValue) throws(SampleFault) -> Value
  ) throws(Refusal) -> Value {
    let json = try JSONValue(reading: path, limit: 1 << 28)
    do throws(SampleFault) {
      return try value(json)
    } catch {
      throw Refusal(name, file: path, structure: error.field, error.fault)
    }
  }
}

extension Refusal.Name {
  public static let malformedSample = Refusal.Name("malformed-sample", .badInput)
  public static let malformedPrompts = Refusal.Name("malformed-prompts", .badInput)
  public static let unknownTask = Refusal.Name("unknown-task", .badInput)
}
