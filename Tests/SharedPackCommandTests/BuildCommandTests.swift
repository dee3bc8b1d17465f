import CanonicalJSON
import FileAccess
import Foundation
import Glibc
import Testing

/// `store build` with all kinds of input.
@Suite struct BuildCommandTests {
  /// A text with a fault is named and counted, and does not end the rest.
  @Test func faultsAreCounted() throws {
    let workplace = try Workplace()
    try workplace.write(Array("caf".utf8) + [0xE9] + Array(" au lait".utf8), to: "letters/latin.txt")
    try workplace.write([], to: "letters/zero.txt")
    let build = ["store", "build", "model.spk", "letters", "nowhere", "notes.txt", "--store", "library"]
    let outcome = try workplace.run(build)
    #expect(outcome.status == 66)
    #expect(
      outcome.error == """
        sharedpack: nowhere: does not exist [missing-file]
        sharedpack: letters/latin.txt: is not text in UTF-8; it looks like Latin-1; --encoding latin-1 reads it \
        [other-encoding]
        sharedpack: letters/zero.txt: has no text [empty-document]
        sharedpack: 3 of 5 texts were left out

        """)
    #expect(
      outcome.output.split(separator: "\n").map { $0.split(separator: "\t")[1] } == ["letters/first.txt", "notes.txt"])
    let json = try workplace.run(build + ["--json"])
    let report = try JSONValue(parsing: Array(json.output.utf8))
    #expect(
      report["failures"]?.array?.map { $0["code"]?.string } == ["missing-file", "other-encoding", "empty-document"])
    #expect(
      report["failures"]?.array?.map { $0["path"]?.string } == ["nowhere", "letters/latin.txt", "letters/zero.txt"])
    #expect(report["documents"]?.array?.count == 2)
    let plan = try workplace.run(build + ["--dry-run"])
    #expect(plan.status == 66 && plan.output.hasPrefix("2 documents, 184 tokens, "))

    let strict = try workplace.run("store", "build", "model.spk", "letters", "notes.txt", "--store", "new", "--strict")
    #expect(strict.status == 65)
    #expect(
      strict.error
        == "sharedpack: letters/latin.txt: is not text in UTF-8; it looks like Latin-1; --encoding latin-1 reads it "
        + "[other-encoding]\n")
    #expect(try workplace.run("store", "ls", "new").output == "letters/first.txt\t95 tokens\t4 chunks\t94 B\n")
    let latin = try workplace.run(
      "store", "build", "model.spk", "letters/latin.txt", "--encoding", "latin-1", "--store", "library")
    #expect(latin.status == 0 && latin.error == "")
    #expect(try workplace.run("store", "show", "library", "latin.txt").output.contains("\ntext    13 bytes, "))
  }

  /// A store of trees keeps the form of its rows, and int4 is the smallest.
  @Test func rowsOfTrees() throws {
    let workplace = try Workplace()
    func plan(_ kv: String...) throws -> Int {
      let plan = try workplace.run(["store", "plan", "model.spk", "notes.txt", "--json"] + kv)
      #expect(plan.status == 0, "\(plan.error)")
      return try #require(try JSONValue(parsing: Array(plan.output.utf8))["store_bytes"]?.integer)
    }
    #expect(try plan("--kv", "int8") == plan() && plan("--kv", "int4") < plan())
    let build = ["store", "build", "model.spk", "notes.txt", "--store", "library"]
    #expect(try workplace.run(build + ["--kv", "int4"]).output.hasPrefix("added\tnotes.txt\t"))
    #expect(try workplace.run(build).output.hasPrefix("unchanged\tnotes.txt\t"))
    let other = try workplace.run(build + ["--kv", "int8"])
    #expect(other.status == 65 && other.error.contains("row encoding is int4, not int8; --kv says how rows are kept"))
    #expect(try workplace.run("verify", "library").status == 0)
    let question = ["--document", "notes.txt", "who wrote", "--max-tokens", "4"]
    let stored = try workplace.run(["ask", "model.spk", "--store", "library"] + question)
    #expect(stored.status == 0)
    #expect(try workplace.run(["ask", "model.spk", "--kv", "int4"] + question).output == stored.output)
    #expect(try workplace.run(["ask", "model.spk", "--keep", "0.5"] + question).status != 0)
  }

  @Test func standardInput() throws {
    let workplace = try Workplace()
    let text = Array(Workplace.text.utf8)
    let build = ["store", "build", "model.spk", "-", "--store", "library"]
    #expect(
      try workplace.run(build + ["--name", "piped"], input: text).output
        == "added\tpiped\t89 tokens\t3 chunks\t89 tokens encoded\n")
    let lines = "{\"id\":\"one\",\"text\":\"first\"}\n{\"id\":\"two\"}\n{\"id\":3,\"text\":\"third\",\"metadata\":{}}\n"
    let outcome = try workplace.run(build + ["--jsonl"], input: Array(lines.utf8))
    #expect(outcome.status == 65)
    #expect(
      outcome.error == """
        sharedpack: standard input: line 2: has no "text" that is a string [malformed-json]
        sharedpack: 1 of 3 texts was left out

        """)
    #expect(outcome.output.split(separator: "\n").map { $0.split(separator: "\t")[1] } == ["one", "3"])
    try workplace.write(Compression.zstd.compress(Array(lines.utf8)), to: "lines.jsonl.zst")
    let again = try workplace.run("store", "build", "model.spk", "*.jsonl.zst", "--store", "library")
    #expect(
      again.output.hasPrefix("unchanged\tone\t") && again.error.hasPrefix("sharedpack: lines.jsonl.zst: line 2: "))
  }

  /// The store and packs in a folder that is read are left out, with one line.
  @Test func ownFilesAreLeftOut() throws {
    let workplace = try Workplace()
    for name in ["binary", "zero.txt"] { try Directory.removeFile("\(workplace.path)/\(name)") }
    try Directory.removeTree("\(workplace.path)/checkpoint")
    try Directory.removeTree("\(workplace.path)/plain")
    for _ in 0..<2 {
      let outcome = try workplace.run("store", "build", "model.spk", ".", "--store", "library")
      #expect(outcome.status == 0)
      #expect(outcome.output.split(separator: "\n").count == 2)
      #expect(outcome.error.hasPrefix("sharedpack: not read: "))
      #expect(outcome.error.hasSuffix("2 model packs\n"))
      #expect(outcome.error.split(separator: "\n").count == 1)
    }
  }

  /// A document that is named twice is read once.
  @Test func documentsNamedTwice() throws {
    let workplace = try Workplace()
    #expect(try workplace.run("store", "build", "model.spk", "letters", "--store", "library").status == 0)
    let ask = ["ask", "model.spk", "what holds the trees", "--max-tokens", "4", "--ignore-end"]
    for (options, name) in [(["--store", "library"], "first.txt"), ([], "letters/first.txt")] {
      let once = try workplace.run(ask + options + ["--document", "letters/first.txt"])
      let twice = try workplace.run(ask + options + ["--document", "letters/first.txt", "--document", name])
      #expect(once.status == 0 && twice.output == once.output)
      #expect(twice.error.hasPrefix("sharedpack: \(name): named twice, read once\n"))
    }
  }

  /// The first signal keeps what is whole, and the program ends as by the signal; the next build goes on.
  @Test func interruption() throws {
    // Whoever starts tests in the background may have them ignore SIGINT, which is treated alike.
    let number = SIGTERM
    let workplace = try Workplace()
    try workplace.write((0..<400_000).flatMap { "\($0 * 7919 % 999_983) ".utf8 }, to: "long.txt")
    let process = workplace.process([
      "store", "build", "model.spk", "notes.txt", "letters", "long.txt", "--store", "library", "--threads", "1",
    ])
    let (output, error) = (Pipe(), Pipe())
    process.standardOutput = output
    process.standardError = error
    try process.run()
    // Both short texts are stored when the second line is there.
    var lines = ""
    while lines.count(where: { $0 == "\n" }) < 2 {
      let data = output.fileHandleForReading.availableData
      try #require(!data.isEmpty)
      lines += String(decoding: data, as: UTF8.self)
    }
    kill(process.processIdentifier, number)
    process.waitUntilExit()
    #expect(process.terminationReason == .uncaughtSignal)
    #expect(process.terminationStatus == number)
    let words = String(decoding: error.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
    #expect(
      words == """
        sharedpack: ending after the chunk that is being encoded; once more ends at once
        sharedpack: interrupted: 2 of 3 texts are stored in library; the same command goes on from there

        """)
    #expect(try workplace.run("store", "ls", "library").output.split(separator: "\n").count == 2)
    #expect(try workplace.run("verify", "library").status == 0)
  }
}
