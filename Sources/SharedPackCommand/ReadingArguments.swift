import ArgumentParser
import FileAccess
import SharedPack
import TreeStore

/// How documents are read, as an argument.
enum ReadingArgument: String, ExpressibleByArgument, CaseIterable {
  case trees, deep, exact
}

/// How documents are read, as an option.
struct ReadingArguments: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "How documents are read: deep (the chunks that fit a question, in all layers; of any length), exact (as one long prompt, within the model's window) or trees (for a model that was trained for it, else untrained). (default: trees for a model that has them, else deep)",
      valueName: "manner"))
  var reading: ReadingArgument?

  enum Manner {
    case trees
    case texts(ReadingManner)
  }

  func manner(of model: LanguageModel) throws(Refusal) -> Manner {
    switch reading ?? (model.pack.sharedLLM == nil ? .deep : .trees) {
    case .trees:
      _ = try model.requireTrees(.int8)
      return .trees
    case .deep: return .texts(.deep)
    case .exact: return .texts(.exact)
    }
  }
}

/// How documents of any length are read, as options.
struct DeepReadingArguments: ParsableArguments {
  @Option(help: ArgumentHelp("For deep reading: tokens of a chunk, 64 to 1024.", valueName: "tokens"))
  var chunkSize: Int?

  @Option(
    name: .customLong("chunks"),
    help: ArgumentHelp("For deep reading: chunks that are read for a question.", valueName: "count"))
  var chunkCount = DeepReading().chunkCount

  var reading: DeepReading {
    DeepReading(chunkSize: chunkSize ?? DeepReading().chunkSize, chunkCount: chunkCount)
  }

  func validate() throws {
    guard chunkSize.map((64...1024).contains) ?? true else {
      throw ValidationError("--chunk-size must be 64 to 1024.")
    }
    guard (1...4096).contains(chunkCount) else { throw ValidationError("--chunks must be 1 to 4096.") }
  }
}
