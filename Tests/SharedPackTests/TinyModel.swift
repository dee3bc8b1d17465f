import CanonicalJSON
import Conversion
import FileAccess
import LlamaRuntime
import ModelPacks
import SeededRandom
import SharedPack
import Testing
import Tokenization

/// A directory that is removed with its last user.
final class Scratch: Sendable {
  let path: String

  init() throws(Refusal) { path = try Directory.temporary("sharedpack-tests") }

  deinit { try? Directory.removeTree(path) }

  @discardableResult
  func write(_ text: String, to name: String) throws(Refusal) -> String {
    try write(Array(text.utf8), to: name)
  }

  @discardableResult
  func write(_ bytes: [UInt8], to name: String) throws(Refusal) -> String {
    try Self.write(bytes, path: "\(path)/\(name)")
    return "\(path)/\(name)"
  }

  static func write(_ bytes: [UInt8], path: String) throws(Refusal) {
    var file = try PublishedFile(creating: path)
    try file.append(bytes)
    try file.publish()
  }
}

/// A model of reproducible random weights with a tokenizer of letters and bytes, converted like any other.
struct TinyModel {
  enum Injection {
    case none, trained, untrained
    /// Of the states of an encoder, by the layers at the top.
    case encoder
  }

  var injection = Injection.trained
  /// Models of different seeds differ in weights alone.
  var seed = 0
  var window = 256
  var hasTokenizer = true
  var positionMode = PositionMode.compose
  var endOfText = 2
  /// One of those that come with the library.
  var chatTemplate: String?
  var quantization = TensorEncoding.int8(groupSize: 32)

  static let layerCount = 3
  static let injectedLayerCount = 2
  static let chunkSize = 16

  static let hiddenSize = 32
  static let headDim = 8
  static let encoderSize = 24

  /// The path of the checkpoint.
  func checkpoint(in scratch: Scratch) throws -> String {
    let name = "checkpoint-\(UInt64.random(in: .min ... .max))"
    let directory = "\(scratch.path)/\(name)"
    try Directory.create(directory)
    var config: [(String, JSONValue)] = [
      ("architectures", .array([.string("LlamaForCausalLM")])), ("model_type", .string("llama")),
      ("hidden_size", .integer(Self.hiddenSize)), ("intermediate_size", .integer(48)),
      ("num_hidden_layers", .integer(Self.layerCount)), ("num_attention_heads", .integer(4)),
      ("num_key_value_heads", .integer(2)), ("vocab_size", .integer(TinyTokenizer.pieces.count)),
      ("max_position_embeddings", .integer(window)), ("rms_norm_eps", .number(1e-5)),
      ("bos_token_id", .integer(1)), ("eos_token_id", .integer(endOfText)),
    ]
    if injection == .trained {
      config.append(
        (
          "sharedllm",
          .members([
            "injected_layers": .integer(Self.injectedLayerCount), "chunk_size": .integer(Self.chunkSize),
            "tree_depth": .integer(3), "leaf_ratio": .integer(1), "position_mode": .string(positionMode.rawValue),
          ])
        ))
    }
    if injection == .encoder {
      config += [
        ("num_cross_attn_layers", .integer(Self.injectedLayerCount)),
        (
          "encoder_config",
          .members([
            "hidden_size": .integer(Self.encoderSize), "intermediate_size": .integer(40),
            "num_hidden_layers": .integer(2),
            "num_attention_heads": .integer(3), "vocab_size": .integer(TinyTokenizer.pieces.count),
            "max_position_embeddings": .integer(Self.chunkSize), "rms_norm_eps": .number(1e-5),
          ])
        ),
      ]
    }
    let json = JSONValue.object(config.map { JSONValue.Member($0.0, $0.1) })
    try scratch.write(json.canonical, to: "\(name)/config.json")
    if hasTokenizer { try scratch.write(TinyTokenizer.sentencePiece, to: "\(name)/tokenizer.model") }
    try weights().write(to: "\(directory)/model.safetensors")
    return directory
  }

  /// The pack's path; every pack has the same file name.
  func pack(in scratch: Scratch) throws -> String {
    let directory = try checkpoint(in: scratch)
    var options = Converter.Options()
    options.encoding = quantization
    if let chatTemplate { options.chatTemplate = .named(chatTemplate) }
    if injection == .untrained {
      options.injectedLayers = Self.injectedLayerCount
      options.chunkSize = Self.chunkSize
      options.leafRatio = 1
    }
    let path = "\(directory)/model.spk"
    _ = try Converter(directory: directory, options: options).run(output: path)
    return path
  }

  func open(in scratch: Scratch, threadCount: Int = 2) throws -> LanguageModel {
    try LanguageModel(opening: pack(in: scratch), threadCount: threadCount)
  }

