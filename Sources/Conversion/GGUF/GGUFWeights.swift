import FileAccess
import ModelPacks

/// The tensors of a checkpoint in GGUF under their names in Hugging Face's layout.
struct GGUFWeights: WeightSource {
  let path: String
  let files: [WeightFile]

  /// - Parameters:
  ///   - headDim: numbers of a head; nil for an architecture whose pairs are halves in the file, too.
  /// - Throws: `Refusal` `unsupported-architecture`.
  init(_ source: GGUFFiles, rotatedPairsOf headDim: Int?) throws(Refusal) {
    path = source.metadata.file
    let turned = headDim.map { RowOrder.rotatedPairs(headDim: $0) } ?? .plain
    var files: [WeightFile] = []
    for part in source.parts {
      var tensors: [SourceTensor] = []
      for tensor in part.tensors {
        if tensor.name.hasSuffix("_exps.weight") || tensor.name.hasSuffix(".ffn_gate_inp.weight") {
          throw Refusal(
            .unsupportedArchitecture, file: part.path, structure: tensor.name,
            "belongs to a mixture of experts, which cannot be run")
        }
        let name = Self.huggingFaceName(tensor.name)
        let isTurned = name.contains(".q_proj.") || name.contains(".k_proj.")
        tensors.append(
          SourceTensor(
            name: name, shape: tensor.shape, byteRange: tensor.byteRange, typeName: tensor.type.name,
            blocks: tensor.type.blocks, rowOrder: isTurned ? turned : .plain))
      }
      files.append(WeightFile(name: part.name, path: part.path, byteCount: part.byteCount, tensors: tensors))
    }
    self.files = files
  }

  func open(_ number: Int) throws(Refusal) -> any WeightReader { try WeightFileReader(files[number].path) }

  /// A name that is not known stays as it is, and is refused as a tensor that no LLaMA has.
  static func huggingFaceName(_ name: String) -> String {
    let parts = name.split(separator: ".", omittingEmptySubsequences: false)
    guard let kind = parts.last, parts.count >= 2 else { return name }
    if parts.count == 2, let base = modelNames[String(parts[0])] { return "\(base).\(kind)" }
    // The digits as they are written, so that no two names become one.
    if parts.count == 4, parts[0] == "blk", let base = layerNames[String(parts[2])] {
      return "model.layers.\(parts[1]).\(base).\(kind)"
    }
    // What the program makes of the configuration is not among the weights.
    if name == GGUFConfiguration.divisorsName { return "model.rotary_emb.inv_freq" }
    return name
  }

  private static let modelNames = [
    "token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head",
  ]

  private static let layerNames = [
    "attn_norm": "input_layernorm", "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj", "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj",
    "attn_rot_embd": "self_attn.rotary_emb",
  ]
}
