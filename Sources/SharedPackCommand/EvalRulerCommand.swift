import ArgumentParser
import CommandSupport
import Evaluation
import EvaluationTasks
import SharedPack

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

  @Option(
    help: ArgumentHelp("Write answers below this directory, as RULER's program does.", valueName: "directory"),
    completion: .directory)
  var predictions: String?

  @OptionGroup var suite: SuiteArguments

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
    options.seed = suite.asking.seed
    options.essays = try haystacks.map { try EvaluationSource(reading: $0) }
    options.squadPath = squad
    options.hotpotPath = hotpotqa
    var run = suite.run(predictions: predictions)
    try suite.output.finish(try await run.ruler(suite.open(model), options))
  }
}
