package import ContextTrees
import Tokenization

/// Where a text is cut into the chunks whose trees are made.
public enum ChunkBorders: String, Sendable, CaseIterable {
  /// After the last sentence or line that ends in the last quarter of a whole chunk, else before its last word, so that
  /// no number is split. After a change in a text, its chunks are the same again from the first cut at the same token
  /// on; with sentences of varied lengths that comes soon, with lines of equal length perhaps never.
  case sentences
  /// Whole chunks, then the remainder, as in the paper.
  case fixed
}

extension LanguageModel {
  /// The chunks of a document, in order. Without a tokenizer they are fixed.
  package func chunks(of tokens: [Int32], shape: TreeShape, borders: ChunkBorders) -> [Range<Int>] {
    guard borders == .sentences, let tokenizer else { return shape.chunks(tokenCount: tokens.count) }
    return shape.chunks(tokenCount: tokens.count) { tokenizer.boundary(between: tokens[$0 - 1], and: tokens[$0]) }
  }
}
