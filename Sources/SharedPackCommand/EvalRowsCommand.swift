import ArgumentParser
import CommandSupport
import Evaluation
import SharedPack

struct EvalRowsCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "rows",
    abstract: "Measure what it costs and changes to keep a text's rows in fewer bytes.",
    discussion: """
      sharedpack eval rows model.spk --haystack novels/ --output rows.json
      sharedpack eval rows model.spk --haystack novels/ --kv f16,int4 --keep 1,0.48

      Asks a model that follows instructions about facts in novels, from the stored
      rows of the chunks that fit the question, and a model that reads trees for pass
      keys in them. Each form of rows is compared with the first one. A pack of f16 or
      f32 weights reads in floats; the rows of one of int8 are int8 to begin with.
      """)

  @Argument(help: "The model pack.", completion: .file(extensions: ["spk"]))
  var model: String

  @Option(help: ArgumentHelp("How rows are kept: int4, int8, f16, f32.", valueName: "list"))
  var kv = ListArgument([RowEncodingArgument.f16, .int8, .int4])

  @Option(help: ArgumentHelp("Shares of rows that are kept.", valueName: "list"))
  var keep = ListArgument([1.0])

  @Option(help: ArgumentHelp("How they are compressed besides: none, lz4, zstd.", valueName: "list"))
  var compress = ListArgument([CompressionArgument.none, .zstd])

  @Option(help: ArgumentHelp("Tokens of a text.", valueName: "count"))
  var tokens = 4096

  @OptionGroup var sampling: FactSampleArguments

  @OptionGroup var reading: DeepReadingArguments

  @OptionGroup var positions: PositionArguments
  @OptionGroup var output: EvalOutputOptions

  func validate() throws {
    guard (64...1 << 22).contains(tokens) else {
      throw ValidationError("--tokens must be 64 to 4194304.")
    }
    guard keep.values.allSatisfy({ $0 > 0 && $0 <= 1 }) else {
      throw ValidationError("--keep must be above 0, at most 1.")
    }
  }

  func run() async throws {
    var evaluation = RowFormEvaluation()
    evaluation.encodings = kv.values.map(\.encoding)
    evaluation.shares = keep.values
    evaluation.compressions = compress.values.map(\.compression)
    evaluation.length = tokens
    evaluation.sampleCount = sampling.samples
    evaluation.seed = sampling.seed
    let model = try positions.open(model, threads: sampling.threads)
    evaluation.reading = reading.reading(of: model)
    var bar = ProgressBar("Asking", unit: .samples, mode: output.output.progress)
    let sources = try sampling.sources()
    let result = try await evaluation.run(model, haystack: sources) { bar.update($0, of: $1) }
    bar.finish()
    try output.finish(result)
  }
}
