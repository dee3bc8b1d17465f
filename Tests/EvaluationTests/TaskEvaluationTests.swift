import CanonicalJSON
import ContextTrees
import Conversion
import EvaluationTasks
import FileAccess
import SharedPack
import Testing
import TinyCheckpoint

@testable import Evaluation

/// Evaluations on a model of made-up numbers: not what it answers, but that everything is asked and counted.
@Suite struct TaskEvaluationTests {
  /// What a search has kept of a range: leaves at the deepest level, rows at the node's positions.
  @Test func hits() throws {
    let shape = try #require(TreeShape(chunkSize: 32, depth: 2, leafRatio: 4))
    let tree = ContextTree(shape: shape, tokenCount: 32)
    // Kept: 0 ..< 16 with rows at 0 and 8, 16 ..< 24 with rows at 16 and 20, 24 ..< 32 with rows at 24 and 28.
    let nodes = [tree, tree].map { $0.preservedNodes(policy: .right, chunk: 0) { _ in 0 } }
    let chunks = [0..<32, 32..<64]
    let coarse = TreeHits(nodes, tokens: 7..<10, chunks: chunks, depth: 2)
    #expect(!coarse.isInLeaves)
    #expect(coarse.rowShare == 1.0 / 3)
    let fine = TreeHits(nodes, tokens: 32 + 20..<32 + 22, chunks: chunks, depth: 2)
    #expect(fine.isInLeaves)
    #expect(fine.rowShare == 0.5)
    // From the last leaf of one chunk to the first, coarse node of the next.
    #expect(!TreeHits(nodes, tokens: 30..<34, chunks: chunks, depth: 2).isInLeaves)
    #expect(TreeHits.best(nodes, ranges: [7..<10, 52..<54], chunks: chunks, depth: 2).isInLeaves)
  }

  @Test func division() throws {
    func parts(_ count: Int, room: Int) -> [Int]? {
      PromptDivision(tokenCount: count, chunkSize: 100, room: room).map { [$0.context.count, $0.runningText.count] }
    }
    #expect(parts(250, room: 250) == [0, 250])
    // One chunk but the last and what is left: 1 to 2 chunks.
    #expect(parts(251, room: 250) == [100, 151])
    #expect(parts(999, room: 250) == [800, 199])
    #expect(parts(1000, room: 250) == [900, 100])
    // Where the window does not hold two chunks.
    #expect(parts(999, room: 120) == [900, 99])
    #expect(parts(130, room: 120) == [100, 30])
    #expect(parts(101, room: 99) == nil)
    #expect(PromptDivision.middleTruncated(Array(0..<10), to: 5) == [0, 1, 7, 8, 9])
    #expect(PromptDivision.middleTruncated(Array(0..<10), to: 10).count == 10)
  }

  /// The same pass keys from the same trees in several forms.
  @Test func formsOfRowsOfTrees() async throws {
    let model = try Workplace().model()
    var evaluation = RowFormEvaluation()
    evaluation.encodings = [.float32, .float32, .int8, .int4]
    evaluation.length = 256
    evaluation.sampleCount = 2
    let result = try await evaluation.run(model, haystack: []) { _, _ in }
    #expect(result.rows.count == 8)
    func value(_ measure: String, _ row: Int) -> Double? { result.rows[row].measures[measure]?.value }
    #expect(value("divergence", 2) == 0 && value("minus_first", 2) == 0 && value("same_token", 2) == 1)
    let divergences = [4, 6].compactMap { value("divergence", $0) }
    #expect(divergences.count == 2 && divergences[0] > 0 && divergences[1] > divergences[0])
    let bytes = [0, 4, 6].compactMap { value("bytes_per_token", $0) }
    #expect(bytes.count == 3 && bytes[1] < bytes[0] && bytes[2] < bytes[1])
    evaluation.shares = [0.5]
    await #expect(throws: Refusal.self) { try await evaluation.run(model, haystack: []) { _, _ in } }
  }

