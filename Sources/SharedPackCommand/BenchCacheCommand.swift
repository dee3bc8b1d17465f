import ArgumentParser
import Benchmarking
import LlamaRuntime
import SharedPack

struct BenchCacheCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "cache",
    abstract: "Measure what a text costs under cache policies.",
    discussion: """
      sharedpack bench cache model.spk --prompt 1024 --cache-rows 256
      sharedpack bench cache model.spk --policies full,h2o,snapkv --cache-kv int8

      A policy's rate is compared, token by token in turns, with that of a cache without
      a policy that has as many rows in the same form.
      """)

  @Argument(help: "The model pack.", completion: .file(extensions: ["spk"]))
  var model: String

  @Option(help: ArgumentHelp("Which policies, as of generate --cache-policy.", valueName: "list"))
  var policies = ListArgument(CachePolicy.Name.allCases)

  @Option(help: ArgumentHelp("Rows of each head that a token sees.", valueName: "count"))
  var cacheRows = 256

  @Option(help: ArgumentHelp("How keys and values are kept: int8, f16 or f32. (default: as usual)", valueName: "form"))
  var cacheKv: RowEncodingArgument?

  @Option(help: ArgumentHelp("With fastgen: the share of the attention that a head's rows keep.", valueName: "share"))
  var recovery = 0.95

  @Option(help: ArgumentHelp("Tokens of the text.", valueName: "count"))
  var prompt = 1024

  @Option(help: ArgumentHelp("Tokens to write in each run.", valueName: "count"))
  var decode = 32

  @OptionGroup var bench: BenchArguments

  func validate() throws {
    try BenchArguments.require([
      ("--cache-rows", cacheRows, CachePolicy.leastRows...1 << 20), ("--prompt", prompt, 2...1 << 20),
      ("--decode", decode, 1...1 << 20), ("--runs", bench.runs, 1...1000),
    ])
    guard recovery > 0, recovery <= 1 else { throw ValidationError("--recovery must be above 0 and at most 1.") }
    guard cacheKv != .int4 else { throw ValidationError("--cache-kv is int8, f16 or f32.") }
  }

  func run() throws {
    var options = CacheReport.Options()
    options.policies = policies.values.map { CachePolicy($0, rows: cacheRows, recovery: recovery) }
    options.rowEncoding = cacheKv?.encoding
    options.promptCount = prompt
    options.decodeCount = decode
    options.runs = bench.runs
    let model = try bench.open(model)
    let report = try CacheReport.measure(model, options, progress: bench.tell)
    if bench.output.json {
      Console.output(report.json)
      return
    }
    Console.output("\(report.weights), \(report.instructionSet), \(Format.count(report.threadCount, "thread"))")
    for result in report.results {
      Console.output(
        "\(result.policy.name.rawValue)\tprompt \(Format.rounded(result.promptTokensPerSecond)) tokens/s, "
          + "\(Format.rounded(result.rowCount)) rows, \(Format.bytes(result.byteCount)), "
          + "\(Format.rounded(result.tokensPerSecond.median)) tokens/s written, "
          + "\(Format.rounded(result.ofAsManyRows.median))× as many rows without a policy "
          + "(\(Format.rounded(result.ofAsManyRows.smallest)) to \(Format.rounded(result.ofAsManyRows.largest)))")
    }
  }
}
