import CanonicalJSON
import Conversion
import FileAccess
import ModelPacks
import Testing

/// Tensors of other types, and those that are no weights.
@Suite struct TensorTests {
  /// Every number that eight bits hold; not a number and infinity are refused.
  @Test(arguments: ["F8_E4M3", "F8_E5M2"]) func eightBits(type: String) throws {
    let scratch = try Scratch()
    var checkpoint = TestCheckpoint()
    let isFinite = { (byte: Int) in type == "F8_E4M3" ? byte & 0x7F != 0x7F : byte & 0x7C != 0x7C }
    let bytes = (0..<checkpoint.tensors[0].bytes.count / 4).map { isFinite($0 + 32) ? UInt8($0 + 32) : 0 }
    #expect(bytes.count == 192 && bytes[0] == 32 && bytes.contains(0xA0))
    checkpoint.tensors[0].elementType = type
    checkpoint.tensors[0].bytes = bytes
    let pack = try ConversionTests.convert(checkpoint, scratch, encoding: .float32)
    let floats = ConversionTests.floats(pack, pack.tensors[0])
    for (byte, value) in zip(bytes, floats) {
      let (bits, bias) = type == "F8_E4M3" ? (3, 7) : (2, 15)
      let exponent = Int(byte & 0x7F) >> bits
      let fraction = Float(Int(byte) & ((1 << bits) - 1)) / Float(1 << bits)
      let magnitude = exponent == 0 ? fraction : 1 + fraction
      var expected = byte & 0x80 == 0 ? magnitude : -magnitude
      for _ in 0..<abs(max(exponent, 1) - bias) { expected *= max(exponent, 1) > bias ? 2 : 0.5 }
      #expect(value == expected && value.sign == expected.sign, "byte \(byte)")
    }
    // One, the largest, and the smallest in another tensor.
    let known: [(UInt8, Float)] =
      type == "F8_E4M3"
      ? [(0x38, 1), (0x7E, 448), (0xFE, -448), (0x01, 0x1p-9), (0x87, -0x1.Cp-7)]
      : [(0x3C, 1), (0x7B, 57344), (0xFB, -57344), (0x01, 0x1p-16), (0x83, -0x1.8p-15)]
    checkpoint.tensors[0].bytes.replaceSubrange(0..<known.count, with: known.map(\.0))
    let second = try ConversionTests.convert(checkpoint, scratch, encoding: .float32)
    #expect(Array(ConversionTests.floats(second, second.tensors[0])[..<known.count]) == known.map(\.1))
    for byte in (0...UInt8.max) where !isFinite(Int(byte)) {
      checkpoint.tensors[0].bytes[7] = byte
      let refusal = #expect(throws: Refusal.self) { try ConversionTests.convert(checkpoint, scratch) }
      #expect(refusal?.name == .nonFiniteWeight)
    }
  }

  /// What is between two float32 is rounded, and what is beyond all of them is refused.
  @Test func sixtyFourBits() throws {
    let scratch = try Scratch()
    var checkpoint = TestCheckpoint(.float64)
    func put(_ values: [Double]) {
      var writer = ByteWriter()
      for value in values { writer.integer(value.bitPattern) }
      checkpoint.tensors[0].bytes.replaceSubrange(0..<writer.bytes.count, with: writer.bytes)
    }
    put([0.1, 1 + 0x1p-25, -1e-60])
    let pack = try ConversionTests.convert(checkpoint, scratch, encoding: .float32)
    #expect(Array(ConversionTests.floats(pack, pack.tensors[0])[..<3]) == [0.1, 1, 0])
    put([1e300])
    let refusal = #expect(throws: Refusal.self) { try ConversionTests.convert(checkpoint, scratch) }
    #expect(refusal?.name == .nonFiniteWeight)
  }

