import ArgumentParser
import CommandSupport
import Evaluation
import EvaluationTasks
import SharedPack

/// The options of suites of tasks.
struct SuiteArguments: ParsableArguments {
  @Option(help: ArgumentHelp("Samples of each task, at most; all without it.", valueName: "count"))
  var limit: Int?

  @Option(
    help: ArgumentHelp("Tokens of a prompt; of longer ones the first and the last half are kept.", valueName: "tokens"))
  var promptLimit: Int?

  @Flag(help: "Ask without the model's chat template, if it has one.")
  var raw = false

  @OptionGroup var asking: AskingArguments
  @OptionGroup var positions: PositionArguments
  @OptionGroup var output: EvalOutputOptions

  func validate() throws {
    guard limit.map({ $0 > 0 }) ?? true, promptLimit.map({ $0 > 1 }) ?? true else {
      throw ValidationError("--limit must be at least 1, --prompt-limit at least 2.")
    }
  }

  func open(_ model: String) throws -> LanguageModel {
    try positions.open(model, threads: asking.threads)
  }

  /// - Parameter predictions: the directory that answers are written to.
  func run(predictions: String?) -> SuiteRun {
    var run = SuiteRun()
    run.methods = asking.contextMethods
    run.encoding = asking.kv.encoding
    run.promptLimit = promptLimit
    run.usesChatTemplate = !raw
    run.sampleLimit = limit
    run.predictionsPath = predictions
    if output.output.progress == .plain {
      run.progress = { task, done in Console.error("eval: \(task), \(Format.count(done, "sample"))") }
    }
    return run
  }
}

/// The options of suites that are read from files and scored by their own programs.
struct SuiteFileArguments: ParsableArguments {
  @Argument(help: "The model pack.", completion: .file(extensions: ["spk"]))
  var model: String

  @Argument(help: "Files of samples, a line of JSON each.", completion: .file(extensions: ["jsonl"]))
  var files: [String]

  @Option(
    help: ArgumentHelp(
      "Templates by task: an object with fields in braces, as LongBench's dataset2prompt.json.", valueName: "file"),
    completion: .file())
  var prompts: String?

  @Option(
    help: ArgumentHelp("Write answers below this directory.", valueName: "directory"), completion: .directory)
  var predictions: String

  @OptionGroup var suite: SuiteArguments

  func validate() throws {
    guard !files.isEmpty else { throw ValidationError("Name a file of samples.") }
  }

  var run: SuiteRun { suite.run(predictions: predictions) }
}

struct EvalLongBenchCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "longbench",
    abstract: "Answer LongBench files, for its own scorer.",
    discussion: """
      sharedpack eval longbench model.spk data/*.jsonl --predictions answers
      sharedpack eval longbench model.spk hotpotqa.jsonl --predictions answers \\
        --prompts dataset2prompt.json --prompt-limit 3500
      .build/python/bin/python Tools/score/score.py longbench answers/pred/*/*.jsonl

      Prompts are the published ones where dataset2prompt.json is given. Answers are
      written as the published program writes them, a directory for each method, for
      its scorer or for Tools/score.
      """)

  @OptionGroup var input: SuiteFileArguments

  @Option(help: ArgumentHelp("The task of samples that do not name theirs.", valueName: "name"))
  var task: String?

  @Option(help: ArgumentHelp("Answer lengths by task, as dataset2maxlen.json.", valueName: "file"), completion: .file())
  var answerLengths: String?

  func validate() throws {
    guard task.map({ LongBench.task(named: $0) != nil }) ?? true else {
      throw ValidationError("--task is one of \(LongBench.tasks.map(\.name).joined(separator: ", ")).")
    }
  }

  func run() async throws {
    var run = input.run
    try input.suite.output.finish(
      try await run.longBench(
        input.suite.open(input.model), files: input.files, task: task, promptsPath: input.prompts,
        lengthsPath: answerLengths))
  }
}

struct EvalInfiniteBenchCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "infinitebench",
    abstract: "Answer InfiniteBench files, for its own scorer.",
    discussion: """
      sharedpack eval infinitebench model.spk passkey.jsonl kv_retrieval.jsonl \\
        --predictions answers --prompt-limit 128000
      .build/python/bin/python Tools/score/score.py infinitebench \\
        answers/results/*/*.jsonl

      Files are named by their task, as published, unless --task tells it. Answers
      are written as the published program writes them, a directory for each method,
      for its scorer or for Tools/score.
      """)

  @OptionGroup var input: SuiteFileArguments

  @Option(help: ArgumentHelp("The task of all files.", valueName: "name"))
  var task: NameArgument<InfiniteBench.Task>?

  func run() async throws {
    var run = input.run
    try input.suite.output.finish(
      try await run.infiniteBench(
        input.suite.open(input.model), files: input.files, task: task?.value, promptsPath: input.prompts))
  }
}

struct EvalInfiniteBenchDataCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "infinitebench-data",
    abstract: "Make samples of InfiniteBench's synthetic tasks.",
    discussion: """
      sharedpack eval infinitebench-data passkey passkey.jsonl
      sharedpack eval infinitebench-data code_run code_run.jsonl --size 50

      Tasks: \(InfiniteBenchGenerator.tasks.map(\.rawValue).joined(separator: ", ")).
      """)

  @Argument(help: "The task.")
  var task: NameArgument<InfiniteBench.Task>

  @Argument(help: "The file to write.", completion: .file(extensions: ["jsonl"]))
  var file: String

  @Option(help: ArgumentHelp("Samples.", valueName: "count"))
  var samples = 10

  @Option(
    help: ArgumentHelp(
      "Lines of noise, pairs, functions, terms or numbers; as published without it.", valueName: "count"))
  var size: Int?

  @Option(help: ArgumentHelp("The same seed makes the same samples.", valueName: "number"))
  var seed: UInt64 = 1

  func validate() throws {
    guard samples > 0, size.map({ (10...10_000_000).contains($0) }) ?? true else {
      throw ValidationError("--samples must be at least 1, --size 10 to 10000000.")
    }
    guard InfiniteBenchGenerator.tasks.contains(task.value) else {
      throw ValidationError("\(task.value.rawValue) is made of people's texts, not by a program.")
    }
  }

  func run() throws {
    guard let generator = InfiniteBenchGenerator(task.value, size: size, seed: seed) else { return }
    try SuiteRun.writeInfiniteBench(generator, count: samples, to: file)
  }
}
