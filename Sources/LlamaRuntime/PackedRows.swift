internal import CKernels
internal import FileAccess
internal import NodeBlocks
internal import PackedTiles

/// Rows in packed tiles, with the latest ones in floats.
///
/// (layer, part of 1024 rows, key-value head, block of 64 rows, keys then values): keys as a matrix (64, head dim), one
/// scale a row; values as a matrix (head dim, 64), one scale a channel. A head's part is thus contiguous, and memory is
/// filled part by part as tokens come. The rows of the block that is not full are kept beside it, in float32. Format of
/// the tiles: `Formats/packed-tile.md`.
@safe final class PackedRows {
  /// Rows that are packed together: the group of the values' tiles.
  static let rowsTogether = TextRowLayout.rowsTogether

  private let kvHeadCount: Int
  private let headDim: Int
  private let parts: Int
  private let blocksOfPart: Int
  private let blockSize: Int
  private let keyTiles: PackedTileLayout
  private let valueTiles: PackedTileLayout
  private let rows: AlignedMemory
  /// The latest rows, of every layer and head: (layer · head, 2, 64, head dim), keys and values.
  private let tails: FloatBuffer
  /// Rows of the layer that is being written, when there are more of them than its tails hold: (head, rows from the
  /// start of the first query's block on, head dim).
  private let recentKeys: FloatBuffer
  private let recentValues: FloatBuffer
  /// A block of values transposed, for each head: (head dim, 64).
  private let transposed: FloatBuffer

  /// - Parameter blockSize: tokens that are written together, at most.
  init(layerCount: Int, kvHeadCount: Int, headDim: Int, capacity: Int, blockSize: Int) {
    self.kvHeadCount = kvHeadCount
    self.headDim = headDim
    self.blockSize = blockSize
    let together = Self.rowsTogether
    let blocks = (capacity + together - 1) / together
    blocksOfPart = max(1, min(blocks, Attention.partRows / together))
    parts = (blocks + blocksOfPart - 1) / blocksOfPart
    guard let keyTiles = PackedTileLayout(rows: together, columns: headDim, groupSize: (headDim + 3) / 4 * 4),
      let valueTiles = PackedTileLayout(rows: headDim, columns: together, groupSize: together)
    else { preconditionFailure("heads are not that large") }
    self.keyTiles = keyTiles
    self.valueTiles = valueTiles
    let heads = layerCount * kvHeadCount
    rows = AlignedMemory(
      byteCount: heads * parts * blocksOfPart * (keyTiles.byteCount + valueTiles.byteCount), prefersHugePages: true)
    tails = FloatBuffer(rows: heads * 2 * together, columns: headDim)
    recentKeys = FloatBuffer(rows: kvHeadCount * (together + blockSize), columns: headDim)
    recentValues = FloatBuffer(rows: kvHeadCount * (together + blockSize), columns: headDim)
    transposed = FloatBuffer(rows: kvHeadCount * headDim, columns: together)
  }

  var byteCount: Int { rows.byteCount + tails.rows * tails.columns * 4 }

  private var blockByteCount: Int { keyTiles.byteCount + valueTiles.byteCount }
  /// Bytes of a part of one head.
  private var partByteCount: Int { blocksOfPart * blockByteCount }

  @unsafe private func block(layer: Int, _ block: Int, head: Int) -> UnsafeMutablePointer<UInt8> {
    let part = (layer * parts + block / blocksOfPart) * kvHeadCount + head
    return unsafe (rows.base + part * partByteCount + block % blocksOfPart * blockByteCount)
      .assumingMemoryBound(to: UInt8.self)
  }

  /// The keys of the block that is not full; its values follow them.
  @unsafe private func tail(layer: Int, head: Int) -> UnsafeMutablePointer<Float> {
    unsafe tails.row((layer * kvHeadCount + head) * 2 * Self.rowsTogether)
  }

  /// Whether new rows all belong to the block that is not full, and stay in the tails until the next ones come.
  private static func fitTail(_ new: Range<Int>) -> Bool {
    new.lowerBound % rowsTogether + new.count <= rowsTogether
  }

  /// Writes rows, packs the blocks that they fill and keeps the rest.
  /// - Parameter source: the rows of the buffers.
  func write(
    layer: Int, at start: Int, _ source: Range<Int>, keys newKeys: FloatBuffer, values newValues: FloatBuffer,
    _ compute: Compute
  ) {
    let tokens = source.count
    precondition(tokens <= blockSize)
    let packed = (start % Self.rowsTogether + tokens) / Self.rowsTogether * Self.rowsTogether
    compute.threads.run(
      count: kvHeadCount, minimum: Compute.minimumShare(cost: (tokens + 8 * packed) * headDim),
      with: (self, layer, start..<start + tokens, source.lowerBound, newKeys, newValues, compute)
    ) { work, _, heads in
      let (rows, layer, new, first, newKeys, newValues, compute) = work
      for head in heads {
        rows.write(layer: layer, head: head, new, from: first, keys: newKeys, values: newValues, compute)
      }
    }
  }

