import CanonicalJSON
import EvaluationTasks
import FileAccess
public import SharedPack

/// Finds out how a model reads documents of any length best, by facts that are hidden in texts: every way of reading
/// sees the same samples, half of which ask for one fact and half for two.
public struct ReadingTuning: Sendable {
  /// The ways of reading that are tried.
  public var candidates = Self.grid(chunkSizes: [64, 128, 256, 512], chunkCounts: [1, 2, 4])
  /// Tokens of all texts of a sample.
  public var length = 4096
  public var sampleCount = 48
  public var seed: UInt64 = 1

  public init() {}

  /// Every size with every count, as far as a chunk's reader has a use for it: 1,024 tokens at most.
  public static func grid(chunkSizes: [Int], chunkCounts: [Int]) -> [DeepReading] {
    chunkSizes.flatMap { size in
      chunkCounts.filter { $0 == chunkCounts.min() || size * $0 <= 1024 }
        .map { DeepReading(chunkSize: size, chunkCount: $0) }
    }
  }

  /// What a way of reading gave.
  struct Outcome {
    let reading: DeepReading
    var right: [Double] = []
    var found: [Double] = []
    var rows: [Double] = []
    var seconds: [Double] = []

    var share: Double { right.reduce(0, +) / Double(right.count) }
    var meanRows: Double { rows.reduce(0, +) / Double(rows.count) }
  }

  /// - Parameters:
  ///   - sources: texts that facts are hidden in.
  ///   - progress: called with answers done, of how many.
  /// - Returns: the best way, and a table of all. Of ways that are equally often right, that which gives the question the
  ///   fewest rows is the best.
  /// - Throws: `Refusal` `no-tokenizer`, `task-does-not-fit`, and those of asking.
  public func run(
    _ model: LanguageModel, haystack sources: [EvaluationSource], progress: (_ done: Int, _ of: Int) -> Void
  ) async throws -> (best: DeepReading, result: EvaluationResult) {
    let start = ContinuousClock.now
    let maker = try FactSampleMaker(model, haystack: sources, seed: seed)
    let reader = try FactReader(model)
    var outcomes = candidates.map { Outcome(reading: $0) }
    var done = 0
    // Sample by sample, so that the time that is left can be told from the first ones on.
    for number in 0..<sampleCount {
      let question = number % 2 == 0 ? FactQuestion.one : .two
      let sample = try maker.sample(question, length: length, number: number / 2, of: model)
      for index in outcomes.indices {
        let finding = try reader.find(sample, reading: outcomes[index].reading)
        let answer = try await reader.answer(sample, question, finding, .deep)
        outcomes[index].right.append(answer.isRight ? 1 : 0)
        outcomes[index].found.append(finding.isComplete ? 1 : 0)
        outcomes[index].rows.append(Double(finding.tokenCount))
        outcomes[index].seconds.append(answer.secondsToFirstToken)
        done += 1
        progress(done, outcomes.count * sampleCount)
      }
    }
    let best = Self.best(outcomes)
    return (
      best.reading,
      result(model, outcomes, best: best, sources: sources, seconds: (ContinuousClock.now - start).seconds)
    )
  }

  /// The first of equals.
  /// - Precondition: there are outcomes, each of the same samples.
  static func best(_ outcomes: [Outcome]) -> Outcome {
    var best = outcomes[0]
    for other in outcomes.dropFirst()
    where other.share > best.share || other.share == best.share && other.meanRows < best.meanRows { best = other }
    return best
  }

  private func result(
    _ model: LanguageModel, _ outcomes: [Outcome], best: Outcome, sources: [EvaluationSource], seconds: Double
  ) -> EvaluationResult {
    let bootstrap = Bootstrap(seed: seed)
    let rows = outcomes.map { outcome in
      // One fact and two facts take turns.
      func every(_ first: Int) -> [Double] { stride(from: first, to: sampleCount, by: 2).map { outcome.right[$0] } }
      var measures = ["right": Measure.proportion(of: outcome.right)]
      measures["right_one"] = .proportion(of: every(0))
      if sampleCount > 1 { measures["right_two"] = .proportion(of: every(1)) }
      measures["minus_best"] = bootstrap.difference(outcome.right, best.right)
      measures["found"] = .proportion(of: outcome.found)
      measures["rows"] = Measure(outcome.meanRows.rounded())
      measures["seconds_to_first_token"] = Measure(outcome.seconds.sorted()[sampleCount / 2])
      return EvaluationResult.Row(
        labels: ["chunk_size": Label(outcome.reading.chunkSize), "chunks": Label(outcome.reading.chunkCount)],
        measures: measures)
    }
    return EvaluationResult(
      protocolName: "reading-tuning", model: EvaluationResult.Model(model),
      settings: [
        JSONValue.Member("tokens", .integer(length)), JSONValue.Member("samples", .integer(sampleCount)),
        JSONValue.Member("seed", .integer(Int(seed))),
        JSONValue.Member("haystack", .array(sources.map { .string($0.domain) })),
      ],
      columns: [
        "chunk_size", "chunks", "right", "right_one", "right_two", "minus_best", "found", "rows",
        "seconds_to_first_token",
      ], rows: rows,
      notes: [
        "right: share of answers that have the values; one fact, and two facts in two texts, take turns",
        "minus_best: right, less that of the best; interval over the differences of each sample",
        "rows: tokens that a question attends to, mean; seconds: medians, without reading what could be stored",
      ], seconds: seconds)
  }
}
