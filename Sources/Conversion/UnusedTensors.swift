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
