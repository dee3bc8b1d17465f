import FileAccess
import Testing

/// Exit statuses and messages of what goes wrong: people read them, and schedulers act on them.
@Suite struct RefusalTests {
  private struct Case {
    var status: Int32
    /// The first line of standard error.
    var message: String
    var arguments: [String]

    init(_ status: Int32, _ message: String, _ arguments: String...) {
      self.status = status
      self.message = message
      self.arguments = arguments
    }
  }

  @Test func refusals() throws {
    let workplace = try Workplace()
    try #require(workplace.run("store", "build", "model.spk", "notes.txt", "--store", "library").status == 0)
    let pack = try SequentialFile.contents("\(workplace.path)/model.spk", limit: 1 << 20)
    try workplace.write(Array(pack.prefix(5000)), to: "cut.spk")
    var flipped = pack
    flipped[flipped.count - 70] ^= 1
    try workplace.write(flipped, to: "flipped.spk")
    try workplace.write(Array("other words".utf8), to: "letters/notes.txt")

    for refused in Self.usage + Self.packs(byteCount: pack.count) + Self.documents {
      let outcome = try workplace.run(refused.arguments)
      #expect(outcome.status == refused.status, "\(refused.arguments): \(outcome.error)")
      #expect(
        outcome.error.split(separator: "\n").first.map(String.init) == refused.message, "\(refused.arguments)")
      #expect(outcome.output == "", "\(refused.arguments)")
    }
    // Nothing is left of what was refused.
    let names = try Directory.names(in: workplace.path).filter { !$0.hasPrefix(".run-") }
    #expect(
      names == [
        "binary", "checkpoint", "cut.spk", "empty", "flipped.spk", "letters", "library", "model.spk", "notes.txt",
        "plain", "plain.spk", "zero.txt",
      ])
  }

  private static let usage = [
    Case(64, "Error: --depth must be 0 or more.", "bench", "model.spk", "--depth=-1"),
    Case(
      65, "sharedpack: --prompt: needs 999 tokens; the window holds 128 [prompt-too-long]", "bench", "model.spk",
      "--prompt", "999"),
    Case(64, "Error: Unexpected argument 'frob'", "frob"),
    Case(
      64, "Error: --cache-rows and --cache-bytes say the same: leave one out.", "eval", "compare", "plain.spk",
      "notes.txt", "--cache-rows", "64", "--cache-bytes", "4M"),
    Case(
      64, "sharedpack: --cache-rows: 9 rows are too few for some methods; there must be 32 [unfit-layout]", "eval",
      "compare", "plain.spk", "notes.txt", "--cache-rows", "9", "--scored", "16"),
    Case(
      64, "Error: --rope-scaling yarn needs --rope-factor.", "generate", "plain.spk", "a", "--rope-scaling", "yarn"),
    Case(
      64, "Error: --rope-factor and --rope-original are for a --rope-scaling other than none.", "ask", "plain.spk", "a",
      "--document", "notes.txt", "--rope-factor", "2"),
    Case(
      64,
      "sharedpack: plain.spk: rotary positions: 100000000.0 times a window of 128 tokens is not 1 to 1073741824 "
        + "[unfit-positions]", "generate", "plain.spk", "a", "--rope-scaling", "ntk", "--rope-factor", "1e8"),
    Case(
      65,
      "sharedpack: plain.spk: its rotary positions depend on the length of the text, so that nothing can be read before; "
        + "every --rope-scaling but dynamic-ntk can be stored [no-injection]", "ask", "plain.spk", "a", "--document",
      "notes.txt", "--rope-scaling", "dynamic-ntk", "--rope-factor", "2"),
    Case(
      65,
      "sharedpack: library: row numerics is \"keys=in-node-position;kernels=2\", not "
        + "\"keys=in-node-position;kernels=2;rope=linear 2.0\"; --rope-scaling says how positions are scaled "
        + "[configuration-mismatch]", "ask", "model.spk", "a", "--store", "library", "--document", "notes.txt",
      "--rope-scaling", "linear", "--rope-factor", "2"),
    Case(64, "Error: Missing expected argument '<directory>'", "convert"),
    Case(
      64,
      "Error: The value 'int2' is invalid for '--quantize <form>'. "
        + "Please provide one of 'int8', 'int4', 'f16' or 'f32'.",
      "convert", "checkpoint", "x.spk", "--quantize", "int2"),
    Case(
      64,
      "sharedpack: --group-size: makes int8 no encoding: groups have 4 to 4096 columns, in fours, those of int4 in eights "
        + "[invalid-option]", "convert", "checkpoint", "x.spk", "--group-size", "6"),
    Case(
      64,
      "sharedpack: --group-size: makes int4 no encoding: groups have 4 to 4096 columns, in fours, those of int4 in eights "
        + "[invalid-option]", "convert", "checkpoint", "x.spk", "--quantize", "int4",
      "--group-size", "12"),
    Case(
      64, "sharedpack: --calibrate: is for weights of int8 or int4, not of float16 [invalid-option]", "convert",
      "checkpoint", "x.spk", "--quantize", "f16", "--calibrate", "notes.txt"),
    Case(
      64, "sharedpack: --calibrate: takes groups of at most 256 columns, not of 512 [invalid-option]", "convert",
      "checkpoint", "x.spk", "--group-size", "512", "--calibrate", "notes.txt"),
    Case(
      64, "sharedpack: --injected-layers: is 0; it must be 1 to 3 [invalid-option]", "convert", "plain", "x.spk",
      "--injected-layers", "0"),
    Case(
      64, "sharedpack: --injected-layers: is 1, and 2 layers have trained cross-attention [invalid-option]", "convert",
      "checkpoint", "x.spk", "--injected-layers", "1"),
    Case(
      64, "sharedpack: --chunk-size: needs a number of injected layers, as this is a plain checkpoint [invalid-option]",
      "convert", "plain", "x.spk", "--leaf-ratio", "2", "--chunk-size", "64"),
    Case(
      64, "sharedpack: --tree-depth: is 9; it must be 1 to 8 [invalid-option]", "convert", "plain", "x.spk",
      "--injected-layers", "2", "--tree-depth", "9"),
    Case(
      64, "sharedpack: --chunk-size: does not fit: leafRatio is 4; it must be 1 to 3 [invalid-option]", "convert",
      "checkpoint", "x.spk", "--chunk-size", "3"),
    Case(64, "Error: Unexpected argument 'f\\u001b[31mrob'", "f\u{1B}[31mrob"),
    Case(
      64, "Error: Name a --document to ask about.", "ask", "model.spk", "who"),
    Case(
      64,
      "Error: --kv, --keep, --reading, --chunk-size, --system and --encoding are for text files; with --store, texts are "
        + "read and kept as it was built.", "ask",
      "model.spk", "who", "--store", "library", "--document", "notes.txt", "--kv", "f16"),
    Case(64, "Error: --max-tokens must be at least 1.", "generate", "model.spk", "a", "--max-tokens", "0"),
    Case(64, "Error: --top-p must be above 0 and at most 1.", "generate", "model.spk", "a", "--top-p", "0"),
    Case(64, "Error: --temperature must be 0 or more.", "generate", "model.spk", "a", "--temperature", "nan"),
    Case(
      64, "Error: The value '0' is invalid for '--threads <count>'", "store", "build", "model.spk", "notes.txt",
      "--store", "library", "--threads", "0"),
    Case(64, "Error: Choose one of --ids, --count and --decode.", "tokenize", "model.spk", "a", "--ids", "--count"),
    Case(64, "Error: --write takes one case.", "golden", "plain", "empty", "--write", "x"),
  ]

  private static func packs(byteCount: Int) -> [Case] {
    [
      Case(
        66, "sharedpack: nowhere: is not a directory with config.json and model.safetensors [missing-file]", "convert",
        "nowhere", "x.spk"),
      Case(
        65,
        "sharedpack: notes.txt: is no checkpoint; a checkpoint is a directory with config.json and safetensors, or a GGUF "
          + "file [unsupported-format]", "convert", "notes.txt", "x.spk"),
      Case(
        66, "sharedpack: empty/config.json: open: No such file or directory [missing-file]", "convert", "empty",
        "x.spk"),
      Case(
        73, "sharedpack: empty: is a directory: name the file of the pack [cannot-create]", "convert", "checkpoint",
        "empty"),
      Case(
        73, "sharedpack: nowhere/x.spk: open: No such file or directory [cannot-create]", "convert", "checkpoint",
        "nowhere/x.spk"),
      Case(
        73,
        "sharedpack: notes.txt: exists and is not a model pack, so it is not replaced; --force replaces it "
          + "[would-replace]", "convert", "checkpoint", "notes.txt"),
      Case(
        73,
        "sharedpack: notes.txt: exists and is not a model pack, so it is not replaced; --force replaces it "
          + "[would-replace]", "convert", "checkpoint", "notes.txt", "--dry-run"),
      Case(
        73,
        "sharedpack: checkpoint/../checkpoint/model.safetensors: is a file that is converted: the pack needs a name of "
          + "its own [would-replace-input]", "convert", "checkpoint", "checkpoint/../checkpoint/model.safetensors",
        "--force"),
      Case(73, "sharedpack: \"\": names no file for the pack [cannot-create]", "convert", "checkpoint", ""),
      Case(73, "sharedpack: x/: names no file for the pack [cannot-create]", "convert", "checkpoint", "x/"),
      Case(
        73, "sharedpack: /dev/null: is a device, and a pack is a regular file [cannot-create]", "convert", "checkpoint",
        "/dev/null", "--force"),
      Case(
        66, "sharedpack: nowhere: open: No such file or directory [missing-file]", "convert", "checkpoint", "x.spk",
        "--calibrate", "nowhere"),
      Case(
        65, "sharedpack: binary: is not text in UTF-8 [not-text]", "convert", "checkpoint", "x.spk", "--calibrate",
        "binary"),
      Case(
        65,
        "sharedpack: notes.txt: has 89 tokens; calibration needs at least 512, ideally a book [text-too-short]",
        "convert", "checkpoint", "x.spk", "--calibrate", "notes.txt"),
      Case(66, "sharedpack: nowhere: does not exist [missing-file]", "inspect", "nowhere"),
      Case(
        66, "sharedpack: no\\u001b]0;\\u0007\\u000a\\u202ewhere: does not exist [missing-file]", "inspect",
        "no\u{1B}]0;\u{7}\n\u{202E}where"),
      Case(65, "sharedpack: empty: the directory has no manifest [not-a-store]", "inspect", "empty"),
      Case(
        65, "sharedpack: zero.txt: is neither a model pack nor a segment of a tree store [unknown-file]", "inspect",
        "zero.txt"),
      Case(
        65,
        "sharedpack: cut.spk: header: the file has 5000 bytes, the header states \(byteCount) and its sections need "
          + "\(byteCount) [wrong-length]", "verify", "cut.spk"),
      Case(
        65,
        "sharedpack: flipped.spk: tensor model.norm.weight: its SHA-256 is not the one in the index [digest-mismatch]",
        "verify", "flipped.spk"),
      Case(
        65, "sharedpack: notes.txt: header: does not start like a model pack [not-a-pack]", "generate",
        "notes.txt", "a"),
      Case(66, "sharedpack: nowhere: open: No such file or directory [missing-file]", "generate", "nowhere", "a"),
      Case(
        65, "sharedpack: model.spk: the pack has no chat template: ask without it [no-chat-template]", "generate",
        "model.spk", "a", "--chat"),
      Case(
        65, "sharedpack: model.spk: token 999 is not in the vocabulary of 288 [token-out-of-range]", "tokenize",
        "model.spk", "--decode", "5 999"),
      Case(
        65, "sharedpack: text: \"x\" is not a token id [not-a-token]", "tokenize", "model.spk", "--decode", "5 x"),
      Case(
        65,
        "sharedpack: model.spk: the prompt has 180 tokens; the window holds 128, one of them for the answer "
          + "[prompt-too-long]", "generate", "model.spk", String(repeating: "a", count: 178)),
      Case(66, "sharedpack: empty/case.json: open: No such file or directory [missing-file]", "golden", "empty"),
    ]
  }

  private static let documents = [
    Case(
      65,
      "sharedpack: plain.spk: a plain model has no context trees; --reading deep and exact need none; converted with "
        + "--injected-layers, it has them untrained [no-injection]", "ask", "plain.spk", "who", "--document",
      "notes.txt", "--store", "library"),
    Case(66, "sharedpack: nowhere: there is no store here [missing-file]", "store", "ls", "nowhere"),
    Case(65, "sharedpack: notes.txt: a store is a directory [not-a-directory]", "store", "ls", "notes.txt"),
    Case(
      66, "sharedpack: library: document \"x\": is not in the store [missing-document]", "store", "show", "library",
      "x"),
    Case(
      66, "sharedpack: library: document \"x\": is not in the store [missing-document]", "store", "rm", "library", "x"),
    Case(
      66, "sharedpack: library: document \"x\": is not in the store [missing-document]", "ask", "model.spk", "who",
      "--store", "library", "--document", "x"),
    Case(
      66, "sharedpack: x: is not a text file, and no --store was named [missing-file]", "ask", "model.spk", "who",
      "--document", "x"),
    Case(
      65, "sharedpack: question: has no text [empty-prompt]", "ask", "model.spk", "", "--document", "notes.txt"),
    Case(
      65, "sharedpack: zero.txt: has no text [empty-document]", "store", "build", "model.spk", "zero.txt", "--store",
      "library"),
    Case(
      65, "sharedpack: binary: is not text in UTF-8 [not-text]", "store", "build", "model.spk", "binary", "--store",
      "library"),
    Case(
      65, "sharedpack: empty: no files to store [empty-document]", "store", "build", "model.spk", "empty", "--store",
      "other"),
    Case(
      66, "sharedpack: x: does not exist [missing-file]", "store", "build", "model.spk", "x", "--store", "other"),
    Case(
      73, "sharedpack: nowhere/other: mkdir: No such file or directory [cannot-create]", "store", "build", "model.spk",
      "notes.txt", "--store", "nowhere/other"),
    Case(
      73,
      "sharedpack: letters/notes.txt: another text is stored as \"notes.txt\"; --replace puts this one in its place "
        + "[document-exists]", "store", "build", "model.spk", "letters/notes.txt", "--store", "library", "--root",
      "letters"),
    Case(
      66, "sharedpack: *.text: matches no file [missing-file]", "store", "build", "model.spk", "*.text", "--store",
      "library"),
    Case(
      64, "Error: --jsonl is for standard input, which is named -; files of JSON lines end in .jsonl.", "store",
      "build",
      "model.spk", "notes.txt", "--jsonl", "--store", "library"),
    Case(
      65,
      "sharedpack: library: row encoding is int8, not float16; --kv says how rows are kept [configuration-mismatch]",
      "store", "build",
      "model.spk", "notes.txt", "--store", "library", "--kv", "f16"),
  ]
}
