import ArgumentParser
import CommandSupport
import Evaluation
import FileAccess
import SharedPack

struct EvalSweepCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "sweep",
    abstract: "Change one thing at a time in how a model reads contexts.",
    discussion: """
      sharedpack eval sweep sweep.json --output tables.json --html tables.html

      sweep.json names the model and the texts, and may say what to measure on how
      much text:
        {"model": "model.spk", "texts": ["books"], "windows": 8,
         "documents": 20, "factors": {"depth": [1, 2, 3, 4], "kv": []}}
      Factors: depth, leaf_ratio, levels, injected_layers, policy, similarity,
      expansion, positions, chunk_size, kv, running_text. A factor that is not named
      takes the values that fit the model; one with an empty list is skipped. Further
      members: scored, running_text, policy, seeds, kv, join, overlap, tasks (hidden
      in the texts and asked for, with the search of ask unless another one is being
      tried) and samples of each. Other packs show what only training can change:
        "checkpoints": {"injection": {"top": "top.spk"}}
      Prints the paper's tables 5 and 9 to 12, and those of the other factors, for
      this model on this machine.
      """)

  @Argument(help: "The configuration.", completion: .file(extensions: ["json"]))
  var configuration: String

  @OptionGroup var positions: PositionArguments
  @OptionGroup var result: EvalOutputOptions

  @Option(help: ArgumentHelp("Number of threads, 1 to 1024.", valueName: "count"))
  var threads: ThreadCountArgument?

  func run() async throws {
    let configuration = try SweepConfiguration(reading: configuration)
    let model = try positions.open(configuration.model, threads: threads)
    let sources = try configuration.texts.map { try EvaluationSource(reading: $0) }
    let mode = result.output.progress
    let isShown = mode == .plain || mode == .auto && Console.errorIsTerminal
    let found = try await SweepEvaluation(model, configuration).run(sources) { name, done, total in
      if isShown { Console.error("sweep: \(done + 1) of \(total), \(name)") }
    }
    try result.finish(found)
  }
}
