import ContextTrees
import EvaluationTasks
import FileAccess
import LlamaRuntime
import ModelPacks
import NodeBlocks
import SharedPack
import TreeStore

/// Asks a model about samples from their stored rows in several forms.
protocol RowFormReader {
  /// What is measured is asked about; in a note.
  var question: String { get }
  /// The places of the answer at which forms are compared; in a note.
  var places: String { get }

  /// Makes a sample and asks about it.
  /// - Returns: one answer for each form, in their order.
  func ask(_ number: Int) async throws -> [RowFormAnswer]
}

/// An answer from rows in one form.
struct RowFormAnswer {
  let isRight: Bool
  /// What the model expects at some places of the answer, the first one at least: (places, vocabulary).
  let logits: [Float]
  /// From the question to the first token, with the search, without what could be stored.
  let secondsToFirstToken: Double
  /// What a store keeps of the chunks.
  let chunks: [Chunk]

  struct Chunk {
    let tokenCount: Int
    let blocks: [(bytes: BlockBytes, geometry: BlockGeometry)]
  }
}

/// Facts in novels, asked about from the rows of the chunks that fit the question.
struct TextRowFormReader: RowFormReader {
  let model: LanguageModel
  let maker: FactSampleMaker
  let length: Int
  let reading: DeepReading
  /// In the order of the forms; the first one finds the chunks for all.
  let readers: [FactReader]

  var question: String { "share of answers whose first \(FactReader.maxTokens) tokens have the value" }
  var places: String { "the first token of the answer" }

  func ask(_ number: Int) async throws -> [RowFormAnswer] {
    let sample = try maker.sample(.one, length: length, number: number, of: model)
    let finding = try readers[0].find(sample, reading: reading)
    var answers: [RowFormAnswer] = []
    for reader in readers {
      let rows = try model.rows(of: finding.passages, of: finding.documents, reader.form)
      let answer = try await reader.answer(sample, finding, from: rows)
      answers.append(
        RowFormAnswer(
          isRight: answer.isRight, logits: answer.logits, secondsToFirstToken: answer.secondsToFirstToken,
          chunks: rows.map { tokens, rows in
            let counts = reader.form.rows(tokens: tokens.count, isFrame: false).counts
            return RowFormAnswer.Chunk(
              tokenCount: tokens.count, blocks: [(rows.storage, .text(reader.form.layout, rowCounts: counts))])
          }))
    }
    return answers
  }
}

/// Pass keys in texts, asked for from the trees of their chunks.
struct TreeRowFormReader: RowFormReader {
  let model: LanguageModel
  let maker: RetrievalTaskMaker
  let length: Int
  let encodings: [RowEncoding]

  /// Percent of the text before the pass key, in turns.
  private static let depths = [0, 25, 50, 75, 100]

  var question: String { "share of pass keys that were answered" }
  var places: String { "the tokens of the right answer" }

  func ask(_ number: Int) async throws -> [RowFormAnswer] {
    let sample: RetrievalSample
    do throws(SampleFault) {
      let depth = Double(Self.depths[number % Self.depths.count]) / 100
      sample = try maker.sample(.passkey, length: length, depth: depth, number: number)
    } catch {
      throw Refusal(.taskDoesNotFit, file: model.pack.path, structure: "passkey", error.fault)
    }
    guard let turn = sample.turns.first else { preconditionFailure("a sample has a question") }
    var answers: [RowFormAnswer] = []
    for encoding in encodings {
      let document = try model.encode(sample.context, named: "text", encoding: encoding)
      let start = ContinuousClock.now
      let selection = try model.select(from: [document], query: turn.prompt)
      let session = Session(
        model.runtime, capacity: turn.prompt.count + turn.answer.count, context: selection.context)
      let first = session.readAll(turn.prompt).suffix(model.configuration.vocabularySize)
      let seconds = (ContinuousClock.now - start).seconds
      let logits = first + session.readAll(turn.answer.dropLast())
      try session.requireWhole()
      let answer = try await model.greedyAnswer(turn.prompt, context: selection, maxTokens: turn.answer.count + 4)
      let score = turn.rule.score(answer.text, tokens: answer.tokens, right: turn.answer)
      answers.append(
        RowFormAnswer(
          isRight: score == 1, logits: Array(logits), secondsToFirstToken: seconds,
          chunks: try document.chunks.map { chunk in
            let blocks = try chunk.tree.nodes.map { node in
              let block = try chunk.block(of: node)
              return (bytes: block.storage, geometry: BlockGeometry.node(block.layout, rowCount: block.rowCount))
            }
            return RowFormAnswer.Chunk(tokenCount: chunk.tokens.count, blocks: blocks)
          }))
    }
    return answers
  }
}
