import CanonicalJSON
import Testing

@testable import EvaluationTasks

@Suite struct LongBenchTests {
  /// Answers become the lines that the published program writes, those of LongBench-E in a directory of their own.
  @Test func records() throws {
    func sample(_ name: String, classes: String) throws -> SuiteSample {
      let line = """
        {"input": "?", "context": "c", "answers": ["a", "b"], "length": 3999, "dataset": "\(name)", "language": "en", \
        "all_classes": \(classes), "_id": "7"}
        """
      return try LongBench.sample(
        JSONValue(parsing: Array(line.utf8)), task: nil, prompts: LongBench.prompts)
    }
    func line(_ sample: SuiteSample) -> String { String(decoding: sample.record.line("so").canonical, as: UTF8.self) }
    let plain = try sample("trec", classes: #"["a", "b"]"#)
    #expect(plain.record.path == "pred/*/trec.jsonl" && plain.rule == nil && !plain.usesChatTemplate)
    #expect(line(plain) == #"{"all_classes":["a","b"],"answers":["a","b"],"length":3999,"pred":"so"}"#)
    let other = try sample("samsum_e", classes: "null")
    #expect(other.record.path == "pred_e/*/samsum.jsonl" && other.task == "samsum" && other.stopStrings == ["\n"])
    #expect(line(other) == #"{"all_classes":null,"answers":["a","b"],"length":3999,"pred":"so"}"#)
  }

  @Test func everyTask() throws {
    #expect(LongBench.tasks.count == 21)
    for task in LongBench.tasks {
      #expect(LongBench.task(named: task.name + "_e")?.name == task.name)
      let prompt = try LongBench.prompts.prompt(for: task.name, ["context": "<context>", "input": "<input>"])
      #expect(prompt.contains("<context>"))
    }
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
