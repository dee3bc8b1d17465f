extension Tokenizer {
  /// The tokenizer without the tokens from an id on, for a model whose embedding has no row for them.
  /// - Returns: what is left, and how many tokens went.
  /// - Throws: `TokenizerError` when nothing works without them: all tokens go, or the unknown token does.
  public func limited(to vocabularySize: Int) throws(TokenizerError) -> (tokenizer: Tokenizer, dropped: Int) {
    var definition = vocabulary.definition
    let dropped = definition.pieces.count - max(vocabularySize, 0)
    guard dropped > 0 else { return (self, 0) }
    let count = max(vocabularySize, 0)
    let oldCount = definition.pieces.count
    definition.pieces.ends.removeLast(dropped)
    definition.pieces.bytes.removeLast(definition.pieces.bytes.count - Int(definition.pieces.ends.last ?? 0))
    definition.kinds.removeLast(dropped)
    func symbol(_ old: UInt32) -> UInt32? {
      // The symbols of extra characters follow the pieces.
      if Int(old) >= oldCount { return old - UInt32(dropped) }
      return Int(old) < count ? old : nil
    }
    var kept: [Merge] = []
    var rankStarts = false
    for merge in definition.merges {
      // The first merge of a rank that is left starts it.
      if !merge.sharesRank { rankStarts = true }
      guard let left = symbol(merge.left), let right = symbol(merge.right), Int(merge.result) < count else { continue }
      kept.append(Merge(left: left, right: right, result: merge.result, sharesRank: !rankStarts))
      rankStarts = false
    }
    definition.merges = kept
    definition.options = definition.options.filter { Int($0.key) < count }
    if let token = definition.beginOfText, Int(token) >= count { definition.beginOfText = nil }
    definition.endOfText.removeAll { Int($0) >= count }
    if let token = definition.unknownToken, Int(token) >= count { definition.unknownToken = nil }
    var tokenizer = try Tokenizer(definition)
    tokenizer.importNotes = importNotes
    return (tokenizer, dropped)
  }
}
