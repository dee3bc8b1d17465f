public import CanonicalJSON
import ContextTrees
public import FileAccess
import LlamaRuntime
import ModelPacks
import NodeBlocks
public import SharedPack

/// What is measured.
public struct BenchmarkOptions: Sendable {
  /// Lengths of prompts, in tokens.
  public var promptLengths = [512]
  /// Depths at which tokens are written one by one; they may lie beyond the model's window, as the text means nothing.
  public var depths = [0, 4096, 16384]
  /// Tokens that are written at each depth.
  public var decodeCount = 32
  /// Chunks that are encoded; 0, or a plain pack: none.
  public var chunkCount = 2
  /// Chunks of the stored document that is asked about; 0, or a plain pack: none.
  public var documentChunkCount = 16
  /// Tokens of the question about it.
  public var questionLength = 64
  /// Runs of each measurement; medians are reported.
  public var runs = 5

  public init() {}
}

/// The figures of one kind of work.
public struct BenchmarkResult: Sendable {
  public let name: String
  /// Median, smallest and largest over the runs.
  public let tokensPerSecond: Spread
  /// Multiplications and additions of the weight products per second, at the median.
  public let operationsPerSecond: Double
  /// Bytes of weights read per second, at the median.
  public let bytesPerSecond: Double
  /// For decoding at a depth: the median ratio of its rate to the rate at depth 0 in the same run.
  public let shareOfDepth0: Double?
  /// For decoding at depth 0: the median ratio of its bytes per second to those of plain reading, which alternates with
  /// it token by token.
  public let shareOfReading: Double?
  /// For encoding: the ratio of the seconds that a token of a chunk takes to those of a token of the first prompt in
  /// the same run.
  public let costOfPrompt: Spread?

  public struct Spread: Sendable {
    public let median: Double
    public let smallest: Double
    public let largest: Double

    init(_ values: [Double]) {
      let sorted = values.sorted()
      smallest = sorted.first ?? 0
      largest = sorted.last ?? 0
      median =
        sorted.count % 2 == 1
        ? sorted[sorted.count / 2] : (sorted[sorted.count / 2 - 1] + sorted[sorted.count / 2]) / 2
    }
  }
}

/// Everything that a benchmark found.
public struct BenchmarkReport: Sendable {
  public let instructionSet: String
  public let threadCount: Int
  /// The encoding of the weights.
  public let weights: String
  public let peakOperationsPerSecond: Double
  public let peakBytesPerSecond: Double
  /// Seconds that it takes to share work among the threads; 0 for one thread.
  public let handOffSeconds: Double
  public let results: [BenchmarkResult]
  /// Nil for a plain pack.
  public let question: Question?

  /// Seconds to the first token: medians, and the ratios of those of the same run.
  public struct Question: Sendable {
    public let tokens: Int
    public let documentTokens: Int
    public let about: Double
    public let without: Double
    public let ratio: BenchmarkResult.Spread
    /// What encoding the document takes at the rate of the chunks that were encoded; nil when none were.
    public let encoding: Double?
  }

  public var json: JSONValue {
    .members([
      "instruction_set": .string(instructionSet),
      "threads": .integer(threadCount),
      "weights": .string(weights),
      "peak_gops": .number(peakOperationsPerSecond / 1e9),
      "peak_gbytes_per_second": .number(peakBytesPerSecond / 1e9),
      "hand_off_microseconds": .number(handOffSeconds * 1e6),
      "results": .array(
        results.map {
          .members([
            "name": .string($0.name),
            "tokens_per_second": .number($0.tokensPerSecond.median),
            "smallest": .number($0.tokensPerSecond.smallest),
            "largest": .number($0.tokensPerSecond.largest),
            "gops": .number($0.operationsPerSecond / 1e9),
            "share_of_peak_gops": .number($0.operationsPerSecond / peakOperationsPerSecond),
            "gbytes_per_second": .number($0.bytesPerSecond / 1e9),
            "share_of_peak_bandwidth": .number($0.bytesPerSecond / peakBytesPerSecond),
            "share_of_depth_0": $0.shareOfDepth0.map { .number($0) } ?? .null,
            "share_of_reading": $0.shareOfReading.map { .number($0) } ?? .null,
            "cost_of_prompt": $0.costOfPrompt.map { .number($0.median) } ?? .null,
          ])
        }),
      "question": question.map {
        .members([
          "tokens": .integer($0.tokens), "document_tokens": .integer($0.documentTokens),
          "seconds_to_first_token": .number($0.about), "without_document": .number($0.without),
          "ratio": .number($0.ratio.median), "smallest_ratio": .number($0.ratio.smallest),
          "largest_ratio": .number($0.ratio.largest),
          "document_encoding_seconds": $0.encoding.map { .number($0) } ?? .null,
        ])
      } ?? .null,
    ])
  }
}

