import CanonicalJSON
import Conversion
import FileAccess
import ModelPacks

/// A small GGUF file in memory that tests change before it is written.
struct TestGGUF {
  indirect enum Value {
    case uint8(UInt8)
    case uint16(UInt16)
    case uint32(UInt32)
    case int32(Int32)
    case uint64(UInt64)
    case float32(Float)
    case boolean(Bool)
    case string(String)
    /// All of one type.
    case array([Value])
    /// A type and bytes, whatever they are.
    case raw(UInt32, [UInt8])

    var type: UInt32 {
      switch self {
      case .uint8: 0
      case .uint16: 2
      case .uint32: 4
      case .int32: 5
      case .float32: 6
      case .boolean: 7
      case .string: 8
      case .array: 9
      case .uint64: 10
      case .raw(let type, _): type
      }
    }

    func append(to writer: inout ByteWriter) {
      switch self {
      case .uint8(let value): writer.integer(value)
      case .uint16(let value): writer.integer(value)
      case .uint32(let value): writer.integer(value)
      case .int32(let value): writer.integer(value)
      case .uint64(let value): writer.integer(value)
      case .float32(let value): writer.integer(value.bitPattern)
      case .boolean(let value): writer.append([value ? 1 : 0])
      case .string(let value):
        writer.integer(UInt64(value.utf8.count))
        writer.append(Array(value.utf8))
      case .array(let values):
        writer.integer(values.first?.type ?? 4)
        writer.integer(UInt64(values.count))
        for value in values { value.append(to: &writer) }
      case .raw(_, let bytes): writer.append(bytes)
      }
    }
  }

  struct Tensor {
    var name: String
    /// Outermost first.
    var shape: [Int]
    var type: UInt32
    var bytes: [UInt8]
    /// Instead of the next aligned place.
    var offset: UInt64?
  }

  var magic = Array("GGUF".utf8)
  var version: UInt32 = 3
  var values: [(key: String, value: Value)] = []
  var tensors: [Tensor] = []
  var alignment = 32
  /// Instead of the true counts.
  var tensorCount: UInt64?
  var keyCount: UInt64?

  func bytes() -> [UInt8] {
    var writer = ByteWriter()
    writer.append(magic)
    writer.integer(version)
    writer.integer(tensorCount ?? UInt64(tensors.count))
    writer.integer(keyCount ?? UInt64(values.count))
    for (key, value) in values {
      Value.string(key).append(to: &writer)
      writer.integer(value.type)
      value.append(to: &writer)
    }
    var offset = 0
    var data: [UInt8] = []
    for tensor in tensors {
      Value.string(tensor.name).append(to: &writer)
      writer.integer(UInt32(tensor.shape.count))
      for size in tensor.shape.reversed() { writer.integer(UInt64(bitPattern: Int64(size))) }
      writer.integer(tensor.type)
      writer.integer(tensor.offset ?? UInt64(offset))
      data += [UInt8](repeating: 0, count: offset - data.count) + tensor.bytes
      offset = data.count + CheckedSize.padding(after: data.count, to: alignment)
    }
    let header = writer.bytes
    return header + [UInt8](repeating: 0, count: CheckedSize.padding(after: header.count, to: alignment)) + data
  }

  func write(to path: String) throws { try TestCheckpoint.write(bytes(), to: path) }

  subscript(key: String) -> Value? {
    get { values.first { $0.key == key }?.value }
    set {
      guard let index = values.firstIndex(where: { $0.key == key }) else {
        if let newValue { values.append((key, newValue)) }
        return
      }
      if let newValue { values[index].value = newValue } else { values.remove(at: index) }
    }
  }

  /// The same model as a `TestCheckpoint`, as llama.cpp's converter would write it.
  init(_ checkpoint: TestCheckpoint, llama: LlamaConfiguration = TestCheckpoint.llama, architecture: String = "llama") {
    values = [
      ("general.architecture", .string(architecture)),
      ("\(architecture).context_length", .uint32(UInt32(llama.maxPositionCount))),
      ("\(architecture).embedding_length", .uint32(UInt32(llama.hiddenSize))),
      ("\(architecture).block_count", .uint32(UInt32(llama.layerCount))),
      ("\(architecture).feed_forward_length", .uint32(UInt32(llama.intermediateSize))),
      ("\(architecture).attention.head_count", .uint32(UInt32(llama.headCount))),
      ("\(architecture).attention.head_count_kv", .uint32(UInt32(llama.kvHeadCount))),
      ("\(architecture).attention.key_length", .uint32(UInt32(llama.headDim))),
      ("\(architecture).rope.freq_base", .float32(Float(llama.ropeTheta))),
      ("\(architecture).attention.layer_norm_rms_epsilon", .float32(llama.rmsNormEpsilon)),
      ("\(architecture).rope.dimension_count", .uint64(UInt64(llama.headDim))),
      ("tokenizer.ggml.bos_token_id", .uint32(1)), ("tokenizer.ggml.eos_token_id", .uint32(2)),
    ]
    let types: [String: UInt32] = ["F32": 0, "F16": 1, "BF16": 30, "F64": 28]
    for tensor in checkpoint.tensors {
      let name = Self.name(tensor.name)
      var bytes = tensor.bytes
      if architecture == "llama", name.contains("attn_q.") || name.contains("attn_k.") {
        bytes = Self.pairs(bytes, rows: tensor.shape[0], headDim: llama.headDim)
      }
      tensors.append(Tensor(name: name, shape: tensor.shape, type: types[tensor.elementType] ?? 99, bytes: bytes))
    }
  }

  private static func name(_ name: String) -> String {
    let names = [
      ("model.embed_tokens", "token_embd"), ("model.norm", "output_norm"), ("lm_head", "output"),
      ("model.layers", "blk"), ("input_layernorm", "attn_norm"), ("post_attention_layernorm", "ffn_norm"),
      ("self_attn.q_proj", "attn_q"), ("self_attn.k_proj", "attn_k"), ("self_attn.v_proj", "attn_v"),
      ("self_attn.o_proj", "attn_output"), ("mlp.gate_proj", "ffn_gate"), ("mlp.up_proj", "ffn_up"),
      ("mlp.down_proj", "ffn_down"),
    ]
    return names.reduce(name) { $0.replacing($1.0, with: $1.1) }
  }

  /// Rows of heads, first halves and second halves, put together as pairs.
  private static func pairs(_ bytes: [UInt8], rows: Int, headDim: Int) -> [UInt8] {
    let rowByteCount = bytes.count / rows
    func row(_ number: Int) -> ArraySlice<UInt8> { bytes[number * rowByteCount..<(number + 1) * rowByteCount] }
    var result: [UInt8] = []
    for head in stride(from: 0, to: rows, by: headDim) {
      for pair in 0..<headDim / 2 { result += row(head + pair) + row(head + headDim / 2 + pair) }
    }
    return result
  }
}
