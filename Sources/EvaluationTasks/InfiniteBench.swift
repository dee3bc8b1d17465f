public import CanonicalJSON

/// InfiniteBench: twelve tasks with contexts of 100 thousand tokens and more, a line of JSON a sample.
///
/// Source: X. Zhang et al., ∞Bench, arXiv 2402.13718; answer lengths and scores are those of its repository.
public enum InfiniteBench {
  public enum Task: String, Sendable, CaseIterable {
    case passkey
    case numberString = "number_string"
    case keyValue = "kv_retrieval"
    case bookSummary = "longbook_sum_eng"
    case bookQuestion = "longbook_qa_eng"
    case bookChoice = "longbook_choice_eng"
    case dialogue = "longdialogue_qa_eng"
    case chineseBookQuestion = "longbook_qa_chn"
    case codeDebug = "code_debug"
    case codeRun = "code_run"
    case mathCalculation = "math_calc"
    case mathFind = "math_find"

    public var maxNewTokens: Int {
      switch self {
      case .passkey: 6
      case .numberString: 12
      case .keyValue: 50
      case .bookSummary: 1200
      case .bookQuestion, .bookChoice, .dialogue, .chineseBookQuestion: 40
      case .codeDebug, .codeRun: 5
      case .mathCalculation: 30000
      case .mathFind: 3
      }
    }
  }

  /// Reads one line of a published file: `id`, `context`, `input`, `answer`, `options`.
  /// - Throws: `SampleFault`.
  public static func sample(
    _ json: JSONValue, task: Task, prompts: PromptTemplates
  ) throws(SampleFault) -> BenchmarkSample {
    let fields = SampleFields(json)
    let input = try fields.text("input")
    var values = ["context": try fields.text("context"), "input": input, "question": input]
    let labels = try labels(json["answer"], "answer", task, options: json["options"])
    switch task {
    case .codeDebug, .bookChoice:
      for (letter, option) in zip("ABCD", try fields.texts("options")) { values["OPTION_\(letter)"] = option }
    case .codeRun:
      guard let call = functionCall(input) else { throw SampleFault("input", "calls no function func_…(…)") }
      values["func_call"] = call
      values["func"] = String(call.prefix { $0 != "(" })
    case .mathFind:
      guard let number = soughtNumber(input) else { throw SampleFault("input", "asks for no number") }
      values["prefix"] = "What is \(number) in the following list?"
    default: break
    }
    return BenchmarkSample(
      identifier: json["id"].flatMap { $0.string ?? $0.integer.map(String.init) } ?? "", task: task.rawValue,
      prompt: try prompts.prompt(for: task.rawValue, values), answers: labels.map(\.text),
      maxNewTokens: task.maxNewTokens
    ) { InfiniteBenchScores.score(task, $0, labels) }
  }

  /// Reads one line of the predictions that the published program writes: `prediction` or `pred`, and `ground_truth` or
  /// `label`, which hold the right answers as samples do.
  /// - Throws: `SampleFault`.
  public static func prediction(_ json: JSONValue, task: Task) throws(SampleFault) -> BenchmarkPrediction {
    let key = json["ground_truth"] == nil ? "label" : "ground_truth"
    let labels = try labels(json[key], key, task, options: json["options"])
    let text = try SampleFields(json).text(json["prediction"] == nil ? "pred" : "prediction")
    return BenchmarkPrediction(
      task: task.rawValue, lengthClass: nil, score: InfiniteBenchScores.score(task, text, labels))
  }

  /// What an answer is compared with.
  enum LabelValue: Sendable {
    case text(String)
    case integer(Int)
    case number(Double)

    var text: String {
      switch self {
      case .text(let text): text
      case .integer(let integer): String(integer)
      case .number(let number): number.description
      }
    }

    init?(_ json: JSONValue) {
      switch json {
      case .string(let text): self = .text(text)
      case .integer(let integer): self = .integer(integer)
      case .number(let number): self = .number(number)
      default: return nil
      }
    }

    /// The number that a text spells; else itself.
    var asNumber: LabelValue {
      guard case .text(let text) = self else { return self }
      if let integer = Int(text) { return .integer(integer) }
      return Double(text).flatMap { $0.isFinite ? .number($0) : nil } ?? self
    }
  }

  /// An answer is a value, a list of values, or a list of lists. Tasks with options give the right one, with or without
  /// its letter.
  private static func labels(
    _ answer: JSONValue?, _ field: String, _ task: Task, options: JSONValue?
  ) throws(SampleFault) -> [LabelValue] {
    guard let answer else { throw SampleFault(field, "is missing") }
    let values = (answer.array ?? [answer]).flatMap { $0.array ?? [$0] }
    var labels = values.compactMap(LabelValue.init)
    guard labels.count == values.count, !labels.isEmpty else {
      throw SampleFault(field, "is neither a text nor a number nor a list of them")
    }
    switch task {
    case .codeRun, .mathFind, .mathCalculation:
      labels = labels.map(\.asNumber)
      guard labels.allSatisfy({ if case .text = $0 { false } else { true } }) else {
        throw SampleFault(field, "is no number")
      }
      return labels
    case .codeDebug, .bookChoice:
      if labels.count == 2, ["A", "B", "C", "D"].contains(labels[1].text) { return labels }
      let options = try SampleFields(.members(["options": options])).texts("options")
      guard labels.count == 1, let place = options.firstIndex(of: labels[0].text), place < 4 else {
        throw SampleFault(field, "is none of the four options")
      }
      return labels + [.text(["A", "B", "C", "D"][place])]
    default: return labels
    }
  }

  /// The first call such as `func_12(-3)`.
  private static func functionCall(_ text: String) -> String? {
    text.firstMatch(of: /func_[0-9]+\(-?[0-9]+\)/).map { String($0.output) }
  }

  /// "the largest number" of "The largest number of the list is:".
  private static func soughtNumber(_ text: String) -> String? {
    text.firstMatch(of: /The .+ of/).map { $0.output.dropLast(3).lowercased() }
  }
}
