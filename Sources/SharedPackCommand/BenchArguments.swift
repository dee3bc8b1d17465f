import ArgumentParser
import FileAccess
import SharedPack

/// What measurements of a model have in common, as options.
struct BenchArguments: ParsableArguments {
  @Option(help: ArgumentHelp("How often everything is measured; medians are shown.", valueName: "count"))
  var runs = 5

  @Option(help: ArgumentHelp("Number of threads, 1 to 1024.", valueName: "count"))
  var threads: ThreadCountArgument?

  @OptionGroup var memory: MemoryArguments
  @OptionGroup var output: OutputOptions

  func open(_ path: String) throws(Refusal) -> LanguageModel { try memory.open(path, threads: threads) }

  /// Says what comes next, unless nobody wants to know.
  func tell(_ step: String) {
    if output.progress != .none { Console.error("bench: \(step)") }
  }

  /// - Throws: `ValidationError`, naming the first option that is out of its range.
  static func require(_ numbers: [(name: String, number: Int, range: ClosedRange<Int>)]) throws {
    for (name, number, range) in numbers where !range.contains(number) {
      throw ValidationError("\(name) must be \(range.lowerBound) to \(range.upperBound).")
    }
  }
}
