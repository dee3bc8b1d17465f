import ContextTrees
import NodeBlocks
import Testing

@testable import Evaluation

/// What is compared must be comparable: the same scored tokens at every length, and chunks that longer contexts share.
@Suite struct PerplexityLayoutTests {
  static let layout = PerplexityLayout(window: 1024, chunkSize: 256, runningText: 1000, scored: 256)
  static let lengths = [1, 2, 4, 8, 32, 128]

  @Test func runningTextsEndWithTheDocument() {
    let length = 128 * 1024
    for windows in Self.lengths {
      let parts = Self.layout.parts(windows: windows, documentLength: length)
      #expect(parts.runningText.upperBound == length)
      #expect(parts.runningText.count == (windows == 1 ? 512 : 1000))
      #expect(parts.runningText.count > Self.layout.scored)
      #expect(parts.chunks.allSatisfy { $0.count == 256 })
      // Whole chunks up to the running text, no longer than the document.
      #expect(parts.chunks.last?.upperBound == parts.runningText.lowerBound)
      #expect(zip(parts.chunks, parts.chunks.dropFirst()).allSatisfy { $0.upperBound == $1.lowerBound })
      let missing = parts.chunks[0].lowerBound - (length - windows * 1024)
      #expect((0..<256).contains(missing))
    }
    #expect(Self.layout.parts(windows: 1, documentLength: length).chunks.count == 2)
    #expect(Self.layout.parts(windows: 128, documentLength: length).chunks.count == (128 * 1024 - 1000) / 256)
  }

  @Test func chunksAreNested() {
    let chunks = Self.lengths.dropFirst().map {
      Set(Self.layout.parts(windows: $0, documentLength: 128 * 1024).chunks)
    }
    for (shorter, longer) in zip(chunks, chunks.dropFirst()) { #expect(shorter.isStrictSubset(of: longer)) }
  }

  /// A running text holds what is scored, even where half of the document is less.
  @Test func shortDocuments() {
    let layout = PerplexityLayout(window: 512, chunkSize: 128, runningText: 512, scored: 300)
    let parts = layout.parts(windows: 1, documentLength: 512)
    #expect(parts == PerplexityLayout.Parts(chunks: [83..<211], runningText: 211..<512))
  }

  @Test func positions() {
    /// Texts and ends of documents of 100 tokens.
    func positions(_ counts: [Int], _ count: Int, spacing: Int = 100) -> [[Int]] {
      DocumentPositions(tokenCounts: counts, length: 100, count: count, spacing: spacing).positions.map {
        [$0.text, $0.end]
      }
    }
    #expect(positions([99, 100], 5) == [[1, 100]])
    // One lies in the middle; several from the start to the end, without a common token.
    #expect(positions([300], 1) == [[0, 200]])
    #expect(positions([350], 9) == [[0, 100], [0, 225], [0, 350]])
    // Texts take turns.
    #expect(positions([1000, 150], 3) == [[0, 100], [0, 1000], [1, 125]])
    // Documents that overlap: scored tokens do not.
    let many = positions([400], 100, spacing: 10)
    #expect(many.count == 31)
    #expect(zip(many, many.dropFirst()).allSatisfy { $1[1] - $0[1] >= 10 })
  }

  /// Ends are where a chunk of the whole text ends before the running text; no two are nearer than the spacing.
  @Test(arguments: [(1, 0), (16, 0), (16, 5)]) func placesOnChunks(step: Int, offset: Int) {
    for (counts, spacing) in [([99, 100, 131, 500], 100), ([1000, 640], 20), ([90], 100)] {
      let positions = DocumentPositions(
        tokenCounts: counts, length: 100, count: 12, spacing: spacing, step: step, offset: offset
      ).positions
      for position in positions {
        #expect((100...counts[position.text]).contains(position.end) && position.end % step == offset)
      }
      for (one, next) in zip(positions, positions.dropFirst()) where one.text == next.text {
        #expect(next.end - one.end >= spacing)
      }
      #expect(positions.isEmpty == (counts == [90]))
    }
  }

  /// Every profile has about the rows of the paper's way, and each does what it says.
  @Test func levels() throws {
    let shape = try #require(TreeShape(chunkSize: 256, depth: 3, leafRatio: 4))
    let kept = ContextTree(shape: shape, tokenCount: 256).preservedNodes(policy: .right, chunk: 0) { _ in 0 }
    func rows(_ levels: RowLevels) -> [Int] { levels.shared(kept, depth: 3).map(\.rowCount) }
    #expect(rows(.geometric) == [8, 8, 8, 8])
    #expect(rows(.flat) == [16, 8, 4, 4])
    #expect(rows(.inverse) == [22, 6, 2, 2])
    #expect(rows(.leaves) == [16, 16])
  }
}
