import ArgumentParser
import Benchmarking
import SharedPack

struct BenchSearchCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "search",
    abstract: "Measure how fast the chunks that have a question's words are found.",
    discussion: """
      sharedpack bench search --chunks 1000000

      The chunks are made up, and have the words of texts in their frequencies. Their
      indexes lie in the temporary directory (TMPDIR) and are mapped. Each question is
      asked for the 8 best chunks, and for up to 4 that have its words together, as
      `ask` reads them.
      """)

  @Option(help: ArgumentHelp("Chunks to search.", valueName: "count"))
  var chunks = 1_000_000

  @Option(help: ArgumentHelp("Files that they lie in.", valueName: "count"))
  var files = 60

  @Option(help: ArgumentHelp("Words of a chunk.", valueName: "count"))
  var words = 64

  @Option(help: ArgumentHelp("Different words.", valueName: "count"))
  var vocabulary = 200_000

  @Option(help: ArgumentHelp("Questions of 8 to 12 words.", valueName: "count"))
  var questions = 100

  @OptionGroup var output: OutputOptions

  func validate() throws {
    for (name, number, limit) in [
      ("--chunks", chunks, 100_000_000), ("--files", files, 10_000), ("--words", words, 1 << 16),
      ("--vocabulary", vocabulary, 10_000_000), ("--questions", questions, 100_000),
    ] where !(1...limit).contains(number) {
      throw ValidationError("\(name) must be 1 to \(limit).")
    }
  }

  func run() throws {
    var options = SearchReport.Options()
    options.chunkCount = chunks
    options.fileCount = files
    options.wordsPerChunk = words
    options.vocabularySize = vocabulary
    options.questionCount = questions
    var bar = ProgressBar("Making chunks", unit: .samples, mode: output.progress)
    let report = try SearchReport.measure(options) { bar.update($0, of: $1) }
    bar.finish()
    if output.json {
      Console.output(report.json)
      return
    }
    Console.output(
      "\(Format.count(chunks, "chunk")) in \(Format.count(files, "file")): "
        + "\(Format.rounded(Double(report.byteCount) / Double(chunks))) bytes of index a chunk, made in "
        + "\(Format.rounded(report.buildingSeconds)) s; the first question, which checks what it reads, took "
        + "\(Format.rounded(report.first)) ms")
    for result in report.results {
      Console.output(
        "\(result.name), \(Format.count(result.threadCount, "thread"))\t\(Format.rounded(result.median)) ms "
          + "(at most \(Format.rounded(result.largest)))")
    }
  }
}
