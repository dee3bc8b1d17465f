internal import ContextTrees
internal import PackedTiles

/// Consecutive rows of keys and values that some queries of a layer attend to, in the form that they are stored in.
@safe struct RowSpan {
  enum Form {
    case floats(FloatElement)
    /// Keys as a matrix (rows, head dim), values as a matrix (head dim, rows).
    case tiles(keys: Tiles, values: Tiles)
  }

  /// Where the tiles of a matrix lie.
  struct Tiles {
    let groupSize: Int
    /// Bytes from one row block to the next.
    let rowBlockByteStride: Int
  }

  /// The position by which queries are turned before they meet keys.
  enum QueryAngle: Hashable {
    /// The query's own in the text.
    case position
    /// The query's own among the rows of the cache.
    case slot
    /// The same for all; 0 leaves them as they are.
    case fixed(Int)
  }

  /// What queries see of the rows.
  enum Visibility {
    case all
    case first(Int)
    /// The rows that the first query sees, of which some may lie outside of the span; each later query's rows begin
    /// and end one row later.
    case moving(Range<Int>)

    /// The last row seen moves on with the queries; all rows before it are seen.
    static func causal(_ first: Int) -> Visibility { .moving(Int.min / 2..<first) }
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
  let queryAngle: QueryAngle
  let visibility: Visibility

  /// Rows that a query sees, counted from 0.
  func visibleRows(query: Int) -> Range<Int> {
    switch visibility {
    case .all: return 0..<rows
    case .first(let count): return 0..<min(count, rows)
    case .moving(let range):
      let end = min(range.upperBound + query, rows)
      return min(max(range.lowerBound + query, 0), end)..<end
    }
  }
}

extension RowSpan {
  /// The rows of a node for a layer.
  @unsafe static func node(
    _ block: UnsafeRawPointer, layout: NodeBlockLayout, layer: Int, rows: Int, queryAngle: QueryAngle
  ) -> RowSpan {
    let form: Form
    switch layout.encoding {
    case .int8:
      let keys = layout.keyTiles(rows: rows)
      let values = layout.valueTiles(rows: rows)
      form = .tiles(
        keys: Tiles(groupSize: keys.groupSize, rowBlockByteStride: keys.rowBlockByteCount),
        values: Tiles(groupSize: values.groupSize, rowBlockByteStride: values.rowBlockByteCount))
    case .float16: form = .floats(.float16)
    case .float32: form = .floats(.float32)
    }
    let stride = layout.keyByteCount(rows: rows) + layout.valueByteCount(rows: rows)
    return unsafe RowSpan(
      keys: block + layout.keyByteOffset(layer: layer, head: 0, rows: rows),
      values: block + layout.valueByteOffset(layer: layer, head: 0, rows: rows),
      keyHeadByteStride: stride, valueHeadByteStride: stride, rows: rows, form: form, queryAngle: queryAngle,
      visibility: .all)
  }
}