  private func write(
    layer: Int, head: Int, _ new: Range<Int>, from first: Int, keys newKeys: FloatBuffer, values newValues: FloatBuffer,
    _ compute: Compute
  ) {
    let together = Self.rowsTogether
    let kept = new.lowerBound % together
    let tailKeys = unsafe tail(layer: layer, head: head)
    let tailValues = unsafe tailKeys + together * headDim
    let fits = Self.fitTail(new)
    let keyRows = unsafe fits ? tailKeys : recentKeys.row(head * (together + blockSize))
    let valueRows = unsafe fits ? tailValues : recentValues.row(head * (together + blockSize))
    if !fits {
      unsafe keyRows.update(from: tailKeys, count: kept * headDim)
      unsafe valueRows.update(from: tailValues, count: kept * headDim)
    }
    for t in 0..<new.count {
      let (key, value) = unsafe (newKeys.row(first + t), newValues.row(first + t))
      unsafe (keyRows + (kept + t) * headDim).update(from: key + head * headDim, count: headDim)
      unsafe (valueRows + (kept + t) * headDim).update(from: value + head * headDim, count: headDim)
    }
    let full = (kept + new.count) / together
    for block in 0..<full {
      let offset = block * together * headDim
      unsafe pack(
        keyRows + offset, valueRows + offset, head: head,
        into: self.block(layer: layer, new.lowerBound / together + block, head: head), compute)
    }
    if !fits {
      let rest = kept + new.count - full * together
      unsafe tailKeys.update(from: keyRows + full * together * headDim, count: rest * headDim)
      unsafe tailValues.update(from: valueRows + full * together * headDim, count: rest * headDim)
    }
  }

  /// Packs 64 rows. Values that are not finite count as 0: a model that overflows gives no useful answer in any case.
  @unsafe private func pack(
    _ keyRows: UnsafePointer<Float>, _ valueRows: UnsafePointer<Float>, head: Int,
    into block: UnsafeMutablePointer<UInt8>, _ compute: Compute
  ) {
    let kernels = unsafe compute.kernels.pointee
    let together = Self.rowsTogether
    for rowBlock in 0..<keyTiles.rowBlockCount {
      let target = unsafe block + rowBlock * keyTiles.rowBlockByteCount
      if unsafe !kernels.quantize_row_block(
        keyTiles.kernelLayout, keyRows + rowBlock * 16 * headDim, 16, target)
      {
        unsafe target.update(repeating: 0, count: keyTiles.rowBlockByteCount)
      }
    }
    let columns = unsafe transposed.row(head * headDim)
    for d in 0..<headDim {
      for row in 0..<together { unsafe columns[d * together + row] = valueRows[row * headDim + d] }
    }
    for rowBlock in 0..<valueTiles.rowBlockCount {
      let target = unsafe block + keyTiles.byteCount + rowBlock * valueTiles.rowBlockByteCount
      if unsafe !kernels.quantize_row_block(
        valueTiles.kernelLayout, columns + rowBlock * 16 * together, min(16, headDim - rowBlock * 16), target)
      {
        unsafe target.update(repeating: 0, count: valueTiles.rowBlockByteCount)
      }
    }
  }

  /// - Parameters:
  ///   - queries: their own rows, within one block of 64.
  ///   - first: the first row that the first query sees; each later query starts one row later. Nil: every query sees
  ///     all.
  ///   - sinks: first rows that all see as well.
  ///   - textOffset: tokens of the text before row 0's.
  ///   - written: the rows of the latest `write` of the layer.
  func spans(
    layer: Int, _ queries: Range<Int>, first: Int?, sinks: Int, textOffset: Int, written: Range<Int>
  ) -> TextSpans {
    let together = Self.rowsTogether
    let packed = queries.lowerBound / together * together
    let seen = queries.lowerBound + 1
    var spans = TextSpans()
    let tiles = min(max(first ?? 0, 0) / together * together, packed)..<packed
    if !tiles.isEmpty {
      spans.packed = tileSpan(
        layer: layer, rows: tiles, textOffset: textOffset, queryAngle: .position,
        visibility: first.map { .moving($0..<seen) } ?? .all)
    }
    spans.latest = floatSpan(
      layer: layer, rows: packed..<queries.upperBound, textOffset: textOffset, written: written, queryAngle: .position,
      visibility: first.map { .moving($0..<seen) } ?? .causal(before: seen))
    // In the form in which the queries see their blocks.
    let packedSinks = min(packed, (sinks + together - 1) / together * together)
    if packedSinks > 0, sinks > 0 {
      spans.packedSinks = tileSpan(
        layer: layer, rows: 0..<packedSinks, queryAngle: .slot, visibility: .before(sinks))
    }
    if sinks > packedSinks {
      spans.sinks = floatSpan(
        layer: layer, rows: packedSinks..<sinks, written: written, queryAngle: .slot, visibility: .all)
    }
    return spans
  }

