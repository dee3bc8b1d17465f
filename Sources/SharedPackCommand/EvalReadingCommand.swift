import ArgumentParser
import CommandSupport
import Evaluation
import SharedPack

struct EvalReadingCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "reading",
    abstract: "Measure how much a plain model's ways of reading help it with what comes next.",
    discussion: """
      sharedpack eval reading model.spk --texts novels/ --output reading.json

      The last tokens of excerpts are scored, behind
        alone  the frame that stands before every document
        whole  frame and text, in the prompt
        exact  frame and text, stored by exact reading: the same bits as whole
        deep   the stored chunks that share rare words with the end of the text
      """)

  @Argument(help: "The model pack.", completion: .file(extensions: ["spk"]))
  var model: String

  @Option(
    name: .customLong("texts"),
    help: ArgumentHelp("Texts: a file, a .zst file of texts, a directory. Repeatable.", valueName: "path"),
    completion: .file())
  var texts: [String]

  @Option(help: ArgumentHelp("What stands before the last tokens: alone, whole, exact, deep.", valueName: "list"))
  var manner = ListArgument(ReadingPerplexity.Manner.allCases.map(NameArgument.init))

  @Option(help: ArgumentHelp("Tokens of an excerpt, the frame included.", valueName: "list"))
  var tokens = ListArgument([8192])

  @Option(help: ArgumentHelp("The last tokens, which are scored.", valueName: "count"))
  var scored = 1024

  @Option(help: ArgumentHelp("Excerpts of each length.", valueName: "count"))
  var documents = 100

  @Option(
    help: ArgumentHelp(
      "For deep reading: how rows are kept, int4, int8, f16 or f32. (default: as a store keeps them)", valueName: "form"
    ))
  var kv: RowEncodingArgument?

  @OptionGroup var reading: DeepReadingArguments

  @Option(help: ArgumentHelp("The same seed makes the same excerpts.", valueName: "number"))
  var seed: UInt64 = 1

  @Option(help: ArgumentHelp("Threads that share the work, 1 to 1024.", valueName: "count"))
  var threads: ThreadCountArgument?

  @OptionGroup var positions: PositionArguments
  @OptionGroup var output: EvalOutputOptions

  func validate() throws {
    guard documents > 0, (2...1 << 16).contains(scored), tokens.values.allSatisfy({ (64...1 << 22).contains($0) })
    else { throw ValidationError("--documents must be at least 1, --scored 2 to 65536, --tokens 64 to 4194304.") }
    guard seed <= UInt64(Int.max) else { throw ValidationError("--seed must be below 2^63.") }
  }

  func run() async throws {
    var evaluation = ReadingPerplexity()
    evaluation.manners = manner.values.map(\.value)
    evaluation.lengths = tokens.values
    evaluation.scored = scored
    evaluation.documentCount = documents
    evaluation.seed = seed
    let model = try positions.open(model, threads: threads)
    evaluation.reading = reading.reading(of: model)
    evaluation.reading.encoding = kv?.encoding
    var bar = ProgressBar("Reading", unit: .samples, mode: output.output.progress)
    let result = try evaluation.run(
      model, texts: try texts.map { try EvaluationSource(reading: $0) }, progress: { bar.update($0, of: $1) })
    bar.finish()
    try output.finish(result)
  }
}