  @Test func retrieval() async throws {
    let workplace = try Workplace()
    let model = try workplace.model()
    var evaluation = RetrievalEvaluation()
    evaluation.windows = [2]
    evaluation.depths = [0, 100]
    evaluation.sampleCount = 2
    evaluation.methods = [.shared(.standard), .shared(TreeSearch(.right)), .oracle, .truncated, .streaming(sinks: 2)]
    evaluation.tasks = [.passkey, .secondQuestion, .repeatContext]
    var done = 0
    let result = try await evaluation.run(model, haystack: []) { _, _ in done += 1 }
    // Passkey by depth and method; the second question three times with trees, else twice; the passage by method.
    let rowCount = 2 * 5 + 3 * 3 + 2 * 2 + 5
    #expect(result.rows.count == rowCount)
    #expect(done == 8)
    for row in result.rows {
      let accuracy = try #require(row.measures["accuracy"])
      #expect(accuracy.count == 2)
      // Right or wrong, but for the tokens of a passage, of which the model knows none: a bootstrap of nothing.
      if row.labels["task"] == "repeat-context" {
        #expect(accuracy.value == 0 && accuracy.high == 0)
      } else {
        #expect(accuracy == .proportion(of: [accuracy.value > 0.4 ? 1 : 0, accuracy.value > 0.6 ? 1 : 0]))
      }
      let isShared = row.labels["method"] == .text("shared")
      #expect((row.measures["leaf"] != nil) == isShared)
    }
    // The oracle finds every answer, except across a boundary of leaves.
    let oracle = result.rows.filter { $0.labels["policy"] == "oracle" && $0.labels["task"] == "passkey" }
    #expect(oracle.count == 2)
    #expect(oracle.allSatisfy { ($0.measures["leaf"]?.value ?? 0) >= 0.5 })
    let again = try await evaluation.run(model, haystack: []) { _, _ in }
    #expect(again.rows == result.rows)
  }

