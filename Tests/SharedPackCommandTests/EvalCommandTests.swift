import CanonicalJSON
import FileAccess
import Testing
import TinyCheckpoint

@Suite struct EvalCommandTests {
  /// Tables for people, JSON for programs, and files that come back.
  @Test func tasks() throws {
    let workplace = try Workplace()
    let arguments = [
      "eval", "tasks", "model.spk", "--task", "passkey,key-value", "--windows", "2", "--depths", "0,100", "--samples",
      "2", "--methods", "shared,truncated,streaming", "--policy", "cosine,right", "--haystack", "letters",
    ]
    let table = try workplace.run(arguments + ["--output", "result.json"])
    #expect(table.status == 0)
    #expect(table.error == "")
    let lines = table.output.split(separator: "\n")
    #expect(lines[0] == "tasks\tmodel.spk\tint8")
    #expect(lines.count { $0.hasPrefix("passkey") } == 8)
    #expect(lines.count { $0.hasPrefix("key-value") } == 4)
    let json = try workplace.run(arguments + ["--json"])
    let value = try JSONValue(parsing: Array(json.output.utf8))
    #expect(value["rows"]?.array?.count == 12)
    let file = try JSONValue(parsing: SequentialFile.contents("\(workplace.path)/result.json", limit: 1 << 20))
    let isSame = file["rows"]?.canonical == value["rows"]?.canonical
    #expect(isSame)
    #expect(try workplace.run("eval", "report", "result.json").output == table.output)
  }

  /// What is stored by exact reading predicts as the whole prompt does, bit for bit.
  @Test func reading() throws {
    let workplace = try Workplace()
    try Directory.create("\(workplace.path)/wide")
    try TinyCheckpoint.write(to: "\(workplace.path)/wide", injectionPlace: nil, window: 2048)
    #expect(try workplace.run("convert", "wide", "wide.spk").status == 0)
    try workplace.write(Array(String(repeating: Workplace.text + ". ", count: 30).utf8), to: "long.txt")
    let outcome = try workplace.run(
      "eval", "reading", "wide.spk", "--texts", "long.txt", "--tokens", "700,2100", "--scored", "100", "--documents",
      "2", "--chunk-size", "64", "--json")
    #expect(outcome.status == 0)
    let rows = try #require(try JSONValue(parsing: Array(outcome.output.utf8))["rows"]?.array)
    // Beyond the window there is no whole prompt.
    #expect(rows.count == 6)
    let manners = rows.map { $0["labels"]?["manner"]?.string }
    #expect(manners == ["alone", "whole", "exact", "deep", "alone", "deep"])
    func measure(_ row: Int, _ name: String) -> [UInt8]? { rows[row]["measures"]?[name]?.canonical }
    #expect(rows[2]["measures"]?["equal"]?["value"]?.integer == 1)
    #expect(measure(2, "perplexity") == measure(1, "perplexity") && measure(1, "perplexity") != nil)
    #expect(measure(0, "perplexity") != measure(1, "perplexity"))
  }

