import CanonicalJSON
import Conversion
import FileAccess
import Glibc
import ModelPacks
import Testing

/// The ways in which checkpoints lie in a directory, and what stands there in place of one.
@Suite struct LayoutTests {
  private static func refusal(_ directory: String) -> Refusal? {
    do {
      _ = try Converter(directory: directory)
      return nil
    } catch {
      return error
    }
  }

  private static func digests(_ directory: String, _ scratch: Scratch) throws -> [Digest256] {
    let output = "\(scratch.path)/\(UInt64.random(in: .min ... .max)).spk"
    _ = try Converter(directory: directory).run(output: output)
    return try ModelPack(opening: output).tensors.map(\.digest)
  }

  /// Shards are read without an index if all are there, and a line says so.
  @Test func shardsWithoutIndex() throws {
    let scratch = try Scratch()
    var checkpoint = TestCheckpoint()
    let whole = try scratch.directory("whole")
    try checkpoint.write(to: whole)
    checkpoint.split()
    checkpoint.hasIndex = false
    let shards = try scratch.directory("shards")
    try checkpoint.write(to: shards)
    #expect(try Self.digests(shards, scratch) == Self.digests(whole, scratch))
    let plan = try Converter(directory: shards).plan
    #expect(plan.sources.map(\.name) == ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"])
    #expect(plan.notes == ["\(shards): no model.safetensors.index.json: the 2 shards are read as they are"])
    #expect(try Converter(directory: whole).plan.notes == [])

    try Directory.removeFile("\(shards)/model-00001-of-00002.safetensors")
    let missing = Self.refusal(shards)
    #expect(missing?.name == .missingFile && missing?.fault.contains("number 1 is missing") == true)
    // A tensor in both.
    checkpoint.shards?[0].tensors = 0..<checkpoint.tensors.count
    try checkpoint.write(to: shards)
    #expect(Self.refusal(shards)?.name.text == "duplicate-tensor")
  }

  @Test func singleShard() throws {
    let scratch = try Scratch()
    var checkpoint = TestCheckpoint()
    for (name, hasIndex) in [("model", false), ("model", true), ("pytorch_model-fp16", false)] {
      checkpoint.shards = [("\(name)-00001-of-00001.safetensors", checkpoint.tensors.indices)]
      checkpoint.hasIndex = hasIndex
      let directory = try scratch.directory("\(name)-\(hasIndex)")
      try checkpoint.write(to: directory)
      let plan = try Converter(directory: directory).plan
      #expect(plan.sources.map(\.name) == checkpoint.shards?.map(\.name) && plan.notes.isEmpty)
    }
  }

