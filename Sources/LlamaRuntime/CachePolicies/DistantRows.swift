internal import FileAccess
internal import NodeBlocks
internal import PackedTiles

/// Rows that queries meet at a distance that does not grow: keys are not rotated, and a query is rotated by the distance.
/// They are the first tokens of the text and, where there are blocks, chosen blocks of those behind them and what has left
/// the window and is in no block yet.
final class DistantRows {
  private let window: RowWindow
  private let distance: Int
  private let rows: FloatRows
  private let rowCapacity: Int
  private let kvHeadCount: Int
  private let blocks: BlockMemory?

  /// - Parameter capacity: tokens that the text may grow to.
  /// - Returns: nil when the window's sinks keep their places.
  init?(
    _ window: RowWindow, _ blocks: BlockMemory.Shape?, layerCount: Int, kvHeadCount: Int, headDim: Int, capacity: Int,
    element: ElementType, scratch: ScratchMapping?
  ) {
    guard case .fixed(let distance) = window.sinkDistance else { return nil }
    self.window = window
    self.kvHeadCount = kvHeadCount
    self.distance = distance
    rowCapacity = blocks == nil ? min(window.sinks, capacity) : capacity
    rows = FloatRows(
      layerCount: layerCount, kvHeadCount: kvHeadCount, headDim: headDim, capacity: rowCapacity, element: element,
      scratch: blocks == nil ? nil : scratch)
    self.blocks = blocks.map {
      BlockMemory(
        $0, recent: window.recent, layerCount: layerCount, kvHeadCount: kvHeadCount, headDim: headDim)
    }
  }

  /// The form of the rows beside those of a window in some encoding.
  static func element(besides encoding: RowEncoding) -> ElementType { encoding == .float32 ? .float32 : .float16 }

  var byteCount: Int { rows.byteCount }

  /// Bytes of the rows of a text.
  func byteCount(tokens: Int) -> Int { rowCapacity == 0 ? 0 : rows.byteCount / rowCapacity * min(tokens, rowCapacity) }

  /// Tokens of the pieces that a text is read in; nil for any.
  var pieceSize: Int? { blocks?.shape.block }

  /// The blocks that the latest piece attends to.
  func chosen(layer: Int) -> [Int] { blocks?.chosen(layer: layer) ?? [] }

  /// Begins a piece of a layer: see `KeyValueCache.begin`.
  /// - Parameter start: tokens before the piece.
  func begin(
    layer: Int, at start: Int, rows: Range<Int>, queries: FloatBuffer, keys: FloatBuffer, values: FloatBuffer,
    _ compute: Compute
  ) {
    blocks?.begin(layer: layer, at: start, queries: queries, rows: rows, compute) { token, key in
      self.rows.readKey(layer: layer, row: token, into: &key)
    }
    let kept = rows.prefix(max(rowCapacity - start, 0))
    for head in 0..<kvHeadCount {
      self.rows.write(layer: layer, head: head, at: start, kept, keys: keys, values: values, compute)
    }
  }

  /// Takes in what a piece gave the rows of the window: see `BlockMemory.add`.
  func settle(layer: Int, _ weights: FloatBuffer, rows: Int, from first: Int) {
    blocks?.add(weights, rows: rows, from: first, layer: layer)
  }

  /// Spans of a layer: the first tokens, the chosen blocks, and what is in no block.
  func spanCount(layer: Int) -> Int { 1 + (blocks.map { $0.chosen(layer: layer).count + 1 } ?? 0) }

  /// What some tokens of a piece see, of which none sees all tokens before it.
  func span(_ number: Int, layer: Int, tokens: Range<Int>) -> RowSpan? {
    /// Those of a range that have left the window of the first token, and for each later one, of one more.
    func left(from first: Int, below limit: Int) -> RowSpan? {
      let end = min(tokens.upperBound - window.recent, limit)
      guard first < end else { return nil }
      return rows.span(
        layer: layer, rows: first..<end, queryAngle: .fixed(distance),
        visibility: .causal(before: tokens.lowerBound + 1 - window.recent))
    }
    guard number > 0 else { return left(from: 0, below: window.sinks) }
    guard let blocks else { return nil }
    let chosen = blocks.chosen(layer: layer)
    guard number <= chosen.count else { return left(from: blocks.blockedCount(layer: layer), below: .max) }
    return rows.span(
      layer: layer, rows: blocks.tokens(ofBlock: chosen[number - 1]), queryAngle: .fixed(distance), visibility: .all)
  }
}
