import ArgumentParser
import CommandSupport
import Evaluation
import EvaluationTasks
import SharedPack

struct EvalFactsCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "facts",
    abstract: "Put invented facts into novels and ask about them in plain words.",
    discussion: """
      sharedpack eval facts model.spk --haystack novels/ --output facts.json
      sharedpack eval facts model.spk --haystack novels/ --manner deep,whole

      For models that follow instructions. All manners see the same samples:
        deep      stored rows of the chunks that fit the question
        again     the same chunks, as text in the prompt
        sentence  nothing but the statement, as text in the prompt
        whole     the whole text in the prompt
        none      no text
      Of the kinds of facts that were thought of, those are asked for which
      SmolLM2-135M-Instruct answered about at least 85 times in 100 when given
      nothing but the sentence; --by-kind shows each.
      Questions: one fact, two facts in two texts (swapped: the second text
      first), a fact that is changed later, and one that is absent, where the
      value in the text must not be the answer.
      """)

  @Argument(help: "The model pack.", completion: .file(extensions: ["spk"]))
  var model: String

  @Option(help: ArgumentHelp("How the text is read: deep, again, sentence, whole, none.", valueName: "list"))
  var manner = ListArgument([FactEvaluation.Manner.deep, .again].map(NameArgument.init))

  @Option(help: ArgumentHelp("What is asked for: one, two, swapped, changed, absent.", valueName: "list"))
  var question = ListArgument([NameArgument(FactQuestion.one)])

  @Option(help: ArgumentHelp("Tokens of the texts.", valueName: "list"))
  var tokens = ListArgument([4096])

  @OptionGroup var sampling: FactSampleArguments

  @Option(
    help: ArgumentHelp(
      "For deep reading: how rows are kept, int4, int8, f16 or f32. (default: as a store keeps them)", valueName: "form"
    ))
  var kv: RowEncodingArgument?

  @OptionGroup var reading: DeepReadingArguments

  @Flag(help: "Add a row for each kind of fact.")
  var byKind = false

  @Flag(help: "Print every question and answer to standard error.")
  var verbose = false

  @OptionGroup var positions: PositionArguments
  @OptionGroup var output: EvalOutputOptions

  func validate() throws {
    guard tokens.values.allSatisfy({ (64...1 << 22).contains($0) }) else {
      throw ValidationError("--tokens must be 64 to 4194304.")
    }
  }

  func run() async throws {
    var evaluation = FactEvaluation()
    evaluation.manners = manner.values.map(\.value)
    evaluation.questions = question.values.map(\.value)
    evaluation.lengths = tokens.values
    evaluation.sampleCount = sampling.samples
    evaluation.dividesByKind = byKind
    evaluation.seed = sampling.seed
    let model = try positions.open(model, threads: sampling.threads)
    evaluation.reading = reading.reading(of: model)
    evaluation.reading.encoding = kv?.encoding
    var bar = ProgressBar("Asking", unit: .samples, mode: output.output.progress)
    let sources = try sampling.sources()
    let result = try await evaluation.run(
      model, haystack: sources, progress: { bar.update($0, of: $1) },
      answer: { answer in
        guard verbose else { return }
        let outcome = (answer.isRight ? "right" : "wrong") + (answer.isFound ? "" : ", not found")
        let values = answer.values.joined(separator: ", ")
        Console.error("\(outcome) \(answer.manner.rawValue): \(answer.question) [\(values)] -> \(answer.text)")
      })
    bar.finish()
    try output.finish(result)
  }
}
