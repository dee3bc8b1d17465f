import Conversion
import EvaluationTasks
import FileAccess
import SharedPack
import Testing
import TinyCheckpoint

@testable import Evaluation

/// On a model of made-up numbers: not what it answers, but that everything is asked and counted.
@Suite struct FactEvaluationTests {
  let scratch: Scratch
  let model: LanguageModel
  let novels: EvaluationSource

  init() throws {
    scratch = try Scratch()
    let checkpoint = "\(scratch.path)/checkpoint"
    try Directory.create(checkpoint)
    try TinyCheckpoint.write(to: checkpoint, injectionPlace: nil)
    // Letters are tokens: a frame, a chunk and a question need many.
    let configuration = try SequentialFile.contents("\(checkpoint)/config.json", limit: 1 << 16)
    try PublishedFile.write(
      Array(
        String(decoding: configuration, as: UTF8.self)
          .replacing("\"max_position_embeddings\":128", with: "\"max_position_embeddings\":2048").utf8),
      to: "\(checkpoint)/config.json")
    _ = try Converter(directory: checkpoint, options: Converter.Options()).run(output: "\(scratch.path)/model.spk")
    model = try LanguageModel(opening: "\(scratch.path)/model.spk", threadCount: 1)
    try PublishedFile.write(
      Array(String(repeating: "it rained all day. nobody came to the gate. ", count: 60).utf8),
      to: "\(scratch.path)/novel.txt")
    novels = try EvaluationSource(reading: "\(scratch.path)/novel.txt")
  }

