import ArgumentParser
import Evaluation
import EvaluationTasks
import SharedPack

/// The options of benchmarks.
struct BenchmarkArguments: ParsableArguments {
  @Option(help: ArgumentHelp("Samples of each task, at most; all without it.", valueName: "count"))
  var limit: Int?

  @Option(
    help: ArgumentHelp("Tokens of a prompt; of longer ones the first and the last half are kept.", valueName: "tokens"))
  var promptLimit: Int?

  @Flag(help: "Ask without the model's chat template, if it has one.")
  var raw = false

  @Option(
    help: ArgumentHelp("Write every answer, a line of JSON each.", valueName: "file"),
    completion: .file(extensions: ["jsonl"]))
  var predictions: String?

  @OptionGroup var asking: AskingArguments
  @OptionGroup var output: EvalOutputOptions

  func validate() throws {
    guard limit.map({ $0 > 0 }) ?? true, promptLimit.map({ $0 > 1 }) ?? true else {
      throw ValidationError("--limit must be at least 1, --prompt-limit at least 2.")
    }
  }

  func open(_ model: String) throws -> LanguageModel {
    try LanguageModel(opening: model, threadCount: asking.threads?.count)
  }

  var run: BenchmarkRun {
    var run = BenchmarkRun()
    run.evaluation.methods = asking.contextMethods
    run.evaluation.encoding = asking.kv.encoding
    run.evaluation.promptLimit = promptLimit
    run.evaluation.usesChatTemplate = !raw
    run.sampleLimit = limit
    run.predictionsPath = predictions
    if output.output.progress == .plain {
      run.progress = { task, done in Console.error("eval: \(task), \(ProgressBar.count(done, "sample"))") }
    }
    return run
  }
}

/// How Chinese is cut into words.
struct ChineseArguments: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "The directory of the package jieba, to cut Chinese into words; else every character is one.", valueName: "path"),
    completion: .directory)
  var jieba: String?
}

struct EvalLongBenchCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "longbench",
    abstract: "Score a model on LongBench files.",
    discussion: """
      sharedpack eval longbench model.spk data/*.jsonl --output longbench.json
      sharedpack eval longbench model.spk hotpotqa.jsonl \\
        --prompts dataset2prompt.json --prompt-limit 3500

      Metrics are those of the published program; so are prompts, where its
      dataset2prompt.json is given.
      """)

  @Argument(help: "The model pack.", completion: .file(extensions: ["spk"]))
  var model: String

  @Argument(help: "Files of samples, a line of JSON each.", completion: .file(extensions: ["jsonl"]))
  var files: [String]

  @Option(help: ArgumentHelp("The task of samples that do not name theirs.", valueName: "name"))
  var task: String?

  @Option(help: ArgumentHelp("Templates by task, as dataset2prompt.json.", valueName: "file"), completion: .file())
  var prompts: String?

  @Option(help: ArgumentHelp("Answer lengths by task, as dataset2maxlen.json.", valueName: "file"), completion: .file())
  var answerLengths: String?

  @OptionGroup var chinese: ChineseArguments

  @OptionGroup var benchmark: BenchmarkArguments

  func validate() throws {
    guard !files.isEmpty else { throw ValidationError("Name a file of samples.") }
    guard task.map({ LongBench.task(named: $0) != nil }) ?? true else {
      throw ValidationError("--task is one of \(LongBench.tasks.map(\.name).joined(separator: ", ")).")
    }
  }

  func run() async throws {
    var run = benchmark.run
    try benchmark.output.finish(
      try await run.longBench(
        benchmark.open(model),
        LongBenchFiles(
          samples: files, task: task, prompts: prompts, maxNewTokens: answerLengths, jieba: chinese.jieba)))
  }
}

struct EvalInfiniteBenchCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "infinitebench",
    abstract: "Score a model on InfiniteBench files.",
    discussion: """
      sharedpack eval infinitebench model.spk passkey.jsonl kv_retrieval.jsonl
      sharedpack eval infinitebench model.spk passkey.jsonl --prompt-limit 128000

      Files are named by their task, as published, unless --task tells it.
      """)

  @Argument(help: "The model pack.", completion: .file(extensions: ["spk"]))
  var model: String

  @Argument(help: "Files of samples, a line of JSON each.", completion: .file(extensions: ["jsonl"]))
  var files: [String]

  @Option(help: ArgumentHelp("The task of all files.", valueName: "name"))
  var task: NameArgument<InfiniteBench.Task>?

  @Option(
    help: ArgumentHelp("Templates by task: an object with fields in braces.", valueName: "file"), completion: .file())
  var prompts: String?

  @OptionGroup var benchmark: BenchmarkArguments

  func validate() throws {
    guard !files.isEmpty else { throw ValidationError("Name a file of samples.") }
  }

  func run() async throws {
    var run = benchmark.run
    try benchmark.output.finish(
      try await run.infiniteBench(benchmark.open(model), files: files, task: task?.value, promptsPath: prompts))
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
    try BenchmarkRun.writeInfiniteBench(generator, count: samples, to: file)
  }
}

