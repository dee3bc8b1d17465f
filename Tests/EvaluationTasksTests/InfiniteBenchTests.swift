import CanonicalJSON
import Testing

@testable import EvaluationTasks

@Suite struct InfiniteBenchTests {
  private func sample(
    _ task: InfiniteBench.Task, _ answer: JSONValue, input: String = "The largest number of the list: func_1(2)",
    options: [String] = []
  ) throws -> SuiteSample {
    try InfiniteBench.sample(
      .members([
        "id": .integer(3), "context": .string("<context>"), "input": .string(input), "answer": answer,
        "options": .array(options.map(JSONValue.string)),
      ]), task: task, prompts: InfiniteBench.prompts)
  }

  /// Answers become the lines that the published program writes: with options the right one and its letter.
  @Test func records() throws {
    let plain = try sample(.passkey, .array([.string("71432")])).record
    #expect(plain.path == "results/*/preds_passkey.jsonl")
    #expect(
      plain.line("so")
        == .members(["id": .integer(3), "ground_truth": .array([.string("71432")]), "prediction": .string("so")]))
    let options = ["the cat", "the dog", "the cow", "the pig"]
    let right = JSONValue.array([.string("the dog"), .string("B")])
    for answer: JSONValue in [.string("the dog"), .array([.string("the dog")]), right] {
      for task in [InfiniteBench.Task.bookChoice, .codeDebug] {
        let sample = try sample(task, answer, options: options)
        #expect(sample.record.line("")["ground_truth"] == right)
        #expect(sample.prompt.contains("B. the dog"))
      }
    }
  }

  @Test func prompts() throws {
    #expect(try sample(.mathFind, .integer(3)).prompt.hasPrefix("What is the largest number in the following list?"))
    #expect(try sample(.codeRun, .integer(3), input: "Say func_7(-2).").prompt.hasSuffix("The value of func_7(-2) is"))
  }

  @Test func refusals() throws {
    #expect(InfiniteBench.Task.allCases.count == 12)
    for task in InfiniteBench.Task.allCases {
      #expect(throws: SampleFault.self) { try sample(task, .null) }
      #expect(throws: SampleFault.self) { try sample(task, .array([])) }
    }
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
      let answers = try #require(sample.record.line("")["ground_truth"]?.array)
      let context = try #require(json["context"]?.string)
      switch task {
      case .passkey, .numberString, .keyValue: #expect(try context.contains(#require(answers[0].string)))
      case .codeRun:
        let call = try #require(json["input"]?.string?.firstMatch(of: /(func_[0-9]+)\((-?[0-9]+)\)/))
        #expect(Self.value(String(call.1), try #require(Int(call.2)), in: context) == answers[0].integer)
      case .mathCalculation:
        let terms = context.split(separator: " ").map(String.init)
        var value = try #require(Int(terms[0]))
        for index in stride(from: 1, to: terms.count, by: 2) {
          let term = try #require(Int(terms[index + 1]))
          value += terms[index] == "+" ? term : -term
        }
        #expect(answers.last?.integer == value)
        #expect(answers.count == 40)
      default:
        let numbers = context.dropFirst().dropLast().split(separator: ", ").compactMap { Double($0) }
        #expect(numbers.count == 40)
        if json["input"]?.string?.hasPrefix("The largest") == true { #expect(answers[0].number == numbers.max()) }
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
