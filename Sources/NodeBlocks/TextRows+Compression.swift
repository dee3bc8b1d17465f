/// Which rows of a text stay: of every layer and head as many.
public struct KeptRows: Sendable, Hashable {
  public let layerCount: Int
  public let kvHeadCount: Int
  /// Rows of each head that stay.
  public let count: Int
  /// (layer, kv head, count), ascending in each head.
  private let numbers: [Int32]

  /// - Parameter numbers: (layer, kv head, count).
  /// - Returns: nil when the numbers of a head do not ascend from 0 on, or are not as many as they should be.
  public init?(layerCount: Int, kvHeadCount: Int, count: Int, numbers: [Int32]) {
    guard layerCount > 0, kvHeadCount > 0, count > 0, numbers.count == layerCount * kvHeadCount * count else {
      return nil
    }
    for start in stride(from: 0, to: numbers.count, by: count) {
      guard numbers[start] >= 0, (start + 1..<start + count).allSatisfy({ numbers[$0 - 1] < numbers[$0] }) else {
        return nil
      }
    }
    self.layerCount = layerCount
    self.kvHeadCount = kvHeadCount
    self.count = count
    self.numbers = numbers
  }

  /// The rows of each head that have the largest scores, the first ones of the text and the last ones in any case. Of
  /// equal scores the earlier row's counts more.
  /// - Parameters:
  ///   - scores: (layer, kv head, rows).
  ///   - count: at most the rows, and no less than `first` and `last` together.
  public init(
    bestOf scores: [Float], layerCount: Int, kvHeadCount: Int, count: Int, first: Int, last: Int
  ) {
    let rows = scores.count / (layerCount * kvHeadCount)
    precondition(scores.count == rows * layerCount * kvHeadCount && count > 0 && count <= rows, "a score for each row")
    precondition(first + last <= count, "there is room for the first and the last rows")
    self.layerCount = layerCount
    self.kvHeadCount = kvHeadCount
    self.count = count
    var numbers: [Int32] = []
    for start in stride(from: 0, to: scores.count, by: rows) {
      let middle = (first..<rows - last).sorted {
        (scores[start + $0], $1) > (scores[start + $1], $0)
      }
      let chosen = Array(0..<first) + middle.prefix(count - first - last) + Array(rows - last..<rows)
      numbers += chosen.sorted().map { Int32($0) }
    }
    self.numbers = numbers
  }

  /// The rows of a head that stay.
  public func rows(layer: Int, head: Int) -> ArraySlice<Int32> {
    numbers[(layer * kvHeadCount + head) * count..<(layer * kvHeadCount + head + 1) * count]
  }

  /// One more than the last row that stays anywhere.
  var end: Int { Int(numbers.max() ?? -1) + 1 }
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
        kept.layerCount == layout.layerCount && kept.kvHeadCount == layout.kvHeadCount && kept.end <= rowCount,
        "the rows that stay are others'")
    }
    let headDim = layout.headDim
    let writer = TextRowWriter(layout: target, rowCount: kept?.count ?? rowCount)
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
