import CanonicalJSON
import Conversion
import FaultInjection
import FileAccess
import Glibc
import ModelPacks
import Testing

/// Checkpoints that lie, are cut or are not supported.
@Suite struct CheckpointRefusalTests {
  struct Surgery: Sendable, CustomTestStringConvertible {
    let name: Refusal.Name
    let what: String
    let edit: @Sendable (inout TestCheckpoint) -> Void

    init(_ name: Refusal.Name, _ what: String, _ edit: @escaping @Sendable (inout TestCheckpoint) -> Void) {
      self.name = name
      self.what = what
      self.edit = edit
    }

    /// Replaces the first occurrence of a text in the header.
    init(_ name: Refusal.Name, header old: String, _ new: String) {
      self.init(name, "\(old) → \(new)") { checkpoint in
        checkpoint.editHeader = { header in
          let text = String(decoding: header, as: UTF8.self)
          precondition(text.contains(old))
          header = Array(text.replacing(old, with: new, maxReplacements: 1).utf8)
        }
      }
    }

    /// Puts a shard in several files and changes the map of the index.
    init(_ name: Refusal.Name, map what: String, _ edit: @escaping @Sendable (inout [(String, String)]) -> Void) {
      self.init(name, what) { checkpoint in
        checkpoint.split()
        checkpoint.editMap = edit
      }
    }

    var testDescription: String { "\(name.text): \(what)" }
  }

