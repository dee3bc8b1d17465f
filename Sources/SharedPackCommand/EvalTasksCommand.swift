import ArgumentParser
import ContextTrees
import Evaluation
import EvaluationTasks
import SharedPack

/// A list of words with commas between, as an argument.
struct CommaList<Element: ExpressibleByArgument>: ExpressibleByArgument {
  let elements: [Element]

  init(_ elements: [Element]) { self.elements = elements }

  init?(argument: String) {
    let parts = argument.split(separator: ",", omittingEmptySubsequences: false)
    let elements = parts.compactMap { Element(argument: String($0)) }
    guard !elements.isEmpty, elements.count == parts.count else { return nil }
    self.elements = elements
  }

  var defaultValueDescription: String { elements.map(\.defaultValueDescription).joined(separator: ",") }

  static var allValueStrings: [String] { Element.allValueStrings }
}

/// What a model gets to see of a long context, as an argument.
enum MethodArgument: String, ExpressibleByArgument, CaseIterable {
  case shared, truncated
}

/// A value of the library's that has a name, as an argument.
struct NameArgument<Value: RawRepresentable<String> & CaseIterable & Sendable>: ExpressibleByArgument {
  let value: Value

  init(_ value: Value) { self.value = value }

  init?(argument: String) {
    guard let value = Value(rawValue: argument) else { return nil }
    self.value = value
  }

  var defaultValueDescription: String { value.rawValue }

  static var allValueStrings: [String] { Value.allCases.map(\.rawValue) }
}

/// The options of evaluations that ask questions.
struct AskingArguments: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "How the context is seen: shared (through trees), truncated (the end of it, by the plain model). With commas.",
      valueName: "names"))
  var methods = CommaList([MethodArgument.shared, .truncated])

  @Option(
    help: ArgumentHelp("How trees are searched: cosine, right, left, random. With commas.", valueName: "names"))
  var policy = CommaList([PolicyArgument.cosine])

  @Option(help: ArgumentHelp("How rows are kept: int8, f16 or f32.", valueName: "form"))
  var kv = RowEncodingArgument.int8

  @Option(help: ArgumentHelp("The same seed makes the same samples.", valueName: "number"))
  var seed: UInt64 = 1

  @Option(help: ArgumentHelp("Threads that share the work, 1 to 1024.", valueName: "count"))
  var threads: ThreadCountArgument?

  var contextMethods: [ContextMethod] {
    methods.elements.flatMap { method in
      method == .truncated ? [.truncated] : policy.elements.map { .shared($0.policy(seed: seed)) }
    }
  }

  func validate() throws {
    guard seed <= UInt64(Int.max) else { throw ValidationError("--seed must be below 2^63.") }
  }
}

struct EvalTasksCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "tasks",
    abstract: "Hide things in long contexts and ask for them.",
    discussion: """
      sharedpack eval tasks model.spk --haystack books/ --output tasks.json
      sharedpack eval tasks model.spk --task passkey,needle --lengths 1,8,32

      Tasks: \(RetrievalTask.allCases.map(\.rawValue).prefix(4).joined(separator: ", ")),
      \(RetrievalTask.allCases.map(\.rawValue).dropFirst(4).joined(separator: ", ")).
      passkey and needle are made for every length and depth, the others for
      every length. All methods and policies see the same samples.
      The style trainer has the wording that Tools/train teaches; for other models
      take published.
      """)

  @Argument(help: "The model pack.", completion: .file(extensions: ["spk"]))
  var model: String

  @Option(help: ArgumentHelp("Tasks, with commas; all without it.", valueName: "names"))
  var task: CommaList<NameArgument<RetrievalTask>>?

  @Option(help: ArgumentHelp("Lengths of contexts in windows of the model, with commas.", valueName: "counts"))
  var lengths = CommaList([1, 2, 4, 8])

  @Option(help: ArgumentHelp("Percents of the context before what is hidden, with commas.", valueName: "percents"))
  var depths = CommaList([0, 25, 50, 75, 100])

  @Option(help: ArgumentHelp("Samples for each row.", valueName: "count"))
  var samples = 20

  @Option(
    name: .customLong("haystack"),
    help: ArgumentHelp(
      "A text, or a directory of texts, to hide things in. Repeatable. Without it the published noise.",
      valueName: "path"),
    completion: .file())
  var haystacks: [String] = []

  @Option(help: ArgumentHelp("How tasks are worded: trainer or published.", valueName: "style"))
  var style = NameArgument(TaskStyle.trainer)

  @OptionGroup var asking: AskingArguments
  @OptionGroup var output: EvalOutputOptions

  func validate() throws {
    guard samples > 0, lengths.elements.allSatisfy({ (1...4096).contains($0) }) else {
      throw ValidationError("--samples must be at least 1, --lengths 1 to 4096.")
    }
    guard depths.elements.allSatisfy({ (0...100).contains($0) }) else {
      throw ValidationError("--depths are percents.")
    }
  }

  func run() async throws {
    var evaluation = RetrievalEvaluation()
    if let task { evaluation.tasks = task.elements.map(\.value) }
    evaluation.windows = lengths.elements
    evaluation.depths = depths.elements
    evaluation.sampleCount = samples
    evaluation.methods = asking.contextMethods
    evaluation.style = style.value
    evaluation.seed = asking.seed
    evaluation.encoding = asking.kv.encoding
    let model = try LanguageModel(opening: model, threadCount: asking.threads?.count)
    var bar = ProgressBar("Asking", unit: .samples, mode: output.output.progress)
    let result = try await evaluation.run(model, haystack: DocumentSource.find(haystacks)) { bar.update($0, of: $1) }
    bar.finish()
    try output.finish(result)
  }
}
