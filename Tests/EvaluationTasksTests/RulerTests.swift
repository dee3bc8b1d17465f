import CanonicalJSON
import Testing

@testable import EvaluationTasks

@Suite struct RulerTests {
  private static let squad = """
    {"data": [{"title": "t", "paragraphs": [
      {"context": "The river is red.", "qas": [
        {"question": "Which colour?", "answers": [{"text": "red"}, {"text": "the red"}], "is_impossible": false},
        {"question": "Why?", "answers": [], "is_impossible": true}]},
      {"context": "The sea is deep.", "qas": []}, {"context": "The hill is high.", "qas": []}]}]}
    """
  private static let hotpot = """
    [{"question": "Who?", "answer": "Ada", "context": [["A", ["Ada was ", "there."]], ["B", ["Bob was not."]]]}]
    """

  /// Words stand for tokens.
  private func generator(seed: UInt64 = 1) throws -> RulerGenerator {
    RulerGenerator(
      essay: String(repeating: "It rained all day. We stayed at home and read. ", count: 30),
      squad: try QuestionSet(squad: JSONValue(parsing: Array(Self.squad.utf8))),
      hotpot: try QuestionSet(hotpot: JSONValue(parsing: Array(Self.hotpot.utf8))), seed: seed
    ) { $0.split(whereSeparator: \.isWhitespace).count }
  }

  private static func answers(_ sample: SuiteSample) throws -> [String] {
    try #require(sample.record.line("")["outputs"]?.array).compactMap(\.string)
  }

  /// Prompts are as long as was asked for, hold what they ask for, and the right answer is right.
  @Test(arguments: Ruler.Task.allCases)
  func samples(_ task: Ruler.Task) throws {
    let generator = try generator()
    let length = 1500
    let size = try generator.size(task, length: length)
    for number in 0..<4 {
      let sample = try generator.sample(task, size: size, length: length, number: number)
      let words = sample.prompt.split(whereSeparator: \.isWhitespace)
      #expect(words.count + sample.maxNewTokens <= length)
      #expect(words.count + sample.maxNewTokens > length * 9 / 10, "\(task)")
      let answerCount =
        switch task {
        case .multiValue, .multiQuery: 4
        case .variableTracking: 5
        case .commonWords: 10
        case .frequentWords: 3
        case .squad: 2
        default: 1
        }
      let answers = try Self.answers(sample)
      #expect(answers.count == answerCount)
      #expect(sample.prompt.contains(answers[0]))
      let rule = try #require(sample.rule)
      #expect(rule.score(answers.joined(separator: " ").uppercased()) == 1)
      #expect(rule.score("?") == 0)
      // The line of RULER's own program.
      let line = sample.record.line("no")
      #expect(sample.record.path == "*/synthetic/1500/pred/\(task.rawValue).jsonl")
      #expect(
        line["pred"]?.string == "no" && line["index"]?.integer == number && line["input"]?.string == sample.prompt)
      #expect(try sample.prompt == self.generator().sample(task, size: size, length: length, number: number).prompt)
    }
    #expect(
      try generator.sample(task, size: size, length: length, number: 0).prompt
        != self.generator(seed: 2).sample(task, size: size, length: length, number: 0).prompt)
    #expect(throws: SampleFault.self) { try generator.size(task, length: 40) }
  }

  /// The words that are asked for are the frequent ones.
  @Test func frequencies() throws {
    for task in [Ruler.Task.commonWords, .frequentWords] {
      let sample = try generator().sample(task, size: 600, length: 3000, number: 1)
      let answers = try Self.answers(sample)
      let asked = sample.prompt[
        (sample.prompt.ranges(of: "\n").dropLast().last?.upperBound ?? sample.prompt.startIndex)...]
      let text = task == .commonWords ? String(asked) : sample.prompt
      var counts: [Substring: Int] = [:]
      for word in text.split(whereSeparator: \.isWhitespace) { counts[word, default: 0] += 1 }
      let least = answers.map { counts[Substring($0), default: 0] }.min() ?? 0
      let others =
        counts.filter { word, _ in
          !answers.contains(String(word)) && word != "..." && word.allSatisfy(\.isLetter) && word.count > 5
        }.map(\.value).max() ?? 0
      #expect(least > others, "\(task)")
    }
  }

  @Test func questionSets() throws {
    for text in ["{}", "[]", #"{"data": [{}]}"#, #"{"data": []}"#] {
      #expect(throws: SampleFault.self) { try QuestionSet(squad: JSONValue(parsing: Array(text.utf8))) }
    }
    for text in ["{}", "[]", "[{}]", #"[{"question": "?", "answer": "a", "context": [[1]]}]"#] {
      #expect(throws: SampleFault.self) { try QuestionSet(hotpot: JSONValue(parsing: Array(text.utf8))) }
    }
  }
}
