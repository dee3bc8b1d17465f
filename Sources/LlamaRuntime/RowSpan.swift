internal import CKernels
internal import NodeBlocks
internal import PackedTiles

/// Consecutive rows of keys and values that some queries of a layer attend to, in the form that they are stored in.
@safe struct RowSpan: @unchecked Sendable {
  enum Form: Sendable {
    /// Row by row.
    case floats(ElementType)
    case tiles(Tiles)
  }

  /// Where the tiles of a head's rows lie, block of rows by block of rows. A block's keys are a matrix (rows, head dim),
  /// its values a matrix (head dim, rows).
  struct Tiles: Sendable {
    /// int8 or int4.
    var element = ElementType.int8
    /// Rows of a block, a multiple of 4; the last one has the rest.
    let blockRows: Int
    /// Bytes from one block's keys to the next one's, and from one block's values.
    let keyBlockByteStride: Int
    let valueBlockByteStride: Int
    /// Bytes from 16 channels of a block's values to the next 16.
    let valueChannelByteStride: Int
    /// Bytes from one part of `Attention.partRows` rows of memory to the next; 0 for nodes, which have no parts.
    let partByteStride: Int
  }

  /// The position by which queries are turned before they meet keys.
  enum QueryAngle: Hashable, Sendable {
    /// The query's own in the text.
    case position
    /// The query's own among the rows of the cache.
    case slot
    /// The query's own in the text, less how far the rows were moved from where they were read.
    case moved(by: Int)
    /// The same for all; 0 leaves them as they are.
    case fixed(Int)
  }

  /// What queries see of the rows.
  enum Visibility: Sendable {
    case all
    /// The rows before this one.
    case before(Int)
    /// The rows that the first query sees, of which some may lie outside of the span; each later query's rows begin
    /// and end one row later.
    case moving(Range<Int>)

    /// The last row seen moves on with the queries; all rows before it are seen.
    static func causal(before row: Int) -> Visibility { .moving(Int.min / 4..<row) }

    /// What is seen of the rows from `start` on, for the kernels.
    /// - Parameter queriesPerRow: queries of one token.
    func rows(from start: Int, queriesPerRow: Int) -> sp_visible_rows {
      switch self {
      case .all: sp_visible_rows(first: 0, end: Int.max / 4, queries_per_row: 0)
      case .before(let row): sp_visible_rows(first: 0, end: row - start, queries_per_row: 0)
      case .moving(let rows):
        sp_visible_rows(
          first: rows.lowerBound - start, end: rows.upperBound - start, queries_per_row: queriesPerRow)
      }
    }
  }

  /// Keys and values of the first key-value head: of its first row in floats, of its row 0 in tiles.
  @unsafe fileprivate(set) var keys: UnsafeRawPointer
  @unsafe fileprivate(set) var values: UnsafeRawPointer
  /// Of rows that stand one by one in int8: the first head's scales, and how many numbers there are from one head's to
  /// the next one's.
  @unsafe var scales: (keys: UnsafePointer<Float>, values: UnsafePointer<Float>, headStride: Int)?
  /// Bytes from one head's keys to the next one's, and from one head's values.
  let keyHeadByteStride: Int
  let valueHeadByteStride: Int
  /// Rows of a node, or of a cache's memory.
  let rows: Range<Int>
  /// Tokens of the running text before row 0's, a multiple of 64: where parts end depends on the text.
  var textOffset = 0
  let form: Form
  let queryAngle: QueryAngle
  let visibility: Visibility
  /// The key-value head that alone sees the rows, which are its own; nil for all heads.
  var onlyHead: Int?

  /// Whether keys and values are mixed, as queries and sums then have to be: see `HeadMixing`.
  var isMixed: Bool {
    guard case .tiles(let tiles) = form else { return false }
    return tiles.element == .int4
  }

  func isSeen(by head: Int) -> Bool { onlyHead ?? head == head }

  /// Some rows of a head, which lie in one part of the memory and start with a block of their own.
  @unsafe func packed(head: Int, _ range: Range<Int>, _ tiles: Tiles, queriesPerRow: Int) -> sp_packed_rows {
    let part = range.lowerBound / Attention.partRows
    let block = range.lowerBound % Attention.partRows / tiles.blockRows
    return unsafe sp_packed_rows(
      keys: (keys + head * keyHeadByteStride + part * tiles.partByteStride + block * tiles.keyBlockByteStride)
        .assumingMemoryBound(to: UInt8.self),
      values: (values + head * valueHeadByteStride + part * tiles.partByteStride + block * tiles.valueBlockByteStride)
        .assumingMemoryBound(to: UInt8.self),
      element: tiles.element.kernelElement, rows: range.count, block_rows: tiles.blockRows,
      key_block_bytes: tiles.keyBlockByteStride,
      value_block_bytes: tiles.valueBlockByteStride, value_channel_bytes: tiles.valueChannelByteStride,
      visible: visibility.rows(from: range.lowerBound, queriesPerRow: queriesPerRow))
  }

