/// Which rows of a text stay. Heads differ much in how many they need: some look back a few tokens only.
public struct KeptRows: Sendable, Hashable {
  public let layerCount: Int
  public let kvHeadCount: Int
  /// The numbers of the rows of each head, ascending: (layer, kv head).
  private let numbers: [[Int32]]

  /// Rows that share tiles: a head keeps a multiple of them, or all.
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

  /// Of all heads together, the rows that have the largest scores. A head takes its own best rows by sixteens, the first
  /// ones of the text and the last ones before all others; of equal sixteens the earlier head's count more.
  /// - Parameters:
  ///   - scores: (layer, kv head, rows); finite.
  ///   - count: rows that a head keeps on average, at most, but for its first sixteen.
  ///   - first, last: rows that stay in any case: sixteen together, or fewer.
  public init(bestOf scores: [Float], layerCount: Int, kvHeadCount: Int, count: Int, first: Int, last: Int) {
    let heads = layerCount * kvHeadCount
    let rows = scores.count / heads
    precondition(scores.count == rows * heads && rows > 0, "a score for each row")
    precondition(first + last <= Self.rowsTogether, "there is room for the first and the last rows")
    self.layerCount = layerCount
    self.kvHeadCount = kvHeadCount
    let together = Self.rowsTogether
    /// The rows of each head, the best ones first.
    let order = (0..<heads).map { head in
      (0..<rows).sorted { a, b in
        let (isKept, isOtherKept) = (a < first || a >= rows - last, b < first || b >= rows - last)
        guard isKept == isOtherKept else { return isKept }
        let (score, other) = (scores[head * rows + a], scores[head * rows + b])
        return score == other ? a < b : score > other
      }
    }
    var groups: [(score: Float, head: Int, start: Int, count: Int)] = []
    for head in 0..<heads {
      for start in stride(from: together, to: rows, by: together) {
        let group = order[head][start..<min(start + together, rows)]
        groups.append((group.reduce(0) { $0 + scores[head * rows + $1] }, head, start, group.count))
      }
    }
    groups.sort { ($0.score, $1.head, $1.start) > ($1.score, $0.head, $0.start) }
    var counts = [Int](repeating: min(together, rows), count: heads)
    var left = heads * count - counts.reduce(0, +)
    for group in groups {
      guard group.count <= left else { break }
      counts[group.head] += group.count
      left -= group.count
    }
    numbers = zip(order, counts).map { order, count in order.prefix(count).sorted().map { Int32($0) } }
  }

  /// The rows of a head that stay.
  public func rows(layer: Int, head: Int) -> [Int32] { numbers[layer * kvHeadCount + head] }

  /// Of each head: (layer, kv head).
  public var rowCounts: [Int] { numbers.map(\.count) }

  /// One more than the last row that stays anywhere.
  var end: Int { Int(numbers.compactMap(\.last).max() ?? -1) + 1 }
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