  private func tileSpan(
    layer: Int, rows: Range<Int>, textOffset: Int = 0, queryAngle: RowSpan.QueryAngle, visibility: RowSpan.Visibility
  ) -> RowSpan {
    let keys = unsafe UnsafeRawPointer(block(layer: layer, 0, head: 0))
    return unsafe RowSpan(
      keys: keys, values: keys + keyTiles.byteCount, keyHeadByteStride: partByteCount,
      valueHeadByteStride: partByteCount, rows: rows, textOffset: textOffset,
      form: .tiles(
        RowSpan.Tiles(
          blockRows: Self.rowsTogether, keyBlockByteStride: blockByteCount, valueBlockByteStride: blockByteCount,
          valueChannelByteStride: valueTiles.rowBlockByteCount, partByteStride: kvHeadCount * partByteCount)),
      queryAngle: queryAngle, visibility: visibility)
  }

  private func floatSpan(
    layer: Int, rows: Range<Int>, textOffset: Int = 0, written: Range<Int>, queryAngle: RowSpan.QueryAngle,
    visibility: RowSpan.Visibility
  ) -> RowSpan {
    let together = Self.rowsTogether
    let offset = rows.lowerBound - written.lowerBound / together * together
    let keys: UnsafePointer<Float>
    let values: UnsafePointer<Float>
    let headRows: Int
    if Self.fitTail(written) {
      unsafe keys = UnsafePointer(tail(layer: layer, head: 0) + offset * headDim)
      unsafe values = keys + together * headDim
      headRows = 2 * together
    } else {
      unsafe keys = UnsafePointer(recentKeys.row(offset))
      unsafe values = UnsafePointer(recentValues.row(offset))
      headRows = together + blockSize
    }
    return unsafe RowSpan(
      keys: UnsafeRawPointer(keys), values: UnsafeRawPointer(values), keyHeadByteStride: headRows * headDim * 4,
      valueHeadByteStride: headRows * headDim * 4, rows: rows, textOffset: textOffset, form: .floats(.float32),
      queryAngle: queryAngle, visibility: visibility)
  }

  /// Copies rows of a head: full blocks as they are, and the latest rows packed.
  /// - Returns: false when a value of the latest rows is not finite.
  func copy(layer: Int, head: Int, _ range: Range<Int>, to writer: TextRowWriter) -> Bool {
    let together = Self.rowsTogether
    let target = unsafe writer.head(head, layer: layer)
    let whole = range.count / together
    for index in 0..<whole {
      unsafe (target + index * blockByteCount).copyMemory(
        from: block(layer: layer, range.lowerBound / together + index, head: head), byteCount: blockByteCount)
    }
    let rest = range.count % together
    guard rest > 0 else { return true }
    let keys = unsafe tail(layer: layer, head: head)
    return unsafe writer.write(
      block: whole, head: head, layer: layer, keys: keys, values: keys + together * headDim)
  }

  /// Moves full blocks of all heads of a layer down.
  func move(layer: Int, blocks: Range<Int>, to target: Int) {
    for head in 0..<kvHeadCount {
      for (index, source) in blocks.enumerated() {
        unsafe block(layer: layer, target + index, head: head).update(
          from: block(layer: layer, source, head: head), count: blockByteCount)
      }
    }
  }

  /// Fills all rows with a small number.
  func fill(_ compute: Compute) {
    unsafe tails.base.update(repeating: 0.1, count: tails.rows * tails.columns)
    let block = unsafe block(layer: 0, 0, head: 0)
    unsafe pack(tails.base, tails.base, head: 0, into: block, compute)
    for start in stride(from: blockByteCount, to: rows.byteCount, by: blockByteCount) {
      unsafe (block + start).update(from: block, count: blockByteCount)
    }
  }
}
