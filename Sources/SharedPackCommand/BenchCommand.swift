import ArgumentParser
import Benchmarking
import FileAccess
import SharedPack

struct BenchCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "bench",
    abstract: "Measure a model, alone and with several texts, cache policies, the search for chunks or a store.",
    subcommands: [
      BenchModelCommand.self, BenchBatchCommand.self, BenchCacheCommand.self, BenchSearchCommand.self,
      BenchStoreCommand.self,
    ],
    defaultSubcommand: BenchModelCommand.self)
}

struct BenchModelCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "model",
    abstract: "Measure a model on this machine, and compare with what the machine can do.",
    discussion: """
      sharedpack bench model.spk
      sharedpack bench model.spk --prompt 512 --prompt 4096 --depth 0 --depth 4096
      sharedpack bench model.spk --opening

      Shares are shares of limits that are measured in the same run: int8 products in
      registers, and reading from memory. "In turns" means that 1 GiB is read before
      every token. A hand-off is the cost of sharing work among the threads. The
      document that is asked about is stored in the temporary directory (TMPDIR).
      """)

  @Argument(help: "The model pack.", completion: .file(extensions: ["spk"]))
  var model: String

  @Option(name: .customLong("prompt"), help: ArgumentHelp("Length of a prompt. Repeatable.", valueName: "tokens"))
  var prompts: [Int] = []

  @Option(name: .customLong("depth"), help: ArgumentHelp("Depth to decode at. Repeatable.", valueName: "tokens"))
  var depths: [Int] = []

  @Option(help: ArgumentHelp("Tokens to decode at each depth.", valueName: "count"))
  var decode = 32

  @Option(help: ArgumentHelp("Chunks to encode; 0 skips this.", valueName: "count"))
  var chunks = 2

  @Option(
    help: ArgumentHelp("Chunks of a stored document to ask about; 0 skips this.", valueName: "count"))
  var document = 16

  @Flag(help: "Measure only opening the pack, the first token, and the memory that this takes.")
  var opening = false

  @OptionGroup var bench: BenchArguments

  func validate() throws {
    for (name, number) in [("--runs", bench.runs), ("--decode", decode), ("--prompt", prompts.min() ?? 1)]
    where number < 1 {
      throw ValidationError("\(name) must be at least 1.")
    }
    for (name, number) in [("--chunks", chunks), ("--document", document), ("--depth", depths.min() ?? 0)]
    where number < 0 {
      throw ValidationError("\(name) must be 0 or more.")
    }
  }

  func run() throws {
    if opening {
      let capacity = (prompts.max() ?? 0) + (depths.max() ?? 0) + decode
      let report = try OpeningReport.measure(runs: bench.runs, capacity: capacity) {
        [model, bench] () throws(Refusal) in
        try bench.open(model)
      }
      return OpeningPrinter.print(report, output: bench.output)
    }
    var options = BenchmarkOptions()
    if !prompts.isEmpty { options.promptLengths = prompts }
    if !depths.isEmpty { options.depths = depths }
    options.decodeCount = decode
    options.chunkCount = chunks
    options.documentChunkCount = document
    options.runs = bench.runs
    let model = try bench.open(model)
    let report = try Benchmark(model, options: options).run(progress: bench.tell)
    if bench.output.json {
      Console.output(report.json)
      return
    }
    Console.output(
      "\(report.weights), \(report.instructionSet), \(report.threadCount) threads; limits: "
        + "\(Format.rounded(report.peakOperationsPerSecond / 1e9)) GOP/s, "
        + "\(Format.rounded(report.peakBytesPerSecond / 1e9)) GB/s; "
        + "hand-off: \(Format.rounded(report.handOffSeconds * 1e6)) µs")
    for result in report.results {
      var line =
        "\(result.name)\t\(Format.rounded(result.tokensPerSecond.median)) tokens/s "
        + "(\(Format.rounded(result.tokensPerSecond.smallest)) to "
        + "\(Format.rounded(result.tokensPerSecond.largest)))"
      if result.bytesPerSecond > 0 {
        line +=
          "\t\(Format.rounded(result.bytesPerSecond / 1e9)) GB/s, "
          + "\(Format.rounded(100 * result.bytesPerSecond / report.peakBytesPerSecond))% of the limit"
      } else {
        line +=
          "\t\(Format.rounded(result.operationsPerSecond / 1e9)) GOP/s, "
          + "\(Format.rounded(100 * result.operationsPerSecond / report.peakOperationsPerSecond))% of the limit"
      }
      if let share = result.shareOfReading {
        line += ", \(Format.rounded(100 * share))% of reading in turns"
      }
      if let cost = result.costOfPrompt {
        line += ", \(Format.rounded(cost.median))× a prompt's token"
      }
      if let share = result.shareOfDepth0 { line += ", \(Format.rounded(100 * share))% of depth 0" }
      Console.output(line)
    }
    if let question = report.question {
      Console.output(
        "question of \(question.tokens)\tfirst token after \(Format.rounded(question.about)) s about a stored "
          + "document of \(question.documentTokens) tokens, \(Format.rounded(question.without)) s without: "
          + "\(Format.rounded(question.ratio.median))× (\(Format.rounded(question.ratio.smallest)) to "
          + "\(Format.rounded(question.ratio.largest)))"
          + (question.encoding.map { "; encoding the document takes \(Format.rounded($0)) s" } ?? ""))
    }
  }
}
