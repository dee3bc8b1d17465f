import CanonicalJSON
import FileAccess
import ModelPacks
import SharedPack
import Testing
import TinyCheckpoint

@Suite struct CommandTests {
  /// The README's way, from a checkpoint to answers, and what each step prints.
  @Test func wholeWay() throws {
    let workplace = try Workplace()
    let build = try workplace.run("store", "build", "model.spk", "notes.txt", "letters/", "--store", "library")
    #expect(build.status == 0)
    #expect(build.error == "")
    #expect(
      build.output == """
        added\tnotes.txt\t89 tokens\t3 chunks\t89 tokens encoded
        added\tletters/first.txt\t95 tokens\t4 chunks\t34 tokens encoded

        """)
    #expect(
      try workplace.run("store", "build", "model.spk", "notes.txt", "--store", "library").output
        == "unchanged\tnotes.txt\t89 tokens\t3 chunks\t0 tokens encoded\n")
    #expect(
      try workplace.run("store", "ls", "library").output
        == "letters/first.txt\t95 tokens\t4 chunks\t94 B\nnotes.txt\t89 tokens\t3 chunks\t88 B\n")
    let both = ["--document", "notes.txt", "--document", "first.txt"]
    let ask = ["ask", "model.spk", "--store", "library", "what holds the trees", "--max-tokens", "8", "--ignore-end"]
    let first = try workplace.run(ask + both)
    #expect(first.status == 0)
    #expect(first.error.hasPrefix("[22 tokens read, "))
    #expect(first.error.contains("rows of 7 chunks injected, first token after "))
    #expect(first.error.hasSuffix(", ended by max-tokens]\n"))
    #expect(try workplace.run(ask + both).output == first.output)
    #expect(try workplace.run(ask + ["--threads", "1"] + both).output == first.output)
    // From a file that is encoded now: the same answer as from the store.
    let stored = try workplace.run(ask + ["--document", "notes.txt"])
    let fresh = try workplace.run(ask.filter { $0 != "--store" && $0 != "library" } + ["--document", "notes.txt"])
    #expect(stored.status == 0)
    #expect(stored.output == fresh.output)

    #expect(try workplace.run("store", "rm", "library", "first.txt").output == "removed\tletters/first.txt\n")
    #expect(try workplace.run("store", "gc", "library").output.hasPrefix("freed "))
    #expect(try workplace.run("verify", "library").output.hasPrefix("library: good, "))
    #expect(try workplace.run("verify", "model.spk").output.hasPrefix("model.spk: good, "))
    let segment = try #require(try Directory.names(in: "\(workplace.path)/library/segments").first)
    #expect(
      try workplace.run("verify", "library/segments/\(segment)").output.hasPrefix("library/segments/\(segment): good, ")
    )
    #expect(try workplace.run(ask + both).status == 66)
    #expect(try workplace.run(ask + ["--document", "notes.txt"]).output == stored.output)
  }

  /// A plain model's stores: the same answers as from files, whatever the manner.
  @Test(arguments: ["deep", "exact"])
  func plainModel(_ manner: String) throws {
    let workplace = try Workplace()
    try Directory.create("\(workplace.path)/wide")
    try TinyCheckpoint.write(to: "\(workplace.path)/wide", injectionPlace: nil, window: 4096)
    #expect(try workplace.run("convert", "wide", "wide.spk").status == 0)
    let words = Workplace.text.split(separator: " ")
    let text = (0..<200).map { "\(words[$0 * $0 % 17 % words.count]) \($0)\($0 % 9 == 0 ? "." : "")" }.joined(
      separator: " ")
    try workplace.write(Array(text.utf8), to: "long.txt")
    let reading = ["--reading", manner] + (manner == "deep" ? ["--chunk-size", "64"] : [])
    let build = try workplace.run(["store", "build", "wide.spk", "long.txt", "--store", "library"] + reading)
    #expect(build.status == 0 && build.error == "")
    let tokenCount = try #require(build.output.split(separator: "\t").dropFirst(2).first)
    #expect(build.output.hasSuffix("\t\(tokenCount) encoded\n"))
    #expect(try workplace.run("store", "ls", "library").output.contains("long.txt\t\(tokenCount)\t"))
    let ask = [
      "ask", "wide.spk", "--document", "long.txt", "what holds the trees", "--max-tokens", "8", "--ignore-end",
    ]
    let stored = try workplace.run(ask + ["--store", "library"])
    let fresh = try workplace.run(ask + reading)
    #expect(stored.status == 0 && fresh.status == 0 && stored.output == fresh.output && !stored.output.isEmpty)
    #expect(stored.error.contains("sharedpack: reading long.txt, chunk ") == (manner == "deep"))
    #expect(try workplace.run("verify", "library").output.hasPrefix("library: good, "))
    #expect(try workplace.run("store", "stats", "library").output.contains("\nreading     \(manner), in chunks of "))
    for arguments in [
      ["store", "stats", "library"], ["store", "show", "library", "long.txt"], ["inspect", "library"],
    ] {
      let outcome = try workplace.run(arguments + ["--json"])
      #expect(throws: Never.self, "\(arguments)") { try JSONValue(parsing: Array(outcome.output.utf8)) }
    }
    let other = try workplace.run(
      "store", "build", "wide.spk", "long.txt", "--store", "library", "--reading", manner == "deep" ? "exact" : "deep")
    #expect(other.status == 65 && other.error.contains("library: reading is \(manner), not "))
  }

  /// A document that is open keeps what it is read from, although another process removes it and frees its space.
  @Test func openDocumentsOutliveTheirRemoval() async throws {
    let workplace = try Workplace()
    let library = "\(workplace.path)/library"
    #expect(try workplace.run("store", "build", "model.spk", "notes.txt", "--store", "library").status == 0)
    let model = try LanguageModel(opening: "\(workplace.path)/model.spk", threadCount: 1)
    let document = try DocumentStore(opening: library, model: model).document(named: "notes.txt")
    #expect(try workplace.run("store", "rm", "library", "notes.txt").status == 0)
    #expect(try workplace.run("store", "gc", "library").status == 0)
    #expect(try Directory.names(in: "\(library)/segments").isEmpty)
    let fresh = try model.encode(DocumentSource(name: "notes.txt", path: "\(workplace.path)/notes.txt"))
    let prompt = try model.textPrompt("what holds the trees")
    var answers: [[Int32]] = []
    for document in [document, fresh] {
      let selection = try model.select(from: [document], query: prompt)
      let options = GenerationOptions(maxTokens: 8, ignoresEndOfText: true)
      answers.append(try await model.generate(prompt, context: selection, options: options).collect().summary.tokens)
    }
    #expect(answers[0] == answers[1])
  }

  /// Every kind of work is measured, and its share of a limit of the same run reported.
  @Test func benchMeasuresEverything() throws {
    let workplace = try Workplace()
    let arguments = ["bench", "model.spk", "--prompt", "20", "--depth", "0", "--depth", "2000", "--decode", "2"]
    let outcome = try workplace.run(arguments + ["--document", "3", "--runs", "1", "--json"])
    #expect(outcome.status == 0)
    let report = try JSONValue(parsing: Array(outcome.output.utf8))
    let results = try #require(report["results"]?.array)
    let names = results.map { $0["name"]?.string ?? "" }
    #expect(names == ["prompt 20", "decode at 0", "decode at 2000", "encode chunks"])
    let slowest = results.map { $0["tokens_per_second"]?.number ?? 0 }.min() ?? 0
    #expect(slowest > 0)
    #expect(results[2]["share_of_depth_0"]?.number ?? 0 > 0)
    #expect(results[1]["share_of_reading"]?.number ?? 0 > 0)
    #expect(results[3]["cost_of_prompt"]?.number ?? 0 > 0)
    #expect(report["question"]?["document_encoding_seconds"]?.number ?? 0 > 0)
    #expect(report["question"]?["ratio"]?.number ?? 0 > 0)
    #expect(report["hand_off_microseconds"]?.number ?? -1 >= 0)
  }

  /// What programs read is JSON and nothing but JSON.
  @Test func jsonOfEveryCommand() throws {
    let workplace = try Workplace()
    for arguments in [
      ["convert", "checkpoint", "other.spk"], ["convert", "checkpoint", "none.spk", "--dry-run"],
      ["inspect", "model.spk"], ["verify", "model.spk"], ["tokenize", "model.spk", "a word"],
      ["tokenize", "model.spk", "--decode", "262 263"], ["generate", "model.spk", "a", "--max-tokens", "3"],
      ["store", "build", "model.spk", "notes.txt", "letters", "--store", "library"],
      ["store", "build", "model.spk", "notes.txt", "--store", "library", "--dry-run"], ["store", "ls", "library"],
      ["store", "show", "library", "notes.txt"], ["store", "stats", "library"], ["inspect", "library"],
      ["verify", "library"],
      ["ask", "model.spk", "--store", "library", "--document", "notes.txt", "who", "--max-tokens", "3"],
      ["store", "rm", "library", "notes.txt"], ["store", "gc", "library"],
    ] {
      let outcome = try workplace.run(arguments + ["--json"])
      #expect(outcome.status == 0, "\(arguments)")
      #expect(throws: Never.self, "\(arguments)") { try JSONValue(parsing: Array(outcome.output.utf8)) }
    }
    #expect(Directory.exists("\(workplace.path)/none.spk") == nil)
  }

  /// Standard input is a text like any other: not changed, and refused when it is not text.
  @Test func standardInput() throws {
    let workplace = try Workplace()
    let tokenize = ["tokenize", "model.spk", "-", "--ids"]
    #expect(
      try workplace.run(tokenize, input: Array("a word\n".utf8)).output
        == workplace.run("tokenize", "model.spk", "a word", "--ids").output)
    for bytes: [UInt8] in [[0x61, 0xFF], [0x61, 0x00]] {
      let outcome = try workplace.run(tokenize, input: bytes)
      #expect(outcome.status == 65)
      #expect(outcome.error == "sharedpack: standard input: is not text in UTF-8 [not-text]\n")
    }
    #expect(try workplace.run(["generate", "model.spk", "-", "--max-tokens", "2"], input: Array("a".utf8)).status == 0)
    #expect(try workplace.run("tokenize", "model.spk", "--count", "--", "-5").output == "3\n")
  }

  /// A calibration text is named in the pack and changes the weights, reproducibly. No other file is left behind.
  @Test func calibratedConversion() throws {
    let workplace = try Workplace()
    try workplace.write(Array(String(repeating: Workplace.text + ". ", count: 20).utf8), to: "book.txt")
    let names = try Set(Directory.names(in: workplace.path))
    for output in ["a.spk", "b.spk"] {
      let outcome = try workplace.run("convert", "checkpoint", output, "--quantize", "int4", "--calibrate", "book.txt")
      #expect(outcome.status == 0 && outcome.error == "")
    }
    #expect(try workplace.run("convert", "checkpoint", "c.spk", "--quantize", "int4").status == 0)
    #expect(try Set(Directory.names(in: workplace.path)) == names.union(["a.spk", "b.spk", "c.spk"]))
    let packs = try ["a.spk", "b.spk", "c.spk"].map { try ModelPack(opening: "\(workplace.path)/\($0)") }
    #expect(packs[0].identity == packs[1].identity)
    #expect(packs[0].provenance.sources.map(\.name).contains("book.txt"))
    #expect(!packs[2].provenance.sources.map(\.name).contains("book.txt"))
    for (calibrated, plain) in zip(packs[0].tensors, packs[2].tensors) {
      // The embedding is the output, too.
      let multiplies = ["_proj", "embed_tokens"].contains { calibrated.name.contains($0) }
      #expect((calibrated.digest != plain.digest) == multiplies, "\(calibrated.name)")
    }
    #expect(try workplace.run("verify", "a.spk").status == 0)
    #expect(try workplace.run("inspect", "a.spk").output.contains("book.txt"))
  }

  @Test func outputThatCannotBeWritten() throws {
    let workplace = try Workplace()
    let outcome = try workplace.run(["inspect", "model.spk"], output: "/dev/full")
    #expect(outcome.status == 74)
    #expect(outcome.error == "sharedpack: standard output: No space left on device [input-output]\n")
  }

  /// A second writer is asked to try again later, and readers are not affected.
  @Test func busyStore() throws {
    let workplace = try Workplace()
    #expect(try workplace.run("store", "build", "model.spk", "notes.txt", "--store", "library").status == 0)
    let lock = try FileLock(exclusive: "\(workplace.path)/library/LOCK")
    for arguments in [
      ["store", "build", "model.spk", "letters", "--store", "library"], ["store", "rm", "library", "notes.txt"],
      ["store", "gc", "library"],
    ] {
      let outcome = try workplace.run(arguments)
      #expect(outcome.status == 75)
      #expect(outcome.error.hasSuffix("another process is writing; try again when it has finished [busy]\n"))
    }
    #expect(try workplace.run("store", "ls", "library").status == 0)
    _ = consume lock
  }

  /// Help fits a terminal of 80 columns, examples are not broken, and shells get their completions.
  @Test func help() throws {
    let workplace = try Workplace()
    for command in [
      [], ["convert"], ["inspect"], ["verify"], ["tokenize"], ["generate"], ["ask"], ["golden"], ["bench"], ["tune"],
      ["eval"],
      ["eval", "perplexity"], ["eval", "reading"], ["eval", "facts"], ["eval", "sweep"], ["eval", "report"],
      ["eval", "tasks"], ["eval", "compare"], ["eval", "ruler"], ["eval", "longbench"], ["eval", "infinitebench"],
      ["eval", "infinitebench-data"], ["store"], ["store", "build"], ["store", "ls"],
      ["store", "show"],
      ["store", "rm"], ["store", "stats"], ["store", "gc"],
    ] {
      let outcome = try workplace.run(command + ["--help"])
      #expect(outcome.status == 0)
      #expect(outcome.error == "")
      let lines = outcome.output.split(separator: "\n", omittingEmptySubsequences: false)
      #expect(lines.allSatisfy { $0.count <= 80 || $0.hasPrefix("USAGE: ") }, "\(command)")
      // A line that starts with the program's name is an example; what was broken off goes on at the margin.
      let discussion = lines.prefix { !$0.hasPrefix("USAGE") }
      #expect(discussion.allSatisfy { !$0.hasPrefix("--") && $0.count(where: { $0 == "\"" }) % 2 == 0 }, "\(command)")
    }
    for shell in ["bash", "zsh", "fish"] {
      let outcome = try workplace.run("--generate-completion-script", shell)
      #expect(outcome.status == 0)
      #expect(outcome.output.contains("sharedpack"))
    }
    #expect(try workplace.run("--version").output == "0.1.0\n")
  }
}
