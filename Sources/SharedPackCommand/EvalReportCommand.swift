import ArgumentParser
import CanonicalJSON
import Evaluation

struct EvalReportCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "report",
    abstract: "Show the results of evaluations.",
    discussion: """
      sharedpack eval report perplexity.json passkey.json
      """)

  @Argument(help: "Result files.", completion: .file(extensions: ["json"]))
  var results: [String]

  @Flag(help: "Print JSON for programs.")
  var json = false

  func run() throws {
    let results = try results.map { try EvaluationResult(reading: $0) }
    if json {
      Console.output(.array(results.map(\.json)))
    } else {
      for result in results { EvalOutput.print(result) }
    }
  }
}

/// How every evaluation hands over what it found.
enum EvalOutput {
  /// A title, the table and the notes.
  static func print(_ result: EvaluationResult) {
    Console.output("\(result.protocolName)\t\(result.model.name)\t\(result.model.weights)")
    Console.output(result.table)
    for note in result.notes { Console.output("- \(note)") }
  }
}

/// The options of commands that evaluate.
struct EvalOutputOptions: ParsableArguments {
  @OptionGroup var output: OutputOptions

  @Option(
    name: .customLong("output"), help: ArgumentHelp("Write the result as JSON.", valueName: "file"),
    completion: .file(extensions: ["json"]))
  var outputPath: String?

  /// Writes the file, then prints the JSON or the table.
  func finish(_ result: EvaluationResult) throws {
    if let outputPath { try result.write(to: outputPath) }
    if output.json { Console.output(result.json) } else { EvalOutput.print(result) }
  }
}
