internal import ContextTrees
internal import PackedTiles

/// Consecutive rows of keys and values that some queries of a layer attend to, in the form that they are stored in.
@safe struct RowSpan {
  enum Form {
    case floats(FloatElement)
    case tiles(keys: PackedTileLayout, values: PackedTileLayout)
  }

  /// Keys and values of the first key-value head.
  @unsafe let keys: UnsafeRawPointer
  @unsafe let values: UnsafeRawPointer
  /// Bytes from one head's keys or values to the next one's.
  let headByteStride: Int
  /// Rows of keys and values.
  let rows: Int
  let form: Form
  /// The position by which queries are turned before they meet these keys; 0 leaves them as they come.
  let queryAngle: Int
  /// For running text: the number of rows that the first query sees; each later one sees one more. Nil: all see all.
  let causalRows: Int?

  /// Rows that a query sees, counted from 0.
  func visibleRows(token: Int) -> Int { causalRows.map { min($0 + token, rows) } ?? rows }
}

extension RowSpan {
  /// The running text of a layer: `tokens` queries whose own rows are the last ones written.
  static func runningText(_ cache: KeyValueCache, layer: Int, tokens: Int) -> RowSpan {
    unsafe RowSpan(
      keys: cache.keyBase(layer: layer), values: cache.valueBase(layer: layer), headByteStride: cache.headByteStride,
      rows: cache.count + tokens, form: .floats(cache.element), queryAngle: 0, causalRows: cache.count + 1)
  }

  /// The rows of a node for a layer.
  @unsafe static func node(
    _ block: UnsafeRawPointer, layout: NodeBlockLayout, layer: Int, rows: Int, queryAngle: Int
  ) -> RowSpan {
    let form: Form =
      switch layout.encoding {
      case .int8: .tiles(keys: layout.keyTiles(rows: rows), values: layout.valueTiles(rows: rows))
      case .float16: .floats(.float16)
      case .float32: .floats(.float32)
      }
    return unsafe RowSpan(
      keys: block + layout.keyByteOffset(layer: layer, head: 0, rows: rows),
      values: block + layout.valueByteOffset(layer: layer, head: 0, rows: rows),
      headByteStride: layout.keyByteCount(rows: rows) + layout.valueByteCount(rows: rows), rows: rows, form: form,
      queryAngle: queryAngle, causalRows: nil)
  }
}
