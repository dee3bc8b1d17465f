import CanonicalJSON
public import EvaluationTasks
import FileAccess
public import SharedPack
import Tokenization

/// How often a model that follows instructions answers about a fact in a novel.
///
/// Every manner of reading sees the same samples, so that their differences are of pairs. Answers are greedy, of 24
/// tokens at most for each value.
public struct FactEvaluation: Sendable {
  /// How the text is read.
  public enum Manner: String, Sendable, CaseIterable {
    /// Stored rows of the chunks that fit the question.
    case deep
    /// The same chunks, as text in the prompt.
    case again
    /// Nothing but the statements, as text in the prompt: what the model can answer at best.
    case sentence
    /// The whole text in the prompt.
    case whole
    /// No text.
    case none
  }

  public var manners: [Manner] = [.deep, .again]
  public var questions: [FactQuestion] = [.one]
  /// Tokens of all texts of a sample.
  public var lengths = [4096]
  public var sampleCount = 100
  public var reading = DeepReading()
  /// Whether there is also a row for each kind of fact.
  public var dividesByKind = false
  public var seed: UInt64 = 1

  public init() {}

  /// An answer, as it comes.
  public struct Answer: Sendable {
    public let question: String
    public let values: [String]
    public let manner: Manner
    public let text: String
    public let isRight: Bool
    /// Whether the chunks that were read have the statements.
    public let isFound: Bool
  }

  /// What the samples of a row gave, one value each.
  private struct Scores {
    var kinds: [String] = []
    var right: [[Double]]
    var seconds: [[Double]]
    var found: [Double] = []

    init(mannerCount: Int) {
      right = [[Double]](repeating: [], count: mannerCount)
      seconds = right
    }

    func only(_ kind: String) -> Scores {
      func chosen(_ values: [Double]) -> [Double] { zip(kinds, values).filter { $0.0 == kind }.map(\.1) }
      var part = Scores(mannerCount: right.count)
      part.kinds = kinds.filter { $0 == kind }
      part.right = right.map(chosen)
      part.seconds = seconds.map(chosen)
      part.found = chosen(found)
      return part
    }
  }

  /// - Parameters:
  ///   - sources: texts that facts are hidden in.
  ///   - progress: called with samples done, of how many.
  ///   - answer: called with every answer.
  /// - Throws: `Refusal` `no-tokenizer`, `task-does-not-fit`, and those of asking.
  public func run(
    _ model: LanguageModel, haystack sources: [EvaluationSource], progress: (_ done: Int, _ of: Int) -> Void,
    answer: (Answer) -> Void = { _ in }
  ) async throws -> EvaluationResult {
    let start = ContinuousClock.now
    let maker = try FactSampleMaker(model, haystack: sources, seed: seed)
    let reader = try FactReader(model, reading: reading)
    var rows: [EvaluationResult.Row] = []
    let groups = questions.flatMap { question in lengths.map { (question, $0) } }
    var done = 0
    for (question, length) in groups {
      var scores = Scores(mannerCount: manners.count)
      for number in 0..<sampleCount {
        let sample = try maker.sample(question, length: length, number: number, of: model)
        let finding = try reader.find(sample, reading: reading)
        scores.kinds.append(sample.kind)
        scores.found.append(finding.isComplete ? 1 : 0)
        for (index, manner) in manners.enumerated() {
          let response = try await reader.answer(sample, question, finding, manner)
          scores.right[index].append(response.isRight ? 1 : 0)
          scores.seconds[index].append(response.secondsToFirstToken)
          answer(
            Answer(
              question: sample.question, values: sample.values, manner: manner, text: response.text,
              isRight: response.isRight, isFound: finding.isComplete))
        }
        done += 1
        progress(done, groups.count * sampleCount)
      }
      let labels: [String: Label] = ["question": .text(question.rawValue), "tokens": Label(length)]
      rows += self.rows(scores, labels: labels, kind: "all")
      guard dividesByKind else { continue }
      for kind in Set(scores.kinds).sorted() { rows += self.rows(scores.only(kind), labels: labels, kind: kind) }
    }
    return result(model, rows, sources: sources, seconds: (ContinuousClock.now - start).seconds)
  }

  private func rows(_ scores: Scores, labels: [String: Label], kind: String) -> [EvaluationResult.Row] {
    let bootstrap = Bootstrap(seed: seed)
    let again = manners.firstIndex(of: .again)
    return manners.indices.map { index in
      var labels = labels
      labels["manner"] = .text(manners[index].rawValue)
      if dividesByKind { labels["kind"] = .text(kind) }
      var measures = ["right": Measure.proportion(of: scores.right[index])]
      if let again, again != index {
        measures["minus_again"] = bootstrap.difference(scores.right[index], scores.right[again])
      }
      measures["found"] = .proportion(of: scores.found)
      measures["seconds_to_first_token"] = Measure(scores.seconds[index].sorted()[scores.seconds[index].count / 2])
      return EvaluationResult.Row(labels: labels, measures: measures)
    }
  }

  private func result(
    _ model: LanguageModel, _ rows: [EvaluationResult.Row], sources: [EvaluationSource], seconds: Double
  ) -> EvaluationResult {
    var columns = ["question", "tokens", "manner", "right"]
    if dividesByKind { columns.insert("kind", at: 2) }
    if manners.contains(.again), manners.count > 1 { columns.append("minus_again") }
    return EvaluationResult(
      protocolName: "facts", model: EvaluationResult.Model(model),
      settings: [
        JSONValue.Member("chunk", .integer(reading.chunkSize)),
        JSONValue.Member("chunks", .integer(reading.chunkCount)),
        JSONValue.Member("repair", .integer(reading.repair)),
        JSONValue.Member("samples", .integer(sampleCount)), JSONValue.Member("seed", .integer(Int(seed))),
        JSONValue.Member("haystack", .array(sources.map { .string($0.domain) })),
      ],
      columns: columns + ["found", "seconds_to_first_token"], rows: rows,
      notes: [
        "right: share of answers whose first \(FactReader.maxTokens) tokens, for each value, have the values (absent: none of it)",
        "minus_again: right, less that of reading the same chunks again; interval over the differences of each sample",
        "found: share of samples whose statements lie in the chunks that were read",
        "seconds to the first token: medians, with the search, without reading what could be stored",
      ], seconds: seconds)
  }
}

extension FactSampleMaker {
  init(_ model: LanguageModel, haystack sources: [EvaluationSource], seed: UInt64) throws(Refusal) {
    self.init(
      tokenizer: try model.requireTokenizer(), haystack: try RetrievalEvaluation.haystack(model, sources), seed: seed)
  }

  /// - Throws: `Refusal` `task-does-not-fit` when the texts are too short.
  func sample(
    _ question: FactQuestion, length: Int, number: Int, of model: LanguageModel
  ) throws(Refusal) -> FactSample {
    do throws(SampleFault) {
      return try sample(question, length: length, number: number)
    } catch {
      throw Refusal(.taskDoesNotFit, file: model.pack.path, structure: question.rawValue, error.fault)
    }
  }
}
