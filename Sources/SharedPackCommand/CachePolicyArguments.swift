import ArgumentParser
import LlamaRuntime

/// Which tokens of a running text stay in the cache, as options.
struct CachePolicyArguments: ParsableArguments {
  enum Name: String, ExpressibleByArgument, CaseIterable {
    case full, streaming
  }

  @Option(
    help: ArgumentHelp(
      "full keeps all tokens; streaming keeps the first and the most recent ones, for texts beyond the window.",
      valueName: "name"))
  var cachePolicy = Name.full

  @Option(help: ArgumentHelp("With streaming: how many of the first tokens are kept.", valueName: "count"))
  var sinks = 4

  @Option(help: ArgumentHelp("With streaming: how many of the most recent tokens are kept.", valueName: "count"))
  var recent = 508

  func validate() throws {
    guard sinks >= 0, recent >= 1, sinks < 1 << 30, recent < 1 << 30 else {
      throw ValidationError("--sinks must be 0 or more, --recent 1 or more.")
    }
  }

  var policy: CachePolicy { cachePolicy == .full ? .full : .streaming(sinks: sinks, recent: recent) }
}
