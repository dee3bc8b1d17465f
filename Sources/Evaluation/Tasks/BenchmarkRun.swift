import CanonicalJSON
import ContextTrees
import EvaluationTasks
public import FileAccess
import LlamaRuntime
import ModelPacks
import SharedPack

/// A benchmark from its files, or from a generator, to its table.
public struct BenchmarkRun {
  public var evaluation = BenchmarkEvaluation()
  /// Samples of each task, at most; nil takes all.
  public var sampleLimit: Int?
  /// Where every answer is written, a line of JSON each; nil: nowhere.
  public var predictionsPath: String?
  /// Called with a task and the samples of it that are done.
  public var progress: (_ task: String, _ done: Int) -> Void = { _, _ in }

  private var scores = BenchmarkScores()
  private var predictions: [UInt8] = []
  private var counts: [String: Int] = [:]
  private let start = ContinuousClock.now

  public init() {}

  /// Whether samples of a task are still wanted.
  func wants(_ task: String) -> Bool { sampleLimit.map { counts[task, default: 0] < $0 } ?? true }

  /// Asks one sample and counts its scores, also in the rows of its class of lengths.
  mutating func ask(_ model: LanguageModel, _ sample: BenchmarkSample, labels: [String: Label] = [:]) async throws {
    let answers = try await evaluation.answers(model, sample)
    let labels = labels.merging(["task": .text(sample.task)]) { $1 }
    scores.add(answers, labels: labels)
    if let lengthClass = sample.lengthClass {
      scores.add(answers, labels: labels.merging(["length": .text(lengthClass)]) { $1 })
    }
    if predictionsPath != nil {
      for answer in answers {
        let line = JSONValue.members([
          "id": .string(sample.identifier), "task": .string(sample.task), "method": .string(answer.method.name),
          "policy": answer.method.policyName.map(JSONValue.string),
          "expansion": answer.method.expansionName.map(JSONValue.string), "prediction": .string(answer.prediction),
          "answers": .array(sample.answers.map(JSONValue.string)), "score": .number(answer.score),
          "prompt_tokens": .integer(answer.promptTokens), "context_chunks": .integer(answer.contextChunks),
        ])
        predictions += line.canonical + [UInt8(ascii: "\n")]
      }
    }
    counts[sample.task, default: 0] += 1
    progress(sample.task, counts[sample.task, default: 0])
  }

  /// Reads samples line by line and asks those that are wanted.
  /// - Throws: `Refusal` `malformed-json` and `malformed-sample`, naming the line; and those of asking.
  mutating func lines(
    of path: String, ask model: LanguageModel, _ sample: (JSONValue) throws(SampleFault) -> BenchmarkSample
  ) async throws {
    var reader = try SampleReader(path)
    while let read = try reader.next(sample) {
      if wants(read.task) { try await ask(model, read) }
    }
  }

  /// Writes the predictions and makes the table.
  /// - Parameters:
  ///   - rows: rows for averages.
  func finish(
    _ name: String, _ model: LanguageModel, settings: [JSONValue.Member], columns: [String],
    averages: [EvaluationResult.Row], notes: [String]
  ) throws(Refusal) -> EvaluationResult {
    if let predictionsPath {
      var file = try PublishedFile(creating: predictionsPath)
      try file.append(predictions)
      try file.publish()
    }
    var notes = notes + scores.notes
    if model.injectionIsUntrained { notes.append("the injection of this model is untrained (merged softmax)") }
    return EvaluationResult(
      protocolName: name, model: EvaluationResult.Model(model),
      settings: [
        JSONValue.Member("window", .integer(model.configuration.maxPositionCount)),
        JSONValue.Member("chunk", model.runtime.treeShape.map { .integer($0.chunkSize) } ?? .null),
        JSONValue.Member("rows", .string("\(evaluation.encoding)")),
        JSONValue.Member("prompt_limit", evaluation.promptLimit.map(JSONValue.integer) ?? .null),
        JSONValue.Member("sample_limit", sampleLimit.map(JSONValue.integer) ?? .null),
        JSONValue.Member("chat_template", .boolean(evaluation.usesChatTemplate && model.chatTemplate != nil)),
      ] + settings, columns: columns, rows: scores.resultRows() + averages, notes: notes,
      seconds: (ContinuousClock.now - start).seconds)
  }

  var currentScores: BenchmarkScores { scores }
}

extension Refusal.Name {
  public static let malformedSample = Refusal.Name("malformed-sample", .badInput)
  public static let malformedPrompts = Refusal.Name("malformed-prompts", .badInput)
  public static let unknownTask = Refusal.Name("unknown-task", .badInput)
}

/// Reads lines of JSON, one at a time; empty ones are skipped.
struct SampleReader: ~Copyable {
  private let path: String
  private var reader: LineReader

  init(_ path: String) throws(Refusal) {
    self.path = path
    reader = try LineReader(path)
  }

  /// - Throws: `Refusal` `malformed-json` and `malformed-sample`, naming the line.
  mutating func next<Sample>(_ sample: (JSONValue) throws(SampleFault) -> Sample) throws -> Sample? {
    while let line = try reader.next() {
      guard line.contains(where: { $0 > 0x20 }) else { continue }
      let structure = "line \(reader.lineNumber)"
      do {
        return try sample(try JSONValue(parsing: line))
      } catch let error as JSONError {
        throw Refusal(.malformedJSON, file: path, structure: structure, error.description)
      } catch let error as SampleFault {
        throw Refusal(.malformedSample, file: path, structure: "\(structure), \(error.field)", error.fault)
      }
    }
    return nil
  }
}

/// Small files that benchmarks publish beside their samples.
enum BenchmarkFile {
  static func json(_ path: String, limit: Int = 1 << 24) throws(Refusal) -> JSONValue {
    let bytes = try SequentialFile.contents(path, limit: limit)
    do throws(JSONError) {
      return try JSONValue(parsing: bytes)
    } catch {
      throw Refusal(.malformedJSON, file: path, error.description)
    }
  }

  static func prompts(_ path: String?, defaults: PromptTemplates) throws(Refusal) -> PromptTemplates {
    guard let path else { return defaults }
    let json = try json(path)
    do throws(SampleFault) {
      return try PromptTemplates(json, defaults: defaults)
    } catch {
      throw Refusal(.malformedPrompts, file: path, structure: error.field, error.fault)
    }
  }
}
