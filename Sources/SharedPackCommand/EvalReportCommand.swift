import ArgumentParser
import CanonicalJSON
import Evaluation

struct EvalReportCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "report",
    abstract: "Show the results of evaluations.",
    discussion: """
      sharedpack eval report perplexity.json passkey.json --html report.html

      The page has a plot over the length for each domain or task, a heat map where
      rows have length and depth, and every table. It needs nothing from outside.
      """)

  @Argument(help: "Result files.", completion: .file(extensions: ["json"]))
  var results: [String]

  @Option(
    help: ArgumentHelp("Write a page with plots and tables.", valueName: "file"),
    completion: .file(extensions: ["html"]))
  var html: String?

  @Flag(help: "Print JSON for programs.")
  var json = false

  func validate() throws {
    guard !results.isEmpty else { throw ValidationError("Name a result file.") }
  }

  func run() throws {
    let found = try results.map { try EvaluationResult(reading: $0) }
    if let html { try EvaluationReport(found, names: found.count > 1 ? results.map(Self.name) : nil).write(to: html) }
    if json {
      Console.output(.array(found.map(\.json)))
    } else {
      for (number, result) in found.enumerated() {
        if number > 0 { Console.output("") }
        EvalOutput.print(result)
      }
    }
  }

  /// A file's name without directories and `.json`.
  private static func name(_ path: String) -> String {
    let name = path.split(separator: "/").last ?? ""
    return String(name.hasSuffix(".json") ? name.dropLast(5) : name)
  }
}

/// How every evaluation reports its result.
enum EvalOutput {
  /// A title, the table and the notes.
  static func print(_ result: EvaluationResult) {
    Console.output(
      ([result.protocolName] + (result.model.map { [$0.name, $0.weights, $0.positions].compactMap(\.self) } ?? []))
        .joined(separator: "\t"))
    for table in result.tables {
      if let title = table.title { Console.output("\n\(title)") }
      Console.output(table.text)
    }
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

  @Option(
    help: ArgumentHelp("Write a page with plots and tables.", valueName: "file"),
    completion: .file(extensions: ["html"]))
  var html: String?

  /// Writes the files, then prints the JSON or the table.
  func finish(_ result: EvaluationResult) throws {
    if let outputPath { try result.write(to: outputPath) }
    if let html { try EvaluationReport([result]).write(to: html) }
    if output.json { Console.output(result.json) } else { EvalOutput.print(result) }
  }
}
