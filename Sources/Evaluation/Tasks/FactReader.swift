import EvaluationTasks
import FileAccess
import LlamaRuntime
import NodeBlocks
import SharedPack
import TreeStore

/// Asks a model about facts that are hidden in texts, in the ways that are compared.
struct FactReader {
  let model: LanguageModel
  let frame: ReadingFrame
  let form: TextForm
  private let openingRows: TextRows

  /// Tokens of an answer, at most, for each value.
  static let maxTokens = 24

  /// - Parameter reading: how rows are kept.
  init(_ model: LanguageModel, reading: DeepReading = DeepReading()) throws(Refusal) {
    self.model = model
    frame = try model.readingFrame()
    form = try model.textForm(reading, frame: frame)
    openingRows = try model.keptOpening(form)
  }

  /// What a way of reading found of a sample's texts.
  struct Finding {
    let documents: [TextDocument]
    let passages: [Passage]
    let reading: DeepReading
    /// Whether all statements lie in the passages.
    let isComplete: Bool
    /// The search alone: without cutting the texts and counting their words, which a store keeps.
    let seconds: Double
    /// Tokens of the passages.
    let tokenCount: Int
  }

  struct Answer {
    let text: String
    let isRight: Bool
    /// What the model expects first.
    var logits: [Float] = []
    /// From the question to the first token, with the search, without what could be stored.
    let secondsToFirstToken: Double
  }

  func find(_ sample: FactSample, reading: DeepReading) throws(Refusal) -> Finding {
    var documents: [TextDocument] = []
    for (number, text) in sample.texts.enumerated() {
      documents.append(try model.textDocument(text, named: "text \(number)", reading: reading))
    }
    let start = ContinuousClock.now
    let passages = try model.passages(of: documents, for: sample.question, reading: reading)
    let seconds = (ContinuousClock.now - start).seconds
    let ranges = passages.map { passage in
      let chunks = documents[passage.document].chunks
      let start = chunks[..<passage.chunk].reduce(0) { $0 + $1.tokens.count }
      return start..<start + chunks[passage.chunk].tokens.count
    }
    let isComplete = sample.statementRanges.enumerated().allSatisfy { number, statement in
      zip(passages, ranges).contains { passage, range in
        passage.document == sample.text(ofStatement: number) && range.lowerBound <= statement.lowerBound
          && statement.upperBound <= range.upperBound
      }
    }
    return Finding(
      documents: documents, passages: passages, reading: reading, isComplete: isComplete, seconds: seconds,
      tokenCount: ranges.reduce(0) { $0 + $1.count })
  }

  /// An answer from the rows of the passages that were found, as they are kept.
  func answer(
    _ sample: FactSample, _ finding: Finding, from rows: [(tokens: [Int32], rows: TextRows)]
  ) async throws -> Answer {
    let closing = try model.questionPrompt(sample.question, in: frame)
    let start = ContinuousClock.now
    let selection = try model.place(rows, behind: openingRows, repair: finding.reading.repair)
    guard case .text(let prefix) = selection.rows else { preconditionFailure("texts have rows of texts") }
    let session = Session(model.runtime, behind: prefix, capacity: closing.count)
    let logits = session.readAll(closing).suffix(model.configuration.vocabularySize)
    try session.requireWhole()
    let seconds = finding.seconds + (ContinuousClock.now - start).seconds
    let options = GenerationOptions(maxTokens: Self.maxTokens * sample.values.count)
    let response = try await model.generate(closing, context: selection, options: options).collect()
    return Answer(
      text: response.text, isRight: sample.isRight(response.text), logits: Array(logits), secondsToFirstToken: seconds)
  }

  func answer(
    _ sample: FactSample, _ question: FactQuestion, _ finding: Finding, _ manner: FactEvaluation.Manner
  ) async throws -> Answer {
    let options = GenerationOptions(maxTokens: Self.maxTokens * sample.values.count)
    let closing = try model.questionPrompt(sample.question, in: frame)
    func behind(_ text: [Int32]) async throws -> Response {
      try await model.generate(frame.opening + text + closing, options: options).collect()
    }
    let response: Response
    var seconds = 0.0
    switch manner {
    case .deep:
      let rows = try model.rows(of: finding.passages, of: finding.documents, form)
      let start = ContinuousClock.now
      let selection = try model.place(rows, behind: openingRows, repair: finding.reading.repair)
      seconds = finding.seconds + (ContinuousClock.now - start).seconds
      response = try await model.generate(closing, context: selection, options: options).collect()
    case .again:
      response = try await behind(
        finding.passages.flatMap { finding.documents[$0.document].chunks[$0.chunk].tokens })
      seconds = finding.seconds
    case .sentence:
      response = try await behind(
        sample.statementRanges.enumerated().flatMap { sample.texts[sample.text(ofStatement: $0)][$1] })
    case .whole: response = try await behind(sample.texts.flatMap(\.self))
    case .none:
      response = try await model.generate(try model.chatPrompt([.user(sample.question)]), options: options).collect()
    }
    let hasValues = sample.isRight(response.text)
    return Answer(
      text: response.text, isRight: question == .absent ? !hasValues : hasValues,
      secondsToFirstToken: seconds + response.summary.secondsToFirstToken)
  }
}
