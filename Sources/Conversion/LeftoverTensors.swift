import ModelPacks

extension SourceTensor {
  /// Whether a model can do without it, where its architecture has no such tensor: nothing, numbers that are no weights,
  /// and buffers that programs keep beside the weights. transformers leaves them aside, too.
  ///
  /// Whatever else is left over is refused: a checkpoint whose weights are not all read is another model.
  var isDispensable: Bool {
    if shape.contains(0) || Self.countingTypes.contains(typeName) { return true }
    let parts = name.split(separator: ".")
    // Cached angles, and the masks and scores for it of other programs' attention.
    return parts.contains("rotary_emb") || parts.last == "masked_bias"
      || parts.suffix(2).elementsEqual(["attn", "bias"]) || parts.suffix(2).elementsEqual(["self_attn", "bias"])
  }

  /// Masks and positions. Weights in whole numbers come with scales, which are refused.
  private static let countingTypes: Set<String> = [
    "BOOL", "U8", "I8", "U16", "I16", "U32", "I32", "U64", "I64",
  ]
}

extension WeightSource {
  /// The tensors of a model under the names that they have here: where the embedding is also the output projection, some
  /// programs write it under the name of the latter only.
  func sources(of needed: [LlamaTensor]) -> [LlamaTensor] {
    let (embedding, head) = ("model.embed_tokens.weight", "lm_head.weight")
    let names = Set(files.flatMap(\.tensors).map(\.name))
    guard !names.contains(embedding), names.contains(head), !needed.contains(where: { $0.name == head }) else {
      return needed
    }
    return needed.map { tensor in tensor.name == embedding ? tensor.renamed(head) : tensor }
  }
}
