import Conversion
import FileAccess
import ModelPacks
import Testing
import TinyCheckpoint
import Tokenization

extension TestGGUF {
  private typealias Piece = (text: String, type: Int32)

  /// The tokenizer of `TinyCheckpoint`.
  mutating func addSentencePieces(padding: Int = 0) {
    var pieces: [Piece] = [("<unk>", 2), ("<s>", 3), ("</s>", 3)]
    for byte in 0..<256 {
      let digits = String(byte, radix: 16, uppercase: true)
      pieces.append(("<0x\(digits.count == 1 ? "0" : "")\(digits)>", 6))
    }
    pieces += "\u{2581}abcdefghijklmnopqrstuvwxyz ,".prefix(288 - pieces.count).map { (String($0), 1) }
    self["tokenizer.ggml.model"] = .string("llama")
    self["tokenizer.ggml.tokens"] = .array(pieces.map { .string($0.text) })
    self["tokenizer.ggml.token_type"] = .array(pieces.map { .int32($0.type) })
    self["tokenizer.ggml.scores"] = .array(pieces.map { _ in .float32(0) })
    self["tokenizer.ggml.bos_token_id"] = .uint32(1)
    self["tokenizer.ggml.eos_token_id"] = .uint32(2)
    self["tokenizer.ggml.unknown_token_id"] = .uint32(0)
    self["tokenizer.ggml.add_bos_token"] = .boolean(true)
  }

  /// Bytes as GPT-2 spells them, two merges and three special tokens.
  mutating func addBytePieces(pre: String = "smollm") {
    var pieces: [Piece] = [("<|end|>", 3), ("<|begin|>", 3)]
    var next: UInt32 = 0x100
    for byte in UInt32(0)..<256 {
      switch byte {
      case 0x21...0x7E, 0xA1...0xAC, 0xAE...0xFF: pieces.append((String(Character(Unicode.Scalar(byte)!)), 1))
      default:
        pieces.append((String(Character(Unicode.Scalar(next)!)), 1))
        next += 1
      }
    }
    pieces += [("ab", 1), ("\u{120}ab", 1), ("<user>", 4), ("[PAD261]", 5)]
    self["tokenizer.ggml.model"] = .string("gpt2")
    self["tokenizer.ggml.pre"] = .string(pre)
    self["tokenizer.ggml.tokens"] = .array(pieces.map { .string($0.text) })
    self["tokenizer.ggml.token_type"] = .array(pieces.map { .int32($0.type) })
    self["tokenizer.ggml.merges"] = .array(["a b", "\u{120} ab"].map { .string($0) })
    self["tokenizer.ggml.bos_token_id"] = .uint32(1)
    self["tokenizer.ggml.eos_token_id"] = .uint32(0)
  }
}

/// The two kinds of tokenizers.
@Suite struct GGUFTokenizerTests {
  /// A model that has as many tokens as the file, and nothing else of interest.
  private static func source(_ edit: (inout TestGGUF) -> Void) throws -> any TokenizerSource {
    var file = TestGGUF(TestCheckpoint())
    // Enough for all tokens.
    file.tensors[0].shape[0] = 288
    edit(&file)
    // As if the numbers of the larger embedding were there.
    for index in file.tensors.indices.dropFirst() { file.tensors[index].offset = UInt64(1 << 16 + index * 4096) }
    return try Checkpoint(ggufHeader: file.bytes(), fileByteCount: 1 << 24, path: "memory").tokenizer
  }

  private static func tokenizer(_ edit: (inout TestGGUF) -> Void) throws -> Tokenizer {
    try #require(try source(edit).tokenizer)
  }

  /// The same pieces make the same tokenizer as `tokenizer.model`.
  @Test func sentencePieces() throws {
    let scratch = try Scratch()
    let directory = try scratch.directory("checkpoint")
    try TinyCheckpoint.write(to: directory)
    let model = try Tokenizer(
      model: SequentialFile.contents("\(directory)/tokenizer.model", limit: 1 << 20), configuration: nil)
    var tokenizer = try Self.tokenizer { file in
      file.addSentencePieces()
      file["tokenizer.ggml.remove_extra_whitespaces"] = .boolean(true)
    }
    for text in ["abc, def", "  a  b ", "\u{E4}\n\u{1F600}", ""] {
      #expect(tokenizer.encode(text, addingBeginOfText: true) == model.encode(text, addingBeginOfText: true), "\(text)")
    }
    tokenizer = try Self.tokenizer { file in
      file.addSentencePieces()
      file["tokenizer.ggml.add_space_prefix"] = .boolean(false)
      file["tokenizer.ggml.add_bos_token"] = .boolean(false)
    }
    #expect(tokenizer.encode("ab", addingBeginOfText: true) == [260, 261])
  }

  /// Digits alone, words with their space, merges, special tokens in texts only where they are asked for.
  @Test func bytePieces() throws {
    let tokenizer = try Self.tokenizer { $0.addBytePieces() }
    let a = Int32(2 + 0x61)
    #expect(tokenizer.encode("ab ab12", addingBeginOfText: true) == [258, 259, Int32(2 + 0x31), Int32(2 + 0x32)])
    #expect(tokenizer.encode("a<user>b", addingBeginOfText: true) == [a, 260, a + 1])
    #expect(tokenizer.vocabularySize == 261)
    let begun = try Self.tokenizer { file in
      file.addBytePieces(pre: "llama-bpe")
    }
    #expect(begun.encode("ab", addingBeginOfText: true).first == 1)
  }