  private func weights() -> SafetensorsFile {
    var tensors: [String: SafetensorsFile.Tensor] = [:]
    func add(_ name: String, _ shape: [Int], _ transform: (Int, Float) -> Float) {
      let values = Self.uniform("\(name) \(seed)", shape.reduce(1, *)).enumerated().map { transform($0, $1) }
      tensors["\(name).weight"] = SafetensorsFile.Tensor(shape: shape, values: .float32(values))
    }
    let hidden = Self.hiddenSize
    let vocabulary = TinyTokenizer.pieces.count
    func norm(_ name: String) { add(name, [hidden]) { 1 + 0.25 * $1 } }
    func matrix(_ name: String, _ rows: Int, _ columns: Int) { add(name, [rows, columns]) { 0.35 * $1 } }
    add("model.embed_tokens", [vocabulary, hidden]) { $1 }
    // Letters are likelier than bytes and the end of the text, so that answers are mostly text.
    add("lm_head", [vocabulary, hidden]) { $0 / hidden < TinyTokenizer.firstLetter ? 0.02 * $1 : $1 }
    norm("model.norm")
    func layer(_ prefix: String, hidden: Int, heads: Int, kvHeads: Int, inner: Int) {
      add("\(prefix).input_layernorm", [hidden]) { 1 + 0.25 * $1 }
      add("\(prefix).post_attention_layernorm", [hidden]) { 1 + 0.25 * $1 }
      matrix("\(prefix).self_attn.q_proj", heads * Self.headDim, hidden)
      matrix("\(prefix).self_attn.k_proj", kvHeads * Self.headDim, hidden)
      matrix("\(prefix).self_attn.v_proj", kvHeads * Self.headDim, hidden)
      matrix("\(prefix).self_attn.o_proj", hidden, heads * Self.headDim)
      matrix("\(prefix).mlp.gate_proj", inner, hidden)
      matrix("\(prefix).mlp.up_proj", inner, hidden)
      matrix("\(prefix).mlp.down_proj", hidden, inner)
    }
    if injection == .encoder {
      add("encoder.embed_tokens", [vocabulary, Self.encoderSize]) { $1 }
      add("encoder.norm", [Self.encoderSize]) { 1 + 0.25 * $1 }
      for number in 0..<2 {
        layer("encoder.layers.\(number)", hidden: Self.encoderSize, heads: 3, kvHeads: 3, inner: 40)
      }
    }
    let first = Self.layerCount - Self.injectedLayerCount
    for number in 0..<Self.layerCount {
      let prefix = "model.layers.\(number)"
      layer(prefix, hidden: hidden, heads: 4, kvHeads: 2, inner: 48)
      switch injection {
      case .trained where number < Self.injectedLayerCount: break
      case .encoder where number >= first:
        matrix("\(prefix).cross_attn.k_proj", 2 * Self.headDim, Self.encoderSize)
        matrix("\(prefix).cross_attn.v_proj", 2 * Self.headDim, Self.encoderSize)
      default: continue
      }
      norm("\(prefix).cross_attn.layernorm")
      matrix("\(prefix).cross_attn.q_proj", 4 * Self.headDim, hidden)
      matrix("\(prefix).cross_attn.o_proj", hidden, 4 * Self.headDim)
    }
    return SafetensorsFile(tensors)
  }

  /// Floats in -1 ..< 1 from SplitMix64, seeded with FNV-1a of the name.
  private static func uniform(_ name: String, _ count: Int) -> [Float] {
    var random = SplitMix64(name: name)
    return (0..<count).map { _ in Float(random.next() >> 40) / Float(1 << 23) - 1 }
  }
}

/// A SentencePiece model: special pieces, the 256 bytes, letters and a few merges of them.
enum TinyTokenizer {
  /// Text and type, in the words of sentencepiece_model.proto.
  static let pieces: [(text: String, type: Int)] = {
    var pieces: [(String, Int)] = [("<unk>", 2), ("<s>", 3), ("</s>", 3)]
    let digits = Array("0123456789ABCDEF")
    for byte in 0..<256 { pieces.append(("<0x\(digits[byte >> 4])\(digits[byte & 15])>", 6)) }
    pieces += "\u{2581}abcdefghijklmnopqrstuvwxyz.,".map { (String($0), 1) }
    pieces += ["th", "he", "in", "an", "er", "the", "\u{2581}a", "\u{2581}the"].map { ($0, 1) }
    return pieces
  }()

  static let firstLetter = 259

  /// The token of a byte.
  static func byte(_ byte: UInt8) -> Int32 { 3 + Int32(byte) }

  static let sentencePiece: [UInt8] = {
    func varint(_ value: Int) -> [UInt8] {
      value < 128 ? [UInt8(value)] : [UInt8(value & 127 | 128)] + varint(value >> 7)
    }
    func field(_ number: Int, _ bytes: [UInt8]) -> [UInt8] { varint(number << 3 | 2) + varint(bytes.count) + bytes }
    func field(_ number: Int, _ value: Int) -> [UInt8] { varint(number << 3) + varint(value) }
    var bytes: [UInt8] = []
    for (index, piece) in pieces.enumerated() {
      // Merges rank by score: earlier pieces first.
      var score = ByteWriter()
      score.integer(Float(-index).bitPattern)
      bytes += field(1, field(1, Array(piece.text.utf8)) + varint(2 << 3 | 5) + score.bytes + field(3, piece.type))
    }
    // BPE with byte fallback; the identity, with a space in front and no other change.
    bytes += field(2, field(3, 2) + field(35, 1))
    bytes += field(3, field(3, 1) + field(4, 0) + field(5, 1))
    return bytes
  }()
}

/// Texts of the tests, in letters that the tokenizer has and some that it has not.
enum Texts {
  static let first = "the hen in the barn ate an ear of corn, then another. the cat ran after the hen. été."
  static let second =
    "an engineer threw the anchor into the inner harbour. there it lay in the mud, 漢字 and all, for ages."
}

/// The refusal that a body ends with.
func refusal(_ body: () throws -> Void) -> Refusal? {
  #expect(throws: Refusal.self, performing: body)
}
