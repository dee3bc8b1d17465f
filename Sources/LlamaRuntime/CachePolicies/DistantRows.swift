internal import FileAccess
internal import NodeBlocks
internal import PackedTiles

/// Rows that queries meet at a distance that does not grow: keys are not rotated, and a query is rotated by the distance.
/// They are the first tokens of the text and, where there are blocks, chosen blocks of those behind them and what has left
/// the window and is in no block yet.
final class DistantRows {
  private let window: RowWindow
  private let distance: Int
  /// The rows of the first tokens and, where there are blocks, of those that are in none; the first tokens are in none
  /// until there is a block.
  private let rows: FloatRows
  private let rowCapacity: Int
  private let kvHeadCount: Int
  private let blocks: Blocks?

  private struct Blocks {
    let memory: BlockMemory
    let rows: BlockRows
    /// The first tokens, as a block of their own.
    let first: BlockRows?
    /// A block, while it is taken in: (its tokens, kv heads · head dim).
    let keys: FloatBuffer
    let values: FloatBuffer
  }

  /// - Parameters:
  ///   - capacity: tokens that the text may grow to.
  ///   - encoding: of the rows in the window, and of blocks.
  /// - Returns: nil when the window's sinks keep their places.
  init?(
    _ window: RowWindow, _ shape: BlockMemory.Shape?, layerCount: Int, kvHeadCount: Int, headDim: Int, capacity: Int,
    encoding: RowEncoding, scratch: ScratchMapping?
  ) {
    guard case .fixed(let distance) = window.sinkDistance else { return nil }
    self.window = window
    self.kvHeadCount = kvHeadCount
    self.distance = distance
    // Those that are in no block are recent, a part of a block, and a piece, which is no longer than a block.
    rowCapacity = min(window.sinks + (shape.map { window.recent + 2 * $0.block } ?? 0), capacity)
    let element = encoding == .float32 ? ElementType.float32 : .float16
    rows = FloatRows(
      layerCount: layerCount, kvHeadCount: kvHeadCount, headDim: headDim, capacity: rowCapacity, element: element)
    blocks = shape.flatMap { shape in
      guard let layout = Self.layout(kvHeadCount: kvHeadCount, headDim: headDim, encoding) else { return nil }
      let (width, longest) = (kvHeadCount * headDim, max(shape.initial, shape.block))
      return Blocks(
        memory: BlockMemory(
          shape, recent: window.recent, layerCount: layerCount, kvHeadCount: kvHeadCount, headDim: headDim,
          element: element),
        rows: BlockRows(
          layerCount: layerCount, layout: layout, block: shape.block, tokens: capacity - shape.initial,
          queryAngle: .fixed(distance), scratch: scratch),
        first: shape.initial == 0
          ? nil
          : BlockRows(
            layerCount: layerCount, layout: layout, block: shape.initial, tokens: shape.initial,
            queryAngle: .fixed(distance), scratch: nil),
        keys: FloatBuffer(rows: longest, columns: width), values: FloatBuffer(rows: longest, columns: width))
    }
  }

  private static func layout(kvHeadCount: Int, headDim: Int, _ encoding: RowEncoding) -> NodeBlockLayout? {
    NodeBlockLayout(layerCount: 1, kvHeadCount: kvHeadCount, headDim: headDim, encoding: encoding)
  }

  /// Bytes of the blocks of a text of a number of tokens.
  static func blockByteCount(
    _ shape: BlockMemory.Shape, layerCount: Int, kvHeadCount: Int, headDim: Int, tokens: Int, encoding: RowEncoding
  ) -> Int {
    guard let layout = layout(kvHeadCount: kvHeadCount, headDim: headDim, encoding) else { return 0 }
    return BlockRows.byteCount(
      layerCount: layerCount, layout, block: shape.block, tokens: tokens - shape.initial)
  }

  var byteCount: Int { rows.byteCount + (blocks.map { $0.rows.byteCount + ($0.first?.byteCount ?? 0) } ?? 0) }

  /// Bytes of the rows of a text of a number of tokens.
  func byteCount(tokens: Int) -> Int {
    guard rowCapacity > 0 else { return 0 }
    let taken = takenCount(layer: 0)
    let floats = rows.byteCount / rowCapacity * min(tokens - taken, rowCapacity)
    guard let blocks, taken > 0 else { return floats }
    return floats + blocks.rows.byteCount(blocks: blocks.memory.blockCount(layer: 0)) + (blocks.first?.byteCount ?? 0)
  }