/// A benchmark whose answers can be scored without a model.
enum ScoredBenchmark: String, CaseIterable {
  case longBench = "longbench"
  case infiniteBench = "infinitebench"
}

struct EvalScoreCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "score",
    abstract: "Score answers that are in files already.",
    discussion: """
      sharedpack eval score longbench pred/llama2-7b-chat/*.jsonl
      sharedpack eval score infinitebench results/gpt4/preds_passkey.jsonl

      Takes the predictions that the published programs of LongBench and
      InfiniteBench write, of any model, and scores them by the same rules. Files are
      named by their task, unless --task tells it, and stand in a directory that is
      named by what answered.
      """)

  @Argument(help: "longbench or infinitebench.")
  var benchmark: NameArgument<ScoredBenchmark>

  @Argument(help: "Files of predictions, a line of JSON each.", completion: .file(extensions: ["jsonl"]))
  var files: [String]

  @Option(help: ArgumentHelp("The task of all files.", valueName: "name"))
  var task: String?

  @OptionGroup var chinese: ChineseArguments

  @OptionGroup var output: EvalOutputOptions

  func validate() throws {
    guard !files.isEmpty else { throw ValidationError("Name a file of predictions.") }
    let names =
      switch benchmark.value {
      case .longBench: LongBench.tasks.map(\.name)
      case .infiniteBench: InfiniteBench.Task.allCases.map(\.rawValue)
      }
    guard task.map(names.contains) ?? true else {
      throw ValidationError("--task is one of \(names.joined(separator: ", ")).")
    }
    guard chinese.jieba == nil || benchmark.value == .longBench else {
      throw ValidationError("--jieba is for longbench; InfiniteBench takes Chinese character by character.")
    }
  }

  func run() throws {
    switch benchmark.value {
    case .longBench:
      try output.finish(try PredictionFiles.longBench(files, task: task, jieba: chinese.jieba))
    case .infiniteBench:
      try output.finish(
        try PredictionFiles.infiniteBench(files, task: task.flatMap(InfiniteBench.Task.init(rawValue:))))
    }
  }
}

struct EvalRulerCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "ruler",
    abstract: "Score a model on RULER's tasks.",
    discussion: """
      sharedpack eval ruler model.spk --haystack books/ --output ruler.json
      sharedpack eval ruler model.spk --task niah_single_1,vt --windows 1,8

      Tasks: niah_single_1, niah_single_2, niah_single_3, niah_multikey_1,
      niah_multikey_2, niah_multikey_3, niah_multivalue, niah_multiquery, vt, cwe,
      fwe, qa_1, qa_2.
      qa_1 and qa_2 need --squad and --hotpotqa and are skipped without them.
      """)

  @Argument(help: "The model pack.", completion: .file(extensions: ["spk"]))
  var model: String

  @Option(help: ArgumentHelp("Tasks; all without it.", valueName: "list"))
  var task: ListArgument<NameArgument<Ruler.Task>>?

  @Option(help: ArgumentHelp("Lengths of prompt and answer in windows of the model.", valueName: "list"))
  var windows = ListArgument([1, 2, 4])

  @Option(help: ArgumentHelp("Samples for each row.", valueName: "count"))
  var samples = 20

  @Option(
    name: .customLong("haystack"),
    help: ArgumentHelp(
      "Texts for essays: a file, a .zst file of texts, a directory. Repeatable.", valueName: "path"),
    completion: .file())
  var haystacks: [String] = []

  @Option(help: ArgumentHelp("SQuAD 2.0 as published, for qa_1.", valueName: "file"), completion: .file())
  var squad: String?

  @Option(
    help: ArgumentHelp("HotpotQA with distractors as published, for qa_2.", valueName: "file"), completion: .file())
  var hotpotqa: String?

  @OptionGroup var benchmark: BenchmarkArguments

  func validate() throws {
    guard samples > 0, windows.values.allSatisfy({ (1...4096).contains($0) }) else {
      throw ValidationError("--samples must be at least 1, --windows 1 to 4096.")
    }
  }

  func run() async throws {
    var options = RulerOptions()
    if let task { options.tasks = task.values.map(\.value) }
    options.windows = windows.values
    options.sampleCount = samples
    options.seed = benchmark.asking.seed
    options.essays = try haystacks.map { try EvaluationSource(reading: $0) }
    options.squadPath = squad
    options.hotpotPath = hotpotqa
    var run = benchmark.run
    try benchmark.output.finish(try await run.ruler(benchmark.open(model), options))
  }
}