/// Measures a model on this machine.
public struct Benchmark: Sendable {
  private let model: LanguageModel
  private let options: BenchmarkOptions

  public init(_ model: LanguageModel, options: BenchmarkOptions) {
    self.model = model
    self.options = options
  }

  /// Runs everything, one kind of work after the other within each run, so that other load on the machine affects all
  /// kinds alike.
  /// - Parameter progress: called with the name of what comes next.
  /// - Throws: `Refusal` `prompt-too-long` when a length exceeds the model's window; those of the encoder and the store.
  public func run(progress: (String) -> Void = { _ in }) throws(Refusal) -> BenchmarkReport {
    let longest = options.promptLengths.max() ?? 0
    guard longest <= model.configuration.maxPositionCount else {
      throw Refusal(
        .promptTooLong, file: model.pack.path, parameter: "promptLengths",
        "needs \(longest) tokens; the window holds \(model.configuration.maxPositionCount)")
    }
    progress("limits")
    var peaks: [Double] = []
    var bandwidths: [Double] = []
    var rates: [String: [Double]] = [:]
    var names: [String] = []
    var handOffs: [Double] = []
    var sharesOfReading: [Double] = []
    var questions: [(about: Double, without: Double)] = []
    func note(_ name: String, _ rate: Double) {
      if rates[name] == nil { names.append(name) }
      rates[name, default: []].append(rate)
    }
    let tree = options.documentChunkCount > 0 ? model.runtime.treeShape : nil
    let question = try tree.map { (_) throws(Refusal) in
      progress("storing a document")
      return try QuestionBenchmark(
        model, chunkCount: options.documentChunkCount, question: tokens(options.questionLength), tokens: tokens)
    }
    for run in 0..<options.runs {
      handOffs.append(MachineLimits.handOffSeconds(threadCount: model.threadCount))
      peaks.append(MachineLimits.int8OperationsPerSecond(threadCount: model.threadCount))
      for length in options.promptLengths {
        progress("run \(run + 1): prompt of \(length)")
        note(Self.prompt(length), promptRate(length))
      }
      progress("run \(run + 1): decode")
      let reader = MemoryReader(threadCount: model.threadCount)
      bandwidths.append(reader.bytesPerSecond())
      let decoding = decode(besides: reader)
      for (depth, rate) in zip(options.depths, decoding.rates) { note(Self.decode(depth), rate) }
      if let share = decoding.shareOfReading { sharesOfReading.append(share) }
      if options.chunkCount > 0, model.runtime.treeShape != nil {
        progress("run \(run + 1): tree encoding")
        note(Self.encode, try encodeRate())
      }
      if let question {
        progress("run \(run + 1): question about a stored document")
        questions.append(try question.run(beginsWithout: run % 2 == 1))
      }
    }
    let results = names.map { name in
      let spread = BenchmarkResult.Spread(rates[name] ?? [])
      let work = name == Self.encode ? WeightWork.encoding(model) : WeightWork.token(model)
      let prompts = options.promptLengths.first.flatMap { rates[Self.prompt($0)] }
      return BenchmarkResult(
        name: name, tokensPerSecond: spread, operationsPerSecond: spread.median * work.operations,
        bytesPerSecond: name.hasPrefix("decode") ? spread.median * work.byteCount : 0,
        shareOfDepth0: name.hasPrefix("decode") && name != Self.decode(0)
          ? rates[Self.decode(0)].map { whole in
            BenchmarkResult.Spread(zip(rates[name] ?? [], whole).map { $0 / $1 }).median
          } : nil,
        shareOfReading: name == Self.decode(0) ? BenchmarkResult.Spread(sharesOfReading).median : nil,
        costOfPrompt: name == Self.encode
          ? prompts.map { BenchmarkResult.Spread(zip($0, rates[name] ?? []).map { $0 / $1 }) } : nil)
    }
    return BenchmarkReport(
      instructionSet: MachineLimits.instructionSet, threadCount: model.threadCount,
      weights: model.pack.quantization.name, peakOperationsPerSecond: BenchmarkResult.Spread(peaks).median,
      peakBytesPerSecond: BenchmarkResult.Spread(bandwidths).median,
      handOffSeconds: BenchmarkResult.Spread(handOffs).median, results: results,
      question: tree.map { tree in
        let documentTokens = options.documentChunkCount * tree.chunkSize
        return BenchmarkReport.Question(
          tokens: options.questionLength, documentTokens: documentTokens,
          about: BenchmarkResult.Spread(questions.map(\.about)).median,
          without: BenchmarkResult.Spread(questions.map(\.without)).median,
          ratio: BenchmarkResult.Spread(questions.map { $0.about / $0.without }),
          encoding: results.first { $0.name == Self.encode }.map { Double(documentTokens) / $0.tokensPerSecond.median })
      })
  }

