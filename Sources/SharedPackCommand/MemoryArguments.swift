import ArgumentParser
import FileAccess
import SharedPack

/// A number of bytes, as an argument: `800M`, `2G`, with powers of 1024 as control groups have them.
struct ByteCountArgument: ExpressibleByArgument {
  let count: Int

  init?(argument: String) {
    let shift: Int? =
      switch argument.last {
      case "K", "k": 10
      case "M", "m": 20
      case "G", "g": 30
      case "T", "t": 40
      default: nil
      }
    guard let number = Int(shift == nil ? argument : String(argument.dropLast())), number >= 0 else { return nil }
    let (count, overflow) = number.multipliedReportingOverflow(by: 1 << (shift ?? 0))
    guard !overflow else { return nil }
    self.count = count
  }
}

/// How commands open a model that they compute with.
struct MemoryArguments: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "Memory to use, such as 800M or 2G. Without it: what the system or the control group has available.",
      discussion: "A pack that does not fit is read from disk again in every pass; answers stay the same.",
      valueName: "size"))
  var memoryLimit: ByteCountArgument?

  func open(_ path: String, threads: ThreadCountArgument?) throws(Refusal) -> LanguageModel {
    let model = try LanguageModel(opening: path, threadCount: threads?.count, memoryLimit: memoryLimit?.count)
    if !model.fitsInMemory {
      Console.error(
        "sharedpack: \(path) is larger than the memory for it: it is read again for every token of the answer")
    }
    return model
  }
}