  /// Some rows of a head.
  @unsafe func floats(
    head: Int, _ range: Range<Int>, _ element: ElementType, headDim: Int, queriesPerRow: Int
  ) -> sp_float_rows {
    let first = range.lowerBound - rows.lowerBound
    let offset = first * headDim * element.byteCount
    let scale = unsafe first + head * (scales?.headStride ?? 0)
    return unsafe sp_float_rows(
      keys: keys + head * keyHeadByteStride + offset, values: values + head * valueHeadByteStride + offset,
      element: element.kernelElement, key_scales: scales.map { unsafe $0.keys + scale },
      value_scales: scales.map { unsafe $0.values + scale }, rows: range.count,
      visible: visibility.rows(from: range.lowerBound, queriesPerRow: queriesPerRow))
  }
}

extension RowSpan {
  /// The rows of a node for a layer. The caller keeps the block alive while it attends to them.
  static func node(_ block: NodeBlock, layer: Int, queryAngle: QueryAngle) -> RowSpan {
    unsafe node(
      block.layout, rowCount: block.rowCount, keys: block.keys(layer: layer), values: block.values(layer: layer),
      queryAngle: queryAngle)
  }

  /// The rows of a layer that lie as those of a node.
  /// - Parameter keys, values: of the first head.
  @unsafe static func node(
    _ layout: NodeBlockLayout, rowCount: Int, keys: UnsafeRawPointer, values: UnsafeRawPointer, queryAngle: QueryAngle
  ) -> RowSpan {
    let form: Form
    switch layout.encoding {
    case .int8:
      let keys = layout.keyTiles(rows: rowCount)
      let values = layout.valueTiles(rows: rowCount)
      precondition(values.groupSize <= SP_ATTENTION_BLOCK_ROWS)
      form = .tiles(
        Tiles(
          blockRows: values.groupSize,
          keyBlockByteStride: values.groupSize / PackedTileLayout.tileRows * keys.rowBlockByteCount,
          valueBlockByteStride: (values.groupSize / values.element.tileColumns + 1) * PackedTileLayout.tileByteCount,
          valueChannelByteStride: values.rowBlockByteCount, partByteStride: 0))
    case .int4:
      precondition(layout.headDim <= SP_ATTENTION_INT4_HEAD_DIM)
      let block = layout.firstInt4Block(rows: rowCount)
      form = .tiles(
        Tiles(
          element: .int4, blockRows: block.valueTiles.groupSize, keyBlockByteStride: block.keyByteCount,
          valueBlockByteStride: block.valueByteCount, valueChannelByteStride: block.valueTiles.rowBlockByteCount,
          partByteStride: 0))
    case .float16, .float32: form = .floats(layout.encoding.element)
    }
    let headByteStride = layout.headByteCount(rows: rowCount)
    return unsafe RowSpan(
      keys: keys, values: values, keyHeadByteStride: headByteStride, valueHeadByteStride: headByteStride,
      rows: 0..<rowCount, form: form, queryAngle: queryAngle, visibility: .all)
  }
}

extension RowSpan {
  /// The same rows of memory of the same form that lies further on.
  func moved(byBytes count: Int) -> RowSpan {
    var span = self
    unsafe span.keys += count
    unsafe span.values += count
    return span
  }
}

/// The injected rows that a layer reads. All queries see all of them.
struct InjectedRows: Sendable {
  let spans: [RowSpan]
  /// Consecutive spans that are attended to in one piece.
  let parts: [Range<Int>]
  /// The spans behind these, which are one piece with the first rows of the running text, and how many rows they have:
  /// where pieces end then depends on the text alone, and not on what of it was stored.
  let open: (spans: Range<Int>, rows: Int)

  static let none = InjectedRows([])

  init(_ spans: [RowSpan]) { self.init(spans, staysOpen: false) }

  /// Rows of the text before the running one.
  init(prefix spans: [RowSpan]) { self.init(spans, staysOpen: true) }

  private init(_ spans: [RowSpan], staysOpen: Bool) {
    self.spans = spans
    var parts: [Range<Int>] = []
    var start = 0
    var rows = 0
    for (index, span) in spans.enumerated() {
      // Rows of single heads count as those of the first one.
      if span.onlyHead ?? 0 == 0 { rows += span.rows.count }
      if rows >= Attention.partRows {
        parts.append(start..<index + 1)
        start = index + 1
        rows = 0
      }
    }
    // The running text is cut where its own blocks of rows end.
    if staysOpen, rows % PackedRows.rowsTogether == 0 {
      open = (start..<spans.count, rows)
    } else {
      if rows > 0 { parts.append(start..<spans.count) }
      open = (spans.count..<spans.count, 0)
    }
    self.parts = parts
  }
}
