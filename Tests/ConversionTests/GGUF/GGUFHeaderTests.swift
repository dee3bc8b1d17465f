import Conversion
import FileAccess
import ModelPacks
import Testing

/// Headers that lie: each is refused with what is wrong, before anything of a stated size is allocated.
@Suite struct GGUFHeaderTests {
  struct Surgery: Sendable, CustomTestStringConvertible {
    let name: Refusal.Name
    let words: String
    let edit: @Sendable (inout TestGGUF) -> Void
    var editBytes: @Sendable (inout [UInt8]) -> Void = { _ in }

    init(_ name: Refusal.Name, _ words: String, _ edit: @escaping @Sendable (inout TestGGUF) -> Void) {
      self.name = name
      self.words = words
      self.edit = edit
    }

    init(_ words: String, _ edit: @escaping @Sendable (inout TestGGUF) -> Void) {
      self.init(.malformedGGUF, words, edit)
    }

    /// Changes the finished bytes.
    init(
      _ name: Refusal.Name = .malformedGGUF, bytes words: String, _ edit: @escaping @Sendable (inout [UInt8]) -> Void
    ) {
      self.init(name, words) { _ in }
      editBytes = edit
    }

    var testDescription: String { "\(name.text): \(words)" }
  }

  /// A number of eight bytes.
  private static func eight(_ value: UInt64) -> [UInt8] { (0..<8).map { UInt8(truncatingIfNeeded: value >> ($0 * 8)) } }
  private static func four(_ value: UInt32) -> [UInt8] { Array(eight(UInt64(value))[..<4]) }

  static let surgeries: [Surgery] = [
    Surgery("does not begin with GGUF") { $0.magic = Array("GGUE".utf8) },
    Surgery(.unsupportedFormat, "version 1") { $0.version = 1 },
    Surgery(.unsupportedFormat, "version 4") { $0.version = 4 },
    Surgery(.unsupportedFormat, "big-endian") { $0.version = 3 << 24 },
    Surgery("tensors and") { $0.tensorCount = 1 << 40 },
    Surgery("tensors and") { $0.keyCount = 1 << 40 },
    Surgery(.truncated, "exceeds 2^63") { $0.tensorCount = 1 << 63 },
    Surgery(.truncated, "exceeds 2^63") { $0.keyCount = .max },
    // The first tensor is taken for a key.
    Surgery("tensor 0: has a name of") { $0.keyCount = UInt64($0.values.count + 1) },
    Surgery("has the unknown type 13") { $0.values[3].value = .raw(13, []) },
    Surgery("llama.block_count: is there twice") { $0.values.append($0.values[3]) },
    Surgery("has a name of 0 bytes") { $0.values[2].key = "" },
    Surgery("has a name of 256 bytes") { $0.values[2].key = String(repeating: "k", count: 256) },
    Surgery("not printable ASCII") { $0.values[2].key = "a\nb" },
    Surgery("not printable ASCII") { $0.tensors[2].name = "gewicht\u{E4}" },
    Surgery("is a truth value of 2") { $0.values.append(("bool", .raw(7, [2]))) },
    // Texts and arrays whose length the file does not have.
    Surgery(.truncated, "needs") { $0.values.append(("text", .raw(8, eight(1 << 40)))) },
    Surgery(.truncated, "exceeds 2^63") { $0.values.append(("text", .raw(8, eight(1 << 63)))) },
    Surgery("is a text of 9223372036854775807 bytes") { $0.values.append(("text", .raw(8, eight(.max >> 1)))) },
    Surgery("is an array of 2305843009213693952") { $0.values.append(("a", .raw(9, four(10) + eight(1 << 61)))) },
    Surgery(.truncated, "needs") { $0.values.append(("a", .raw(9, four(0) + eight(1 << 40)))) },
    Surgery(.truncated, "needs") { $0.values.append(("a", .raw(9, four(8) + eight(1 << 30)))) },
    Surgery("is an array of arrays") { $0.values.append(("a", .raw(9, four(9) + eight(1) + four(0) + eight(0)))) },
    Surgery("has the unknown type 77") { $0.values.append(("a", .raw(9, four(77) + eight(0)))) },
    Surgery("general.alignment") { $0.values.append(("general.alignment", .uint32(0))) },
    Surgery("general.alignment") { $0.values.append(("general.alignment", .uint32(24))) },
    Surgery("general.alignment") { $0.values.append(("general.alignment", .uint32(1 << 17))) },
    Surgery("general.alignment") { $0.values.append(("general.alignment", .float32(32))) },
    // Tensors.
    Surgery("is there twice") { $0.tensors[1].name = $0.tensors[0].name },
    Surgery("has 0 dimensions") { $0.tensors[1].shape = [] },
    Surgery("has 5 dimensions") { $0.tensors[1].shape = [1, 1, 1, 1, 8] },
    Surgery("has an empty dimension") { $0.tensors[1].shape = [0] },
    Surgery(.truncated, "exceeds 2^63") { $0.tensors[1].shape = [-8] },
    Surgery("more bytes than can be counted") { $0.tensors[0].shape = [1 << 40, 1 << 40] },
    Surgery("more bytes than can be counted") { $0.tensors[0].shape = [1 << 31, 1 << 31, 4] },
    Surgery(.unsupportedElementType, "the type 31") { $0.tensors[0].type = 31 },
    Surgery(.unsupportedElementType, "the type 4294967295") { $0.tensors[0].type = .max },
    Surgery("not whole blocks of 32") { $0.tensors[0].type = 2 },
    Surgery("not at a multiple of 32") { $0.tensors[0].offset = 8 },
    Surgery("lies in another tensor") { $0.tensors[1].offset = 0 },
    Surgery("does not lie in any file") { $0.tensors[1].offset = UInt64(Int.max) & ~31 },
    Surgery(.truncated, "exceeds 2^63") { $0.tensors[1].offset = 1 << 63 },
    Surgery("it is not all here") { $0.tensors[1].offset = 1 << 40 },
    Surgery(bytes: "it is not all here") { $0.removeLast() },
    Surgery(.truncated, bytes: "needs") { $0 = Array($0[..<100]) },
    Surgery(.truncated, bytes: "needs") { $0 = Array($0[..<20]) },
  ]

