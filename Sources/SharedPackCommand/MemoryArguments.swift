import ArgumentParser
import CommandSupport
import FileAccess
import ModelPacks
import SharedPack

/// When weights are verified, as an argument.
enum WeightVerificationArgument: String, ExpressibleByArgument, CaseIterable {
  case auto, always, never

  var when: WeightVerification {
    switch self {
    case .auto: .auto
    case .always: .always
    case .never: .never
    }
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

  @Option(
    help: ArgumentHelp(
      "Verify the pack's weights first: auto, always or never. Auto: once for each file, which is remembered.",
      discussion: "Remembered in ~/.cache/sharedpack. What enters a store is verified at any rate.",
      valueName: "when"))
  var verifyWeights = WeightVerificationArgument.auto

  @OptionGroup var positions: PositionArguments

  func open(_ path: String, threads: ThreadCountArgument?) throws(Refusal) -> LanguageModel {
    let model = try LanguageModel(
      opening: path, threadCount: threads?.count, memoryLimit: memoryLimit?.count,
      positions: positions.positions)
    let bar = SharedProgress("Checking weights", mode: .auto)
    defer { bar.finish() }
    try model.verifyWeights(verifyWeights.when) { bar.update($0, of: $1) }
    if !model.fitsInMemory {
      Console.error(
        "sharedpack: \(path) is larger than the memory for it: it is read again for every token of the answer")
    }
    return model
  }
}
