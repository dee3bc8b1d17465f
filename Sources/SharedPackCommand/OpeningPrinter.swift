import Benchmarking

/// Shows what `bench --opening` measured.
enum OpeningPrinter {
  static func print(_ report: OpeningReport, output: OutputOptions) {
    if output.json { return Console.output(report.json) }
    func line(_ name: String, _ spread: BenchmarkResult.Spread) {
      Console.output(
        "\(name)\t\(Format.latency(spread.median)) (\(Format.latency(spread.smallest)) to "
          + "\(Format.latency(spread.largest)))")
    }
    func bytes(_ count: Int) -> String { Format.bytes(count) }
    line("opening", report.opening)
    line("first token", report.firstToken)
    Console.output("private memory\t\(report.privateByteCount.map(bytes) ?? "unknown")")
    Console.output("reserved for keys and values\t\(bytes(report.cacheByteCount))")
    Console.output(
      "shared memory\t\(bytes(report.packByteCount)) of the pack"
        + (report.streams ? ", read again for every token but for \(report.residentLayerCount) layers" : ""))
  }
}
