/// Which rows of a text stay. Heads differ much in how many they need: some look back a few tokens only.
public struct KeptRows: Sendable, Hashable {
  public let layerCount: Int
  public let kvHeadCount: Int
  /// The numbers of the rows of each head, ascending: (layer, kv head).
  private let numbers: [[Int32]]

  /// Rows that share tiles.
  public static let rowsTogether = 16

  /// - Parameter numbers: of the rows of each head: (layer, kv head).
  /// - Returns: nil when a head has no rows or their numbers do not ascend from 0 on, or there are not as many heads.
  public init?(layerCount: Int, kvHeadCount: Int, numbers: [[Int32]]) {
    guard layerCount > 0, kvHeadCount > 0, numbers.count == layerCount * kvHeadCount else { return nil }
    for rows in numbers {
      guard let first = rows.first, first >= 0, zip(rows, rows.dropFirst()).allSatisfy({ $0 < $1 }) else { return nil }
    }
    self.layerCount = layerCount
    self.kvHeadCount = kvHeadCount
    self.numbers = numbers
  }

  /// The rows of each head that have the largest scores, the first ones of the text and the last ones before all others;
  /// of equal scores the earlier row's counts more.
  /// - Parameters:
  ///   - scores: (layer, kv head, rows); finite.
  ///   - rowCounts: of each head that stay: (layer, kv head); positive, at most the rows.
  ///   - first, last: rows that stay where there is room for them.
  public init(bestOf scores: [Float], layerCount: Int, kvHeadCount: Int, rowCounts: [Int], first: Int, last: Int) {
    precondition(rowCounts.count == layerCount * kvHeadCount, "each head has a number of rows")
    let rows = scores.count / rowCounts.count
    precondition(rowCounts.allSatisfy { (1...rows).contains($0) }, "no more rows stay than there are")
    self.layerCount = layerCount
    self.kvHeadCount = kvHeadCount
    numbers = rowCounts.enumerated().map { head, count in
      Self.order(scores[head * rows..<(head + 1) * rows], first: first, last: last).prefix(count).sorted().map {
        Int32($0)
      }
    }
  }

  /// Rows of a head, the best ones first.
  private static func order(_ scores: ArraySlice<Float>, first: Int, last: Int) -> [Int] {
    let (start, rows) = (scores.startIndex, scores.count)
    return (0..<rows).sorted { a, b in
      let (isKept, isOtherKept) = (a < first || a >= rows - last, b < first || b >= rows - last)
      guard isKept == isOtherKept else { return isKept }
      let (score, other) = (scores[start + a], scores[start + b])
      return score == other ? a < b : score > other
    }
  }

  /// How many rows each head should keep, so that of all heads together those with the largest scores stay. A head takes
  /// its own best rows by sixteens, the first of them in any case; of equal sixteens the earlier head's count more.
  /// - Parameters:
  ///   - scores: (layer, kv head, rows); finite.
  ///   - count: rows that a head keeps on average, at most, but for its first sixteen.
  /// - Returns: (layer, kv head).
  public static func rowCounts(bestOf scores: [Float], heads: Int, count: Int) -> [Int] {
    let rows = scores.count / heads
    precondition(scores.count == rows * heads && rows > 0, "a score for each row")
    var groups: [(score: Float, head: Int, start: Int, count: Int)] = []
    for head in 0..<heads {
      let best = scores[head * rows..<(head + 1) * rows].sorted(by: >)
      for start in stride(from: rowsTogether, to: rows, by: rowsTogether) {
        let group = best[start..<min(start + rowsTogether, rows)]
        groups.append((group.reduce(0, +), head, start, group.count))
      }
    }
    groups.sort { ($0.score, $1.head, $1.start) > ($1.score, $0.head, $0.start) }
    var counts = [Int](repeating: min(rowsTogether, rows), count: heads)
    var left = heads * count - counts.reduce(0, +)
    for group in groups {
      guard group.count <= left else { break }
      counts[group.head] += group.count
      left -= group.count
    }
    return counts
  }

  /// The rows of a head that stay.
  public func rows(layer: Int, head: Int) -> [Int32] { numbers[layer * kvHeadCount + head] }

  /// Of each head: (layer, kv head).
  public var rowCounts: [Int] { numbers.map(\.count) }

  /// One more than the last row that stays anywhere.
  var end: Int { Int(numbers.compactMap(\.last).max() ?? -1) + 1 }
}

/// Of 64 tokens' rows, how many each head keeps, whatever the text: (layer, kv head). Heads of a model differ much more
/// than texts do.
public struct HeadShares: Sendable, Hashable {
  public let shares: [UInt8]

  /// - Returns: nil when a share is not 1 to 64.
  public init?(_ shares: [UInt8]) {
    guard !shares.isEmpty, shares.allSatisfy({ (1...64).contains($0) }) else { return nil }
    self.shares = shares
  }

  /// The mean of what some texts' heads should keep.
  /// - Parameters:
  ///   - rowCounts: for each text, those of each head.
  ///   - tokenCounts: of the texts.
  /// - Precondition: there are texts, and each head of each has 1 row to as many as tokens.
  public init(averaging rowCounts: [[Int]], tokenCounts: [Int]) {
    precondition(!rowCounts.isEmpty && rowCounts.count == tokenCounts.count, "each text has tokens")
    shares = rowCounts[0].indices.map { head in
      let parts = zip(rowCounts, tokenCounts).map { Double($0[head]) / Double($1) }
      return UInt8(min(max((64 * parts.reduce(0, +) / Double(parts.count)).rounded(), 1), 64))
    }
  }

  /// The rows that each head keeps of some tokens': sixteens, as tiles have them, or all.
  public func rowCounts(tokens: Int) -> [Int] {
    let together = KeptRows.rowsTogether
    return shares.map { share in
      share == 64 ? tokens : min(tokens, max((tokens * Int(share) + 32 * together) / (64 * together), 1) * together)
    }
  }
}

extension TextRows {
  /// The same rows, or some of them, in another encoding or in their own.
  /// - Parameter kept: the rows that stay; nil for all.
  /// - Returns: nil when a value is not finite, which those of int8 and int4 always are.
  /// - Precondition: the rows that stay are there, and the layout can be encoded so.
  public func compressed(as encoding: RowEncoding, keeping kept: KeptRows? = nil) -> TextRows? {
    guard let target = layout.encoded(as: encoding) else { preconditionFailure("such heads have no such encoding") }
    if let kept {
      precondition(
        kept.layerCount == layout.layerCount && kept.kvHeadCount == layout.kvHeadCount && isEven
          && kept.end <= rowCount,
        "the rows that stay are others'")
    }
    let headDim = layout.headDim
    let writer = TextRowWriter(layout: target, rowCounts: kept?.rowCounts ?? rowCounts)
    for layer in 0..<layout.layerCount {
      for head in 0..<layout.kvHeadCount {
        var (keys, values) = floats(head: head, layer: layer)
        if let kept {
          let rows = kept.rows(layer: layer, head: head)
          keys = rows.flatMap { keys[Int($0) * headDim..<(Int($0) + 1) * headDim] }
          values = rows.flatMap { values[Int($0) * headDim..<(Int($0) + 1) * headDim] }
        }
        guard writer.write(head: head, layer: layer, keys: keys, values: values) else { return nil }
      }
    }
    return writer.finish()
  }
}
