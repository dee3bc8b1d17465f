import LlamaRuntime
import ModelPacks
import NodeBlocks
import Testing

/// Rows of a prepared text in other encodings, and fewer rows than tokens.
@Suite struct RowChoiceTests {
  private static let tokens = LlamaConfiguration.small.tokens("text", 230)
  private static let (frameCount, textCount) = (10, 150)

  private struct Prepared {
    let pack: TestPack
    let frame: TextPrefix
    let rows: TextRows
  }

  private func prepare(_ quantization: TensorEncoding = .float32) throws -> Prepared {
    let pack = try TestPack(.small, quantization: quantization)
    var frame = TextPrefix(layout: pack.model.textRowLayout)
    let first = Session(pack.model, behind: frame, capacity: Self.frameCount)
    first.skim(Array(Self.tokens[..<Self.frameCount]))
    frame.append(try first.rows(0..<Self.frameCount), readAt: 0)
    let session = Session(pack.model, behind: frame, capacity: Self.textCount)
    session.skim(Array(Self.tokens[Self.frameCount..<Self.frameCount + Self.textCount]))
    return Prepared(pack: pack, frame: frame, rows: try session.rows(0..<Self.textCount))
  }

  private func read(_ prepared: Prepared, behind rows: TextRows, threads: Int = 1) -> [Float] {
    var prefix = prepared.frame
    prefix.append(rows, tokenCount: Self.textCount, readAt: Self.frameCount)
    #expect(prefix.tokenCount == Self.frameCount + Self.textCount)
    let rest = Self.tokens[(Self.frameCount + Self.textCount)...]
    return Session(
      prepared.pack.model, behind: prefix, capacity: rest.count, threads: ThreadPool(threadCount: threads)
    ).readAll(rest)
  }

  private static func kept(_ layer: Int, _ head: Int) -> [Int] {
    (0..<textCount).filter { ($0 * 7 + layer * 3 + head * 5) % 10 < 4 + layer + head }
  }

  /// What is left out is not seen, and what is kept stands where it was read.
  @Test func leftOutRowsAreNotSeen() throws {
    let prepared = try prepare()
    let numbers = (0..<3).flatMap { layer in (0..<2).map { Self.kept(layer, $0).map { Int32($0) } } }
    let kept = try #require(KeptRows(layerCount: 3, kvHeadCount: 2, numbers: numbers))
    let few = try #require(prepared.rows.compressed(as: .float32, keeping: kept))
    let actual = read(prepared, behind: few)
    let before = Self.frameCount + Self.textCount
    let reference = ReferenceLlama { layer, head, t in
      var seen = Array(0...t)
      if t >= before {
        seen = Array(0..<Self.frameCount) + Self.kept(layer, head).map { $0 + Self.frameCount } + Array(before...t)
      }
      return ReferenceLlama.Seen(tokens: seen, positions: seen, position: t)
    }
    let expected = reference.logits(Self.tokens).suffix(actual.count)
    #expect((zip(actual, expected).map { abs(Double($0) - $1) }.max() ?? .infinity) < 1e-4)
    #expect(read(prepared, behind: few, threads: 3) == actual)
  }

  /// A row's score is the largest of what a few consecutive tokens give it together.
  @Test func scoresAreThoseOfTheSoftmax() throws {
    let prepared = try prepare()
    let (before, text) = (Self.frameCount + Self.textCount, Array(Self.tokens[(Self.frameCount + Self.textCount)...]))
    let (instruction, repetition) = (Array(text[..<20]), Array(text[20...]))
    let actual = prepared.pack.model.attentionPeaks(
      of: prepared.rows, behind: prepared.frame, after: instruction, whileReading: repetition)
    let reference = ReferenceLlama { _, _, t in
      ReferenceLlama.Seen(tokens: Array(0...t), positions: Array(0...t), position: t)
    }
    _ = reference.logits(Self.tokens)
    // Three heads of a group: 16 tokens come together, from multiples of 16 in the running text on.
    var expected = [Float](repeating: 0, count: actual.count)
    for layer in 0..<3 {
      for head in 0..<2 {
        for row in 0..<Self.textCount {
          let runs = [20..<32, 32..<48, 48..<64, 64..<70].map { run in
            run.reduce(0.0) { sum, token in
              sum + (reference.weights[[layer, head, before + token]]?[Self.frameCount + row] ?? 0)
            }
          }
          expected[(layer * 2 + head) * Self.textCount + row] = Float(runs.max() ?? 0)
        }
      }
    }
    #expect((zip(actual, expected).map { abs($0 - $1) }.max() ?? .infinity) < 1e-4)

    let (model, textTokens) = (prepared.pack.model, Array(Self.tokens[Self.frameCount..<before]))
    let counts = model.neededRows(
      of: prepared.rows, tokens: textTokens, behind: prepared.frame, instruction: instruction, count: 70,
      threads: ThreadPool(threadCount: 3))
    #expect(counts.count == 6 && (6 * 70 - 16...6 * 70).contains(counts.reduce(0, +)))
    let kept = model.keptRows(
      of: prepared.rows, tokens: textTokens, behind: prepared.frame, instruction: instruction, rowCounts: counts,
      threads: ThreadPool(threadCount: 3))
    #expect(kept.rowCounts == counts)
    #expect(Array(kept.rows(layer: 2, head: 1).prefix(4)) == [0, 1, 2, 3])
    #expect(Array(kept.rows(layer: 0, head: 0).suffix(12)) == (138..<150).map { Int32($0) })
    let even = model.keptRows(
      of: prepared.rows, tokens: textTokens, behind: prepared.frame, instruction: instruction, count: 70)
    #expect(even.rowCounts == [Int](repeating: 70, count: 6))
  }

  /// Rows of int4 are those that they restore to, but for the rounding of queries and weights; read at once or token by
  /// token, and behind a prefix whose running text has another encoding.
  @Test(arguments: [TensorEncoding.float32, .int8(groupSize: 16)])
  func int4Rows(_ quantization: TensorEncoding) throws {
    let prepared = try prepare(quantization)
    let int4 = try #require(prepared.rows.compressed(as: .int4))
    let restored = try #require(int4.compressed(as: .float32))
    let (actual, expected) = (read(prepared, behind: int4), read(prepared, behind: restored))
    let difference = zip(actual, expected).map { abs($0 - $1) }.max() ?? .infinity
    #expect(difference < 0.1 && difference > 0)
    #expect(read(prepared, behind: int4, threads: 3) == actual)
    var prefix = prepared.frame
    prefix.append(int4, tokenCount: Self.textCount, readAt: Self.frameCount)
    let stepwise = Session(prepared.pack.model, behind: prefix, capacity: 70, threads: ThreadPool(threadCount: 2))
    var logits: [Float] = []
    for token in Self.tokens[(Self.frameCount + Self.textCount)...] { logits += stepwise.read(CollectionOfOne(token)) }
    #expect(logits == actual)
  }
}
