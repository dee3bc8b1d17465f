internal import CKernels
internal import PackedTiles

/// Rows in packed tiles, with the latest ones in floats.
///
/// Of every layer and key-value head: keys as a matrix (capacity, head dim), one scale a row; values as a matrix
/// (head dim, capacity), one scale for a channel of 64 rows; and the rows of the block that is not full, in float32.
/// Format of the tiles: `Formats/packed-tile.md`.
@safe final class PackedRows {
  /// Rows that are packed together: the group of the values' tiles.
  static let rowsTogether = 64

  private let layerCount: Int
  private let kvHeadCount: Int
  private let headDim: Int
  private let blocks: Int
  private let blockSize: Int
  private let keyBlockByteCount: Int
  private let valueGroupByteCount: Int
  @unsafe private let keys: UnsafeMutablePointer<UInt8>
  @unsafe private let values: UnsafeMutablePointer<UInt8>
  /// Rows of the block that is not full, of every layer and head: (layer · head, 2, 64, head dim), keys and values.
  private let tails: FloatBuffer
  /// Of the layer that is being written: (head, rows from the start of the first query's block on, head dim).
  private let recentKeys: FloatBuffer
  private let recentValues: FloatBuffer
  /// A block of values transposed, for each head: (head dim, 64).
  private let transposed: FloatBuffer

  /// - Parameter blockSize: tokens that are written together, at most.
  init(layerCount: Int, kvHeadCount: Int, headDim: Int, capacity: Int, blockSize: Int) {
    self.layerCount = layerCount
    self.kvHeadCount = kvHeadCount
    self.headDim = headDim
    self.blockSize = blockSize
    let together = Self.rowsTogether
    blocks = (capacity + together - 1) / together
    keyBlockByteCount = Self.groupSize(headDim) * PackedTileLayout.tileRows + PackedTileLayout.tileByteCount
    valueGroupByteCount = together * PackedTileLayout.tileRows + PackedTileLayout.tileByteCount
    let heads = layerCount * kvHeadCount
    unsafe keys = Self.allocate(heads * blocks * (together / 16) * keyBlockByteCount)
    unsafe values = Self.allocate(heads * ((headDim + 15) / 16) * blocks * valueGroupByteCount)
    tails = FloatBuffer(rows: heads * 2 * together, columns: headDim)
    recentKeys = FloatBuffer(rows: kvHeadCount * (together + blockSize), columns: headDim)
    recentValues = FloatBuffer(rows: kvHeadCount * (together + blockSize), columns: headDim)
    transposed = FloatBuffer(rows: kvHeadCount * headDim, columns: together)
  }

  private static func allocate(_ byteCount: Int) -> UnsafeMutablePointer<UInt8> {
    unsafe UnsafeMutableRawPointer.allocate(byteCount: max(byteCount, 64), alignment: 64)
      .bindMemory(to: UInt8.self, capacity: max(byteCount, 64))
  }

  deinit {
    unsafe keys.deallocate()
    unsafe values.deallocate()
  }

  /// Columns of keys that share a scale: all, rounded up to whole tiles.
  private static func groupSize(_ headDim: Int) -> Int { (headDim + 3) / 4 * 4 }

  /// Keys of 64 rows.
  private var keyRowsByteCount: Int { Self.rowsTogether / 16 * keyBlockByteCount }
  private var keyHeadByteCount: Int { blocks * keyRowsByteCount }
  private var valueRowBlockByteCount: Int { blocks * valueGroupByteCount }
  private var valueHeadByteCount: Int { (headDim + 15) / 16 * valueRowBlockByteCount }

  var byteCount: Int {
    layerCount * kvHeadCount * (keyHeadByteCount + valueHeadByteCount) + tails.rows * tails.columns * 4
  }

