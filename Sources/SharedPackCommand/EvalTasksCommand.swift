import ArgumentParser
import CommandSupport
import ContextTrees
import Evaluation
import EvaluationTasks
import NodeBlocks
import SharedPack

/// The options of evaluations that ask questions.
struct AskingArguments: ParsableArguments {
  @Option(help: ArgumentHelp("How the context is seen: shared, truncated, streaming.", valueName: "list"))
  var methods = ListArgument([PerplexityOptions.Method.shared, .truncated].map(NameArgument.init))

  @Option(help: ArgumentHelp("How trees are searched: cosine, bm25, right, left, random.", valueName: "list"))
  var policy = ListArgument([PolicyArgument.cosine])

  @Option(
    help: ArgumentHelp(
      "How many nodes a policy that looks at the question opens: best-first, path, both:SHARE, none:SHARE, best-first:ROWS.",
      valueName: "list"))
  var expansion = ListArgument([TreeExpansion.bestFirst])

  @Option(help: ArgumentHelp("How rows are kept: int8, f16 or f32.", valueName: "form"))
  var kv = RowEncodingArgument.int8

  @Option(help: ArgumentHelp("The same seed makes the same samples.", valueName: "number"))
  var seed: UInt64 = 1

  @Option(help: ArgumentHelp("Threads that share the work, 1 to 1024.", valueName: "count"))
  var threads: ThreadCountArgument?

  var contextMethods: [ContextMethod] {
    methods.values.flatMap { method -> [ContextMethod] in
      switch method.value {
      case .shared: TreeSearch.all(policy.values, seed: seed, expansion.values).map { .shared($0) }
      case .truncated: [.truncated]
      case .streaming: [.streaming(sinks: 4)]
      }
    }
  }

  func validate() throws {
    guard seed <= UInt64(Int.max) else { throw ValidationError("--seed must be below 2^63.") }
  }
}

extension TreeSearch {
  /// Every policy with every expansion; a policy that does not look at the question comes once.
  static func all(_ policies: [PolicyArgument], seed: UInt64, _ expansions: [TreeExpansion]) -> [TreeSearch] {
    policies.flatMap { policy in
      let searches = expansions.map { TreeSearch(policy.policy(seed: seed), expansion: $0) }
      return searches.first?.policy.looksAtQuery == true ? searches : Array(searches.prefix(1))
    }
  }
}

struct EvalTasksCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "tasks",
    abstract: "Hide things in long contexts and ask for them.",
    discussion: """
      sharedpack eval tasks model.spk --haystack books/ --output tasks.json
      sharedpack eval tasks model.spk --task passkey,needle --windows 1,8,32

      Tasks: passkey, needle, multi-needle, key-value, repeat-context,
      second-question, repeated-context, boundary.
      Samples of passkey and needle are made for every length and depth, those of the
      others for every length. All methods and policies see the same samples:
        shared     trees of the context, searched with the question
        truncated  the plain model with the end of the context
        streaming  the plain model with sinks and recent tokens (StreamingLLM)
      The style trainer has the wording that Tools/train teaches; use published for
      other models.
      """)

  @Argument(help: "The model pack.", completion: .file(extensions: ["spk"]))
  var model: String

  @Option(help: ArgumentHelp("Tasks; all without it.", valueName: "list"))
  var task: ListArgument<NameArgument<RetrievalTask>>?

  @Option(help: ArgumentHelp("Lengths of contexts in windows of the model.", valueName: "list"))
  var windows = ListArgument([1, 2, 4, 8])

  @Option(help: ArgumentHelp("Percents of the context before what is hidden.", valueName: "list"))
  var depths = ListArgument([0, 25, 50, 75, 100])

  @Option(help: ArgumentHelp("Samples for each row.", valueName: "count"))
  var samples = 20

  @Option(
    name: .customLong("haystack"),
    help: ArgumentHelp(
      "Texts to hide things in: a file, a .zst file of texts, a directory. Repeatable. Without it the published noise.",
      valueName: "path"),
    completion: .file())
  var haystacks: [String] = []

  @Option(help: ArgumentHelp("How tasks are worded: trainer or published.", valueName: "style"))
  var style = NameArgument(TaskStyle.trainer)

  @Flag(help: "Search trees by where the answer is, too: what a perfect policy would give.")
  var oracle = false

  @OptionGroup var borders: ChunkBordersArguments
  @OptionGroup var asking: AskingArguments
  @OptionGroup var positions: PositionArguments
  @OptionGroup var output: EvalOutputOptions

  func validate() throws {
    guard samples > 0, windows.values.allSatisfy({ (1...4096).contains($0) }) else {
      throw ValidationError("--samples must be at least 1, --windows 1 to 4096.")
    }
    guard depths.values.allSatisfy({ (0...100).contains($0) }) else {
      throw ValidationError("--depths are percents.")
    }
  }

  func run() async throws {
    var evaluation = RetrievalEvaluation()
    if let task { evaluation.tasks = task.values.map(\.value) }
    evaluation.windows = windows.values
    evaluation.depths = depths.values
    evaluation.sampleCount = samples
    evaluation.methods = asking.contextMethods + (oracle ? [.oracle] : [])
    evaluation.style = style.value
    evaluation.seed = asking.seed
    evaluation.encoding = asking.kv.encoding
    evaluation.borders = borders.value
    let model = try positions.open(model, threads: asking.threads)
    var bar = ProgressBar("Asking", unit: .samples, mode: output.output.progress)
    let sources = try haystacks.map { try EvaluationSource(reading: $0) }
    let result = try await evaluation.run(model, haystack: sources) { bar.update($0, of: $1) }
    bar.finish()
    try output.finish(result)
  }
}
