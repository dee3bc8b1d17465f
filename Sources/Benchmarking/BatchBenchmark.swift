public import CanonicalJSON
public import FileAccess
import LlamaRuntime
import ModelPacks
public import SharedPack

/// What writing several texts at once costs, compared with writing one.
public struct BatchReport: Sendable {
  /// What is measured.
  public struct Options: Sendable {
    /// Texts that are written at once, one measurement each.
    public var streamCounts = [1, 2, 4, 8]
    /// Tokens that each text has already.
    public var depth = 256
    /// Tokens that are written of each text.
    public var decodeCount = 32
    /// Tokens of a prompt that are read in every pass besides; 0: none.
    public var promptSlice = 0
    /// Runs of each measurement; medians are reported.
    public var runs = 5

    public init() {}
  }

  /// The figures of a number of texts.
  public struct Result: Sendable {
    public let streamCount: Int
    /// Tokens written of all texts together.
    public let tokensPerSecond: BenchmarkResult.Spread
    /// From a token of a text to its next.
    public let passSeconds: BenchmarkResult.Spread
    /// The ratio of the rate to that of the first number of texts, in the same run.
    public let gain: BenchmarkResult.Spread
  }

  public let instructionSet: String
  public let threadCount: Int
  /// The encoding of the weights.
  public let weights: String
  public let options: Options
  public let results: [Result]

  /// Measures. All numbers of texts are measured in each run, so that other load on the machine affects all alike.
  /// - Parameter progress: called with the name of what comes next.
  /// - Throws: `Refusal` `prompt-too-long` when a text exceeds the model's window, `file-changed`.
  public static func measure(
    _ model: LanguageModel, _ options: Options, progress: (String) -> Void = { _ in }
  ) throws(Refusal) -> BatchReport {
    let length = options.depth + options.decodeCount + 1
    let read = options.promptSlice * (options.decodeCount + 1)
    guard max(length, read) <= model.window else {
      throw Refusal(
        .promptTooLong, file: model.pack.path, parameter: "depth",
        "needs \(max(length, read)) tokens; the window holds \(model.window)")
    }
    var rates = options.streamCounts.map { _ in [Double]() }
    for run in 0..<options.runs {
      for (index, count) in options.streamCounts.enumerated() {
        progress("run \(run + 1): \(count) at once")
        rates[index].append(rate(model, options, streams: count))
      }
    }
    try model.pack.requireWhole()
    return BatchReport(
      instructionSet: MachineLimits.instructionSet, threadCount: model.threadCount,
      weights: model.pack.quantization.name, options: options,
      results: zip(options.streamCounts, rates).map { count, values in
        Result(
          streamCount: count, tokensPerSecond: BenchmarkResult.Spread(values),
          passSeconds: BenchmarkResult.Spread(values.map { Double(count) / $0 }),
          gain: BenchmarkResult.Spread(zip(values, rates[0]).map { $0 / $1 }))
      })
  }

  /// Tokens per second of all texts together, each with the choice of its next token.
  private static func rate(_ model: LanguageModel, _ options: Options, streams count: Int) -> Double {
    let batch = SessionBatch(model.runtime, tokens: count + options.promptSlice)
    let vocabulary = model.configuration.vocabularySize
    let sessions = (0..<count).map { _ in
      let session = Session(in: batch, capacity: options.depth + options.decodeCount + 1)
      if options.depth > 0 { session.fillForMeasurement(tokens: options.depth) }
      return session
    }
    let reader = Session(in: batch, capacity: max(options.promptSlice, 1) * (options.decodeCount + 1))
    let slice = (0..<options.promptSlice).map { Int32(($0 * 7919 + 13) % vocabulary) }
    var next = (0..<count).map { Int32(($0 * 7919 + 13) % vocabulary) }
    var sampler = Sampler(.greedy)
    var logits: [Float] = []
    func pass() {
      for (index, session) in sessions.enumerated() {
        batch.add(session, CollectionOfOne(next[index]), wantsLogits: true)
      }
      if !slice.isEmpty { batch.add(reader, slice, wantsLogits: false) }
      batch.read()
      for index in next.indices {
        batch.copyLogits(index, into: &logits)
        next[index] = sampler.choose(logits)
      }
    }
    pass()
    let start = ContinuousClock.now
    for _ in 0..<options.decodeCount { pass() }
    return Double(count * options.decodeCount) / (ContinuousClock.now - start).seconds
  }

  public var json: JSONValue {
    .members([
      "instruction_set": .string(instructionSet),
      "threads": .integer(threadCount),
      "weights": .string(weights),
      "depth": .integer(options.depth),
      "prompt_slice": .integer(options.promptSlice),
      "results": .array(
        results.map {
          .members([
            "streams": .integer($0.streamCount),
            "tokens_per_second": .number($0.tokensPerSecond.median),
            "smallest": .number($0.tokensPerSecond.smallest),
            "largest": .number($0.tokensPerSecond.largest),
            "pass_milliseconds": .number($0.passSeconds.median * 1e3),
            "gain": .number($0.gain.median),
            "smallest_gain": .number($0.gain.smallest),
            "largest_gain": .number($0.gain.largest),
          ])
        }),
    ])
  }
}
