import CanonicalJSON
import Testing

@testable import EvaluationTasks

@Suite struct InfiniteBenchTests {
  private func sample(
    _ task: InfiniteBench.Task, _ answer: JSONValue, input: String = "The largest number of the list: func_1(2)",
    options: [String] = []
  ) throws -> BenchmarkSample {
    try InfiniteBench.sample(
      .members([
        "id": .integer(3), "context": .string("<context>"), "input": .string(input), "answer": answer,
        "options": .array(options.map(JSONValue.string)),
      ]), task: task, prompts: InfiniteBench.prompts)
  }

  @Test func retrieval() throws {
    let key = JSONValue.array([.string("71432")])
    #expect(try sample(.passkey, key).score(" is 71432. 5") == 1)
    #expect(try sample(.passkey, key).score("714325") == 0)
    #expect(try sample(.numberString, .string("11")).score("no") == 0)
    let value = JSONValue.array([.string("54b1-c7")])
    #expect(try sample(.keyValue, value).score("{\"k\":\"54b1-c7\"}") == 1)
    #expect(try sample(.keyValue, value).score("54b1-c7x") == 0)
    let name = JSONValue.array([.string("ANNA")])
    #expect(try sample(.dialogue, name).score("It's anna.") == 1)
    #expect(try sample(.dialogue, name).score("hannah") == 0)
  }

