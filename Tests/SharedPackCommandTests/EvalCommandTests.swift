import CanonicalJSON
import FileAccess
import Testing

@Suite struct EvalCommandTests {
  /// Tables for people, JSON for programs, and files that come back.
  @Test func tasks() throws {
    let place = try Workplace()
    let arguments = [
      "eval", "tasks", "model.spk", "--task", "passkey,key-value", "--windows", "2", "--depths", "0,100", "--samples",
      "2", "--methods", "shared,truncated,streaming", "--policy", "cosine,right", "--haystack", "letters",
    ]
    let table = try place.run(arguments + ["--output", "result.json"])
    #expect(table.status == 0)
    #expect(table.error == "")
    let lines = table.output.split(separator: "\n")
    #expect(lines[0] == "tasks\tmodel.spk\tint8")
    #expect(lines.count { $0.hasPrefix("passkey") } == 8)
    #expect(lines.count { $0.hasPrefix("key-value") } == 4)
    let json = try place.run(arguments + ["--json"])
    let value = try JSONValue(parsing: Array(json.output.utf8))
    #expect(value["rows"]?.array?.count == 12)
    let file = try JSONValue(parsing: SequentialFile.contents("\(place.path)/result.json", limit: 1 << 20))
    let isSame = file["rows"]?.canonical == value["rows"]?.canonical
    #expect(isSame)
    #expect(try place.run("eval", "report", "result.json").output == table.output)
  }

  @Test func benchmarks() throws {
    let place = try Workplace()
    for task in ["passkey", "kv_retrieval"] {
      let made = try place.run("eval", "infinitebench-data", task, "\(task).jsonl", "--size", "10", "--samples", "2")
      #expect(made.status == 0)
      #expect(made.output == "" && made.error == "")
    }
    let infinite = try place.run(
      "eval", "infinitebench", "model.spk", "passkey.jsonl", "kv_retrieval.jsonl", "--predictions", "answers.jsonl",
      "--json")
    #expect(infinite.status == 0)
    #expect(try JSONValue(parsing: Array(infinite.output.utf8))["rows"]?.array?.count == 4)
    let answers = try SequentialFile.contents("\(place.path)/answers.jsonl", limit: 1 << 20)
    #expect(answers.count { $0 == 10 } == 8)
    let sample = #"{"dataset": "trec", "input": "", "context": "a", "answers": ["b"], "all_classes": ["b"]}"#
    try place.write(Array(sample.utf8), to: "trec.jsonl")
    #expect(try place.run("eval", "longbench", "model.spk", "trec.jsonl").output.contains("average, few-shot"))
    #expect(
      try place.run("eval", "ruler", "model.spk", "--task", "niah_single_1", "--windows", "10", "--samples", "1")
        .output.contains("niah_single_1"))
  }

  /// Answers of others, scored without a model.
  @Test func scores() throws {
    let place = try Workplace()
    let right = #"{"pred": "Paris", "answers": ["paris"], "all_classes": null, "length": 10}"#
    let wrong = #"{"pred": "London", "answers": ["paris"], "all_classes": null, "length": 5000}"#
    try Directory.create("\(place.path)/other")
    try place.write(Array("\(right)\n\(wrong)\n".utf8), to: "other/hotpotqa.jsonl")
    let outcome = try place.run("eval", "score", "longbench", "other/hotpotqa.jsonl", "--json", "--output", "s.json")
    #expect(outcome.status == 0)
    let json = try JSONValue(parsing: Array(outcome.output.utf8))
    #expect(json["model"] == nil)
    let rows = try #require(json["rows"]?.array)
    #expect(rows.map { $0["measures"]?["score"]?["value"]?.number } == [50, 100, 0, 50])
    #expect(rows[0]["labels"]?["source"]?.string == "other")
    let report = try place.run("eval", "report", "s.json", "--html", "s.html")
    #expect(report.status == 0 && report.output.contains("hotpotqa"))
    try place.write(Array(#"{"prediction": "7", "ground_truth": "7"}"#.utf8), to: "preds_passkey.jsonl")
    #expect(try place.run("eval", "score", "infinitebench", "preds_passkey.jsonl").output.contains("100"))
    for arguments in [
      ["longbench"], ["other", "x"], ["infinitebench", "x", "--jieba", "."], ["longbench", "x", "--task", "y"],
    ] {
      #expect(try place.run(["eval", "score"] + arguments).status == 64, "\(arguments)")
    }
    let bad = try place.run("eval", "score", "longbench", "other/hotpotqa.jsonl", "--task", "trec")
    #expect(bad.status == 65)
    #expect(bad.error.hasPrefix("sharedpack: other/hotpotqa.jsonl: line 1, all_classes: is missing"), "\(bad.error)")
  }

  /// One line that names file, part and fault, and the exit status of the kind of fault.
  @Test func refusals() throws {
    let place = try Workplace()
    try place.write(Array("{}\n".utf8), to: "bad.jsonl")
    for (arguments, status, message) in [
      (
        ["eval", "longbench", "model.spk", "bad.jsonl"], 65,
        "bad.jsonl: line 1, dataset: \"bad\" is no task of LongBench"
      ),
      (["eval", "longbench", "model.spk", "none.jsonl"], 66, "none.jsonl: "),
      (["eval", "infinitebench", "model.spk", "bad.jsonl"], 65, "bad.jsonl: its name is no task of InfiniteBench"),
      (["eval", "infinitebench", "model.spk", "bad.jsonl", "--task", "passkey"], 65, "bad.jsonl: line 1, input"),
      (["eval", "longbench", "model.spk", "bad.jsonl", "--prompts", "notes.txt"], 65, "notes.txt: byte 1"),
      (["eval", "tasks", "plain.spk", "--samples", "1"], 65, "plain.spk: "),
      (["eval", "tasks", "model.spk", "--haystack", "none"], 66, "none: "),
      (["eval", "infinitebench-data", "passkey", "none/x.jsonl"], 73, "none/x.jsonl: "),
    ] as [([String], Int32, String)] {
      let outcome = try place.run(arguments)
      #expect(outcome.status == status, "\(arguments)")
      #expect(outcome.error.hasPrefix("sharedpack: \(message)"), "\(outcome.error)")
      #expect(outcome.error.count { $0 == "\n" } == 1, "\(outcome.error)")
    }
    for arguments in [
      ["eval", "tasks", "model.spk", "--task", "nothing"], ["eval", "tasks", "model.spk", "--depths", "101"],
      ["eval", "ruler", "model.spk", "--windows", "0"], ["eval", "longbench", "model.spk"],
      ["eval", "infinitebench-data", "longbook_qa_eng", "x.jsonl"],
    ] {
      #expect(try place.run(arguments).status == 64, "\(arguments)")
    }
  }
}