  /// Tokens that are in blocks, whose rows have gone from the others.
  private func takenCount(layer: Int) -> Int {
    guard let blocks, blocks.memory.blockCount(layer: layer) > 0 else { return 0 }
    return blocks.memory.blockedCount(layer: layer)
  }

  /// Tokens of the pieces that a text is read in; nil for any.
  var pieceSize: Int? { blocks?.memory.shape.block }

  /// The blocks that the latest piece attends to.
  func chosen(layer: Int) -> [Int] { blocks?.memory.chosen(layer: layer) ?? [] }

  /// Begins a piece of a layer: see `KeyValueCache.begin`.
  /// - Parameter start: tokens before the piece.
  func begin(
    layer: Int, at start: Int, rows: Range<Int>, queries: FloatBuffer, keys: FloatBuffer, values: FloatBuffer,
    _ compute: Compute
  ) {
    blocks?.memory.begin(layer: layer, at: start, queries: queries, rows: rows, compute) {
      takeBlock($0, layer: layer, of: start)
    }
    let first = start - takenCount(layer: layer)
    precondition(blocks == nil || first + rows.count <= rowCapacity, "the cache was made for fewer tokens")
    let kept = rows.prefix(max(rowCapacity - first, 0))
    for head in 0..<kvHeadCount {
      self.rows.write(layer: layer, head: head, at: first, kept, keys: keys, values: values, compute)
    }
  }

  /// Keeps the rows of a block as such, with the first block those of the first tokens, and moves down those that follow.
  /// - Parameter count: tokens that have been read.
  /// - Returns: the keys: (block, kv heads · head dim).
  private func takeBlock(_ block: Int, layer: Int, of count: Int) -> FloatBuffer {
    guard let blocks else { preconditionFailure("there are blocks") }
    var start = 0
    if block == 0, let first = blocks.first {
      start = window.sinks
      rows.read(layer: layer, 0..<start, keys: blocks.keys, values: blocks.values)
      first.write(layer: layer, block: 0, keys: blocks.keys, values: blocks.values)
    }
    let end = start + blocks.memory.shape.block
    rows.read(layer: layer, start..<end, keys: blocks.keys, values: blocks.values)
    blocks.rows.write(layer: layer, block: block, keys: blocks.keys, values: blocks.values)
    for head in 0..<kvHeadCount {
      rows.move(layer: layer, head: head, rows: end..<count - takenCount(layer: layer), to: 0)
    }
    return blocks.keys
  }

  /// Takes in what a piece gave the rows of the window: see `BlockMemory.add`.
  func settle(layer: Int, _ weights: FloatBuffer, rows: Int, from first: Int) {
    blocks?.memory.add(weights, rows: rows, from: first, layer: layer)
  }

  /// Spans of a layer: the first tokens, the chosen blocks, and what is in no block.
  func spanCount(layer: Int) -> Int { 1 + (blocks.map { $0.memory.chosen(layer: layer).count + 1 } ?? 0) }

  /// What some tokens of a piece see, of which none sees all tokens before it.
  func span(_ number: Int, layer: Int, tokens: Range<Int>) -> RowSpan? {
    /// Those of a range that have left the window of the first token, and for each later one, of one more.
    /// - Parameter taken: tokens before them that have no rows.
    func left(from first: Int, below limit: Int, taken: Int) -> RowSpan? {
      let end = min(tokens.upperBound - window.recent, limit)
      guard first < end else { return nil }
      return rows.span(
        layer: layer, rows: first - taken..<end - taken, queryAngle: .fixed(distance),
        visibility: .causal(before: tokens.lowerBound + 1 - window.recent - taken))
    }
    let taken = takenCount(layer: layer)
    guard number > 0 else {
      guard taken > 0 else { return left(from: 0, below: window.sinks, taken: 0) }
      return blocks?.first?.span(layer: layer, block: 0)
    }
    guard let blocks else { return nil }
    let chosen = blocks.memory.chosen(layer: layer)
    guard number <= chosen.count else {
      return left(from: blocks.memory.blockedCount(layer: layer), below: .max, taken: taken)
    }
    return blocks.rows.span(layer: layer, block: chosen[number - 1])
  }
}
