import Conversion
import FileAccess
import ModelPacks
import Testing

/// One block of every quantized type, and its numbers by the package gguf 0.19.0. `Tools/verify/gguf` compares many more.
@Suite struct QuantizedBlockTests {
  struct Block: Sendable, CustomTestStringConvertible {
    let name: String
    let type: UInt32
    let first: [Float]
    let last: Float
    let bytes: [UInt8]
    /// SHA-256 of all floats.
    let digest: String

    init(_ name: String, _ type: UInt32, _ first: [Float], _ last: Float, _ hex: String, _ digest: String) {
      self.name = name
      self.type = type
      self.first = first
      self.last = last
      let digits = Array(hex)
      bytes = stride(from: 0, to: digits.count, by: 2).map { UInt8(String(digits[$0...$0 + 1]), radix: 16) ?? 0 }
      self.digest = digest
    }

    var testDescription: String { name }
  }

  static let blocks: [Block] = [
    Block(
      "Q4_0", 2, [0.7236328125, -1.447265625], -0.7236328125,
      "ca351ab4fc2eacd639326657fe9e30b12369",
      "4d771684d09a79a0c220049cc564ce455f1f2cd1924c230623882439679a1bc1"),
    Block(
      "Q4_1", 3, [1.5341796875, 0.7861328125], 3.404296875,
      "fc35aeb9f6c460a36362d3fdce4ed0fdeada00b4",
      "3dda2c7b91df3a7e8c2d357e0e31ead9518087e44e5890713fa6be04b847a536"),
    Block(
      "Q5_0", 6, [5.79345703125, 4.24853515625], -0.38623046875,
      "2e366b8cca147ffb341c816e17aa570a053b3d35d1f2",
      "92b80a90ea5f3c6eb11520035955e5c288bce47e25a37d71470aecab515469cc"),
    Block(
      "Q5_1", 7, [2.878173828125, 5.270263671875], 8.8583984375,
      "6136aeb9347306a6d94f12e94ecc497abf1fe0d1a565b380",
      "1dfb389785d670247b4b558da0d95c21cc7b6bb73896e4a5373634671f7d7f9b"),
    Block(
      "Q8_0", 8, [16.024658203125, 0.410888671875], -4.9306640625,
      "933627012b6922db268ec3f4d9c8dca1cbd28728ff0e2f1e77f1bb095010c35918f4",
      "aa2f379111c4acab5b2ff001f3c68f1439225f5dfd9b4d8eb6d85444da13a7b5"),
    Block(
      "Q2_K", 10, [28.268798828125, 9.2294921875], 18.114501953125,
      "dfa02b8e28b1328b7f828354f29166d75f34a66756fc04c0b64b0234350fe6542dbcf20106a76899153a230345d5ca31"
        + "420171e907f6c42696373c659fb0fe8012efc58a771bea8a66386cd10b4bd9ffc536aeb9",
      "74c7d3af0de89a7a8d26ad2c2428be1c9c4417a78c6e937000c558324c07eebf"),
    Block(
      "Q3_K", 11, [3.919921875, 3.919921875], 7.404296875,
      "0c8c8e99e2c634ee670a96a2571f2f83a1480f3bd2ed67b6a32950b3adbd918071d5400b11d1663d23f3ed3cc3c758e0"
        + "2dce97e24bec9c11b768ca849850dfb3e0c4e5ebaf011019e0a5fafa5c071872f67f335f0af34f8664dffdd95d57c743"
        + "9dc664fbdc897710b91fadd9f836",
      "529b408115af84e567470d1bd9a8ddfcb1823f1a2bb51cffacbfc690ca6ddb21"),
    Block(
      "Q4_K", 12, [32.9404296875, 28.462890625], 68.46630859375,
      "2a37aeb9c2595627de9f3eb90c76572bed588eb697e08681e6d13d5d7e7a7aa84450b9da2b2e80c4f3eeecb7ab54f61b"
        + "4870522434492fcc37ae967654bbfff71f7f7a215a12383f8465b97e2c44903243d46b73bc39995661df5f156c9525b7"
        + "77c79cc90d503a145844d5e6f4a57f6ae961a4b9c598d265516219a0168f58f0c0c949677549304e36403d924a16e59b",
      "f80dd95ebf7051e31631ab3d5a690c020674ebc1f81904426ccdb8b18200c68b"),
    Block(
      "Q5_K", 13, [24.11328125, 53.56640625], 61.7158203125,
      "5d37aeb90442d01d558e79c6d4721ad87899a2a88ddc75cc81102dc3c51a7404807da17db7c7b213d8b4cd1859c3177f"
        + "8595db8371bfbcd3aa5e88857dcd0b4311cb87fd59c21950f3064cb629a6efb81a981820fd41a70ca0c9671742c96cd2"
        + "0b71c4fdb35e6cf7dfd5a1ca8f4d4acb3bf9a43ad9bf07fc77533bf471926782f33db66500d833307cfc3ecb998fa9cf"
        + "c68f00cf1be0a8fb166c5c9e953fcbc324121cdeef136d1c223445d2402a4a53",
      "773f0136e1095d18c2f924d597cc1ec30045427b27634a765b638ff80a31da08"),
    Block(
      "Q6_K", 14, [-629.2529296875, 943.87939453125], 293.367919921875,
      "f462e24922681112e9dc23c2f5589f2604c53cc60e2c0f25e8df66671f4b499c750a6ecc9bfba375e5549205ff01b5ff"
        + "e99826f519aa297f68f45833f62fa32b9797fd53f6f7930b68d63fab8cb995b5d3433653fd84fe7c0ab31e11e2ed2d9d"
        + "ccd2a0ba36a28849e6e6c4169f940326966a4c05eb6c7547adfb72e7f7e6a9b9fdaf7142221f82d219fc430593c27bcc"
        + "70b487cddabd6f3556adfba387f6b2e866c5b348447232db1f3e98840f0e002f7b4a961a02826ffb1dce93253ffb4fc2"
        + "6f9b68d20868a034efe4ee3d8d6098178f37",
      "cd36ba929c380e4aeac89022e7ba3ce1b247db6b96f1e6c0f50b8cc820e1d615"),
    Block(
      "IQ4_NL", 20, [-16.961669921875, 6.300048828125], 0.484619140625,
      "c1373529cee256ba823cdbe4368a6424b389",
      "54bc61d18f3cdce379b6b5853b4243a6905ded25f4b2daa056ecc6a09ef66c1a"),
    Block(
      "IQ4_XS", 23, [-176.95703125, 206.78125], 136.6943359375,
      "f437c9a0bc6cccb3dee1003e7ead8c9ac3a71544e0a94e8b8ddc057c5ab436d2b88efe0e5b9432002e9fb500a414291e"
        + "03dccf9fb3dd29a0200d83feaaa0e4682c757b5cb02ea137b8437bbe609bb66e85823f337929802639c1a173e8993f2e"
        + "004b67f61ce84a759547a80810bc4a214d1b19532fb9276e6b89e6dba3e936acec52172bd7fd7ea0",
      "edb99ffde07cacc3912e26d10f1131aba62a3f3701d5255185afd0da2efe4c0b"),
  ]

