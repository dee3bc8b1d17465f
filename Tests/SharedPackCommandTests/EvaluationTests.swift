import CanonicalJSON
import FileAccess
import ModelPacks
import Testing
import TinyCheckpoint

/// Evaluations of a tiny model of made-up numbers: the whole way from texts to a page.
@Suite struct EvaluationCommandTests {
  /// Some texts of words that do not repeat, as a `.zst` file and in a directory.
  private func workplace() throws -> Workplace {
    let workplace = try Workplace()
    let text = (0..<700).map { number in
      String(decoding: [7, 11, 13, 17].map { UInt8(ascii: "a") + UInt8(number * $0 % 23) }, as: UTF8.self)
    }.joined(separator: " ")
    try Directory.create("\(workplace.path)/books")
    try workplace.write(Array(text.utf8), to: "books/one.txt")
    let half = text.utf8.count / 2
    let texts = Array(text.utf8.prefix(half)) + [0] + Array(text.utf8.suffix(half))
    try workplace.write(Compression.zstd.compress(texts), to: "code.txt.zst")
    return workplace
  }

  @Test func perplexity() throws {
    let workplace = try workplace()
    let arguments = [
      "eval", "perplexity", "model.spk", "books", "code.txt.zst", "--windows", "1,2,4", "--documents", "3", "--scored",
      "40", "--kv", "int8,f32", "--policy", "right,cosine", "--threads", "1", "--streaming-windows", "2",
    ]
    let outcome = try workplace.run(arguments + ["--output", "result.json", "--html", "page.html", "--json"])
    #expect(outcome.status == 0, "\(outcome.error)")
    let json = try JSONValue(parsing: Array(outcome.output.utf8))
    let rows = try #require(json["rows"]?.array)
    // Two domains and all; lengths of every method, shared with two policies and two encodings.
    #expect(rows.count == 3 * 3 * (2 + 4))
    func row(_ labels: KeyValuePairs<String, String>, windows: Int) -> JSONValue? {
      rows.first { row in
        row["labels"]?["windows"]?.integer == windows && labels.allSatisfy { row["labels"]?[$0]?.string == $1 }
      }?["measures"]
    }
    for domain in ["books", "code", "all"] {
      // A window of streaming is a window alone, and a window alone is the same at every length.
      let truncated = try #require(row(["domain": domain, "method": "truncated"], windows: 1))
      #expect(
        row(["domain": domain, "method": "streaming"], windows: 1)?["perplexity"] == truncated["perplexity"])
      #expect(row(["domain": domain, "method": "truncated"], windows: 4)?["perplexity"] == truncated["perplexity"])
      let two = row(["domain": domain, "method": "streaming"], windows: 2)?["perplexity"]
      #expect(two != truncated["perplexity"])
      #expect(row(["domain": domain, "method": "streaming"], windows: 4)?["perplexity"] == two)
      let shared = try #require(
        row(["domain": domain, "method": "shared", "policy": "right", "kv": "int8"], windows: 4))
      for name in ["to_truncated", "to_streaming", "to_1_window", "to_float32"] {
        let ratio = try #require(shared[name]?["value"]?.number)
        #expect((0.5...2).contains(ratio), "\(name)")
      }
      // 512 tokens less 128 of running text: 12 chunks of 3 nodes with 2 rows each.
      #expect(shared["rows"]?["value"]?.number == 72)
      let int8 = try #require(shared["to_float32"]?["value"]?.number)
      #expect(abs(int8 - 1) < 0.01)
    }
    let text = try workplace.run("eval", "report", "result.json", "--html", "again.html")
    #expect(text.status == 0 && text.output.hasPrefix("perplexity\tmodel.spk\tint8\ndomain"))
    let page = try SequentialFile.contents("\(workplace.path)/page.html", limit: 1 << 20)
    #expect(try SequentialFile.contents("\(workplace.path)/again.html", limit: 1 << 20) == page)
    // The numbers do not depend on the run; the time does.
    let again = try JSONValue(parsing: Array(workplace.run(arguments + ["--json"]).output.utf8))
    #expect(
      try #require(again["rows"]?.array).map { $0["measures"]?["perplexity"] }
        == rows.map { $0["measures"]?["perplexity"] })
  }

  /// What a store has is what would be encoded: the same numbers to the last bit, and no others for other texts.
  @Test func store() throws {
    let workplace = try workplace()
    #expect(
      try workplace.run(
        "store", "build", "model.spk", "books", "--store", "library", "--kv", "f16", "--chunk-borders", "fixed"
      )
      .status == 0)
    let arguments = [
      "eval", "perplexity", "model.spk", "books", "--windows", "1,2,4", "--documents", "9", "--overlap", "--scored",
      "40", "--methods", "shared", "--threads", "1", "--json",
    ]
    let all = ["--policy", "right,cosine,bm25,random", "--expansion", "path,best-first"]
    func rows(_ more: [String]) throws -> [JSONValue] {
      let outcome = try workplace.run(arguments + more)
      #expect(outcome.status == 0, "\(outcome.error)")
      return try #require(try JSONValue(parsing: Array(outcome.output.utf8))["rows"]?.array)
    }
    let stored = try rows(all + ["--store", "library"])
    let fresh = try rows(all + ["--kv", "f16"])
    #expect(stored.count == 18 && fresh.count == 18)
    // What stands beside a search changes nothing of it.
    for (policy, expansion) in [("cosine", "path"), ("cosine", "best-first"), ("bm25", "best-first")] {
      let alone = try rows(["--policy", policy, "--expansion", expansion, "--kv", "f16"])
      let beside = fresh.filter {
        $0["labels"]?["policy"]?.string == policy && $0["labels"]?["expansion"]?.string == expansion
      }
      #expect(alone.count == 3)
      #expect(
        alone.map { $0["measures"]?["perplexity"] } == beside.map { $0["measures"]?["perplexity"] }, "\(policy)")
    }
    for (one, other) in zip(stored, fresh) {
      #expect(one["labels"] == other["labels"])
      for member in try #require(other["measures"]?.object) where !member.key.hasSuffix("seconds") {
        #expect(one["measures"]?[member.key] == member.value, "\(member.key)")
      }
    }
    #expect(fresh[0]["measures"]?["documents"]?["value"]?.integer == 9)
    for (more, status, message) in [
      (
        ["code.txt.zst"], 65,
        "sharedpack: library: code, a chunk of 32 tokens: is not in the store, which must be built of the same texts with fixed borders of chunks; --chunk-borders fixed builds it so "
          + "[chunk-not-stored]\n"
      ),
      (["--kv", "f16"], 64, "Error: --store has its rows in one form: leave out --kv."),
      (["--join"], 64, "Error: --store has chunks of single texts: leave out --join."),
      (
        ["--running-text", "100"], 64,
        "sharedpack: model.spk: running texts of 64 and 100 tokens cannot all follow the chunks of 32 tokens that a "
          + "store has [unfit-layout]"
      ),
      (["--store", "none"], 66, "sharedpack: none: there is no store here"),
    ] as [([String], Int32, String)] {
      let outcome = try workplace.run(arguments + (more.contains("--store") ? [] : ["--store", "library"]) + more)
      #expect(outcome.status == status, "\(more)")
      #expect(outcome.error.hasPrefix(message), "\(outcome.error)")
    }
  }

  @Test func sweep() throws {
    let workplace = try workplace()
    let sweep = """
      {"model": "model.spk", "texts": ["books"], "windows": 2, "documents": 2, "scored": 40,
       "seeds": 2,
       "factors": {"depth": [1, 2, 9], "leaf_ratio": [1, 4], "injected_layers": [1, 2, 4], "chunk_size": [16, 32],
                   "expansion": ["path", "both:0.5", "none:0.5", "best-first"]},
       "checkpoints": {"injection": {"top": "top.spk"}, "width": {"odd": "model.spk"}}}
      """
    try workplace.write(Array(sweep.utf8), to: "sweep.json")
    try Directory.create("\(workplace.path)/top")
    try TinyCheckpoint.write(to: "\(workplace.path)/top", injectionPlace: .top)
    #expect(try workplace.run("convert", "top", "top.spk").status == 0)
    let outcome = try workplace.run("eval", "sweep", "sweep.json", "--json", "--threads", "1")
    #expect(outcome.status == 0 && outcome.error == "", "\(outcome.error)")
    let all = try #require(try JSONValue(parsing: Array(outcome.output.utf8))["rows"]?.array)
    func rows(_ table: String, _ value: Int) -> [JSONValue] {
      all.filter {
        $0["labels"]?["table"]?.string?.hasPrefix(table) == true && $0["labels"]?["value"]?.integer == value
      }
    }
    for table in ["Table 5", "Table 9", "Table 10", "Table 11", "Table 12", "Chunk size", "Storage", "Running text"] {
      #expect(all.contains { $0["labels"]?["table"]?.string?.hasPrefix(table) == true }, "\(table)")
    }
    // The default is measured once, and is the same wherever it stands.
    let standard = try #require(rows("Table 11", 2).first)
    #expect(standard["labels"]?["remark"]?.string == "default")
    #expect(standard["measures"]?["to_default"]?["value"]?.number == 1)
    #expect(rows("Table 9", 2).first?["measures"] == standard["measures"])
    #expect(standard["measures"]?["rows_per_chunk"]?["value"]?.number == 6)
    #expect(rows("Table 11", 1).first?["measures"]?["rows_per_chunk"]?["value"]?.number == 4)
    #expect(rows("Table 10", 1).first?["measures"]?["rows_per_chunk"]?["value"]?.number == 24)
    #expect(rows("Table 9", 1).first?["measures"]?["perplexity"] != standard["measures"]?["perplexity"])
    func row(_ factor: String, _ value: String) throws -> JSONValue {
      try #require(
        all.first {
          $0["labels"]?["table"]?.string?.hasPrefix("Table 12") == true && $0["labels"]?["factor"]?.string == factor
            && $0["labels"]?["value"]?.string == value
        })
    }
    #expect(try row("policy", "random")["labels"]?["remark"]?.string == "mean of 2 seeds")
    let deviation = try row("policy", "random")["measures"]?["seed_deviation"]?["value"]?.number
    #expect(deviation ?? 0 > 0)
    let cosine = try row("policy", "cosine")["measures"]
    let similar = try row("similarity", "cosine")["measures"]
    #expect(cosine != nil && similar == cosine)
    #expect(try row("expansion", "path")["measures"] == cosine)
    // Texts are read with one default search, questions are asked with another.
    let right = try row("policy", "right")
    #expect(right["labels"]?["remark"]?.string == "default for perplexity")
    #expect(right["measures"]?["perplexity"] == standard["measures"]?["perplexity"])
    let bestFirst = try row("expansion", "best-first")
    #expect(bestFirst["labels"]?["remark"]?.string == "default for tasks")
    for measure in ["accuracy", "leaf", "own_rows"] {
      #expect(standard["measures"]?[measure] != nil)
      #expect(bestFirst["measures"]?[measure] == standard["measures"]?[measure])
    }
    #expect(right["measures"]?["leaf"] != standard["measures"]?["leaf"])
    func ratio(_ value: String) throws -> Double {
      try #require(row("expansion", value)["measures"]?["rows_per_chunk"]?["value"]?.number)
    }
    for (name, holds) in [
      ("both:0.5", { $0 > 6 }), ("none:0.5", { $0 < 6 }), ("best-first", { $0 <= 6 }),
    ] as [(String, (Double) -> Bool)] {
      let rows = try ratio(name)
      #expect(holds(rows), "\(name): \(rows)")
    }
    // Other checkpoints read the same documents; the same one gives the same.
    func trained(_ factor: String, _ value: String) throws -> JSONValue {
      try #require(
        all.first { $0["labels"]?["factor"]?.string == factor && $0["labels"]?["value"]?.string == value })
    }
    let perplexity = standard["measures"]?["perplexity"]
    #expect(perplexity != nil)
    for (factor, value) in [("injection", "bottom"), ("width", "odd")] {
      #expect(try trained(factor, value)["measures"]?["perplexity"] == perplexity)
    }
    let top = try trained("injection", "top")["measures"]?["perplexity"]
    #expect(top != nil && top != perplexity)
    #expect(try trained("injection", "interleave")["measures"]?.object?.isEmpty == true)
    // What the checkpoint does not have is said, not measured.
    for (table, value) in [("Table 9", 4), ("Table 11", 9)] {
      let row = try #require(rows(table, value).first)
      #expect(row["measures"]?.object?.isEmpty == true)
      #expect(row["labels"]?["remark"]?.string?.contains("no weights for it, or no tree") == true)
    }
  }

  @Test func refusals() throws {
    let workplace = try workplace()
    try workplace.write(Array("{".utf8), to: "broken.json")
    let odd = #"{"model": "model.spk", "texts": ["books"], "factors": {"expansion": ["both"]}}"#
    try workplace.write(Array(odd.utf8), to: "odd.json")
    try workplace.write([0x28, 0xB5, 0x2F, 0xFD, 0x00], to: "cut.zst")
    for (arguments, status, message) in [
      (
        ["perplexity", "model.spk", "books", "--windows", "64", "--scored", "40"], 65,
        "sharedpack: books: no text has the 8192 tokens of the longest length; the longest text has 3500; fewer windows need less; --windows says how many [text-too-short]"
      ),
      (
        ["perplexity", "model.spk", "books", "--scored", "128"], 64,
        "sharedpack: model.spk: 128 scored tokens do not fit 128 of running text [unfit-layout]"
      ),
      (
        ["perplexity", "plain.spk", "books", "--windows", "1", "--scored", "40"], 65,
        "sharedpack: plain.spk: a plain model has no context trees; --reading deep and exact need none; converted with "
          + "--injected-layers, it has them untrained [no-injection]"
      ),
      (
        ["perplexity", "model.spk", "cut.zst", "--scored", "40"], 65,
        "sharedpack: cut.zst: is not a zstd file, or has more than 1073741824 bytes of text [malformed-zstd]"
      ),
      (
        ["perplexity", "model.spk", "books", "--windows", "1,1"], 64,
        "Error: The value '1,1' is invalid for '--windows <list>'"
      ),
      (
        ["report", "broken.json"], 65,
        "sharedpack: broken.json: line 1, column 2: "
      ),
      (["sweep", "broken.json"], 65, "sharedpack: broken.json: line 1, column 2: "),
      (
        ["sweep", "odd.json"], 65,
        "sharedpack: odd.json: factors, expansion: \"both\" is not one of its values [malformed-sweep]"
      ),
    ] {
      let outcome = try workplace.run(["eval"] + arguments)
      #expect(outcome.status == status, "\(arguments): \(outcome.error)")
      #expect(outcome.error.hasPrefix(message), "\(arguments): \(outcome.error)")
      #expect(outcome.output == "")
    }
    // A plain model can still be measured without documents.
    #expect(
      try workplace.run([
        "eval", "perplexity", "plain.spk", "books", "--windows", "1,2", "--scored", "40", "--methods",
        "truncated,streaming",
      ]).status == 0)
  }

  /// A prompt beyond the window is read with a streaming cache, and refused without.
  @Test func streaming() throws {
    let workplace = try workplace()
    let prompt = String(repeating: "a", count: 178)
    let streamed = try workplace.run([
      "generate", "model.spk", prompt, "--cache-policy", "streaming", "--cache-rows", "64", "--max-tokens", "100",
      "--ignore-end", "--json",
    ])
    #expect(streamed.status == 0, "\(streamed.error)")
    let json = try JSONValue(parsing: Array(streamed.output.utf8))
    #expect(json["tokens"]?.array?.count == 100 && json["finish_reason"]?.string == "max-tokens")
    let refused = try workplace.run("generate", "model.spk", "a", "--cache-policy", "streaming", "--cache-rows", "129")
    #expect(refused.status == 65)
    #expect(
      refused.error
        == "sharedpack: model.spk: the cache policy streaming takes 129 positions; the model's window holds 128; "
        + "--cache-rows says how many rows are kept [cache-too-large]\n")
    // What fits is read alike.
    let fitting = ["generate", "model.spk", "a word", "--max-tokens", "20", "--ignore-end"]
    #expect(
      try workplace.run(fitting).output
        == workplace.run(fitting + ["--cache-policy", "streaming", "--cache-rows", "64"]).output)
  }

  /// Every policy answers; with room for all it answers as without one, where its rows are kept alike.
  @Test(arguments: ["streaming", "lm-infinite", "h2o", "snapkv", "pyramidkv", "tova", "fastgen", "infllm"])
  func cachePolicies(_ policy: String) throws {
    let workplace = try workplace()
    let prompt = String(repeating: "ab", count: 40)
    let command = ["generate", "model.spk", prompt, "--max-tokens", "20", "--ignore-end", "--cache-kv", "f16"]
    let full = try workplace.run(command)
    let rows = policy == "fastgen" ? ["--recovery", "1"] : ["--cache-rows", "128"]
    #expect(full.status == 0 && full.output != "")
    if policy != "infllm" {
      #expect(try workplace.run(command + ["--cache-policy", policy] + rows).output == full.output)
    }
    let few = policy == "fastgen" ? ["--recovery", "0.1"] : ["--cache-rows", "16"]
    for form in ["int8", "f16", "f32"] {
      let outcome = try workplace.run(command.dropLast(1) + [form, "--cache-policy", policy, "--json"] + few)
      #expect(outcome.status == 0, "\(outcome.error)")
      let json = try JSONValue(parsing: Array(outcome.output.utf8))
      #expect(json["tokens"]?.array?.count == 20)
    }
  }

  @Test(arguments: [
    (["--cache-policy", "h2o", "--cache-rows", "8"], "--cache-rows must be at least 16."),
    (["--cache-policy", "fastgen", "--cache-rows", "80"], "The cache policy fastgen has no number of rows."),
    (["--cache-rows", "80"], "The cache policy full has no number of rows."),
    (["--cache-policy", "tova", "--cache-rows", "80", "--cache-bytes", "1M"], "--cache-rows and --cache-bytes say"),
    (["--cache-policy", "tova", "--cache-bytes", "1K"], "--cache-bytes is enough for"),
    (["--cache-policy", "snapkv", "--cache-kv", "int4"], "--cache-kv is int8, f16 or f32."),
  ])
  func cachePolicyRefusals(_ options: [String], _ message: String) throws {
    let refused = try workplace().run(["generate", "model.spk", "a"] + options)
    #expect(refused.status == 64 && refused.error.contains(message), "\(refused.error)")
  }
}