  @Test func formsOfRowsAreCompared() async throws {
    var evaluation = RowFormEvaluation()
    evaluation.encodings = [.int8, .int8, .int4]
    evaluation.shares = [1, 0.5]
    evaluation.compressions = [.none, .zstd]
    evaluation.length = 600
    evaluation.sampleCount = 2
    evaluation.reading = DeepReading(chunkSize: 256, chunkCount: 2)
    let result = try await evaluation.run(model, haystack: [novels]) { _, _ in }
    #expect(result.rows.count == 12)
    func value(_ measure: String, _ row: Int) -> Double? { result.rows[row].measures[measure]?.value }
    // The same form has the same answers, and each row of zstd tells only bytes.
    #expect(value("divergence", 2) == 0 && value("minus_first", 2) == 0 && value("same_token", 2) == 1)
    #expect(try #require(value("divergence", 4)) > 0)
    #expect(value("right", 1) == nil)
    let bytes = result.rows.indices.compactMap { value("bytes_per_token", $0) }
    #expect(bytes.count == 12 && bytes[0] == bytes[2] && bytes[4] < bytes[0] && bytes[10] < bytes[4])
    for row in [1, 3, 5] { #expect(bytes[row] <= bytes[row - 1]) }
  }

  @Test func everyMannerIsAsked() async throws {
    var evaluation = FactEvaluation()
    evaluation.manners = FactEvaluation.Manner.allCases.filter { $0 != .none }
    evaluation.questions = [.one, .two, .swapped]
    evaluation.lengths = [600]
    evaluation.sampleCount = 2
    evaluation.reading = DeepReading(chunkSize: 256, chunkCount: 2)
    evaluation.dividesByKind = true
    var done = 0
    var answers: [FactEvaluation.Answer] = []
    let result = try await evaluation.run(
      model, haystack: [novels], progress: { number, _ in done = number }, answer: { answers.append($0) })
    #expect(done == 6 && answers.count == 6 * 4)
    let all = result.rows.filter { $0.labels["kind"] == .text("all") }
    #expect(all.count == 3 * 4)
    for row in all {
      #expect(row.measures["right"]?.count == 2 && row.measures["found"]?.count == 2)
      #expect((row.measures["minus_again"] == nil) == (row.labels["manner"] == .text("again")))
      #expect(try #require(row.measures["seconds_to_first_token"]).value > 0)
    }
    // Rows of kinds have the same samples.
    let kinds = result.rows.filter { $0.labels["kind"] != .text("all") }
    #expect(kinds.reduce(0) { $0 + ($1.measures["right"]?.count ?? 0) } == 2 * all.count)
    #expect(result.columns.contains("minus_again") && result.columns.contains("kind"))
    #expect(answers.allSatisfy { $0.question.hasSuffix("Answer in a few words.") && !$0.values.isEmpty })
  }

  /// A statement alone is what the manner `sentence` reads, whatever else is in the text.
  @Test func sentencesAreReadAlone() async throws {
    let maker = try FactSampleMaker(model, haystack: [novels], seed: 3)
    let reader = try FactReader(model)
    let sample = try maker.sample(.one, length: 700, number: 0, of: model)
    let finding = try reader.find(sample, reading: DeepReading(chunkSize: 1024, chunkCount: 1))
    #expect(finding.isComplete && finding.tokenCount == 700)
    var alone = sample
    alone.texts = [Array(sample.texts[0][sample.statementRanges[0]])]
    alone.statementRanges = [0..<alone.texts[0].count]
    let expected = try await reader.answer(
      alone, .one, reader.find(alone, reading: DeepReading(chunkSize: 1024, chunkCount: 1)), .whole)
    #expect(try await reader.answer(sample, .one, finding, .sentence).text == expected.text)
  }

  @Test func tuningTriesEveryWay() async throws {
    var tuning = ReadingTuning()
    tuning.candidates = ReadingTuning.grid(chunkSizes: [64, 512], chunkCounts: [1, 2, 4])
    #expect(tuning.candidates.count == 5)
    tuning.length = 600
    tuning.sampleCount = 3
    var steps: [Int] = []
    let (best, result) = try await tuning.run(model, haystack: [novels]) { done, _ in steps.append(done) }
    #expect(steps == Array(1...15) && result.rows.count == 5 && tuning.candidates.contains(best))
    let row = try #require(result.rows.first { $0.labels["chunk_size"] == Label(best.chunkSize) })
    #expect(row.measures["right"]?.count == 3 && row.measures["right_one"]?.count == 2)
    #expect(row.measures["right_two"]?.count == 1 && row.measures["minus_best"] != nil)
  }

  /// What is right most often; of equals what needs the fewest rows, and of those the first.
  @Test func bestOfOutcomes() {
    func outcome(_ size: Int, _ right: [Double], rows: Double) -> ReadingTuning.Outcome {
      var outcome = ReadingTuning.Outcome(reading: DeepReading(chunkSize: size, chunkCount: 1))
      outcome.right = right
      outcome.rows = right.map { _ in rows }
      return outcome
    }
    let outcomes = [
      outcome(512, [1, 0, 1], rows: 500), outcome(128, [1, 1, 0], rows: 120), outcome(256, [0, 1, 1], rows: 120),
      outcome(64, [0, 0, 1], rows: 60),
    ]
    #expect(ReadingTuning.best(outcomes).reading.chunkSize == 128)
    #expect(ReadingTuning.best(outcomes + [outcome(1024, [1, 1, 1], rows: 900)]).reading.chunkSize == 1024)
  }

  /// What tuning found is what the model takes by itself, from a pack that can be the same file.
  @Test func packsKeepTheReading() throws {
    #expect(model.reading == DeepReading())
    let reading = DeepReading(chunkSize: 192, chunkCount: 3)
    for name in ["tuned.spk", "model.spk"] {
      let identity = try model.writePack(to: "\(scratch.path)/\(name)", reading: reading)
      let tuned = try LanguageModel(opening: "\(scratch.path)/\(name)", threadCount: 1)
      #expect(tuned.reading == reading && tuned.pack.identity == identity)
    }
    do {
      try model.writePack(to: "\(scratch.path)/novel.txt", reading: reading)
      Issue.record("a novel was replaced")
    } catch {
      #expect(error.name == .wouldReplace)
    }
  }
}
