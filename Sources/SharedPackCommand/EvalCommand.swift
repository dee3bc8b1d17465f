import ArgumentParser

struct EvalCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "eval",
    abstract: "Measure how well a model uses long contexts.",
    discussion: """
      sharedpack eval perplexity model.spk books --output perplexity.json
      sharedpack eval sweep sweep.json --output tables.json
      sharedpack eval report perplexity.json tables.json --html report.html

      Every evaluation prints a table and writes its result as JSON with --output;
      report turns such files into one page.
      """,
    subcommands: [
      EvalPerplexityCommand.self, EvalReadingCommand.self, EvalFactsCommand.self, EvalRowsCommand.self,
      EvalTasksCommand.self, EvalCompareCommand.self,
      EvalRulerCommand.self,
      EvalLongBenchCommand.self,
      EvalInfiniteBenchCommand.self, EvalInfiniteBenchDataCommand.self, EvalSweepCommand.self, EvalReportCommand.self,
    ])
}
