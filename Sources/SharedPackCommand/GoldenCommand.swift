import ArgumentParser
import CanonicalJSON
import Conversion
import Evaluation

enum NumericArgument: String, ExpressibleByArgument, CaseIterable {
  case float, int8
}

struct GoldenCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "golden",
    abstract: "Check the numbers against another implementation's.",
    discussion: """
      sharedpack golden cases/mha-right cases/gqa-cosine
      sharedpack golden my-case --numeric int8 --write results.safetensors

      A case is a folder with config.json and model.safetensors (a checkpoint),
      case.json (policy, context, running_text, trees, greedy) and
      expected.safetensors (plain_logits, logits, decode_logits, memory_*).
      For a plain checkpoint whose contexts are injected untrained, case.json
      also has injected_layers, chunk_size, tree_depth and leaf_ratio, as the
      options of `sharedpack convert`.
      Exits with 1 when a case is out of tolerance.
      """)

  @Argument(help: "The folders of the cases.", completion: .directory)
  var directories: [String]

  @Option(help: ArgumentHelp("Compute with weights in float or int8.", valueName: "numeric"))
  var numeric = NumericArgument.float

  @Option(help: ArgumentHelp("Columns that share a scale, for int8.", valueName: "count"))
  var groupSize = 128

  @Option(
    help: ArgumentHelp("Write the tensors computed here, under the same names; for one case.", valueName: "file"),
    completion: .file())
  var write: String?

  @Option(help: ArgumentHelp("Number of threads, 1 to 1024.", valueName: "count"))
  var threads: ThreadCountArgument?

  @Flag(help: "Print JSON for programs.")
  var json = false

  func validate() throws {
    guard write == nil || directories.count == 1 else { throw ValidationError("--write takes one case.") }
    guard !directories.isEmpty else { throw ValidationError("Name the folder of a case.") }
  }

  func run() throws {
    let numeric: GoldenCase.Numeric = numeric == .float ? .float : .int8
    var comparisons: [(String, GoldenComparison)] = []
    for directory in directories {
      let golden = try GoldenCase(reading: directory)
      let result = try golden.run(numeric, groupSize: groupSize, threadCount: threads?.count)
      if let write { try result.tensors.write(to: write) }
      let comparison = golden.compare(result, numeric)
      comparisons.append((directory, comparison))
      if !json { print(directory, comparison) }
    }
    if json {
      Console.output(
        .array(
          comparisons.map { directory, comparison in
            .object([JSONValue.Member("case", .string(directory))] + (comparison.json.object ?? []))
          }))
    }
    if !comparisons.allSatisfy({ $0.1.isWithinTolerance }) { throw ExitCode(1) }
  }

  private func print(_ directory: String, _ comparison: GoldenComparison) {
    Console.output("\(directory): \(comparison.isWithinTolerance ? "within tolerance" : "OUT OF TOLERANCE")")
    for difference in comparison.differences {
      let mark =
        comparison.numeric == .float && difference.largest > difference.tolerance
        ? "  exceeds \(difference.tolerance)" : ""
      Console.output("  \(difference.name)\tlargest difference \(Float(difference.largest))\(mark)")
    }
    Console.output("  trees \(comparison.treesAgree ? "agree" : "DIFFER")")
    Console.output("  greedy tokens \(comparison.greedyAgrees ? "agree" : "DIFFER")")
    Console.output("  mean divergence of the logits \(Float(comparison.meanDivergence)) nats")
  }
}
