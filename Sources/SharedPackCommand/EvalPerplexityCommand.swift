import ArgumentParser
import CommandSupport
import ContextTrees
import Evaluation
import FileAccess
import NodeBlocks
import SharedPack

struct EvalPerplexityCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "perplexity",
    abstract: "Measure how much of a long context a model uses.",
    discussion: """
      sharedpack eval perplexity model.spk books --output books.json
      sharedpack eval perplexity model.spk books code.txt.zst --windows 1,8,32
      sharedpack eval perplexity model.spk books --kv int8,f32 --methods shared
      sharedpack eval perplexity model.spk books --store library

      A text is a file, a .zst file of texts with a NUL byte between them, or a
      directory of either; each argument is one domain of the table. Documents have
      the longest of the given lengths; --join makes one long text of texts that are
      shorter, and --overlap takes more documents from a text than fit side by side.
      With --store, trees come from a store that was built from the same texts by
      store build --chunk-borders fixed: nothing is encoded, and the numbers are the
      same. The same last tokens of each document are scored for every method and
      length:
        shared     trees of the context before a running text, which has the size
                   of --running-text, at most half of the document
        truncated  the last window alone
        streaming  sinks and recent tokens, a window in all (StreamingLLM)
      Perplexity is the exponential of the mean over documents. Intervals are 95 %
      bootstraps over documents; comparisons are paired by document.
      """)

  @Argument(help: "The model pack.", completion: .file(extensions: ["spk"]))
  var model: String

  @Argument(help: "Texts, one argument for each domain.", completion: .file())
  var texts: [String]

  @OptionGroup var documents: EvalDocumentArguments

  @Option(help: ArgumentHelp("Lengths of documents in windows.", valueName: "list"))
  var windows = ListArgument([1, 2, 4, 8, 32, 128])

  @Option(help: ArgumentHelp("Methods: shared, truncated, streaming.", valueName: "list"))
  var methods = ListArgument(PerplexityOptions.Method.allCases.map(NameArgument.init))

  @Option(help: ArgumentHelp("How trees are searched: right, cosine, bm25, left, random.", valueName: "list"))
  var policy = ListArgument([PolicyArgument.right])

  @Option(
    help: ArgumentHelp(
      "How many nodes a policy that looks at the text opens: best-first, path, both:SHARE, none:SHARE, best-first:ROWS.",
      valueName: "list"))
  var expansion = ListArgument([TreeExpansion.bestFirst])

  @Option(
    help: ArgumentHelp(
      "How rows are stored: int8, f16, f32. Without it: int8, or as the store has them.", valueName: "list")
  )
  var kv: ListArgument<RowEncodingArgument>?

  @Option(
    help: ArgumentHelp("Take trees from this store instead of encoding them.", valueName: "directory"),
    completion: .directory)
  var store: String?

  @Option(help: ArgumentHelp("How many of the first tokens streaming keeps.", valueName: "count"))
  var sinks = 4

  @Option(
    help: ArgumentHelp(
      "The most windows that streaming reads: of longer documents it reads the ends.",
      valueName: "count"))
  var streamingWindows = 8

  @OptionGroup var positions: PositionArguments
  @OptionGroup var result: EvalOutputOptions

  @Option(help: ArgumentHelp("Number of threads, 1 to 1024.", valueName: "count"))
  var threads: ThreadCountArgument?

  func validate() throws {
    guard windows.values.allSatisfy({ $0 > 0 }), streamingWindows > 0 else {
      throw ValidationError("--windows and --streaming-windows must be at least 1.")
    }
    if store != nil {
      guard kv == nil else { throw ValidationError("--store has its rows in one form: leave out --kv.") }
      guard !documents.join else { throw ValidationError("--store has chunks of single texts: leave out --join.") }
      guard methods.values.contains(NameArgument(.shared)) else {
        throw ValidationError("Only the method shared reads a --store.")
      }
    }
  }

  func run() throws {
    var options = documents.options
    options.windows = windows.values
    options.methods = methods.values.map(\.value)
    options.searches = TreeSearch.all(policy.values, seed: 0, expansion.values)
    if let kv { options.encodings = kv.values.map(\.encoding) }
    options.sinks = sinks
    options.streamingWindows = streamingWindows
    let model = try positions.open(model, threads: threads)
    let evaluation = try PerplexityEvaluation(
      model, options, store: try store.map { try DocumentStore(opening: $0, model: model) })
    var bar = ProgressBar("Reading", unit: .tokens, mode: result.output.progress)
    let sources = try texts.map { try EvaluationSource(reading: $0) }
    let found = try evaluation.run(sources) { bar.update($0, of: $1) }
    bar.finish()
    try result.finish(found)
  }
}

/// Which documents are taken from texts, and which of their tokens are scored.
struct EvalDocumentArguments: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "Documents of a domain, at most. A long text gives several, evenly spread.", valueName: "count"))
  var documents = 100

  @Option(help: ArgumentHelp("Predicted tokens that count, the last of each document.", valueName: "count"))
  var scored = 256

  @Option(help: ArgumentHelp("Tokens of the running text; the model's window if left out.", valueName: "count"))
  var runningText: Int?

  @Flag(help: "Begin what is read with the begin-of-text token.")
  var bos = false

  @Flag(help: "Read the texts of a domain as one text.")
  var join = false

  @Flag(help: "Let documents of a text share tokens, but for those that count.")
  var overlap = false

  func validate() throws {
    guard documents > 0, scored > 0, runningText.map({ $0 > 0 }) ?? true else {
      throw ValidationError("--documents, --scored and --running-text must be at least 1.")
    }
  }

  var options: PerplexityOptions {
    var options = PerplexityOptions()
    options.documentCount = documents
    options.scored = scored
    options.runningText = runningText
    options.beginsText = bos
    options.joinsTexts = join
    options.overlaps = overlap
    return options
  }
}

/// Different values, separated by commas.
struct ListArgument<Value: ExpressibleByArgument & Hashable>: ExpressibleByArgument {
  let values: [Value]

  init(_ values: [Value]) { self.values = values }

  init?(argument: String) {
    values = argument.split(separator: ",", omittingEmptySubsequences: false).compactMap {
      Value(argument: String($0))
    }
    guard values.count == argument.count(where: { $0 == "," }) + 1, Set(values).count == values.count else {
      return nil
    }
  }

  var defaultValueDescription: String { values.map(\.defaultValueDescription).joined(separator: ",") }
}
