import ArgumentParser
import Benchmarking
import SharedPack

struct BenchBatchCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "batch",
    abstract: "Measure how fast several texts are written at once.",
    discussion: """
      sharedpack bench batch model.spk
      sharedpack bench batch model.spk --streams 1 --streams 8 --prompt-slice 128

      A pass over the weights writes a token of every text. The rates are those of all
      texts together; the gains are ratios to the first number of texts.
      """)

  @Argument(help: "The model pack.", completion: .file(extensions: ["spk"]))
  var model: String

  @Option(name: .customLong("streams"), help: ArgumentHelp("Texts at once. Repeatable.", valueName: "count"))
  var streams: [Int] = []

  @Option(help: ArgumentHelp("Tokens that each text has already.", valueName: "tokens"))
  var depth = 256

  @Option(help: ArgumentHelp("Tokens to decode of each text.", valueName: "count"))
  var decode = 32

  @Option(help: ArgumentHelp("Tokens of a prompt to read in every pass besides.", valueName: "count"))
  var promptSlice = 0

  @OptionGroup var bench: BenchArguments

  func validate() throws {
    try BenchArguments.require([
      ("--streams", streams.min() ?? 1, 1...256), ("--streams", streams.max() ?? 1, 1...256),
      ("--depth", depth, 0...1 << 20), ("--decode", decode, 1...1 << 20), ("--prompt-slice", promptSlice, 0...1024),
      ("--runs", bench.runs, 1...1000),
    ])
  }

  func run() throws {
    var options = BatchReport.Options()
    if !streams.isEmpty { options.streamCounts = streams }
    options.depth = depth
    options.decodeCount = decode
    options.promptSlice = promptSlice
    options.runs = bench.runs
    let model = try bench.open(model)
    let report = try BatchReport.measure(model, options, progress: bench.tell)
    if bench.output.json {
      Console.output(report.json)
      return
    }
    Console.output("\(report.weights), \(report.instructionSet), \(Format.count(report.threadCount, "thread"))")
    for result in report.results {
      Console.output(
        "\(result.streamCount) at once\t\(Format.rounded(result.tokensPerSecond.median)) tokens/s "
          + "(\(Format.rounded(result.tokensPerSecond.smallest)) to "
          + "\(Format.rounded(result.tokensPerSecond.largest)))"
          + "\t\(Format.rounded(result.gain.median))× (\(Format.rounded(result.gain.smallest)) to "
          + "\(Format.rounded(result.gain.largest))), \(Format.rounded(result.passSeconds.median * 1e3)) ms a token")
    }
  }
}
