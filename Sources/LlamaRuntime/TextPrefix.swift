internal import CKernels
internal import FileAccess
public import NodeBlocks
internal import PackedTiles

/// Stored rows of all layers that stand before a running text, one piece after another, as if their tokens had been
/// read.
///
/// A piece may have been read elsewhere: then queries that meet its keys are turned back by how far it was moved, which
/// replaces turning the keys. A piece may be encoded otherwise than the running text, and have fewer rows than tokens.
public struct TextPrefix: Sendable {
  struct Piece: Sendable {
    let rows: TextRows
    /// Whole blocks, but for the last row.
    let range: Range<Int>
    /// Positions by which the rows were moved.
    let shift: Int
  }

  public let layout: TextRowLayout
  private(set) var pieces: [Piece] = []
  /// Tokens that stand there: the position of the next one.
  public private(set) var tokenCount = 0

  public init(layout: TextRowLayout) { self.layout = layout }

  /// Appends rows.
  /// - Parameters:
  ///   - rows: at most 1,024.
  ///   - range: those of the rows that are appended, from a multiple of 64 to another or to the end; nil for all.
  ///   - position: at which the first of all the rows was read.
  /// - Precondition: the rows have the shape of the layout, in any encoding, and no token is without one.
  public mutating func append(_ rows: TextRows, range: Range<Int>? = nil, readAt position: Int) {
    let range = range ?? 0..<rows.rowCount
    let together = TextRowLayout.rowsTogether
    check(rows)
    precondition(rows.isEven, "rows of some tokens are not whole blocks")
    precondition(
      range.lowerBound % together == 0 && range.upperBound <= rows.rowCount
        && (range.upperBound % together == 0 || range.upperBound == rows.rowCount), "whole blocks")
    guard !range.isEmpty else { return }
    pieces.append(Piece(rows: rows, range: range, shift: tokenCount - position - range.lowerBound))
    tokenCount += range.count
  }

  /// Appends rows that were chosen among those of some tokens.
  /// - Parameters:
  ///   - rows: at most 1,024.
  ///   - tokenCount: tokens whose rows they were chosen from: what follows stands behind all of them.
  ///   - position: at which the first of the tokens was read.
  /// - Precondition: the rows have the shape of the layout, in any encoding, and are no more than the tokens.
  public mutating func append(_ rows: TextRows, tokenCount: Int, readAt position: Int) {
    check(rows)
    precondition(rows.rowCount <= tokenCount, "more rows than tokens")
    pieces.append(Piece(rows: rows, range: 0..<rows.rowCount, shift: self.tokenCount - position))
    self.tokenCount += tokenCount
  }

  private func check(_ rows: TextRows) {
    precondition(
      rows.layout.layerCount == layout.layerCount && rows.layout.kvHeadCount == layout.kvHeadCount
        && rows.layout.headDim == layout.headDim && rows.rowCount <= Attention.partRows, "rows of another model")
  }

  /// Rows that stand there, of the head that has the most of each piece.
  public var rowCount: Int { pieces.reduce(0) { $0 + $1.range.count } }

  /// The files that the rows are mapped from.
  var mappings: [MappedFile] { pieces.compactMap(\.rows.storage.mapping).distinct }

  /// The least and the greatest of how far pieces were moved.
  var shifts: ClosedRange<Int> {
    let shifts = pieces.map(\.shift)
    return (shifts.min() ?? 0)...(shifts.max() ?? 0)
  }

  /// The rows of a layer.
  func rows(layer: Int) -> InjectedRows {
    InjectedRows(prefix: pieces.flatMap { RowSpan.spans($0, layer: layer) })
  }
}

extension [MappedFile] {
  /// Each of them once.
  var distinct: [MappedFile] {
    var known: Set<ObjectIdentifier> = []
    return filter { known.insert(ObjectIdentifier($0)).inserted }
  }
}

extension RowSpan {
  /// The rows of a piece for a layer. The caller keeps the piece alive.
  static func spans(_ piece: TextPrefix.Piece, layer: Int) -> [RowSpan] {
    guard piece.rows.isEven else {
      return (0..<piece.rows.layout.kvHeadCount).flatMap { head in
        let rows = 0..<piece.rows.rowCount(head: head, layer: layer)
        return spans(piece, rows, layer: layer, onlyHead: head)
      }
    }
    return spans(piece, piece.range, layer: layer, onlyHead: nil)
  }

  /// Some rows of all heads or of one: whole blocks and what is left.
  private static func spans(
    _ piece: TextPrefix.Piece, _ range: Range<Int>, layer: Int, onlyHead: Int?
  ) -> [RowSpan] {
    let layout = piece.rows.layout
    let together = TextRowLayout.rowsTogether
    let head = unsafe piece.rows.head(onlyHead ?? 0, layer: layer)
    let rowCount = piece.rows.rowCount(head: onlyHead ?? 0, layer: layer)
    let stride = onlyHead == nil ? layout.headByteCount(rows: rowCount) : 0
    let angle = piece.shift == 0 ? QueryAngle.position : .moved(by: piece.shift)
    guard layout.isPacked else {
      let row = layout.headDim * layout.encoding.element.byteCount
      let keys = unsafe head + range.lowerBound * row
      return [
        unsafe RowSpan(
          keys: keys, values: keys + layout.floatByteCount(rows: rowCount), keyHeadByteStride: stride,
          valueHeadByteStride: stride, rows: range, form: .floats(layout.encoding.element), queryAngle: angle,
          visibility: .all, onlyHead: onlyHead)
      ]
    }
    precondition(layout.encoding != .int4 || layout.headDim <= Int(SP_ATTENTION_INT4_HEAD_DIM))
    let blockByteCount = layout.block(rows: together).byteCount
    func span(_ rows: Range<Int>, blockRows: Int, at start: UnsafeRawPointer) -> RowSpan {
      let block = layout.block(rows: blockRows)
      return unsafe RowSpan(
        keys: start, values: start + block.keyByteCount, keyHeadByteStride: stride,
        valueHeadByteStride: stride,
        rows: rows,
        form: .tiles(
          Tiles(
            element: layout.encoding.element, blockRows: block.valueTiles.groupSize, keyBlockByteStride: blockByteCount,
            valueBlockByteStride: blockByteCount,
            valueChannelByteStride: block.valueTiles.rowBlockByteCount, partByteStride: 0)),
        queryAngle: angle, visibility: .all, onlyHead: onlyHead)
    }
    var spans: [RowSpan] = []
    let whole = range.upperBound / together * together
    if whole > range.lowerBound {
      spans.append(unsafe span(range.lowerBound..<whole, blockRows: together, at: head))
    }
    if range.upperBound > whole {
      let rest = range.upperBound - whole
      spans.append(unsafe span(0..<rest, blockRows: rest, at: head + whole / together * blockByteCount))
    }
    return spans
  }
}
