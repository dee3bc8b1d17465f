import ContextTrees
import Glibc
import Testing

struct BM25ScorerTests {
  /// BM25 by hand: three parts of two tokens, so that lengths are even. Token 1 is in one of them, 2 in two.
  @Test func scores() {
    let parts: [ArraySlice<Int32>] = [[1, 2], [2, 3], [4, 4]]
    let scorer = BM25Scorer(parts: parts)
    func idf(_ count: Double) -> Double { log(1 + (3 - count + 0.5) / (count + 0.5)) }
    #expect(abs(Double(scorer.score(of: parts[0], for: [1])) - idf(1)) < 1e-6)
    #expect(abs(Double(scorer.score(of: parts[0], for: [2, 1, 1, 9])) - idf(1) - idf(2)) < 1e-6)
    // A token twice counts more, but not twice: 2 · 2.5 / (2 + 1.5).
    #expect(abs(Double(scorer.score(of: parts[2], for: [4])) - idf(1) * 5 / 3.5) < 1e-6)
    #expect(scorer.score(of: parts[1], for: [1]) == 0)
    // Of a part of twice the mean length a token counts less: 2.5 / (1 + 1.5 · 1.75).
    #expect(abs(Double(scorer.score(of: [1, 5, 6, 7], for: [1])) - idf(1) * 2.5 / 3.625) < 1e-6)
  }

  @Test func leavesAreInOrder() throws {
    let shape = try #require(TreeShape(chunkSize: 8, depth: 2, leafRatio: 1))
    let tokens = [Int32](10..<18)
    let leaves = ContextTree(shape: shape, tokenCount: 8).leaves(of: tokens)
    #expect(leaves.map(Array.init) == [[10, 11], [12, 13], [14, 15], [16, 17]])
  }
}