  /// One table, one page, and a file that the same command goes on with.
  @Test func compare() throws {
    let workplace = try Workplace()
    let text = (0..<30).map { "the store holds tree \($0), and a question reads both of them. " }.joined()
    try workplace.write(Array(text.utf8), to: "long.txt")
    let arguments = [
      "eval", "compare", "plain.spk", "long.txt", "--quick", "--scored", "16", "--samples", "1", "--methods",
      "full,truncated,streaming,yarn", "--output", "compare.json",
    ]
    let first = try workplace.run(arguments + ["--html", "compare.html", "--progress", "plain"])
    #expect(first.status == 0)
    let lines = first.error.split(separator: "\n")
    #expect(lines.count == 8 && lines[0].hasPrefix("compare: 1 of 8, full at 1 window; about "))
    let table = first.output.split(separator: "\n")
    #expect(table[0] == "compare\tplain.spk\tint8" && table[1].hasPrefix("windows  method"))
    #expect(table.count { $0.contains("sinks: 4, recent: 60") } == 2)
    let page = try SequentialFile.contents("\(workplace.path)/compare.html", limit: 1 << 20)
    #expect(String(decoding: page, as: UTF8.self).contains("tokens written a second"))
    // Nothing is measured again: times are the same.
    let second = try workplace.run(arguments + ["--progress", "plain"])
    #expect(second.output == first.output && second.error == "")
    let other = try workplace.run(arguments + ["--cache-rows", "40"])
    #expect(other.status == 73)
    #expect(
      other.error == "sharedpack: compare.json: is the result of another model, other texts or other settings; name "
        + "another file, or remove it [other-settings]\n")
  }

  @Test func suites() throws {
    let workplace = try Workplace()
    for task in ["passkey", "kv_retrieval"] {
      let made = try workplace.run(
        "eval", "infinitebench-data", task, "\(task).jsonl", "--size", "10", "--samples", "2")
      #expect(made.status == 0)
      #expect(made.output == "" && made.error == "")
    }
    let infinite = try workplace.run(
      "eval", "infinitebench", "model.spk", "passkey.jsonl", "kv_retrieval.jsonl", "--predictions", "answers", "--json")
    #expect(infinite.status == 0)
    #expect(try JSONValue(parsing: Array(infinite.output.utf8))["rows"]?.array?.count == 4)
    for method in ["shared-cosine-best-first", "truncated"] {
      let file = "\(workplace.path)/answers/results/\(method)/preds_passkey.jsonl"
      #expect(try SequentialFile.contents(file, limit: 1 << 20).count { $0 == 10 } == 2)
    }
    let sample = #"{"dataset": "trec", "input": "", "context": "a", "answers": ["b"], "all_classes": ["b"]}"#
    try workplace.write(Array(sample.utf8), to: "trec.jsonl")
    #expect(
      try workplace.run("eval", "longbench", "model.spk", "trec.jsonl", "--predictions", "answers").output
        .contains("Tools/score/score.py longbench answers/pred/*/*.jsonl"))
    let ruler = try workplace.run(
      "eval", "ruler", "model.spk", "--task", "niah_single_1", "--windows", "10", "--samples", "1")
    #expect(ruler.output.contains("niah_single_1"))
  }

  /// What tuning finds is kept in a pack, whose stores are then built so.
  @Test func tuning() throws {
    let workplace = try Workplace()
    try Directory.create("\(workplace.path)/wide")
    try TinyCheckpoint.write(to: "\(workplace.path)/wide", injectionPlace: nil, window: 4096)
    #expect(try workplace.run("convert", "wide", "wide.spk").status == 0)
    try workplace.write(
      Array(String(repeating: "it rained all day. nobody came. ", count: 60).utf8), to: "novel.txt")
    let tune = ["tune", "wide.spk", "novel.txt", "--chunk-size", "192", "--chunks", "2", "--tokens", "600"]
    let outcome = try workplace.run(tune + ["--samples", "2", "--save", "tuned.spk"])
    #expect(outcome.status == 0, "\(outcome.error)")
    #expect(outcome.output.hasPrefix("reading-tuning\twide.spk\t"))
    #expect(outcome.error.contains("the best: --chunk-size 192 --chunks 2\ntuned.spk: identity "))
    #expect(try workplace.run("verify", "tuned.spk").status == 0)
    #expect(try workplace.run("store", "build", "tuned.spk", "novel.txt", "--store", "library").status == 0)
    #expect(try workplace.run("store", "stats", "library").output.contains("deep, in chunks of 192 tokens"))
    // Nothing but a pack is replaced, and minutes are not spent first.
    let refused = try workplace.run(tune + ["--save", "novel.txt"])
    #expect(refused.status == 73 && refused.error.hasPrefix("sharedpack: novel.txt: exists and is not a model pack"))
    for arguments in [["--chunk-size", "63"], ["--chunks", "0"], ["--samples", "0"], ["--tokens", "63"]] {
      #expect(try workplace.run(tune.filter { $0 != "192" && $0 != "--chunk-size" } + arguments).status == 64)
    }
    let facts = try workplace.run(
      "eval", "facts", "wide.spk", "--haystack", "novel.txt", "--manner", "deep,again,sentence", "--question",
      "one,swapped", "--tokens", "600", "--samples", "1", "--by-kind")
    #expect(facts.status == 0, "\(facts.error)")
    #expect(facts.output.split(separator: "\n").count { $0.hasPrefix("one ") || $0.hasPrefix("swapped ") } == 12)
  }

  /// One line that names file, part and fault, and the exit status of the kind of fault.
  @Test func refusals() throws {
    let workplace = try Workplace()
    try workplace.write(Array("{}\n".utf8), to: "bad.jsonl")
    for (arguments, status, message) in [
      (
        ["eval", "longbench", "model.spk", "bad.jsonl", "--predictions", "p"], 65,
        "bad.jsonl: line 1, dataset: \"bad\" is not a task of LongBench"
      ),
      (["eval", "longbench", "model.spk", "none.jsonl", "--predictions", "p"], 66, "none.jsonl: "),
      (
        ["eval", "infinitebench", "model.spk", "bad.jsonl", "--predictions", "p"], 65,
        "bad.jsonl: its name is not a task of InfiniteBench"
      ),
      (
        ["eval", "infinitebench", "model.spk", "bad.jsonl", "--predictions", "p", "--task", "passkey"], 65,
        "bad.jsonl: line 1, input"
      ),
      (
        ["eval", "longbench", "model.spk", "bad.jsonl", "--predictions", "p", "--prompts", "notes.txt"], 65,
        "notes.txt: line 1, column 2: "
      ),
      (["eval", "tasks", "plain.spk", "--samples", "1"], 65, "plain.spk: "),
      (["eval", "tasks", "model.spk", "--haystack", "none"], 66, "none: "),
      (["eval", "infinitebench-data", "passkey", "none/x.jsonl"], 73, "none/x.jsonl: "),
    ] as [([String], Int32, String)] {
      let outcome = try workplace.run(arguments)
      #expect(outcome.status == status, "\(arguments)")
      #expect(outcome.error.hasPrefix("sharedpack: \(message)"), "\(outcome.error)")
      #expect(outcome.error.count { $0 == "\n" } == 1, "\(outcome.error)")
    }
    for arguments in [
      ["eval", "tasks", "model.spk", "--task", "nothing"], ["eval", "tasks", "model.spk", "--depths", "101"],
      ["eval", "ruler", "model.spk", "--windows", "0"], ["eval", "longbench", "model.spk"],
      ["eval", "longbench", "model.spk", "bad.jsonl"],
      ["eval", "infinitebench-data", "longbook_qa_eng", "x.jsonl"],
    ] {
      #expect(try workplace.run(arguments).status == 64, "\(arguments)")
    }
  }
}