  @Test(arguments: surgeries) func refused(surgery: Surgery) throws {
    let scratch = try Scratch()
    var file = TestGGUF(TestCheckpoint())
    surgery.edit(&file)
    var bytes = file.bytes()
    surgery.editBytes(&bytes)
    // In a file, without an extension.
    try TestCheckpoint.write(bytes, to: "\(scratch.path)/model")
    if bytes.starts(with: Array("GGUF".utf8)) {
      let refusal = #expect(throws: Refusal.self) { _ = try Converter(directory: "\(scratch.path)/model") }
      #expect(refusal?.name == surgery.name)
      #expect(refusal?.description.contains(surgery.words) == true, "\(refusal?.description ?? "")")
    }
    // And in memory.
    let refusal = #expect(throws: Refusal.self) {
      _ = try Checkpoint(ggufHeader: bytes, fileByteCount: bytes.count, path: "memory")
    }
    #expect(refusal?.name == surgery.name)
    #expect(refusal?.description.contains(surgery.words) == true, "\(refusal?.description ?? "")")
  }

  /// Every length that is too short is refused, none is a trap.
  @Test func everyPrefix() throws {
    let bytes = TestGGUF(TestCheckpoint()).bytes()
    _ = try Checkpoint(ggufHeader: bytes, fileByteCount: bytes.count, path: "memory")
    for count in 0..<bytes.count {
      #expect(throws: Refusal.self) {
        _ = try Checkpoint(ggufHeader: Array(bytes[..<count]), fileByteCount: count, path: "memory")
      }
    }
  }

  /// Version 2, other alignments, numbers between the tensors and behind them.
  @Test func whatIsAllowed() throws {
    let scratch = try Scratch()
    func configuration(_ file: TestGGUF, _ more: [UInt8] = []) throws -> LlamaConfiguration {
      try TestCheckpoint.write(file.bytes() + more, to: "\(scratch.path)/model.gguf")
      return try Converter(directory: "\(scratch.path)/model.gguf").plan.configuration
    }
    var file = TestGGUF(TestCheckpoint())
    file.version = 2
    #expect(try configuration(file, [1, 2, 3]) == TestCheckpoint.llama)
    for alignment in [8, 64, 65536] {
      file["general.alignment"] = .uint32(UInt32(alignment))
      file.alignment = alignment
      #expect(try configuration(file) == TestCheckpoint.llama)
    }
    // The order of the file need not be that of the header.
    let first = file.tensors.removeFirst()
    file.tensors.append(first)
    #expect(try configuration(file) == TestCheckpoint.llama)
    // A header longer than what is read first.
    file["long"] = .array((0..<200_000).map { .string("text \($0)") })
    #expect(try configuration(file) == TestCheckpoint.llama)
  }
}
