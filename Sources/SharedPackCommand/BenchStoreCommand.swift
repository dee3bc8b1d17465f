import ArgumentParser
import Benchmarking
import CanonicalJSON
import SharedPack

struct BenchStoreCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "store",
    abstract: "Measure what adding, opening and finding cost as a store grows.",
    discussion: """
      sharedpack bench store /tmp/growing --documents 1000 --documents 100000

      The documents are made up, of tiny chunks of the true form: a chunk takes about
      800 bytes. The store is left where it was made.
      """)

  @Argument(help: "Where the store is made; nothing may be there.", completion: .directory)
  var store: String

  @Option(
    name: .customLong("documents"),
    help: ArgumentHelp("Documents at which it is measured. Repeatable, ascending.", valueName: "count"))
  var sizes = [1000, 10_000]

  @Option(help: ArgumentHelp("Chunks of a document.", valueName: "count"))
  var chunks = 10

  @Option(help: ArgumentHelp("Documents of a commit.", valueName: "count"))
  var batch = 1000

  @OptionGroup var output: JSONOption

  func validate() throws {
    let bounds = 2...1_000_000_000
    guard sizes.allSatisfy(bounds.contains), sizes == sizes.sorted() else {
      throw ValidationError("--documents must ascend from 2 to \(bounds.upperBound).")
    }
    guard (1...1_000_000).contains(chunks), (1...1_000_000).contains(batch) else {
      throw ValidationError("--chunks and --batch must be 1 to 1000000.")
    }
  }

  func run() throws {
    var benchmark = StoreBenchmark(in: store, chunksPerDocument: chunks, batch: batch)
    var results: [JSONValue] = []
    for size in sizes {
      let growth = try benchmark.grow(to: size)
      if output.json {
        results.append(growth.json)
      } else {
        Console.output(
          "\(Format.count(growth.documents, "document")): added in \(Format.rounded(growth.secondsPerDocument * 1e3)) ms "
            + "each (slowest commit \(Format.rounded(growth.slowestBatchSeconds)) s), one alone in "
            + "\(Format.rounded(growth.secondsAlone * 1e3)) ms; opened in \(Format.rounded(growth.openingSeconds * 1e3)) ms; "
            + "found in \(Format.rounded(growth.findingSeconds * 1e6)) µs, missed in "
            + "\(Format.rounded(growth.missingSeconds * 1e6)) µs; \(Format.bytes(growth.byteCount)) in "
            + "\(Format.count(growth.fileCount, "file")), catalog \(Format.bytes(growth.catalogByteCount))")
      }
    }
    if output.json { Console.output(.array(results)) }
  }
}