  /// A model of one token whose embedding is the block, again and again.
  @Test(arguments: blocks) func numbers(block: Block) throws {
    let scratch = try Scratch()
    let llama = LlamaConfiguration(
      hiddenSize: 256, intermediateSize: 8, layerCount: 1, headCount: 2, kvHeadCount: 1, headDim: 4, vocabularySize: 4,
      rmsNormEpsilon: 1e-5, ropeTheta: 10000, ropeScaling: .none, maxPositionCount: 64, tiesWordEmbeddings: true,
      beginOfTextToken: 1, endOfTextTokens: [2])
    var file = TestGGUF(TestCheckpoint(llama: llama), llama: llama)
    let embedding = try #require(file.tensors.firstIndex { $0.name == "token_embd.weight" })
    let rowByteCount = [18: 8, 20: 8, 22: 8, 24: 8, 34: 8][block.bytes.count, default: 1] * block.bytes.count
    file.tensors[embedding].type = block.type
    file.tensors[embedding].bytes = (0..<4 * rowByteCount).map { block.bytes[$0 % block.bytes.count] }
    try file.write(to: "\(scratch.path)/model.gguf")
    var options = Converter.Options()
    options.encoding = .float32
    _ = try Converter(directory: "\(scratch.path)/model.gguf", options: options).run(output: "\(scratch.path)/pack.spk")
    let pack = try ModelPack(opening: "\(scratch.path)/pack.spk")
    let floats = ConversionTests.floats(
      pack, try #require(pack.tensors.first { $0.name == "model.embed_tokens.weight" }))
    let length = 4 * 256 / (file.tensors[embedding].bytes.count / block.bytes.count)
    #expect(Array(floats[..<2]) == block.first && floats[length - 1] == block.last)
    for start in stride(from: 0, to: floats.count, by: length) {
      var bytes = ByteWriter()
      for value in floats[start..<start + length] { bytes.integer(value.bitPattern) }
      #expect(Digest256(of: bytes.bytes).description == block.digest)
    }
  }
}
