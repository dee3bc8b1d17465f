import CanonicalJSON
import FileAccess
import Foundation
import ModelPacks
import Testing

/// Where `convert` writes, and what it leaves.
@Suite struct OutputTests {
  private static func bytes(_ path: String) throws -> [UInt8] { try SequentialFile.contents(path, limit: 1 << 24) }

  /// What is converted is never replaced, whatever its name; another file is with --force, a pack always.
  @Test func whatIsReplaced() throws {
    let workplace = try Workplace()
    let path = workplace.path
    let weights = try Self.bytes("\(path)/checkpoint/model.safetensors")
    try workplace.write(Array(String(repeating: Workplace.text + ". ", count: 20).utf8), to: "book.txt")
    let files = FileManager.default
    try files.createSymbolicLink(atPath: "\(path)/soft", withDestinationPath: "checkpoint/model.safetensors")
    try files.linkItem(atPath: "\(path)/checkpoint/model.safetensors", toPath: "\(path)/hard")
    try files.createSymbolicLink(atPath: "\(path)/dangling", withDestinationPath: "nowhere")
    try #require(unsafe mkfifo("\(path)/fifo", 0o600) == 0)
    for (output, name) in [
      ("checkpoint/model.safetensors", "would-replace-input"), ("checkpoint/config.json", "would-replace-input"),
      ("soft", "would-replace-input"), ("hard", "would-replace-input"), ("book.txt", "would-replace-input"),
      ("dangling", "cannot-create"), ("fifo", "cannot-create"), ("/dev/null", "cannot-create"),
    ] {
      let outcome = try workplace.run("convert", "checkpoint", output, "--force", "--calibrate", "book.txt")
      #expect(outcome.status == 73 && outcome.error.hasSuffix("[\(name)]\n"), "\(output): \(outcome.error)")
    }
    #expect(try Self.bytes("\(path)/hard") == weights)

    #expect(try workplace.run("convert", "checkpoint", "notes.txt").status == 73)
    #expect(try Self.bytes("\(path)/notes.txt") == Array(Workplace.text.utf8))
    #expect(try workplace.run("convert", "checkpoint", "notes.txt", "--force").status == 0)
    let pack = try Self.bytes("\(path)/model.spk")
    #expect(try Self.bytes("\(path)/notes.txt") == pack)

    // A pack beside the files of the checkpoint is none of them; a link to a pack stays one.
    #expect(try workplace.run("convert", "checkpoint", "checkpoint/a.spk", "--quantize", "f16").status == 0)
    #expect(try workplace.run("convert", "checkpoint", "checkpoint/a.spk").status == 0)
    try files.createSymbolicLink(atPath: "\(path)/link.spk", withDestinationPath: "plain.spk")
    #expect(try workplace.run("convert", "checkpoint", "link.spk").status == 0)
    #expect(try files.destinationOfSymbolicLink(atPath: "\(path)/link.spk") == "plain.spk")
    #expect(try Self.bytes("\(path)/plain.spk") == pack)
  }

  /// However a conversion ends, it leaves a whole pack or nothing, and what earlier ones left is removed.
  @Test(arguments: [SIGKILL, SIGINT, SIGTERM]) func interrupted(signal: Int32) throws {
    let workplace = try Workplace()
    let names = try Set(Directory.names(in: workplace.path))
    for milliseconds in 0..<20 {
      let process = workplace.process(["convert", "checkpoint", "out.spk"])
      process.standardOutput = FileHandle.nullDevice
      process.standardError = FileHandle.nullDevice
      try process.run()
      usleep(UInt32(milliseconds) * 1000)
      kill(process.processIdentifier, signal)
      process.waitUntilExit()
      let left = try Set(Directory.names(in: workplace.path)).subtracting(names)
      #expect(left.isSubset(of: ["out.spk"]), "after \(milliseconds) ms")
      guard left.contains("out.spk") else { continue }
      try ModelPack(opening: "\(workplace.path)/out.spk").verify()
      try Directory.removeFile("\(workplace.path)/out.spk")
    }
    try workplace.write([1], to: ".out.spk.12ab.partial")
    try workplace.write([1], to: ".out.spk.calibration.partial")
    #expect(try workplace.run("convert", "checkpoint", "out.spk").status == 0)
    #expect(try Set(Directory.names(in: workplace.path)).subtracting(names) == ["out.spk"])
  }

  /// What a person would not expect of a checkpoint is said, too, and programs are told.
  @Test func notes() throws {
    let workplace = try Workplace()
    let path = "plain/config.json"
    let text = String(decoding: try Self.bytes("\(workplace.path)/\(path)"), as: UTF8.self)
      .replacing("LlamaForCausalLM", with: "MistralForCausalLM")
      .replacing(#""model_type":"llama""#, with: #""model_type":"mistral","sliding_window":64"#)
    try workplace.write(Array(text.utf8), to: path)
    let note = "plain/config.json: sliding_window 64 is shorter than max_position_embeddings 128"
    #expect(try workplace.run("convert", "plain", "x.spk").error.hasPrefix("sharedpack: \(note)"))
    for arguments in [["convert", "plain", "x.spk", "--json"], ["convert", "plain", "x.spk", "--dry-run", "--json"]] {
      let json = try JSONValue(parsing: Array(workplace.run(arguments).output.utf8))
      #expect(json["notes"]?.array?.first?.string?.hasPrefix(note) == true)
    }
    let lines = try workplace.run("inspect", "plain").output.split(separator: "\n")
    #expect(lines.contains { $0.hasPrefix("model       MistralForCausalLM, ") })
    #expect(lines.contains { $0.hasPrefix("note        \(note)") })
  }

  /// It is said whether a pack reads documents.
  @Test func documents() throws {
    let workplace = try Workplace()
    let plain = try workplace.run("convert", "plain", "x.spk")
    #expect(
      plain.error
        == "sharedpack: a plain model: it reads texts deeply or exactly; context trees take --injected-layers, and are "
        + "untrained\n")
    #expect(try workplace.run("convert", "checkpoint", "x.spk").error == "")
    let untrained = try workplace.run("convert", "plain", "x.spk", "--injected-layers", "2")
    #expect(untrained.error == "sharedpack: documents will be injected untrained (merged softmax)\n")
  }
}
