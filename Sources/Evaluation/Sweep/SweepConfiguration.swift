import CanonicalJSON
import ContextTrees
import EvaluationTasks
public import FileAccess
import ModelPacks
import NodeBlocks

/// What a sweep measures: a model, texts, the default, and the values of each factor.
///
/// A JSON object: `model` (a pack), `texts` (paths), and, all with defaults, `windows`, `documents`, `scored`,
/// `running_text`, `policy`, `seeds` (how many the random policy is run with), `kv`, `join`, `overlap`, `tasks` (what
/// is hidden in the texts and asked for; an empty list asks nothing), `samples` (of each task), and `factors`, an
/// object of lists: `depth`, `leaf_ratio`, `levels`, `injected_layers`, `policy`, `similarity`, `expansion`,
/// `positions`, `chunk_size`, `kv`, `running_text`. A factor that is left out takes the values that fit the model; an
/// empty list leaves it out. `checkpoints` is for what only training can change: by factor and value, the pack of a
/// model with the same tokenizer and window: `{"injection": {"top": "top.spk"}}`. Paths are relative to the working
/// directory.
public struct SweepConfiguration: Sendable {
  /// The file that it was read from.
  let path: String
  public var model: String
  public var texts: [String]
  var options = PerplexityOptions()
  /// The random policy is measured with the seeds 0 ..< seedCount.
  var seedCount = 3
  var tasks: [RetrievalTask] = [.passkey, .needle]
  /// Samples of each task.
  var sampleCount = 10
  /// Values by factor, as they are written.
  var factors: [Factor: [JSONValue]] = [:]

  /// Packs of other models, by the factor and value that they were trained with instead of the default.
  var checkpoints: [(factor: String, value: String, path: String)] = []

  /// What is varied, one at a time.
  enum Factor: String, CaseIterable {
    case depth
    case leafRatio = "leaf_ratio"
    case levels
    case injectedLayers = "injected_layers"
    case policy, similarity, expansion, positions
    case chunkSize = "chunk_size"
    case rows = "kv"
    case runningText = "running_text"
  }

  /// Reads a configuration.
  /// - Throws: `Refusal` `malformed-json`, `malformed-sweep`, and those of reading a file.
  public init(reading path: String) throws(Refusal) {
    self = try Self(JSONValue(reading: path, limit: 1 << 20), file: path)
  }

  init(_ json: JSONValue, file: String) throws(Refusal) {
    func refuse(_ key: String, _ fault: String) -> Refusal {
      Refusal(.malformedSweep, file: file, structure: key, fault)
    }
    let known = [
      "model", "texts", "windows", "documents", "scored", "running_text", "policy", "seeds", "kv", "join", "overlap",
      "tasks", "samples",
    ]
    guard let all = json.object else { throw refuse("", "is not an object") }
    if let member = all.first(where: { !(known + ["factors", "checkpoints"]).contains($0.key) }) {
      throw refuse(member.key, "is not known")
    }
    guard let model = json["model"]?.string else { throw refuse("model", "is missing or not a path") }
    guard let texts = json["texts"]?.array, !texts.isEmpty, texts.allSatisfy({ $0.string != nil }) else {
      throw refuse("texts", "is missing or not a list of paths")
    }
    path = file
    self.model = model
    self.texts = texts.compactMap(\.string)
    func number(_ key: String) throws(Refusal) -> Int? {
      guard let value = json[key] else { return nil }
      guard let number = value.integer, number > 0 else { throw refuse(key, "is not a number above 0") }
      return number
    }
    func boolean(_ key: String) throws(Refusal) -> Bool {
      guard let value = json[key] else { return false }
      guard let flag = value.boolean else { throw refuse(key, "is neither true nor false") }
      return flag
    }
    options.methods = [.shared]
    options.windows = [try number("windows") ?? 8]
    options.documentCount = try number("documents") ?? 20
    options.scored = try number("scored") ?? options.scored
    options.runningText = try number("running_text")
    seedCount = try number("seeds") ?? seedCount
    sampleCount = try number("samples") ?? sampleCount
    if let values = json["tasks"] {
      guard let names = values.array else { throw refuse("tasks", "is not a list") }
      tasks = names.compactMap { $0.string.flatMap(RetrievalTask.init(rawValue:)) }
      guard tasks.count == names.count else {
        throw refuse("tasks", "are \(RetrievalTask.allCases.map(\.rawValue).joined(separator: ", "))")
      }
    }
    options.joinsTexts = try boolean("join")
    options.overlaps = try boolean("overlap")
    if let value = json["policy"] {
      guard let policy = SearchPolicy(sweepName: value) else { throw refuse("policy", "is not a policy") }
      options.searches = [TreeSearch(policy)]
    }
    if let value = json["kv"] {
      guard let encoding = RowEncoding(sweepName: value) else {
        throw refuse("kv", "is not a row encoding")
      }
      options.encodings = [encoding]
    }
    func members(_ key: String) throws(Refusal) -> [JSONValue.Member] {
      guard let value = json[key] else { return [] }
      guard let members = value.object else { throw refuse(key, "is not an object") }
      return members
    }
    for member in try members("factors") {
      guard let factor = Factor(rawValue: member.key) else { throw refuse("factors, \(member.key)", "is not a factor") }
      guard let values = member.value.array else { throw refuse("factors, \(member.key)", "is not a list") }
      factors[factor] = values
    }
    for member in try members("checkpoints") {
      guard let packs = member.value.object, packs.allSatisfy({ $0.value.string != nil }) else {
        throw refuse("checkpoints, \(member.key)", "is not an object of paths")
      }
      checkpoints += packs.map { (member.key, $0.key, $0.value.string ?? "") }
    }
  }
}

extension SearchPolicy {
  init?(sweepName value: JSONValue) {
    let all: [SearchPolicy] = [.right, .left, .random(seed: 0), .cosine, .dot, .distance, .centred, .bm25]
    guard let policy = all.first(where: { $0.name == value.string }) else { return nil }
    self = policy
  }
}

extension RowEncoding {
  /// Takes the names of the command line (`f16`) and those of the cases (`float16`).
  init?(sweepName value: JSONValue) {
    guard let name = value.string,
      let encoding = RowEncoding.allCases.first(where: {
        let long = "\($0)"
        return long == name || long.replacing("float", with: "f") == name
      })
    else { return nil }
    self = encoding
  }
}

extension Refusal.Name {
  public static let malformedSweep = Refusal.Name("malformed-sweep", .badInput)
}
