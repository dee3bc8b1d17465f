import ArgumentParser
import Evaluation
import SharedPack

/// The samples of an evaluation of facts that are hidden in texts, as options.
struct FactSampleArguments: ParsableArguments {
  @Option(help: ArgumentHelp("Samples for each row.", valueName: "count"))
  var samples = 100

  @Option(
    name: .customLong("haystack"),
    help: ArgumentHelp(
      "Texts to hide facts in: a file, a .zst file of texts, a directory. Repeatable.", valueName: "path"),
    completion: .file())
  var haystacks: [String]

  @Option(help: ArgumentHelp("The same seed makes the same samples.", valueName: "number"))
  var seed: UInt64 = 1

  @Option(help: ArgumentHelp("Threads that share the work, 1 to 1024.", valueName: "count"))
  var threads: ThreadCountArgument?

  func validate() throws {
    guard samples > 0 else { throw ValidationError("--samples must be at least 1.") }
    guard seed <= UInt64(Int.max) else { throw ValidationError("--seed must be below 2^63.") }
  }

  func sources() throws -> [EvaluationSource] { try haystacks.map { try EvaluationSource(reading: $0) } }
}
