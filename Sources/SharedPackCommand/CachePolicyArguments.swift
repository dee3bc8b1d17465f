public import ArgumentParser
import CommandSupport
public import LlamaRuntime
import SharedPack

/// Which tokens of a running text stay in the cache, as options.
struct CachePolicyArguments: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      """
      Which keys and values stay: full (all); of texts without end streaming (StreamingLLM), lm-infinite, infllm; \
      of texts within the window h2o, snapkv, pyramidkv, tova, fastgen.
      """,
      valueName: "name"))
  var cachePolicy = CachePolicy.Name.full

  @Option(
    help: ArgumentHelp(
      "Rows of each head that a token sees, at least \(CachePolicy.leastRows). (default: 512, or half the window)",
      valueName: "count"))
  var cacheRows: Int?

  @Option(
    help: ArgumentHelp("The same as the bytes of all layers and heads, such as 8MB.", valueName: "bytes"))
  var cacheBytes: ByteCountArgument?

  @Option(
    help: ArgumentHelp(
      "How the cache keeps keys and values: int8, f16 or f32. (default: as the pack keeps weights; chosen rows f16)",
      valueName: "form"))
  var cacheKv: RowEncodingArgument?

  @Option(help: ArgumentHelp("With streaming: how many of the rows are of the first tokens.", valueName: "count"))
  var sinks = 4

  @Option(help: ArgumentHelp("With fastgen: the share of the attention that a head's rows keep.", valueName: "share"))
  var recovery = 0.95

  /// How rows are kept; nil as is usual.
  var rowEncoding: RowEncoding? { cacheKv?.encoding }

  func validate() throws {
    guard cacheKv != .int4 else { throw ValidationError("--cache-kv is int8, f16 or f32.") }
    guard cacheRows == nil || cacheBytes == nil else {
      throw ValidationError("--cache-rows and --cache-bytes say the same: give one.")
    }
    guard cacheRows == nil && cacheBytes == nil || cachePolicy.takesRows else {
      throw ValidationError("The cache policy \(cachePolicy.rawValue) has no number of rows.")
    }
    guard cacheRows.map({ $0 >= CachePolicy.leastRows && $0 < 1 << 30 }) ?? true else {
      throw ValidationError("--cache-rows must be at least \(CachePolicy.leastRows).")
    }
    guard sinks >= 0, sinks < cacheRows ?? .max else { throw ValidationError("--sinks must be fewer than the rows.") }
    guard recovery > 0, recovery <= 1 else { throw ValidationError("--recovery must be above 0 and at most 1.") }
  }

  /// The policy for a model.
  func policy(for model: LanguageModel) throws -> CachePolicy {
    guard cachePolicy != .full else { return .full }
    var rows = cacheRows ?? max(CachePolicy.leastRows, min(512, model.window / 2))
    if let bytes = cacheBytes?.count {
      rows = model.cacheRows(inBytes: bytes, cachePolicy, encoding: rowEncoding)
      guard rows >= CachePolicy.leastRows else {
        throw ValidationError(
          """
          --cache-bytes is enough for \(rows) rows; a policy needs \(CachePolicy.leastRows), which take \
          \(model.cacheByteCount(rows: CachePolicy.leastRows, cachePolicy, encoding: rowEncoding)) bytes.
          """)
      }
    }
    guard sinks < rows else { throw ValidationError("--sinks must be fewer than the rows, which are \(rows).") }
    return CachePolicy(cachePolicy, rows: rows, sinks: sinks, recovery: recovery)
  }
}

extension CachePolicy.Name: ExpressibleByArgument {}
