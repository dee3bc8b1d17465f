internal import CKernels
internal import ContextTrees
internal import PackedTiles

/// Consecutive rows of keys and values that some queries of a layer attend to, in the form that they are stored in.
@safe struct RowSpan: @unchecked Sendable {
  enum Form: Sendable {
    case floats(FloatElement)
    case tiles(Tiles)
  }

  /// Where the tiles of a head's rows lie, block of rows by block of rows. A block's keys are a matrix (rows, head dim),
  /// its values a matrix (head dim, rows).
  struct Tiles: Sendable {
    /// Rows of a block, a multiple of 4; the last one has what is left.
    let blockRows: Int
    /// Bytes from one block's keys to the next one's, and from one block's values.
    let keyBlockByteStride: Int
    let valueBlockByteStride: Int
    /// Bytes from 16 channels of a block's values to the next 16.
    let valueChannelByteStride: Int
    /// Bytes from one part of `Attention.partRows` rows to the next; 0 where all rows are attended to in one piece.
    let partByteStride: Int
  }

  /// Keys and values of the first key-value head.
  @unsafe let keys: UnsafeRawPointer
  @unsafe let values: UnsafeRawPointer
  /// Bytes from one head's keys to the next one's, and from one head's values.
  let keyHeadByteStride: Int
  let valueHeadByteStride: Int
  /// Rows of keys and values.
  let rows: Int
  let form: Form
  /// The position by which queries are turned before they meet these keys; 0 leaves them as they come.
  let queryAngle: Int
  /// For running text: the number of rows that the first query sees; each later one sees one more. Nil: all see all.
  let causalRows: Int?

  /// The rows of a head in a range: a part, what there is of it, or all.
  @unsafe func packed(head: Int, _ range: Range<Int>, _ tiles: Tiles) -> sp_packed_rows {
    precondition(range.lowerBound % Attention.partRows == 0)
    let offset = range.lowerBound / Attention.partRows * tiles.partByteStride
    return unsafe sp_packed_rows(
      keys: (keys + head * keyHeadByteStride + offset).assumingMemoryBound(to: UInt8.self),
      values: (values + head * valueHeadByteStride + offset).assumingMemoryBound(to: UInt8.self),
      rows: range.count, block_rows: tiles.blockRows, key_block_bytes: tiles.keyBlockByteStride,
      value_block_bytes: tiles.valueBlockByteStride, value_channel_bytes: tiles.valueChannelByteStride)
  }

  /// The rows of a head in a range that the first query sees some of.
  /// - Parameter queriesPerRow: queries of one token.
  @unsafe func floats(
    head: Int, _ range: Range<Int>, _ element: FloatElement, headDim: Int, queriesPerRow: Int
  ) -> sp_float_rows {
    let offset = range.lowerBound * headDim * element.byteCount
    return unsafe sp_float_rows(
      keys: keys + head * keyHeadByteStride + offset, values: values + head * valueHeadByteStride + offset,
      element: element.kernelElement, rows: range.count,
      first_query_rows: causalRows.map { $0 - range.lowerBound } ?? range.count, queries_per_row: queriesPerRow)
  }
}

extension RowSpan {
  /// The rows of a node for a layer.
  @unsafe static func node(
    _ block: UnsafeRawPointer, layout: NodeBlockLayout, layer: Int, rows: Int, queryAngle: Int
  ) -> RowSpan {
    let form: Form
    switch layout.encoding {
    case .int8:
      let keys = layout.keyTiles(rows: rows)
      let values = layout.valueTiles(rows: rows)
      precondition(values.groupSize <= SP_ATTENTION_BLOCK_ROWS)
      form = .tiles(
        Tiles(
          blockRows: values.groupSize,
          keyBlockByteStride: values.groupSize / PackedTileLayout.tileRows * keys.rowBlockByteCount,
          valueBlockByteStride: (values.groupSize / PackedTileLayout.tileColumns + 1) * PackedTileLayout.tileByteCount,
          valueChannelByteStride: values.rowBlockByteCount, partByteStride: 0))
    case .float16: form = .floats(.float16)
    case .float32: form = .floats(.float32)
    }
    let stride = layout.keyByteCount(rows: rows) + layout.valueByteCount(rows: rows)
    return unsafe RowSpan(
      keys: block + layout.keyByteOffset(layer: layer, head: 0, rows: rows),
      values: block + layout.valueByteOffset(layer: layer, head: 0, rows: rows),
      keyHeadByteStride: stride, valueHeadByteStride: stride, rows: rows, form: form, queryAngle: queryAngle,
      causalRows: nil)
  }
}

/// The injected rows that a layer reads. All queries see all of them.
struct InjectedRows: Sendable {
  let spans: [RowSpan]
  /// Consecutive spans that are attended to in one piece.
  let parts: [Range<Int>]

  static let none = InjectedRows([])

  init(_ spans: [RowSpan]) {
    self.spans = spans
    var parts: [Range<Int>] = []
    var start = 0
    var rows = 0
    for (index, span) in spans.enumerated() {
      rows += span.rows
      if rows >= Attention.partRows || index == spans.count - 1 {
        parts.append(start..<index + 1)
        start = index + 1
        rows = 0
      }
    }
    self.parts = parts
  }
}