  private static func prompt(_ length: Int) -> String { "prompt \(length)" }
  private static func decode(_ depth: Int) -> String { "decode at \(depth)" }
  private static let encode = "encode chunks"

  private func tokens(_ count: Int) -> [Int32] {
    let vocabulary = model.configuration.vocabularySize
    return (0..<count).map { Int32(($0 * 7919 + 13) % vocabulary) }
  }

  private func promptRate(_ length: Int) -> Double {
    let session = Session(model.runtime, capacity: length)
    let start = ContinuousClock.now
    _ = session.read(tokens(length))
    return Double(length) / (ContinuousClock.now - start).seconds
  }

  /// Tokens per second at every depth, and the ratio of the bytes per second at depth 0, where only weights are read,
  /// to those of plain reading. Depths and reading alternate token by token, so that the machine is in the same state
  /// for all.
  private func decode(besides reader: MemoryReader) -> (rates: [Double], shareOfReading: Double?) {
    let tokens = tokens(options.decodeCount + 1)
    let sessions = options.depths.map { depth in
      let session = Session(
        model.runtime, capacity: depth + options.decodeCount + 1)
      if depth > 0 { session.fillForMeasurement(tokens: depth) }
      return session
    }
    var logits: [Float] = []
    for session in sessions { logits = session.read(tokens.prefix(1)) }
    var seconds = sessions.map { _ in 0.0 }
    var reading = 0.0
    for token in tokens.dropFirst() {
      reading += reader.read()
      for (index, session) in sessions.enumerated() {
        let start = ContinuousClock.now
        session.read(token, into: &logits)
        seconds[index] += (ContinuousClock.now - start).seconds
      }
    }
    let rates = seconds.map { Double(options.decodeCount) / $0 }
    let bytesRead = Double(options.decodeCount * reader.byteCount) / reading
    let share = options.depths.firstIndex(of: 0).map { rates[$0] * WeightWork.token(model).byteCount / bytesRead }
    return (rates, share)
  }

  private func encodeRate() throws(Refusal) -> Double {
    guard let encoder = TreeEncoder(model.runtime, encoding: .int8),
      let shape = model.runtime.treeShape
    else { return 0 }
    let start = ContinuousClock.now
    for chunk in 0..<options.chunkCount {
      _ = try encoder.encode(tokens(shape.chunkSize + chunk).suffix(shape.chunkSize))
    }
    return Double(options.chunkCount * shape.chunkSize) / (ContinuousClock.now - start).seconds
  }
}

/// The products of weights that a token costs.
private struct WeightWork {
  /// Multiplications and additions.
  let operations: Double
  /// Bytes of weights read, when tokens come one by one.
  let byteCount: Double

  static func token(_ model: LanguageModel) -> WeightWork {
    let used = model.pack.tensors.filter { tensor in
      tensor.columns > 1 && tensor.rows > 1 && !tensor.name.hasPrefix("encoder.") && !tensor.name.contains("cross_attn")
        && (model.configuration.tiesWordEmbeddings || tensor.name != "model.embed_tokens.weight")
    }
    return WeightWork(
      operations: used.reduce(0) { $0 + 2 * Double($1.rows) * Double($1.columns) },
      byteCount: used.reduce(0) { $0 + Double($1.byteCount) })
  }

  /// Per token of a chunk: the passes of its spines through the lower layers.
  static func encoding(_ model: LanguageModel) -> WeightWork {
    guard let shape = model.runtime.treeShape, let shared = model.pack.sharedLLM else {
      return WeightWork(operations: 0, byteCount: 0)
    }
    let c = model.configuration
    let attention = c.hiddenSize * c.headDim * (2 * c.headCount + 2 * c.kvHeadCount)
    let layer = attention + 3 * c.hiddenSize * c.intermediateSize
    let keysAndValues = 2 * c.hiddenSize * c.headDim * c.kvHeadCount
    let whole = max(shared.injectedLayerCount - 1, 1)
    let last = shared.injectedLayerCount > 1 ? keysAndValues : 0
    // A chunk of L tokens has passes of (h + 1) · L / 2 tokens in all.
    let passTokens = Double(shape.depth + 1) / 2
    return WeightWork(operations: 2 * Double(whole * layer + last) * passTokens, byteCount: 0)
  }
}