  @Test func severalSetsOfShards() throws {
    let scratch = try Scratch()
    var checkpoint = TestCheckpoint()
    checkpoint.hasIndex = false
    func write(_ names: [String]) throws -> String {
      checkpoint.shards = names.map { ($0, checkpoint.tensors.indices) }
      let directory = try scratch.directory("\(names.count)-\(names[0])")
      try checkpoint.write(to: directory)
      return directory
    }
    let model = try write(["model-00001-of-00001.safetensors", "other-00001-of-00001.safetensors"])
    #expect(try Converter(directory: model).plan.sources.map(\.name) == ["model-00001-of-00001.safetensors"])
    for names in [
      ["a-00001-of-00001.safetensors", "b-00001-of-00001.safetensors"],
      ["model-00001-of-00001.safetensors", "model-1-of-1.safetensors"],
      // The same number twice.
      ["c-1-of-2.safetensors", "c-01-of-2.safetensors", "c-2-of-2.safetensors"],
    ] {
      #expect(Self.refusal(try write(names))?.name == .malformedShardIndex)
    }
    for names in [
      ["model-00001-of-00002.safetensors"], ["model-00000-of-00001.safetensors"], ["model-00001-of-00000.safetensors"],
      ["model-99999999999999999999-of-00001.safetensors"], ["model-1-of-999999999.safetensors"],
      ["consolidated.safetensors"],
    ] {
      #expect(
        Self.refusal(try write(names))?.name == (names[0].contains("of-00000") ? .malformedShardIndex : .missingFile))
    }
  }

  /// A folder of the cache, with links to blobs, and the model's folder in the cache itself.
  @Test func hubCache() throws {
    let scratch = try Scratch()
    let model = try scratch.directory("models--org--name")
    for name in ["blobs", "refs", "snapshots", "snapshots/0a1b", "snapshots/2c3d"] {
      try Directory.create("\(model)/\(name)")
    }
    try TestCheckpoint().write(to: "\(model)/blobs")
    for name in ["config.json", "model.safetensors"] {
      #expect(unsafe symlink("../../blobs/\(name)", "\(model)/snapshots/0a1b/\(name)") == 0)
    }
    #expect(Self.refusal(model)?.name == .malformedHubCache)
    try TestCheckpoint.write(Array("0a1b\n".utf8), to: "\(model)/refs/main")
    #expect(try Self.digests(model, scratch) == Self.digests("\(model)/snapshots/0a1b", scratch))
    #expect(try Converter(directory: model).plan.sources.map(\.name) == ["model.safetensors"])

    for (text, name) in [
      ("", Refusal.Name.malformedHubCache), ("../0a1b", .malformedHubCache), ("0a 1b/", .malformedHubCache),
      ("ffff", .missingFile), (String(repeating: "a", count: 300), .tooLarge),
    ] {
      try TestCheckpoint.write(Array(text.utf8), to: "\(model)/refs/main")
      #expect(Self.refusal(model)?.name == name)
    }
    // Without the name of a branch, the only snapshot there is.
    try Directory.removeFile("\(model)/refs/main")
    try Directory.remove("\(model)/snapshots/2c3d")
    #expect(Self.refusal(model) == nil)
    // A download that was broken off.
    try Directory.removeFile("\(model)/blobs/model.safetensors")
    let broken = Self.refusal(model)
    #expect(broken?.name == .missingFile && broken?.fault == "is a link that leads nowhere")
  }

  private static let pointer = """
    version https://git-lfs.github.com/spec/v1
    oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393
    size 12345

    """
  private static let page = "\n<!DOCTYPE html>\n<html><head><title>Sign in</title></head></html>"

  @Test(arguments: [
    (pointer, "is a Git LFS pointer, not ", ": fetch the file with `git lfs pull`"),
    (page, "is an HTML page, not ", ": download the file again"),
    ("<HTML lang=en>" + page, "is an HTML page, not ", ": download the file again"),
  ])
  func mistakenFiles(text: String, beginning: String, end: String) throws {
    let scratch = try Scratch()
    var checkpoint = TestCheckpoint()
    checkpoint.split()
    checkpoint.generation = .members([:])
    for (name, expected) in [
      ("config.json", "JSON"), ("generation_config.json", "JSON"), ("model.safetensors.index.json", "JSON"),
      ("model-00002-of-00002.safetensors", "the weights"),
    ] {
      let directory = try scratch.directory(name)
      try checkpoint.write(to: directory)
      try TestCheckpoint.write(Array(text.utf8), to: "\(directory)/\(name)")
      let refusal = try #require(Self.refusal(directory))
      #expect(refusal.name == .mistakenFile && refusal.file == "\(directory)/\(name)")
      #expect(refusal.fault == beginning + expected + end)
    }
  }

  @Test(arguments: [
    ("pytorch_model.bin", "unsupported-format", "convert the checkpoint to safetensors first"),
    ("pytorch_model.bin.index.json", "unsupported-format", "convert the checkpoint to safetensors first"),
    ("consolidated.00.pth", "unsupported-format", "convert the checkpoint to safetensors first"),
    ("adapter_model.safetensors", "unsupported-format", "merge the adapter into the model"),
    ("training_args.bin", "missing-file", "only safetensors checkpoints can be converted"),
  ])
  func otherWeights(file: String, name: String, advice: String) throws {
    let scratch = try Scratch()
    try TestCheckpoint().write(to: scratch.path)
    try Directory.removeFile("\(scratch.path)/model.safetensors")
    try TestCheckpoint.write([0x50, 0x4B], to: "\(scratch.path)/\(file)")
    let refusal = try #require(Self.refusal(scratch.path))
    #expect(refusal.name.text == name && refusal.fault.contains(advice), "\(refusal)")
    #expect(refusal.file.hasSuffix(name == "missing-file" ? "/model.safetensors" : "/\(file)"))
  }

  @Test(arguments: ["adapter_config.json", "params.json"]) func otherLayouts(file: String) throws {
    let scratch = try Scratch()
    try TestCheckpoint().write(to: scratch.path)
    try TestCheckpoint.write(Array("{}".utf8), to: "\(scratch.path)/\(file)")
    #expect(Self.refusal(scratch.path) == nil)
    try Directory.removeFile("\(scratch.path)/config.json")
    let refusal = try #require(Self.refusal(scratch.path))
    #expect(refusal.name == .unsupportedFormat && refusal.file == "\(scratch.path)/\(file)")
  }

  /// What may not be looked at is not called missing.
  @Test func unreadablePaths() throws {
    let scratch = try Scratch()
    #expect(unsafe symlink("loop", "\(scratch.path)/loop") == 0)
    #expect(Self.refusal("\(scratch.path)/loop")?.name == .notARegularFile)
    #expect(Self.refusal("\(scratch.path)/\(String(repeating: "x", count: 300))")?.name == .inputOutput)
    #expect(Self.refusal("\(scratch.path)/none")?.name == .missingFile)
    try TestCheckpoint().write(to: scratch.path)
    #expect(unsafe symlink("generation_config.json", "\(scratch.path)/generation_config.json") == 0)
    #expect(Self.refusal(scratch.path)?.file == "\(scratch.path)/generation_config.json")
  }

  @Test func slidingWindowsAreNoted() throws {
    let scratch = try Scratch()
    var checkpoint = TestCheckpoint()
    checkpoint.configuration["architectures"] = .array([.string("MistralForCausalLM")])
    checkpoint.configuration["model_type"] = .string("mistral")
    checkpoint.configuration["sliding_window"] = .integer(48)
    try checkpoint.write(to: scratch.path)
    let plan = try Converter(directory: scratch.path).plan
    #expect(plan.configuration.maxPositionCount == 48)
    #expect(
      plan.notes == [
        "\(scratch.path)/config.json: sliding_window 48 is shorter than max_position_embeddings 64: the model's window is "
          + "48 tokens, up to which the sliding window hides nothing"
      ])
  }
}
