internal import ModelPacks
public import NodeBlocks

extension LlamaModel {
  /// Which rows of a text no question will miss, so that the others need not be kept: the model repeats the text from its
  /// own rows, and those rows stay that get the most attention while it does.
  ///
  /// A row's score is the largest weight that the queries of some consecutive tokens, as many as are attended to
  /// together, and all heads of its group give it together. Reads as many tokens as the text has.
  ///
  /// Source: arXiv 2505.23416, section 3.
  /// - Parameters:
  ///   - rows: of the text, read behind the prefix.
  ///   - tokens: of the text, as many as it has rows.
  ///   - prefix: what stood before the text.
  ///   - instruction: to repeat the text, read between the text and its repetition; may be empty.
  ///   - rowCounts: rows of each head that stay: (layer, kv head).
  ///   - threads: share the work; nil takes the model's. The result does not depend on it.
  public func keptRows(
    of rows: TextRows, tokens: [Int32], behind prefix: TextPrefix, instruction: [Int32], rowCounts: [Int],
    threads: ThreadPool? = nil
  ) -> KeptRows {
    precondition(tokens.count == rows.rowCount, "rows of the text's tokens")
    let scores = attentionPeaks(of: rows, behind: prefix, after: instruction, whileReading: tokens, threads: threads)
    return KeptRows(
      bestOf: scores, layerCount: configuration.layerCount, kvHeadCount: configuration.kvHeadCount,
      rowCounts: rowCounts, first: Self.alwaysKeptRows.first, last: Self.alwaysKeptRows.last)
  }

  /// The same with as many rows of each head, which is worse than as many as each needs.
  public func keptRows(
    of rows: TextRows, tokens: [Int32], behind prefix: TextPrefix, instruction: [Int32], count: Int,
    threads: ThreadPool? = nil
  ) -> KeptRows {
    keptRows(
      of: rows, tokens: tokens, behind: prefix, instruction: instruction,
      rowCounts: [Int](repeating: count, count: configuration.layerCount * configuration.kvHeadCount), threads: threads)
  }

  /// How many rows of each head a text needs, of which the mean over some texts makes `HeadShares`: (layer, kv head).
  /// - Parameters:
  ///   - rows, tokens, prefix, instruction, threads: as of `keptRows`.
  ///   - count: rows that a head keeps on average, at most, but for 16 that each keeps.
  public func neededRows(
    of rows: TextRows, tokens: [Int32], behind prefix: TextPrefix, instruction: [Int32], count: Int,
    threads: ThreadPool? = nil
  ) -> [Int] {
    precondition(tokens.count == rows.rowCount, "rows of the text's tokens")
    let scores = attentionPeaks(of: rows, behind: prefix, after: instruction, whileReading: tokens, threads: threads)
    return KeptRows.rowCounts(
      bestOf: scores, heads: configuration.layerCount * configuration.kvHeadCount, count: count)
  }

  /// The most attention that rows get from a few consecutive tokens and all heads of their group.
  /// - Parameters:
  ///   - rows: as many in each head.
  ///   - instruction: is read first, and does not count.
  /// - Returns: (layer, kv head, rows).
  package func attentionPeaks(
    of rows: TextRows, behind prefix: TextPrefix, after instruction: [Int32], whileReading tokens: [Int32],
    threads: ThreadPool? = nil
  ) -> [Float] {
    var whole = prefix
    whole.append(rows, readAt: prefix.tokenCount)
    let session = Session(self, behind: whole, capacity: instruction.count + tokens.count, threads: threads)
    if !instruction.isEmpty { session.skim(instruction) }
    let peaks = (0..<configuration.layerCount).map { _ in
      FloatBuffer(rows: configuration.kvHeadCount, columns: rows.rowCount)
    }
    for peaks in peaks { unsafe peaks.base.update(repeating: 0, count: peaks.rows * peaks.columns) }
    session.prefixPeaks = peaks
    session.skim(tokens)
    return peaks.flatMap { $0.array(rows: 0..<$0.rows) }
  }

  /// Rows at the beginning of a text, which take the attention that nothing else gets, and at its end, next to what
  /// follows.
  private static let alwaysKeptRows = (first: 4, last: 12)
}
