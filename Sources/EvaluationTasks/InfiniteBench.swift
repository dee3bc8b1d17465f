public import CanonicalJSON

/// InfiniteBench: twelve tasks with contexts of 100 thousand tokens and more, one line of JSON for each sample.
///
/// Source: X. Zhang et al., ∞Bench, arXiv 2402.13718; answer lengths are those of its repository.
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
  ) throws(SampleFault) -> SuiteSample {
    let fields = SampleFields(json)
    let input = try fields.text("input")
    var values = ["context": try fields.text("context"), "input": input, "question": input]
    guard var answer = json["answer"], answer != .null, answer.array?.isEmpty != true else {
      throw SampleFault("answer", "is missing")
    }
    switch task {
    case .codeDebug, .bookChoice:
      let options = try fields.texts("options")
      for (letter, option) in zip("ABCD", options) { values["OPTION_\(letter)"] = option }
      answer = try withLetter(answer, options)
    case .codeRun:
      guard let call = functionCall(input) else { throw SampleFault("input", "calls no function func_…(…)") }
      values["func_call"] = call
      values["func"] = String(call.prefix { $0 != "(" })
    case .mathFind:
      guard let number = soughtNumber(input) else { throw SampleFault("input", "asks for no number") }
      values["prefix"] = "What is \(number) in the following list?"
    default: break
    }
    return SuiteSample(
      task: task.rawValue, prompt: try prompts.prompt(for: task.rawValue, values), maxNewTokens: task.maxNewTokens,
      record: AnswerRecord(
        path: "results/*/preds_\(task.rawValue).jsonl", key: "prediction",
        ["id": json["id"], "ground_truth": answer]))
  }

  /// The right one of four options and its letter, as the published program writes them down.
  private static func withLetter(_ answer: JSONValue, _ options: [String]) throws(SampleFault) -> JSONValue {
    let letters = ["A", "B", "C", "D"]
    if let both = answer.array, both.count == 2, letters.contains(both[1].string ?? "") { return answer }
    let text = answer.array?.count == 1 ? answer.array?[0].string : answer.string
    guard let text, let index = options.prefix(4).firstIndex(of: text) else {
      throw SampleFault("answer", "is not one of the four options")
    }
    return .array([.string(text), .string(letters[index])])
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
