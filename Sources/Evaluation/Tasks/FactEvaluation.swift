import CanonicalJSON
public import EvaluationTasks
import FileAccess
import LlamaRuntime
public import SharedPack
import Tokenization

/// How often a model that follows instructions answers about a fact in a novel.
///
/// Every manner of reading sees the same samples. Answers are greedy, of 24 tokens at most.
public struct FactEvaluation: Sendable {
  /// How the text is read.
  public enum Manner: String, Sendable, CaseIterable {
    /// Stored rows of the chunks that fit the question.
    case deep
    /// The same chunks, as text in the prompt.
    case again
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
  public var seed: UInt64 = 1

  public init() {}

  static let maxTokens = 24

  /// - Parameters:
  ///   - sources: texts that facts are hidden in.
  ///   - progress: called with samples done, of how many.
  ///   - answer: called with every answer.
  /// - Throws: `Refusal` `no-tokenizer`, `task-does-not-fit`, and those of asking.
  public func run(
    _ model: LanguageModel, haystack sources: [EvaluationSource], progress: (_ done: Int, _ of: Int) -> Void,
    answer: (_ question: String, _ manner: Manner, _ text: String, _ isRight: Bool) -> Void = { _, _, _, _ in }
  ) async throws -> EvaluationResult {
    let start = ContinuousClock.now
    let tokenizer = try model.requireTokenizer()
    let maker = FactSampleMaker(
      tokenizer: tokenizer, haystack: try RetrievalEvaluation.haystack(model, sources), seed: seed)
    let frame = try model.readingFrame()
    var rows: [EvaluationResult.Row] = []
    let groups = questions.flatMap { question in lengths.map { (question, $0) } }
    var done = 0
    let bootstrap = Bootstrap(seed: seed)
    for (question, length) in groups {
      var scores = [[Double]](repeating: [], count: manners.count)
      var seconds = [[Double]](repeating: [], count: manners.count)
      var found: [Double] = []
      for number in 0..<sampleCount {
        let sample: FactSample
        do throws(SampleFault) {
          sample = try maker.sample(question, length: length, number: number)
        } catch {
          throw Refusal(.taskDoesNotFit, file: model.pack.path, structure: question.rawValue, error.fault)
        }
        var documents: [TextDocument] = []
        for (number, text) in sample.texts.enumerated() {
          documents.append(try model.textDocument(text, named: "text \(number)", reading: reading))
        }
        let passages = try model.passages(of: documents, for: sample.question, reading: reading)
        found.append(isFound(sample, passages, documents) ? 1 : 0)
        for (index, manner) in manners.enumerated() {
          let response = try await ask(model, sample, documents, passages, manner, frame)
          let isRight = question == .absent ? !sample.isRight(response.text) : sample.isRight(response.text)
          scores[index].append(isRight ? 1 : 0)
          seconds[index].append(response.summary.secondsToFirstToken)
          answer(sample.question, manner, response.text, isRight)
        }
        done += 1
        progress(done, groups.count * sampleCount)
      }
      for (index, manner) in manners.enumerated() {
        var measures = ["right": bootstrap.mean(of: scores[index], areYesOrNo: true)]
        measures["found"] = .proportion(of: found)
        measures["seconds_to_first_token"] = Measure(seconds[index].sorted()[seconds[index].count / 2])
        rows.append(
          EvaluationResult.Row(
            labels: [
              "question": .text(question.rawValue), "tokens": Label(length), "manner": .text(manner.rawValue),
            ], measures: measures))
      }
    }
    return EvaluationResult(
      protocolName: "facts", model: EvaluationResult.Model(model),
      settings: [
        JSONValue.Member("chunk", .integer(reading.chunkSize)),
        JSONValue.Member("chunks", .integer(reading.chunkCount)),
        JSONValue.Member("samples", .integer(sampleCount)), JSONValue.Member("seed", .integer(Int(seed))),
        JSONValue.Member("haystack", .array(sources.map { .string($0.domain) })),
      ],
      columns: ["question", "tokens", "manner", "right", "found", "seconds_to_first_token"], rows: rows,
      notes: [
        "right: share of answers whose first \(Self.maxTokens) tokens have the value (absent: none of it)",
        "found: share of samples whose statements lie in the chunks that were read",
        "seconds to the first token: medians, without reading what could be stored",
      ], seconds: (ContinuousClock.now - start).seconds)
  }

  private func isFound(_ sample: FactSample, _ passages: [Passage], _ documents: [TextDocument]) -> Bool {
    sample.statementRanges.enumerated().allSatisfy { number, statement in
      let text = min(number, sample.texts.count - 1)
      return passages.contains { passage in
        let chunks = documents[passage.document].chunks
        let start = chunks[..<passage.chunk].reduce(0) { $0 + $1.tokens.count }
        return passage.document == text && start <= statement.lowerBound
          && statement.upperBound <= start + chunks[passage.chunk].tokens.count
      }
    }
  }

  private func ask(
    _ model: LanguageModel, _ sample: FactSample, _ documents: [TextDocument], _ passages: [Passage],
    _ manner: Manner, _ frame: ReadingFrame
  ) async throws -> Response {
    let options = GenerationOptions(maxTokens: Self.maxTokens)
    let closing = try model.questionPrompt(sample.question, in: frame)
    switch manner {
    case .deep:
      let selection = try model.read(passages, of: documents, behind: frame)
      return try await model.generate(closing, context: selection, options: options).collect()
    case .again:
      let text = passages.flatMap { documents[$0.document].chunks[$0.chunk].tokens }
      return try await model.generate(frame.opening + text + closing, options: options).collect()
    case .whole:
      return try await model.generate(
        frame.opening + documents.flatMap { $0.chunks.flatMap(\.tokens) } + closing, options: options
      ).collect()
    case .none:
      return try await model.generate(try model.chatPrompt([.user(sample.question)]), options: options).collect()
    }
  }
}