  /// Every way of splitting can be run, and loses nothing.
  @Test(arguments: GGUFPreTokenizer.names) func splitting(pre: String) throws {
    let tokenizer = try Self.tokenizer { $0.addBytePieces(pre: pre) }
    let text = "Hello, it's 1234567 o'clock\u{2026}\n\n  \u{E4}\u{4E2D}\u{6587} caf\u{E9} ABCdef  "
    let tokens = tokenizer.encode(text, addingBeginOfText: false)
    #expect(tokenizer.decode(tokens) == text)
  }

  @Test func templates() throws {
    let source = try Self.source { file in
      file.addBytePieces()
      file["tokenizer.chat_template"] = .string("plain")
      file["tokenizer.chat_template.tool_use"] = .string("tools")
    }
    #expect(source.chatTemplates.map(\.name) == ["default", "tool_use"])
    #expect(source.chatTemplates.map(\.text) == ["plain", "tools"])
    #expect(source.specialTokenSpellings.map(\.spellings) == [["<|begin|>"], ["<|end|>"]])
  }

  /// A whole model with its tokenizer makes the same pack as in Hugging Face's layout, but for what it was made from.
  @Test(arguments: [TensorEncoding.float32, .int8(groupSize: 8)]) func samePack(encoding: TensorEncoding) throws {
    let scratch = try Scratch()
    let directory = try scratch.directory("checkpoint")
    try TinyCheckpoint.write(to: directory, injectionPlace: nil)
    let weights = try SafetensorsFile(reading: "\(directory)/model.safetensors")
    var options = Converter.Options()
    options.encoding = encoding
    options.injectedLayers = 2
    let converter = try Converter(directory: directory, options: options)
    _ = try converter.run(output: "\(scratch.path)/one.spk")
    let llama = converter.plan.configuration
    var checkpoint = TestCheckpoint(llama: llama)
    for index in checkpoint.tensors.indices {
      let floats = try #require(weights.tensors[checkpoint.tensors[index].name]?.floats)
      checkpoint.tensors[index].bytes = TestCheckpoint.bytes(of: floats, .float32)
    }
    var file = TestGGUF(checkpoint, llama: llama)
    file.addSentencePieces()
    file["tokenizer.ggml.remove_extra_whitespaces"] = .boolean(true)
    try file.write(to: "\(scratch.path)/model.gguf")
    _ = try Converter(directory: "\(scratch.path)/model.gguf", options: options).run(output: "\(scratch.path)/two.spk")
    let one = try ModelPack(opening: "\(scratch.path)/one.spk")
    let two = try ModelPack(opening: "\(scratch.path)/two.spk")
    #expect(one.configuration == two.configuration && one.sharedLLM == two.sharedLLM)
    #expect(one.tensors == two.tensors)
    #expect(one.tokenizer == two.tokenizer)
  }

  /// A model without tokenizer can be converted.
  @Test func noTokenizer() throws {
    #expect(try Self.source { _ in }.tokenizer == nil)
    #expect(try Self.source { $0["tokenizer.ggml.model"] = .string("none") }.tokenizer == nil)
  }

  static let faults: [GGUFConfigurationTests.Fault] = [
    .init(.unsupportedConfiguration, "is bert; llama and gpt2") { $0["tokenizer.ggml.model"] = .string("bert") },
    .init(.unsupportedConfiguration, "is nobody's; known are") { $0["tokenizer.ggml.pre"] = .string("nobody's") },
    .init(.invalidConfiguration, "tokenizer.ggml.pre: is missing") { $0["tokenizer.ggml.pre"] = nil },
    .init(.invalidConfiguration, "tokenizer.ggml.tokens: is missing") { $0["tokenizer.ggml.tokens"] = nil },
    .init(.invalidConfiguration, "tokenizer.ggml.merges: is missing") { $0["tokenizer.ggml.merges"] = nil },
    .init(.invalidConfiguration, "has 1 elements for 262 tokens") {
      $0["tokenizer.ggml.token_type"] = .array([.int32(1)])
    },
    .init(.invalidConfiguration, "which is no kind of token") {
      $0["tokenizer.ggml.token_type"] = .array((0..<262).map { _ in .int32(7) })
    },
    .init(.invalidConfiguration, "is not one of texts in UTF-8") {
      $0["tokenizer.ggml.merges"] = .array([.uint32(1)])
    },
    .init(.invalidConfiguration, "is not an array") { $0["tokenizer.ggml.merges"] = .string("a b") },
    .init(.invalidConfiguration, "there are 262 tokens") { $0["tokenizer.ggml.padding_token_id"] = .uint32(262) },
    .init(.unsupportedConfiguration, "put behind texts") { $0["tokenizer.ggml.add_eos_token"] = .boolean(true) },
    .init(Refusal.Name("malformed", .badInput), "a piece of it is not in the vocabulary") {
      $0["tokenizer.ggml.merges"] = .array([.string("a c")])
    },
    .init(.invalidConfiguration, "tokenizer.ggml.scores: is missing") {
      $0["tokenizer.ggml.model"] = .string("llama")
    },
  ]

  @Test(arguments: faults) func refused(fault: GGUFConfigurationTests.Fault) throws {
    let refusal = #expect(throws: Refusal.self) {
      _ = try Self.source { file in
        file.addBytePieces()
        fault.edit(&file)
      }
    }
    #expect(refusal?.description.contains(fault.words) == true, "\(refusal?.description ?? "")")
  }
}
