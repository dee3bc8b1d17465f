import ArgumentParser
import CanonicalJSON
import Evaluation
import FileAccess
import SharedPack

struct TuneCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "tune",
    abstract: "Find out how a model reads documents of any length best.",
    discussion: """
      sharedpack tune model.spk novels/ --save tuned.spk

      For models that follow instructions. Facts are hidden in your texts, as
      `eval facts` does it, one or two to a question; every way of reading sees
      the same ones. The best is what is most often right, and of equals what
      needs the fewest rows. With --save the pack is written with it: ask and
      store build then take it unless they are told otherwise. A pack that
      differs has another identity, so build stores after it.
      """)

  @Argument(help: "The model pack.", completion: .file(extensions: ["spk"]))
  var model: String

  @Argument(help: "Texts to hide facts in: files, .zst files of texts, directories.", completion: .file())
  var texts: [String]

  @Option(help: ArgumentHelp("Tokens of a chunk that are tried, 64 to 1024.", valueName: "list"))
  var chunkSize = ListArgument([64, 128, 256, 512])

  @Option(
    name: .customLong("chunks"),
    help: ArgumentHelp("Chunks for a question that are tried, 1 to 4096.", valueName: "list"))
  var chunkCount = ListArgument([1, 2, 4])

  @Option(help: ArgumentHelp("Tokens of the texts of a question.", valueName: "count"))
  var tokens = ReadingTuning().length

  @Option(help: ArgumentHelp("Questions for each way of reading.", valueName: "count"))
  var samples = ReadingTuning().sampleCount

  @Option(help: ArgumentHelp("The same seed makes the same samples.", valueName: "number"))
  var seed: UInt64 = 1

  @Option(help: ArgumentHelp("Threads that share the work, 1 to 1024.", valueName: "count"))
  var threads: ThreadCountArgument?

  @Option(
    help: ArgumentHelp("Write the pack with the best way in it; may be the pack itself.", valueName: "file"),
    completion: .file(extensions: ["spk"]))
  var save: String?

  @OptionGroup var output: EvalOutputOptions

  func validate() throws {
    guard chunkSize.values.allSatisfy((64...1024).contains), chunkCount.values.allSatisfy((1...4096).contains) else {
      throw ValidationError("--chunk-size must be 64 to 1024, --chunks 1 to 4096.")
    }
    guard samples > 0, (64...1 << 22).contains(tokens), seed <= UInt64(Int.max) else {
      throw ValidationError("--samples must be at least 1, --tokens 64 to 4194304, --seed below 2^63.")
    }
  }

  func run() async throws {
    var tuning = ReadingTuning()
    tuning.candidates = ReadingTuning.grid(chunkSizes: chunkSize.values, chunkCounts: chunkCount.values)
    tuning.length = tokens
    tuning.sampleCount = samples
    tuning.seed = seed
    let model = try LanguageModel(opening: model, threadCount: threads?.count)
    // Before minutes are spent.
    if let save { try LanguageModel.packTarget(save) }
    let sources = try texts.map { try EvaluationSource(reading: $0) }
    var bar = ProgressBar("Asking", unit: .samples, mode: output.output.progress)
    let (best, result) = try await tuning.run(model, haystack: sources) { bar.update($0, of: $1) }
    bar.finish()
    try output.finish(result)
    let words = "--chunk-size \(best.chunkSize) --chunks \(best.chunkCount)"
    guard let save else {
      Console.error("the best: \(words) (--save FILE keeps it in a pack)")
      return
    }
    var writing = ProgressBar("Writing", unit: .bytes, mode: output.output.progress)
    let identity = try model.writePack(to: save, reading: best) { writing.update($0, of: $1) }
    writing.finish()
    Console.error("the best: \(words)")
    Console.error("\(save): identity \(identity)")
  }
}