  static let files: [Surgery] = [
    Surgery(.malformedSafetensors, "7 bytes") { $0.editFile = { $0 = Array($0[..<7]) } },
    Surgery(.malformedSafetensors, "a header beyond the end") { $0.editFile = { $0 = Array($0[..<100]) } },
    Surgery(.tooLarge, "a header of 2^63") { $0.editFile = { $0[7] = 0x80 } },
    Surgery(.malformedSafetensors, "a byte less") { $0.editFile = { $0.removeLast() } },
    Surgery(.malformedSafetensors, "a byte more") { $0.editFile = { $0.append(0) } },
    Surgery(.malformedSafetensors, "a header that starts with a space") { $0.editHeader = { $0.insert(32, at: 0) } },
    Surgery(.malformedJSON, "a header that ends early") { $0.editHeader = { $0.removeLast() } },
    Surgery(.malformedJSON, "a header that nests deeply") {
      $0.editHeader = { $0 = Array((#"{"a":"# + String(repeating: "[", count: 100)).utf8) }
    },
    Surgery(.malformedJSON, header: #"{"__metadata__""#, #"{"lm_head.weight":{},"__metadata__""#),
    Surgery(.malformedSafetensors, header: #"{"format":"pt"}"#, #"{"format":1}"#),
    Surgery(.malformedSafetensors, header: #""dtype":"F32","#, ""),
    Surgery(.malformedSafetensors, header: #""dtype":"F32","#, #""dtype":"F32","extra":1,"#),
    Surgery(.malformedSafetensors, header: #""shape":[24,8]"#, #""shape":[24,9]"#),
    Surgery(.malformedSafetensors, header: #""shape":[24,8]"#, #""shape":[-24,-8]"#),
    Surgery(.malformedSafetensors, header: #""shape":[24,8]"#, #""shape":[192.0]"#),
    Surgery(.malformedSafetensors, header: #""shape":[24,8]"#, #""shape":[1,1,1,1,1,1,1,24,8]"#),
    Surgery(.malformedSafetensors, header: #""shape":[24,8]"#, #""shape":[4611686018427387904,4,192]"#),
    Surgery(.malformedSafetensors, header: #""data_offsets":[0,768]"#, #""data_offsets":[4,772]"#),
    Surgery(.malformedSafetensors, header: #""data_offsets":[0,768]"#, #""data_offsets":[768,0]"#),
    Surgery(.malformedSafetensors, header: #""data_offsets":[0,768]"#, #""data_offsets":[0,9223372036854775807]"#),
    Surgery(.malformedSafetensors, header: #""data_offsets":[768,800]"#, #""data_offsets":[736,768]"#),
    Surgery(.unsupportedElementType, header: #""F32""#, #""Q4""#),
    Surgery(.unsupportedElementType, "whole numbers") { $0.tensors[0].elementType = "I32" },
    Surgery(.unsupportedElementType, "complex numbers") {
      $0.tensors[0].elementType = "C64"
      $0.tensors[0].bytes += $0.tensors[0].bytes
    },
    Surgery(.malformedSafetensors, header: #"{"format":"pt"}"#, "[]"),
    Surgery(.wrongShape, "an empty weight") {
      $0.tensors[0].shape[0] = 0
      $0.tensors[0].bytes = []
    },
    Surgery(.unexpectedTensor, "a scale") {
      $0.tensors.append(
        .init(
          name: "model.layers.0.self_attn.q_proj.weight_scale", elementType: "F32", shape: [1], bytes: [0, 0, 0, 0]))
    },
    Surgery(.unexpectedTensor, "a mask among the weights") {
      $0.tensors.append(.init(name: "model.mask", elementType: "F32", shape: [1], bytes: [0, 0, 0, 0]))
    },
    Surgery(.missingTensor, "biases that the configuration asks for") {
      $0.configuration["attention_bias"] = .boolean(true)
    },
    Surgery(.wrongShape, "rows and columns exchanged") { $0.tensors[0].shape.reverse() },
    Surgery(.unexpectedTensor, "a bias") {
      $0.tensors.append(
        .init(name: "model.layers.0.self_attn.q_proj.bias", elementType: "F32", shape: [1], bytes: [0, 0, 0, 0]))
    },
    Surgery(.missingTensor, "one tensor less") { $0.tensors.removeLast() },
    Surgery(.malformedShardIndex, map: "a path upwards") { $0[0].1 = "../\($0[0].1)" },
    Surgery(.malformedShardIndex, map: "an absolute path") { $0[0].1 = "/dev/zero.safetensors" },
    Surgery(.malformedShardIndex, map: "another kind of file") { $0[0].1 = "config.json" },
    Surgery(.malformedShardIndex, map: "a hidden file") { $0[0].1 = "..safetensors" },
    Surgery(.malformedShardIndex, map: "the wrong shard") { $0[0].1 = $0[$0.count - 1].1 },
    Surgery(.malformedShardIndex, map: "a tensor that no shard has") { $0.append(("more", $0[0].1)) },
    Surgery(.malformedShardIndex, map: "a tensor that is not listed") { $0.removeLast() },
    Surgery(.malformedShardIndex, map: "empty") { $0 = [] },
    Surgery(.malformedJSON, map: "a tensor in two shards") { $0.append(($0[0].0, $0[$0.count - 1].1)) },
    Surgery(.missingFile, map: "a shard that is missing") { $0.append(("more", "none.safetensors")) },
  ]

  @Test(arguments: files)
  func surgeryIsRefused(_ surgery: Surgery) throws {
    let scratch = try Scratch()
    var checkpoint = TestCheckpoint()
    surgery.edit(&checkpoint)
    try checkpoint.write(to: scratch.path)
    do {
      _ = try Converter(directory: scratch.path)
      Issue.record("it was accepted")
    } catch {
      #expect(error.name == surgery.name, "\(error)")
      #expect(!error.description.contains("\n"))
      #expect(error.name != .missingFile || error.name.exitStatus.rawValue == 66)
    }
  }

  @Test func missingDirectoriesAndFiles() throws {
    let scratch = try Scratch()
    func name(_ directory: String) -> Refusal.Name? {
      do {
        _ = try Converter(directory: directory)
        return nil
      } catch {
        return error.name
      }
    }
    #expect(name("\(scratch.path)/none") == .missingFile)
    #expect(name(scratch.path) == .missingFile)
    try TestCheckpoint.write(Array("{}".utf8), to: "\(scratch.path)/config.json")
    #expect(name(scratch.path) == .missingFile)
    #expect(name("\(scratch.path)/config.json") == .unsupportedFormat)
    try TestCheckpoint.write(Array("[]".utf8), to: "\(scratch.path)/config.json")
    #expect(name(scratch.path) == .invalidConfiguration)
    try TestCheckpoint.write(Array("{".utf8), to: "\(scratch.path)/config.json")
    #expect(name(scratch.path) == .malformedJSON)
  }

  @Test func everyTruncationIsRefused() throws {
    let scratch = try Scratch()
    let checkpoint = TestCheckpoint()
    try checkpoint.write(to: scratch.path)
    let whole = checkpoint.safetensors(checkpoint.tensors.indices)
    for count in stride(from: 0, to: whole.count, by: 101) {
      try TestCheckpoint.write(Array(whole[..<count]), to: "\(scratch.path)/model.safetensors")
      #expect(throws: Refusal.self) { try Converter(directory: scratch.path) }
    }
  }

  static let values: [(TestCheckpoint.Element, Float, TensorEncoding, Refusal.Name)] = [
    (.float64, .nan, .int8(groupSize: 8), .nonFiniteWeight),
    (.float32, .nan, .int8(groupSize: 8), .nonFiniteWeight),
    (.float32, .infinity, .float32, .nonFiniteWeight),
    (.float16, -.infinity, .float16, .nonFiniteWeight),
    (.bfloat16, .nan, .int8(groupSize: 8), .nonFiniteWeight),
    (.float16, .nan, .int4(groupSize: 8), .nonFiniteWeight),
    (.bfloat16, 1e30, .float16, .weightOutOfRange),
  ]

  /// A bad number is named with its tensor, and nothing is left at the destination.
  @Test(arguments: values.indices, [0, 1, 20])
  func badNumbersAreRefused(_ number: Int, tensor: Int) throws {
    let (element, value, encoding, name) = Self.values[number]
    let scratch = try Scratch()
    var checkpoint = TestCheckpoint(element)
    let bytes = TestCheckpoint.bytes(of: [value], element)
    checkpoint.tensors[tensor].bytes.replaceSubrange(0..<bytes.count, with: bytes)
    let directory = try scratch.directory("in")
    try checkpoint.write(to: directory)
    var options = Converter.Options()
    options.encoding = encoding
    let converter = try Converter(directory: directory, options: options)
    let isNorm = checkpoint.tensors[tensor].shape.count == 1
    do {
      _ = try converter.run(output: "\(scratch.path)/out.spk")
      // Norms stay float32, which holds large numbers.
      #expect(name == .weightOutOfRange && isNorm)
    } catch {
      #expect(error.name == name && error.structure == checkpoint.tensors[tensor].name, "\(error)")
      #expect(try Directory.names(in: scratch.path) == ["in"])
    }
  }

  static let options: [@Sendable (inout Converter.Options) -> Void] = [
    { $0.injectedLayers = 3 }, { $0.injectedLayers = 0 }, { $0.chunkSize = 32 },
    { $0.encoding = .int8(groupSize: 6) }, { $0.encoding = .int8(groupSize: 8192) },
    { $0.encoding = .int4(groupSize: 12) },
    {
      $0.injectedLayers = 1
      $0.treeDepth = 9
    },
  ]

  @Test(arguments: options.indices)
  func impossibleOptionsAreUsageErrors(_ number: Int) throws {
    let scratch = try Scratch()
    try TestCheckpoint().write(to: scratch.path)
    var options = Converter.Options()
    Self.options[number](&options)
    do {
      _ = try Converter(directory: scratch.path, options: options)
      Issue.record("it was accepted")
    } catch {
      #expect(error.name == .invalidOption && error.name.exitStatus == .usage, "\(error)")
    }
  }

  /// Each call of a conversion to the file system fails once, before or after its work: an error, and nothing at the
  /// destination.
  @Test(arguments: [FileFault.before(ENOSPC), .after(EIO)]) func failingCallsLeaveNothing(fault: FileFault) throws {
    let scratch = try Scratch()
    let directory = try scratch.directory("in")
    var checkpoint = TestCheckpoint()
    checkpoint.split()
    try checkpoint.write(to: directory)
    let converter = try Converter(directory: directory)
    let output = "\(scratch.path)/out.spk"
    for failing in 0... {
      let faults = FaultSchedule(fault, at: failing)
      do {
        try FileOperation.withProbe(faults) { _ = try converter.run(output: output) }
        #expect(faults.faultCount == 0 && failing > 20)
        break
      } catch {
        #expect(faults.faultCount == 1)
        let names = try Directory.names(in: scratch.path)
        // Only a call after the rename, or the rename itself, leaves a pack.
        if names != ["in"] {
          #expect(names == ["in", "out.spk"])
          try ModelPack(opening: output).verify()
          try Directory.removeFile(output)
        }
      }
    }
  }

  /// A pack is there whole or not at all, and replaced whole or not at all, wherever the power fails; and it is there
  /// when the conversion has returned.
  @Test func powerCuts() throws {
    let scratch = try Scratch()
    let directory = try scratch.directory("in")
    let target = try scratch.directory("out")
    try TestCheckpoint().write(to: directory)
    let journal = FileJournal()
    var returned: [Int] = []
    try FileOperation.withProbe(journal) {
      for encoding in [TensorEncoding.float32, .float16] {
        var options = Converter.Options()
        options.encoding = encoding
        _ = try Converter(directory: directory, options: options).run(output: "\(target)/a.spk")
        returned.append(journal.count)
      }
    }
    let model = CrashModel(journal, root: target)
    var packs: Set<[UInt8]> = []
    for point in 0...journal.count {
      for seed in 0..<8 {
        let contents = model.contents(at: point) { seed == 0 || (seed > 1 && ($0 + point) % seed == 1) }
        guard let pack = contents["a.spk"], let pack else {
          #expect(point < returned[0])
          continue
        }
        guard packs.insert(pack).inserted else { continue }
        let left = try scratch.directory("left-\(packs.count)")
        try CrashModel.write(["a.spk": pack], into: left)
        try ModelPack(opening: "\(left)/a.spk").verify()
      }
    }
    #expect(packs.count == 2)
  }
}