  @Test func longBench() async throws {
    let workplace = try Workplace()
    func line(_ task: String, _ words: Int, _ answer: String) -> String {
      """
      {"input": "who sat", "context": "\(String(repeating: "a cat ", count: words))", "answers": ["\(answer)"], \
      "length": \(words), "dataset": "\(task)", "language": "en", "all_classes": null, "_id": "\(task)\(words)"}
      """
    }
    try workplace.write(
      [line("hotpotqa", 4, "cat"), "", line("hotpotqa_e", 60, "dog"), line("lcc", 80, "x")].joined(separator: "\n"),
      to: "samples.jsonl")
    try workplace.write(#"{"hotpotqa": "{context}: {input}", "lcc": "{context}"}"#, to: "prompts.json")
    try workplace.write(#"{"hotpotqa": 5}"#, to: "lengths.json")
    var run = SuiteRun()
    run.predictionsPath = "\(workplace.path)/answers"
    let result = try await run.longBench(
      workplace.model(), files: ["\(workplace.path)/samples.jsonl"], promptsPath: "\(workplace.path)/prompts.json",
      lengthsPath: "\(workplace.path)/lengths.json")
    #expect(result.rows.map { $0.labels["task"] } == ["hotpotqa", "hotpotqa", "lcc", "lcc"])
    #expect(result.rows.map { $0.measures["samples"]?.value } == [2, 2, 1, 1])
    // The first prompt fits the window.
    #expect(result.notes.contains("prompts that fitted the window and had no context: 1"))
    let files = "\(workplace.path)/answers/pred/*/*.jsonl \(workplace.path)/answers/pred_e/*/*.jsonl"
    #expect(
      result.notes[0] == "score the predictions with .build/python/bin/python Tools/score/score.py longbench \(files)")
    for method in ["shared-cosine-best-first", "truncated"] {
      for file in ["pred/\(method)/hotpotqa", "pred/\(method)/lcc", "pred_e/\(method)/hotpotqa"] {
        var lines = try LineReader("\(workplace.path)/answers/\(file).jsonl")
        let json = try JSONValue(parsing: try #require(try lines.next()))
        #expect(json["pred"]?.string != nil && json["answers"]?.array?.count == 1)
        #expect(try lines.next() == nil)
      }
    }
  }

  @Test func infiniteBench() async throws {
    let workplace = try Workplace()
    for task in [InfiniteBench.Task.passkey, .mathFind] {
      let generator = try #require(InfiniteBenchGenerator(task, size: 10, seed: 1))
      try SuiteRun.writeInfiniteBench(generator, count: 3, to: "\(workplace.path)/\(task.rawValue).jsonl")
    }
    var run = SuiteRun()
    run.sampleLimit = 2
    run.promptLimit = 200
    let result = try await run.infiniteBench(
      workplace.model(), files: ["passkey", "math_find"].map { "\(workplace.path)/\($0).jsonl" })
    #expect(result.rows.count == 4)
    #expect(result.rows.allSatisfy { $0.measures["samples"]?.value == 2 })
    #expect(result.rows[0].measures["prompt"]?.value == 200)
  }

  @Test func ruler() async throws {
    let workplace = try Workplace()
    var options = RulerOptions()
    options.tasks = [.single1, .commonWords, .squad]
    options.windows = [4]
    options.sampleCount = 2
    var run = SuiteRun()
    let result = try await run.ruler(workplace.model(), options)
    // Every answer holds the one reference or does not.
    #expect(try #require(result.rows[0].measures["score"]?.high) > 60)
    let tasks = result.rows.compactMap { $0.labels["task"]?.description }
    #expect(tasks == ["niah_single_1", "niah_single_1", "average", "average"])
    #expect(result.notes.contains { $0.hasPrefix("cwe is skipped at 4 windows") })
    #expect(result.notes.contains { $0.hasPrefix("qa_1 is skipped") })
    #expect(result.notes.contains("truncated has no effective length: no average reaches 85.6"))
    options.windows = [1]
    var short = SuiteRun()
    await #expect(throws: Refusal.self) { try await short.ruler(workplace.model(), options) }
  }

  /// A fault in a file is reported with its line and field.
  @Test func refusals() async throws {
    let workplace = try Workplace()
    let good = #"{"input": "", "context": "", "answers": ["a"], "dataset": "hotpotqa"}"#
    for (text, name, structure) in [
      (good + "\n{", "malformed-json", "line 2, column 2"), (good + "\n\n{}", "malformed-sample", "line 3, dataset"),
      (#"{"dataset": "hotpotqa", "answers": ["a"], "input": 3, "context": ""}"#, "malformed-sample", "line 1, input"),
    ] {
      try workplace.write(text, to: "x.jsonl")
      var run = SuiteRun()
      run.methods = [.truncated]
      do {
        _ = try await run.longBench(workplace.model(), files: ["\(workplace.path)/x.jsonl"])
        Issue.record("accepted: \(text)")
      } catch let refusal as Refusal {
        #expect(refusal.name.text == name)
        #expect(refusal.structure == structure)
      }
    }
    var run = SuiteRun()
    await #expect(throws: Refusal.self) {
      try await run.infiniteBench(workplace.model(), files: ["\(workplace.path)/x.jsonl"])
    }
  }
}

/// A directory with a converted model, removed with its last user.
private final class Workplace: Sendable {
  let path: String

  init() throws {
    path = try Directory.temporary("sharedpack-evaluation")
    try Directory.create("\(path)/checkpoint")
    try TinyCheckpoint.write(to: "\(path)/checkpoint")
    // Two questions in letters need a window of their own.
    let configuration = String(
      decoding: try SequentialFile.contents("\(path)/checkpoint/config.json", limit: 1 << 16), as: UTF8.self)
    try write(
      configuration.split(separator: "\"max_position_embeddings\":128").joined(
        separator: "\"max_position_embeddings\":256"),
      to: "checkpoint/config.json")
    _ = try Converter(directory: "\(path)/checkpoint", options: Converter.Options()).run(output: "\(path)/model.spk")
  }

  deinit { try? Directory.removeTree(path) }

  func model() throws(Refusal) -> LanguageModel { try LanguageModel(opening: "\(path)/model.spk", threadCount: 1) }

  func write(_ text: String, to name: String) throws(Refusal) {
    var file = try PublishedFile(creating: "\(path)/\(name)")
    try file.append(Array(text.utf8))
    try file.publish()
  }
}