  /// Writes rows, packs the blocks that they fill and keeps the rest.
  func write(
    layer: Int, from start: Int, tokens: Int, keys newKeys: FloatBuffer, values newValues: FloatBuffer,
    _ compute: Compute
  ) {
    precondition(tokens <= blockSize)
    compute.crew.run(count: kvHeadCount) { _, heads in
      for head in heads {
        write(layer: layer, head: head, from: start, tokens: tokens, keys: newKeys, values: newValues, compute)
      }
    }
  }

  private func write(
    layer: Int, head: Int, from start: Int, tokens: Int, keys newKeys: FloatBuffer, values newValues: FloatBuffer,
    _ compute: Compute
  ) {
    let together = Self.rowsTogether
    let kept = start % together
    let tail = unsafe tails.row((layer * kvHeadCount + head) * 2 * together)
    let recentKeys = unsafe recentKeys.row(head * (together + blockSize))
    let recentValues = unsafe recentValues.row(head * (together + blockSize))
    unsafe recentKeys.update(from: tail, count: kept * headDim)
    unsafe recentValues.update(from: tail + together * headDim, count: kept * headDim)
    for t in 0..<tokens {
      unsafe (recentKeys + (kept + t) * headDim).update(from: newKeys.row(t) + head * headDim, count: headDim)
      unsafe (recentValues + (kept + t) * headDim).update(from: newValues.row(t) + head * headDim, count: headDim)
    }
    let full = (kept + tokens) / together
    for block in 0..<full {
      let offset = block * together * headDim
      unsafe pack(
        recentKeys + offset, recentValues + offset, layer: layer, head: head, block: start / together + block, compute)
    }
    let rest = kept + tokens - full * together
    unsafe tail.update(from: recentKeys + full * together * headDim, count: rest * headDim)
    unsafe (tail + together * headDim).update(from: recentValues + full * together * headDim, count: rest * headDim)
  }

  /// Packs 64 rows. What is not finite counts as 0: a model that overflows has no answer to lose.
  @unsafe private func pack(
    _ keyRows: UnsafePointer<Float>, _ valueRows: UnsafePointer<Float>, layer: Int, head: Int, block: Int,
    _ compute: Compute
  ) {
    let kernels = unsafe compute.kernels.pointee
    let together = Self.rowsTogether
    let keyTarget =
      unsafe keys + (layer * kvHeadCount + head) * keyHeadByteCount + block * keyRowsByteCount
    for rowBlock in 0..<together / 16 {
      let target = unsafe keyTarget + rowBlock * keyBlockByteCount
      if unsafe !kernels.quantize_row_block(
        keyRows + rowBlock * 16 * headDim, 16, headDim, Self.groupSize(headDim), target)
      {
        unsafe target.update(repeating: 0, count: keyBlockByteCount)
      }
    }
    let columns = unsafe transposed.row(head * headDim)
    for d in 0..<headDim {
      for row in 0..<together { unsafe columns[d * together + row] = valueRows[row * headDim + d] }
    }
    let valueTarget =
      unsafe values + (layer * kvHeadCount + head) * valueHeadByteCount + block * valueGroupByteCount
    for rowBlock in 0..<(headDim + 15) / 16 {
      let target = unsafe valueTarget + rowBlock * valueRowBlockByteCount
      if unsafe !kernels.quantize_row_block(
        columns + rowBlock * 16 * together, min(16, headDim - rowBlock * 16), together, together, target)
      {
        unsafe target.update(repeating: 0, count: valueGroupByteCount)
      }
    }
  }

  /// - Parameters:
  ///   - queries: their own rows, within one block of 64.
  ///   - first: the first row that the first query sees, each later one sees from one row later; nil: all.
  ///   - start: where the latest `write` of the layer began.
  func spans(layer: Int, _ queries: Range<Int>, first: Int?, written start: Int) -> [RowSpan] {
    let packed = queries.lowerBound / Self.rowsTogether * Self.rowsTogether
    let seen = queries.lowerBound + 1
    let tiles = min((first ?? 0) / Self.rowsTogether * Self.rowsTogether, packed)..<packed
    var spans: [RowSpan] = []
    if !tiles.isEmpty {
      spans.append(
        tileSpan(
          layer: layer, rows: tiles, queryAngle: .position,
          visibility: first.map { .moving($0 - tiles.lowerBound..<seen - tiles.lowerBound) } ?? .all))
    }
    spans.append(
      floatSpan(
        rows: packed..<queries.upperBound, written: start, queryAngle: .position,
        visibility: first.map { .moving($0 - packed..<seen - packed) } ?? .causal(seen - packed)))
    return spans
  }

