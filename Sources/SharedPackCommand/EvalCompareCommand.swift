public import ArgumentParser
import CommandSupport
public import Evaluation
import EvaluationTasks
import SharedPack

/// A method of reading, as an argument.
extension ComparedMethod: ExpressibleByArgument {
  public init?(argument: String) { self.init(name: argument) }

  public static var allValueStrings: [String] { allCases.map(\.name) }
}

struct EvalCompareCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "compare",
    abstract: "Compare the ways to read long texts, at equal bytes of keys and values.",
    discussion: """
      sharedpack eval compare model.spk novels --output compare.json --html compare.html
      sharedpack eval compare model.spk novels --methods full,streaming --windows 1,4
      sharedpack eval compare model.spk novel.txt --quick

      One table of methods and lengths: perplexity of the last tokens of documents,
      pass keys, values by key, facts in the text and second questions, tokens a
      second, and bytes. Methods:
        full         all tokens, beyond the trained window too
        streaming, lm-infinite, h2o, snapkv, pyramidkv, tova, fastgen, infllm
                     the cache policies of generate
        truncated    the last tokens alone
        linear, ntk, dynamic-ntk, yarn
                     all tokens, rotary positions scaled for the length
        shared       context trees of the text before the last tokens
        cepe         states that an encoder has of it
        deep         stored chunks that have the words of the last tokens
      Without --methods: all, of the last three the one that is the model's.
      With --output, cells are kept as they are finished: the same command goes on
      where it was interrupted, and other methods and shorter lengths can be added.
      """)

  @Argument(help: "The model pack.", completion: .file(extensions: ["spk"]))
  var model: String

  @Argument(help: "Texts to read and to hide things in: files, .zst files of texts, directories.", completion: .file())
  var texts: [String]

  @Option(help: ArgumentHelp("Methods; all that suit the model without it.", valueName: "list"))
  var methods: ListArgument<ComparedMethod>?

  @Option(
    help: ArgumentHelp("Lengths of texts in windows of the model. (default: 1,4,16,64)", valueName: "list"))
  var windows: ListArgument<Int>?

  @Option(
    help: ArgumentHelp(
      "Rows of keys and values that may stay of a text, as the model's cache keeps them. (default: half the window)",
      valueName: "count"))
  var cacheRows: Int?

  @Option(help: ArgumentHelp("Their bytes, such as 4M, in place of rows.", valueName: "size"))
  var cacheBytes: ByteCountArgument?

  @Option(help: ArgumentHelp("Documents that perplexity is measured on, at most. (default: 10)", valueName: "count"))
  var documents: Int?

  @Option(help: ArgumentHelp("Predicted tokens that count, the last of each document.", valueName: "count"))
  var scored = 256

  @Option(help: ArgumentHelp("Samples of each task. (default: 20)", valueName: "count"))
  var samples: Int?

  @Option(help: ArgumentHelp("How tasks are worded: trainer or published.", valueName: "style"))
  var style = NameArgument(TaskStyle.trainer)

  @Flag(help: "Read the texts of an argument as one text.")
  var join = false

  @Flag(help: "Let documents of a text share tokens, but for those that count.")
  var overlap = false

  @Flag(help: "Two documents and one sample, of 1 and 4 windows, where nothing else is said.")
  var quick = false

  @Option(help: ArgumentHelp("The same seed makes the same samples.", valueName: "number"))
  var seed: UInt64 = 1

  @Option(help: ArgumentHelp("Threads that share the work, 1 to 1024.", valueName: "count"))
  var threads: ThreadCountArgument?

  @OptionGroup var output: EvalOutputOptions

  func validate() throws {
    guard !texts.isEmpty else { throw ValidationError("Name a text.") }
    guard windows.map({ $0.values.allSatisfy((1...4096).contains) }) ?? true else {
      throw ValidationError("--windows must be 1 to 4096.")
    }
    guard [documents, samples, cacheRows].allSatisfy({ $0.map { $0 > 0 && $0 <= 1 << 30 } ?? true }), scored > 0 else {
      throw ValidationError("--documents, --samples, --scored and --cache-rows must be at least 1.")
    }
    guard cacheRows == nil || cacheBytes == nil else {
      throw ValidationError("--cache-rows and --cache-bytes say the same: leave one out.")
    }
    guard seed <= UInt64(Int.max) else { throw ValidationError("--seed must be below 2^63.") }
  }

  func run() throws {
    var options = quick ? CompareOptions.quick : CompareOptions()
    options.methods = methods?.values
    if let windows { options.windows = windows.values }
    options.cacheRows = cacheRows
    options.cacheBytes = cacheBytes?.count
    if let documents { options.documentCount = documents }
    if let samples { options.sampleCount = samples }
    options.scored = scored
    options.style = style.value
    options.joinsTexts = join
    options.overlaps = overlap
    options.seed = seed
    let model = try LanguageModel(opening: model, threadCount: threads?.count)
    let evaluation = try CompareEvaluation(model, options)
    let sources = try texts.map { try EvaluationSource(reading: $0) }
    let mode = output.output.progress
    let isShown = mode == .plain || mode == .auto && Console.errorIsTerminal
    let result = try evaluation.run(sources, keptIn: output.outputPath) { progress in
      guard isShown, let cell = progress.cell else { return }
      Console.error(
        "compare: \(progress.done + 1) of \(progress.count), \(cell); about \(Format.duration(progress.secondsLeft)) left"
      )
    }
    try output.finish(result)
  }
}
