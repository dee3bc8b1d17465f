import CanonicalJSON
import Testing

@testable import EvaluationTasks

@Suite struct LongBenchTests {
  private func score(
    _ task: String, _ prediction: String, _ answers: [String], classes: [String] = []
  ) throws -> Double {
    let sample = try LongBench.sample(
      .members([
        "input": .string("?"), "context": .string("c"), "answers": .array(answers.map(JSONValue.string)),
        "length": .integer(3999), "dataset": .string(task), "language": .string("en"),
        "all_classes": classes.isEmpty ? .null : .array(classes.map(JSONValue.string)), "_id": .string("7"),
      ]), task: nil, prompts: LongBench.prompts)
    #expect(sample.identifier == "7")
    #expect(sample.lengthClass == "0-4k")
    return sample.score(prediction)
  }

  /// Lines as the published program writes them.
  @Test func predictions() throws {
    let line = JSONValue.members([
      "pred": .string("\n\nParis\nand more"), "answers": .array([.string("London"), .string("paris")]),
      "all_classes": .null, "length": .integer(8000),
    ])
    let prediction = try LongBench.prediction(line, task: "triviaqa_e")
    #expect(prediction.task == "triviaqa" && prediction.lengthClass == "8k+" && prediction.score == 1)
    #expect(throws: SampleFault("pred", "is missing or no text")) {
      try LongBench.prediction(.members(["answers": .array([.string("a")])]), task: "hotpotqa")
    }
    #expect(throws: SampleFault("dataset", "is missing")) { try LongBench.prediction(line, task: nil) }
  }

  /// The best of the answers counts; only the first line where the task says so.
  @Test func questions() throws {
    #expect(try score("hotpotqa", "Paris\nand more", ["London", "paris"]) == 0.5)
    #expect(try score("triviaqa", "\n\nParis\nand more", ["London", "paris"]) == 1)
    #expect(try score("multifieldqa_zh", "红楼", ["红楼梦"]) == 0.8)
    #expect(try abs(score("gov_report", "a b", ["a b"]) - 1) < 1e-7)
    #expect(try abs(score("vcsum", "红楼", ["红楼"]) - 1) < 1e-7)
    #expect(try score("samsum", "", ["a"]) == 0)
  }

  @Test func classification() throws {
    let classes = ["animal", "human", "human group"]
    #expect(try score("trec", "It is human", ["human"], classes: classes) == 1)
    #expect(try score("trec", "animal or human", ["human"], classes: classes) == 0.5)
    #expect(try score("trec", "human group", ["human group"], classes: classes) == 1)
    #expect(try score("trec", "human group", ["human"], classes: classes) == 0.5)
    #expect(try score("trec", "none", ["human"], classes: classes) == 0)
    // The name behind one that was removed is passed over, as by the original.
    #expect(try score("lsht", "a ab abc", ["abc"], classes: ["a", "ab", "abc"]) == 0.5)
  }

  @Test func numbers() throws {
    #expect(try score("passage_retrieval_en", "Paragraph 12", ["Paragraph 12"]) == 1)
    #expect(try score("passage_retrieval_en", "12 or 13, no 12", ["Paragraph 12"]) == 2.0 / 3)
    #expect(try score("passage_retrieval_zh", "段落3", ["段落3"]) == 1)
    #expect(try score("passage_count", "none", ["12"]) == 0)
    #expect(try score("passage_count", "12.", ["12"]) == 1)
  }

  /// The first line without a mark counts.
  @Test func code() throws {
    #expect(try score("lcc", "```python\n# next\nreturn x\nreturn y", ["return x"]) == 1)
    #expect(try score("lcc", "# only", ["return x"]) == 0)
    #expect(try score("repobench-p", "abcd", ["bcde"]) == 0.75)
  }

  @Test func everyTask() throws {
    #expect(LongBench.tasks.count == 21)
    #expect(Set(LongBench.tasks.map(\.group)).count == LongBench.Group.allCases.count)
    for task in LongBench.tasks {
      #expect(LongBench.task(named: task.name + "_e")?.name == task.name)
      let prompt = try LongBench.prompts.prompt(for: task.name, ["context": "<context>", "input": "<input>"])
      #expect(prompt.contains("<context>"))
    }
    #expect(["0-4k", "4-8k", "8k+"] == [3999, 4000, 8000].map(LongBench.lengthClass))
  }

  @Test func refusals() throws {
    func fault(_ members: KeyValuePairs<String, JSONValue?>, task: String? = "hotpotqa") -> SampleFault? {
      do throws(SampleFault) {
        _ = try LongBench.sample(.members(members), task: task, prompts: LongBench.prompts)
        return nil
      } catch {
        return error
      }
    }
    let answers = JSONValue.array([.string("a")])
    #expect(fault(["context": .string(""), "input": .string(""), "answers": answers]) == nil)
    #expect(fault(["input": .string(""), "answers": answers])?.field == "context")
    #expect(fault(["context": .string(""), "input": .string(""), "answers": .string("a")])?.field == "answers")
    #expect(fault(["context": .string(""), "input": .string(""), "answers": .array([])])?.field == "answers")
    #expect(fault(["context": .string(""), "input": .string(""), "answers": answers], task: nil)?.field == "dataset")
    #expect(
      fault(["dataset": .string("x"), "context": .string(""), "input": .string(""), "answers": answers])?.field
        == "dataset")
    #expect(
      fault(["context": .string(""), "input": .string(""), "answers": answers], task: "trec")?.field == "all_classes")
    #expect(
      fault(["context": .string(""), "input": .string(""), "answers": answers], task: "passage_retrieval_en")?.field
        == "answers")
  }

  @Test func templates() throws {
    let templates = try PromptTemplates(
      .members(["a": .string("{{x}} {context}|{input}"), "b": .string("{other}"), "c": .string("}")]),
      defaults: LongBench.prompts)
    let fields = ["context": "{input}", "input": "i"]
    #expect(try templates.prompt(for: "a", fields) == "{x} {input}|i")
    #expect(throws: SampleFault.self) { try templates.prompt(for: "b", fields) }
    #expect(throws: SampleFault.self) { try templates.prompt(for: "c", fields) }
    #expect(throws: SampleFault.self) { try templates.prompt(for: "d", fields) }
    #expect(try templates.prompt(for: "hotpotqa", fields) == LongBench.prompts.prompt(for: "hotpotqa", fields))
    #expect(throws: SampleFault.self) { try PromptTemplates(.array([]), defaults: templates) }
    #expect(try PromptTemplates.counts(.members(["a": .integer(3)])) == ["a": 3])
    #expect(throws: SampleFault.self) { try PromptTemplates.counts(.members(["a": .integer(0)])) }
  }
}