  /// The first rows, in the form in which the queries see their blocks.
  func sinkSpans(layer: Int, _ sinks: Int, for queries: Range<Int>, written start: Int) -> [RowSpan] {
    let together = Self.rowsTogether
    let packed = min(queries.lowerBound, sinks + together - 1) / together * together
    var spans: [RowSpan] = []
    if packed > 0, sinks > 0 {
      spans.append(tileSpan(layer: layer, rows: 0..<packed, queryAngle: .slot, visibility: .first(sinks)))
    }
    if sinks > packed {
      spans.append(floatSpan(rows: packed..<sinks, written: start, queryAngle: .slot, visibility: .all))
    }
    return spans
  }

  private func tileSpan(
    layer: Int, rows: Range<Int>, queryAngle: RowSpan.QueryAngle, visibility: RowSpan.Visibility
  ) -> RowSpan {
    let first = layer * kvHeadCount
    let block = rows.lowerBound / Self.rowsTogether
    return unsafe RowSpan(
      keys: UnsafeRawPointer(keys + first * keyHeadByteCount + block * keyRowsByteCount),
      values: UnsafeRawPointer(values + first * valueHeadByteCount + block * valueGroupByteCount),
      keyHeadByteStride: keyHeadByteCount, valueHeadByteStride: valueHeadByteCount, rows: rows.count,
      form: .tiles(
        keys: RowSpan.Tiles(groupSize: Self.groupSize(headDim), rowBlockByteStride: keyBlockByteCount),
        values: RowSpan.Tiles(groupSize: Self.rowsTogether, rowBlockByteStride: valueRowBlockByteCount)),
      queryAngle: queryAngle, visibility: visibility)
  }

  private func floatSpan(
    rows: Range<Int>, written start: Int, queryAngle: RowSpan.QueryAngle, visibility: RowSpan.Visibility
  ) -> RowSpan {
    let offset = rows.lowerBound - start / Self.rowsTogether * Self.rowsTogether
    let stride = (Self.rowsTogether + blockSize) * headDim * 4
    return unsafe RowSpan(
      keys: UnsafeRawPointer(recentKeys.row(offset)), values: UnsafeRawPointer(recentValues.row(offset)),
      keyHeadByteStride: stride, valueHeadByteStride: stride, rows: rows.count, form: .floats(.float32),
      queryAngle: queryAngle, visibility: visibility)
  }

  /// Moves full blocks of all layers and heads to a place before.
  func move(blocks: Range<Int>, to target: Int) {
    for head in 0..<layerCount * kvHeadCount {
      let keys = unsafe keys + head * keyHeadByteCount
      unsafe (keys + target * keyRowsByteCount).update(
        from: keys + blocks.lowerBound * keyRowsByteCount, count: blocks.count * keyRowsByteCount)
      for rowBlock in 0..<(headDim + 15) / 16 {
        let values = unsafe values + head * valueHeadByteCount + rowBlock * valueRowBlockByteCount
        unsafe (values + target * valueGroupByteCount).update(
          from: values + blocks.lowerBound * valueGroupByteCount, count: blocks.count * valueGroupByteCount)
      }
    }
  }

  func fill() {
    // Byte 0x80 is the value 0, with any scale; 0x80808080 as a scale is a tiny negative number.
    unsafe keys.update(repeating: 0x80, count: layerCount * kvHeadCount * keyHeadByteCount)
    unsafe values.update(repeating: 0x80, count: layerCount * kvHeadCount * valueHeadByteCount)
    unsafe tails.base.update(repeating: 0.1, count: tails.rows * tails.columns)
  }
}