  static let dispensable: [(String, String, [Int], Int)] = [
    ("model.rotary_emb.inv_freq", "F32", [2], 8), ("model.layers.1.self_attn.rotary_emb.inv_freq", "BF16", [2], 4),
    ("model.layers.0.self_attn.rotary_emb.cos_cached", "F16", [1, 1, 2, 2], 8),
    ("model.layers.0.self_attn.masked_bias", "F32", [], 4), ("model.layers.0.attn.bias", "F32", [1, 1, 1, 1], 4),
    ("model.layers.0.self_attn.bias", "BOOL", [2, 2], 4), ("model.embeddings.position_ids", "I64", [1, 2], 16),
    ("nothing", "F32", [0], 0), ("nothing.at.all", "BF16", [3, 0, 2], 0), ("mask", "U8", [3], 3),
    ("lm_head_of_nothing.weight", "F16", [0, 8], 0),
  ]

  /// Buffers, whole numbers and empty tensors are left aside, wherever they lie in the file.
  @Test(arguments: dispensable.indices, [false, true]) func leftAside(number: Int, isFirst: Bool) throws {
    let (name, type, shape, byteCount) = Self.dispensable[number]
    let scratch = try Scratch()
    let plain = try ConversionTests.convert(TestCheckpoint(), scratch)
    var checkpoint = TestCheckpoint()
    checkpoint.tensors.insert(
      .init(name: name, elementType: type, shape: shape, bytes: [UInt8](repeating: 0xFF, count: byteCount)),
      at: isFirst ? 0 : checkpoint.tensors.count)
    let pack = try ConversionTests.convert(checkpoint, scratch)
    #expect(pack.tensors.map(\.digest) == plain.tensors.map(\.digest))
    let directory = try scratch.directory("again")
    try checkpoint.write(to: directory)
    #expect(try Converter(directory: directory).plan.unusedTensors == [name])
  }

  /// Some programs have nothing to say of a file.
  @Test func metadataMayBeNull() throws {
    let scratch = try Scratch()
    let plain = try ConversionTests.convert(TestCheckpoint(), scratch)
    var checkpoint = TestCheckpoint()
    checkpoint.editHeader = {
      $0 = Array(String(decoding: $0, as: UTF8.self).replacing(#"{"format":"pt"}"#, with: "null").utf8)
    }
    #expect(try ConversionTests.convert(checkpoint, scratch).tensors.map(\.digest) == plain.tensors.map(\.digest))
  }

  /// Biases come through as they are, whatever the matrices are converted to.
  @Test(arguments: [TensorEncoding.float32, .float16, .int8(groupSize: 8), .int4(groupSize: 8)])
  func biasesStayFloat32(encoding: TensorEncoding) throws {
    var llama = TestCheckpoint.llama
    llama.attentionInputBias = true
    llama.attentionOutputBias = true
    llama.mlpBias = true
    var checkpoint = TestCheckpoint(.bfloat16, llama: llama)
    checkpoint.configuration["attention_bias"] = .boolean(true)
    checkpoint.configuration["mlp_bias"] = .boolean(true)
    let pack = try ConversionTests.convert(checkpoint, Scratch(), encoding: encoding)
    #expect(pack.configuration == llama)
    var count = 0
    for (number, tensor) in pack.tensors.enumerated() where tensor.name.hasSuffix(".bias") {
      #expect(ConversionTests.floats(pack, tensor) == TestCheckpoint.values(number, count: tensor.columns))
      count += 1
    }
    #expect(count == 2 * 7)
  }

  /// Another model's folder has other sources: they are part of its provenance, and so of the pack's identity.
  @Test func generationConfigurationIsASource() throws {
    var checkpoint = TestCheckpoint()
    checkpoint.generation = .members(["eos_token_id": .integer(2)])
    let pack = try ConversionTests.convert(checkpoint, Scratch())
    #expect(pack.provenance.sources.map(\.name) == ["config.json", "generation_config.json", "model.safetensors"])
  }
}