  /// Lines as the published program writes them, under either name.
  @Test func predictions() throws {
    func score(_ task: InfiniteBench.Task, _ members: KeyValuePairs<String, JSONValue?>) throws -> Double {
      try InfiniteBench.prediction(.members(members), task: task).score
    }
    #expect(try score(.passkey, ["prediction": .string("is 71432."), "ground_truth": .string("71432")]) == 1)
    #expect(try score(.codeRun, ["pred": .string("so: -7"), "label": .integer(-7)]) == 1)
    let right = JSONValue.array([.string("f_two"), .string("B")])
    #expect(try score(.codeDebug, ["prediction": .string("B. f"), "ground_truth": right]) == 1)
    // Without the letter the options must be there.
    #expect(throws: SampleFault("options", "is missing or no list")) {
      try score(.codeDebug, ["prediction": .string("B. f"), "ground_truth": .string("f_two")])
    }
    #expect(throws: SampleFault("label", "is missing")) { try score(.passkey, ["prediction": .string("7")]) }
  }

  @Test func books() throws {
    let answers = JSONValue.array([.string("red dog"), .string("cat")])
    #expect(try sample(.bookQuestion, answers).score("the Cat") == 1)
    #expect(try sample(.chineseBookQuestion, .array([.string("红楼梦")])).score("红楼") == 0.8)
    #expect(try abs(sample(.bookSummary, .array([.string("a b\nc d")])).score("c d\na x") - 0.75) < 1e-12)
  }

  /// The rules of the choice, one by one.
  @Test(arguments: [
    ("B", 1.0), ("C", 0), ("B. the dog", 1), ("Because", 1), ("the dog", 1), ("the answer is: B", 1),
    ("the answer is: the dog", 1), ("the answer is", 0), ("my option is C", 0), ("so, it is B!", 1),
    ("it is AB or B", 0), ("none", 0), ("", 0), ("answer:B", 0),
  ])
  func choice(_ prediction: String, _ score: Double) throws {
    let options = ["the cat", "the dog", "the cow", "the pig"]
    for answer: JSONValue in [.array([.string("the dog")]), .array([.string("the dog"), .string("B")])] {
      let sample = try sample(.bookChoice, answer, options: options)
      #expect(sample.score(prediction) == score, "\(prediction)")
      #expect(sample.prompt.contains("B. the dog"))
    }
  }

  @Test(arguments: [
    ("B. f", 1.0), ("B: f", 1), ("B", 0), ("The answer is: B", 1), ("the answer is: Option B", 1),
    ("correct option is: f_two", 1), ("which is: C", 0), ("answer:", 0), ("it - is:  B", 1),
  ])
  func debugging(_ prediction: String, _ score: Double) throws {
    let sample = try sample(
      .codeDebug, .array([.string("f_two")]), options: ["f_one", "f_two", "f_three", "f_four"])
    #expect(sample.score(prediction) == score, "\(prediction)")
  }

  @Test func numbers() throws {
    for label: JSONValue in [.integer(-13), .array([.integer(-13)]), .array([.string("-13")])] {
      #expect(try sample(.codeRun, label).score("value: -13.") == 1)
      #expect(try sample(.codeRun, label).score("-13 x") == 0)
    }
    #expect(try sample(.mathFind, .integer(3)).score("is 3, not 4") == 1)
    #expect(try sample(.mathFind, .integer(3)).score("3.0") == 0)
    #expect(try sample(.mathFind, .number(3.5)).score("3.5") == 1)
    #expect(try sample(.mathFind, .number(4.0)).score("4") == 1)
    let values = JSONValue.array([.array([.integer(1), .integer(4), .integer(8), .integer(9)])])
    #expect(try sample(.mathCalculation, values).score("[1, 4, 7, 9]") == 0.5)
    #expect(try sample(.mathCalculation, values).score("1 -4 8 9 10") == 1)
    #expect(try sample(.mathFind, .integer(3)).prompt.hasPrefix("What is the largest number in the following list?"))
    #expect(try sample(.codeRun, .integer(3), input: "Say func_7(-2).").prompt.hasSuffix("The value of func_7(-2) is"))
  }

  @Test func refusals() throws {
    #expect(InfiniteBench.Task.allCases.count == 12)
    for task in InfiniteBench.Task.allCases {
      #expect(throws: SampleFault.self) { try sample(task, .null) }
      #expect(throws: SampleFault.self) { try sample(task, .array([])) }
    }
    #expect(throws: SampleFault.self) { try sample(.mathFind, .string("many")) }
    #expect(throws: SampleFault.self) { try sample(.mathFind, .integer(3), input: "?") }
    #expect(throws: SampleFault.self) { try sample(.codeRun, .integer(3), input: "?") }
    #expect(throws: SampleFault.self) { try sample(.codeDebug, .string("x"), options: ["a", "b", "c", "d"]) }
  }

  /// Made samples have the published form, hold what they ask for, and their answers are right.
  @Test(arguments: InfiniteBenchGenerator.tasks)
  func madeSamples(_ task: InfiniteBench.Task) throws {
    var generator = try #require(InfiniteBenchGenerator(task, size: 40, seed: 5))
    var other = try #require(InfiniteBenchGenerator(task, size: 40, seed: 5))
    for number in 0..<8 {
      let json = generator.sample(number: number, depth: Double(number) / 7)
      #expect(json == other.sample(number: number, depth: Double(number) / 7))
      let sample = try InfiniteBench.sample(json, task: task, prompts: InfiniteBench.prompts)
      #expect(sample.score(sample.answers.joined(separator: ", ")) == 1)
      let context = try #require(json["context"]?.string)
      switch task {
      case .passkey, .numberString, .keyValue: #expect(context.contains(sample.answers[0]))
      case .codeRun:
        let call = try #require(json["input"]?.string?.firstMatch(of: /(func_[0-9]+)\((-?[0-9]+)\)/))
        #expect(Self.value(String(call.1), try #require(Int(call.2)), in: context) == Int(sample.answers[0]))
      case .mathCalculation:
        let terms = context.split(separator: " ").map(String.init)
        var value = try #require(Int(terms[0]))
        for place in stride(from: 1, to: terms.count, by: 2) {
          let term = try #require(Int(terms[place + 1]))
          value += terms[place] == "+" ? term : -term
        }
        #expect(sample.answers.last == String(value))
        #expect(sample.answers.count == 40)
      default: #expect(context.split(separator: ",").count == 40)
      }
    }
  }

  /// What a function of the generated code returns.
  private static func value(_ name: String, _ argument: Int, in code: String) -> Int? {
    guard let start = code.firstRange(of: "def \(name)(x):\n    return ") else { return nil }
    let parts = code[start.upperBound...].prefix { $0 != "\n" }.split(separator: " ")
    guard parts.count == 3, let offset = Int(parts[2]) else { return nil }
    let inner = parts[0] == "x" ? argument : value(String(parts[0].prefix { $0 != "(" }), argument, in: code)
    return inner.map { parts[1] == "+" ? $0 + offset : $0 - offset }
  }
}
