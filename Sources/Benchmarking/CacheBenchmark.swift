public import CanonicalJSON
public import FileAccess
package import LlamaRuntime
import ModelPacks
public import SharedPack

/// What a text costs under cache policies: reading it, keeping its rows, and writing on.
public struct CacheReport: Sendable {
  /// What is measured.
  public struct Options: Sendable {
    public var policies: [CachePolicy] = []
    /// How rows are kept; nil as is usual for each policy.
    public var rowEncoding: RowEncoding?
    /// Tokens of the text.
    public var promptCount = 1024
    /// Tokens that are written in each run.
    public var decodeCount = 32
    /// Runs; medians are reported.
    public var runs = 5

    public init() {}
  }

  /// The figures of a policy.
  public struct Result: Sendable {
    public let policy: CachePolicy
    /// Tokens of the prompt that are read in a second.
    public let promptTokensPerSecond: Double
    /// Rows of a head that are there while tokens are written, on average.
    public let rowCount: Double
    /// Bytes of the rows of all heads and layers, when the prompt has been read.
    public let byteCount: Int
    public let tokensPerSecond: BenchmarkResult.Spread
    /// The ratio of the rate to that of a cache without a policy that has as many rows, in the same form and run.
    public let ofAsManyRows: BenchmarkResult.Spread
  }

  public let instructionSet: String
  public let threadCount: Int
  /// The encoding of the weights.
  public let weights: String
  public let options: Options
  public let results: [Result]

  /// Measures. All policies are measured in each run, each beside a cache without one that has as many rows, token by
  /// token in turns, so that other load on the machine affects both alike.
  /// - Parameter progress: called with the name of what comes next.
  /// - Throws: `Refusal` `prompt-too-long` when the text exceeds the model's window, `cache-too-large`, `file-changed`.
  public static func measure(
    _ model: LanguageModel, _ options: Options, progress: (String) -> Void = { _ in }
  ) throws(Refusal) -> CacheReport {
    let written = options.runs * (options.decodeCount + 1)
    let length = options.promptCount + written
    guard length <= model.window else {
      throw Refusal(
        .promptTooLong, file: model.pack.path, parameter: "prompt",
        "with what is written, it has \(length) tokens; the window holds \(model.window)")
    }
    var results: [Result] = []
    for policy in options.policies {
      progress("\(policy.name.rawValue): prompt")
      let session = try model.makeSession(capacity: length, cachePolicy: policy, rowEncoding: options.rowEncoding)
      let start = ContinuousClock.now
      _ = session.read(tokens(options.promptCount, model))
      let promptRate = Double(options.promptCount) / (ContinuousClock.now - start).seconds
      let byteCount = session.rowByteCount
      let perRow = model.runtime.rowByteCount(policy, encoding: options.rowEncoding)
      let rowCount = min(seenRows(policy), Double(byteCount) / Double(perRow))
      // What stays of the tokens that are written: all, or what a limit leaves.
      let grown = policy.keepsWhatIsWritten ? Double(written) / 2 : 0
      let full = Session(
        model.runtime, capacity: Int(rowCount + grown) + written + 1,
        rowEncoding: options.rowEncoding ?? model.runtime.usualEncoding(policy))
      full.fillForMeasurement(tokens: max(Int(rowCount + grown) - written / 2, 0))
      var rates: [Double] = []
      var ratios: [Double] = []
      for run in 0..<options.runs {
        progress("\(policy.name.rawValue): run \(run + 1)")
        let (rate, reference) = Self.rates(of: session, full, options.decodeCount)
        rates.append(rate)
        ratios.append(rate / reference)
      }
      results.append(
        Result(
          policy: policy, promptTokensPerSecond: promptRate, rowCount: rowCount + grown, byteCount: byteCount,
          tokensPerSecond: BenchmarkResult.Spread(rates), ofAsManyRows: BenchmarkResult.Spread(ratios)))
    }
    try model.pack.requireWhole()
    return CacheReport(
      instructionSet: MachineLimits.instructionSet, threadCount: model.threadCount,
      weights: model.pack.quantization.name, options: options, results: results)
  }

  /// Tokens per second of two sessions that are written in turns.
  private static func rates(of session: Session, _ other: Session, _ count: Int) -> (Double, Double) {
    var logits: [Float] = []
    var seconds = [0.0, 0.0]
    for step in 0...count {
      for (index, session) in [session, other].enumerated() {
        let start = ContinuousClock.now
        session.read(Int32(13 + step), into: &logits)
        // The first token of each warms up.
        if step > 0 { seconds[index] += (ContinuousClock.now - start).seconds }
      }
    }
    return (Double(count) / seconds[0], Double(count) / seconds[1])
  }

  /// Rows that a token sees of a head, where the policy has more than that in memory.
  private static func seenRows(_ policy: CachePolicy) -> Double {
    switch policy {
    case .streaming(let sinks, let recent), .lmInfinite(let sinks, let recent): Double(sinks + recent)
    case .infLLM(let initial, let recent, let block, let chosen, _):
      Double(initial + recent + chosen * block + block / 2)
    case .full, .h2o, .snapKV, .pyramidKV, .tova, .fastGen: .infinity
    }
  }

  private static func tokens(_ count: Int, _ model: LanguageModel) -> [Int32] {
    (0..<count).map { Int32(($0 * 7919 + 13) % model.configuration.vocabularySize) }
  }

  public var json: JSONValue {
    .members([
      "instruction_set": .string(instructionSet),
      "threads": .integer(threadCount),
      "weights": .string(weights),
      "prompt": .integer(options.promptCount),
      "results": .array(
        results.map {
          .members([
            "policy": .string($0.policy.name.rawValue),
            "rows": .number($0.rowCount),
            "bytes": .integer($0.byteCount),
            "prompt_tokens_per_second": .number($0.promptTokensPerSecond),
            "tokens_per_second": .number($0.tokensPerSecond.median),
            "smallest": .number($0.tokensPerSecond.smallest),
            "largest": .number($0.tokensPerSecond.largest),
            "of_as_many_rows": .number($0.ofAsManyRows.median),
            "smallest_of_as_many_rows": .number($0.ofAsManyRows.smallest),
            "largest_of_as_many_rows": .number($0.ofAsManyRows.largest),
          ])
        }),
    ])
  }
}

extension CachePolicy {
  /// Whether all tokens stay that are read one at a time; of FastGen's heads, those with a profile of all rows.
  fileprivate var keepsWhatIsWritten: Bool {
    switch self {
    case .full, .snapKV, .pyramidKV: true
    case .streaming, .lmInfinite, .h2o, .tova, .fastGen, .infLLM: false
    }
  }
}
