internal import CKernels
internal import FileAccess
internal import NodeBlocks
internal import PackedTiles

/// The keys and values of the tokens so far. Keys are rotated by the position of their token.
///
/// Two forms. In floats, every row stays as it was written. In int8, rows are packed into tiles 64 at a time; the rows
/// of the block that is not full are floats. A query sees the full blocks before its own block in int8 and the rows of
/// its own block in floats: in which form it sees a row depends on its position alone, so that a prompt read at once
/// and one read token by token give the same bits.
///
/// Where a policy has a window, the blocks of 64 rows with its sinks stay where they are, and those with its recent
/// rows move down behind them when memory is full; where it chooses rows, the ones that stay move together in each
/// layer and head. Keys keep the angles of their tokens' positions: a query at its own position is as far from a recent
/// key as it should be, and one at its slot from a sink.
@safe final class KeyValueCache {
  /// Tokens that the cache is made for.
  let capacity: Int
  private let policy: any RowPolicy
  /// The policy's answers, which do not change: a token of every layer and head needs them.
  private let windows: [RowWindow?]
  private let choosesRows: Bool
  private let layerCount: Int
  private let kvHeadCount: Int
  /// Rows that memory is reserved for.
  private let rowCapacity: Int
  /// Tokens that have been read, whose rows are filled in every layer.
  private(set) var count = 0
  /// Tokens that no longer have a row: (layer, kv head). Behind a window's sinks it is a multiple of 64.
  private var droppedCounts: [Int]
  /// The attention weights of the rows of each head of a layer, where the policy needs them: (kv head, rows).
  let weights: FloatBuffer?
  /// The position of the first row.
  let firstPosition: Int
  private let floats: FloatRows?
  private let packed: PackedRows?

  /// Reserves memory for the whole capacity; the system provides its pages as tokens come.
  init(
    layerCount: Int, kvHeadCount: Int, headDim: Int, capacity: Int, encoding: RowEncoding, blockSize: Int,
    policy: any RowPolicy = FullRows(), firstPosition: Int = 0
  ) {
    self.capacity = capacity
    self.policy = policy
    windows = (0..<layerCount).map(policy.window(layer:))
    choosesRows = policy.choosesRows
    self.layerCount = layerCount
    self.kvHeadCount = kvHeadCount
    self.firstPosition = firstPosition
    rowCapacity = policy.rowCapacity(tokens: capacity, blockSize: blockSize)
    droppedCounts = [Int](repeating: 0, count: layerCount * kvHeadCount)
    weights = policy.needsWeights ? FloatBuffer(rows: kvHeadCount, columns: rowCapacity) : nil
    precondition(!choosesRows || encoding != .int8, "packed rows do not go one by one")
    switch encoding {
    case .float16, .float32:
      floats = FloatRows(
        layerCount: layerCount, kvHeadCount: kvHeadCount, headDim: headDim, capacity: rowCapacity,
        element: encoding.element)
      packed = nil
    case .int8:
      floats = nil
      packed = PackedRows(
        layerCount: layerCount, kvHeadCount: kvHeadCount, headDim: headDim, capacity: rowCapacity, blockSize: blockSize)
    case .int4: preconditionFailure("a cache takes rows one by one")
    }
  }

  static func wholeBlocks(_ rows: Int) -> Int {
    (rows + PackedRows.rowsTogether - 1) / PackedRows.rowsTogether * PackedRows.rowsTogether
  }

  /// Bytes of the whole reservation.
  var byteCount: Int { floats?.byteCount ?? packed?.byteCount ?? 0 }

  /// Bytes that a cache takes, with what it writes to in between.
  static func byteCount(
    layerCount: Int, kvHeadCount: Int, headDim: Int, capacity: Int, encoding: RowEncoding, blockSize: Int,
    policy: any RowPolicy
  ) -> Int {
    let rows = policy.rowCapacity(tokens: capacity, blockSize: blockSize)
    let heads = layerCount * kvHeadCount
    guard encoding == .int8 else { return 2 * heads * rows * headDim * encoding.element.byteCount }
    let block = wholeBlocks(1) * headDim
    // A byte for each number and, at most, one for every sixteen of them for scales; tails, and rows in between.
    return heads * wholeBlocks(rows) * 2 * (headDim + headDim / 8 + 16) + heads * 2 * block * 4
      + kvHeadCount * (2 * (wholeBlocks(1) + blockSize) * headDim + block) * 4
  }

  /// Writes the keys and values of new tokens of a layer behind the rows so far.
  /// - Parameters:
  ///   - rows: those of the tokens in the buffers.
  ///   - rotatedKeys, values: (rows, kv heads · head dim).
  func write(layer: Int, rows: Range<Int>, rotatedKeys: FloatBuffer, values: FloatBuffer, _ compute: Compute) {
    for head in 0..<kvHeadCount {
      let start = rowCount(layer: layer, head: head)
      precondition(start + rows.count <= rowCapacity, "the cache was made for fewer tokens")
      floats?.write(layer: layer, head: head, at: start, rows, keys: rotatedKeys, values: values, compute)
    }
    packed?.write(
      layer: layer, at: rowCount(layer: layer, head: 0), rows, keys: rotatedKeys, values: values, compute)
  }

  /// Rows of a head in memory.
  private func rowCount(layer: Int, head: Int) -> Int { count - droppedCounts[layer * kvHeadCount + head] }

  /// Drops rows that no later token sees, before the rows of a block are written.
  func makeRoom(for tokens: Int) {
    for layer in 0..<layerCount {
      guard let window = windows[layer], rowCount(layer: layer, head: 0) + tokens > rowCapacity else {
        continue
      }
      let kept = Self.wholeBlocks(window.sinks)
      let together = PackedRows.rowsTogether
      let first = max(count + 1 - window.recent, kept) / together * together
      let rows = first - droppedCounts[layer * kvHeadCount]..<rowCount(layer: layer, head: 0)
      for head in 0..<kvHeadCount {
        floats?.move(layer: layer, head: head, rows: rows, to: kept)
        droppedCounts[layer * kvHeadCount + head] = first - kept
      }
      packed?.move(layer: layer, blocks: rows.lowerBound / together..<rows.upperBound / together, to: kept / together)
    }
  }

  /// Lets the policy choose among the rows of a layer that has attended; its latest rows are not counted yet.
  /// - Parameter endsPrompt: see `AttentionStep`.
  func chooseRows(layer: Int, tokens: Int, endsPrompt: Bool) {
    guard choosesRows, let floats else { return }
    for head in 0..<kvHeadCount {
      let rowCount = rowCount(layer: layer, head: head) + tokens
      let step = AttentionStep(
        rowCount: rowCount, tokenCount: tokens, endsPrompt: endsPrompt,
        weights: weights.map { unsafe Array(UnsafeBufferPointer(start: $0.row(head), count: rowCount)) } ?? [])
      guard let kept = policy.keptRows(layer: layer, head: head, after: step) else { continue }
      var next = 0
      for rows in kept {
        precondition(rows.lowerBound >= next && rows.upperBound <= rowCount, "kept rows are ascending, and are there")
        floats.move(layer: layer, head: head, rows: rows, to: next)
        next += rows.count
      }
      droppedCounts[layer * kvHeadCount + head] += rowCount - next
    }
  }

  /// Rows that a token sees of any layer, at most; nil without a limit.
  var slotCount: Int? {
    let limits = windows.compactMap { $0?.rowCount }
    return limits.count == layerCount ? limits.max() : nil
  }

  /// Whether every row stays where it was written.
  var keepsAllRows: Bool { slotCount == nil && !choosesRows }

  /// The slots that a number of tokens takes.
  func slots(of tokens: Int, layer: Int = 0) -> Int {
    windows[layer].map { min(tokens, $0.rowCount) } ?? tokens
  }

  /// The rows of a layer that `tokens` queries see, whose own rows were the last ones written and are not counted yet.
  func rows(layer: Int, tokens: Int) -> RunningTextRows {
    RunningTextRows(cache: self, layer: layer, tokens: tokens)
  }

  /// Counts the new tokens, after every layer has written theirs.
  func advance(_ tokens: Int) { count += tokens }

  /// Continues after `count` tokens, where the next rows are written: one layer may read ahead of the next.
  func seek(_ count: Int) {
    precondition(
      !choosesRows && count <= capacity && droppedCounts.allSatisfy { $0 == 0 },
      "rows that have gone do not come back")
    self.count = count
  }

  /// The rows that some of the queries of a head see. The layer's latest `written` rows are not counted yet.
  fileprivate func spans(layer: Int, head: Int, tokens: Range<Int>, written: Int) -> TextSpans {
    let rowCount = rowCount(layer: layer, head: head)
    let rows = rowCount + tokens.lowerBound..<rowCount + tokens.upperBound
    var first: Int?
    var sinkCount = 0
    if let window = windows[layer], count + tokens.upperBound > window.rowCount {
      first = rows.lowerBound + 1 - window.recent
      sinkCount = window.sinks
    }
    // The rows that a policy chose lie together, wherever in the text they come from.
    let textOffset = choosesRows ? 0 : count - rowCount
    if let packed {
      return packed.spans(
        layer: layer, rows, first: first, sinks: sinkCount, textOffset: textOffset,
        written: rowCount..<rowCount + written)
    }
    return floats?.spans(layer: layer, rows, first: first, sinks: sinkCount, textOffset: textOffset) ?? TextSpans()
  }

  /// Whether any of `tokens` queries sees sinks in spans of their own, and the tokens of the other rows that any of
  /// them sees.
  fileprivate func seen(layer: Int, tokens: Int) -> (sinks: Bool, tokens: Range<Int>) {
    guard let window = windows[layer], count + tokens > window.rowCount else {
      let rows = choosesRows ? (0..<kvHeadCount).reduce(0) { max($0, rowCount(layer: layer, head: $1)) } : count
      return (false, 0..<rows + tokens)
    }
    return (window.sinks > 0, max(count + 1 - window.recent, 0)..<count + tokens)
  }

  /// The first query that no longer sees all tokens before it, if there are queries before it that do.
  fileprivate func windowStart(layer: Int, tokens: Int) -> Int? {
    guard let slots = windows[layer]?.rowCount, count < slots, count + tokens > slots else { return nil }
    return slots - count
  }

  /// A copy of some of the rows of every layer.
  /// - Parameters:
  ///   - range: at most `Attention.partRows` tokens, from a multiple of 64 to another or to the end.
  ///   - layout: that of the cache's own rows.
  /// - Returns: nil when a key or value is not finite.
  /// - Precondition: the cache keeps all rows.
  func textRows(_ range: Range<Int>, layout: TextRowLayout) -> TextRows? {
    let together = PackedRows.rowsTogether
    precondition(
      keepsAllRows && range.count <= Attention.partRows && range.lowerBound % together == 0
        && range.upperBound <= count && (range.upperBound % together == 0 || range.upperBound == count), "whole blocks")
    let writer = TextRowWriter(layout: layout, rowCount: range.count)
    for layer in 0..<layerCount {
      for head in 0..<kvHeadCount {
        if let packed {
          guard packed.copy(layer: layer, head: head, range, to: writer) else { return nil }
        } else {
          floats?.copy(layer: layer, head: head, range, to: writer)
        }
      }
    }
    return writer.finish()
  }

  /// Rotates every key further, by its position times the difference between the frequencies of two tables: the dynamic
  /// scaling requires it when the sequence has grown.
  func rerotate(from old: RotaryTable, to new: RotaryTable, _ compute: Compute) {
    guard let floats else { preconditionFailure("only float32 keys are turned without loss") }
    precondition(droppedCounts.allSatisfy { $0 == 0 }, "slots no longer grow when tokens have gone")
    let difference = zip(old.frequencies, new.frequencies).map { $1 - $0 }
    for row in 0..<count {
      floats.turn(row: row, by: RotaryTable.angles(difference, position: firstPosition + row), compute)
    }
  }

  /// Writes small numbers into the next rows of all layers.
  func fill(rows: Int, _ compute: Compute) {
    precondition(count + rows <= rowCapacity, "the cache was made for fewer tokens")
    floats?.fill()
    packed?.fill(compute)
  }
}

/// The rows of running text that some queries see.
struct RunningTextRows {
  fileprivate let cache: KeyValueCache
  fileprivate let layer: Int
  fileprivate let tokens: Int

  /// Tokens of the text before the first query's.
  var precedingCount: Int { cache.count }

  /// The position that a query is turned by where it meets rows of the text before it.
  func position(token: Int) -> Int { cache.firstPosition + cache.count + token }

  /// The position that a query is turned by where it meets rows whose distance does not grow: sinks and merged rows.
  func slot(token: Int) -> Int { cache.firstPosition + cache.slots(of: cache.count + token + 1, layer: layer) - 1 }

  /// The first query that sees sinks apart from other rows, if there are others before it.
  var windowStart: Int? { cache.windowStart(layer: layer, tokens: tokens) }

  /// Parts of the rows that the queries see: sinks are one, the others end at multiples of `Attention.partRows` rows in
  /// the text.
  /// - Parameter before: rows of the first part that are not in the cache.
  func parts(behind before: Int) -> (sinks: Bool, numbers: Range<Int>) {
    let (sinks, tokens) = cache.seen(layer: layer, tokens: tokens)
    let partRows = Attention.partRows
    return (
      sinks, (before + tokens.lowerBound) / partRows..<(before + tokens.upperBound + partRows - 1) / partRows
    )
  }

  /// The rows of a head that a set of queries sees, which lies before or behind `windowStart` and must not straddle a
  /// multiple of 64.
  func spans(for tokens: Range<Int>, head: Int) -> TextSpans {
    cache.spans(layer: layer, head: head, tokens: tokens, written: self.tokens)
  }

  /// Where the weights of the rows are added up, if the policy needs them.
  var weights: FloatBuffer? { cache.weights }
}

/// Spans of running text: the sinks, where other rows lie between them and the recent ones, and all other rows. Of
/// each, the packed rows come before those in floats.
struct TextSpans {
  var packedSinks: RowSpan?
  var sinks: RowSpan?
  var packed: RowSpan?
  var latest: RowSpan?
}

/// Rows in floats: (layer, kv head, capacity, head dim), keys and values apart.
@safe private final class FloatRows {
  private let layerCount: Int
  private let kvHeadCount: Int
  private let headDim: Int
  private let capacity: Int
  private let element: ElementType
  private let keyMemory: AlignedMemory
  private let valueMemory: AlignedMemory
  @unsafe private let keys: UnsafeMutableRawPointer
  @unsafe private let values: UnsafeMutableRawPointer

  init(layerCount: Int, kvHeadCount: Int, headDim: Int, capacity: Int, element: ElementType) {
    self.layerCount = layerCount
    self.kvHeadCount = kvHeadCount
    self.headDim = headDim
    self.capacity = capacity
    self.element = element
    let byteCount = layerCount * kvHeadCount * capacity * headDim * element.byteCount
    keyMemory = AlignedMemory(byteCount: byteCount)
    valueMemory = AlignedMemory(byteCount: byteCount)
    unsafe keys = keyMemory.base
    unsafe values = valueMemory.base
  }

  var byteCount: Int { keyMemory.byteCount + valueMemory.byteCount }

  private func byteOffset(layer: Int, head: Int, row: Int) -> Int {
    ((layer * kvHeadCount + head) * capacity + row) * headDim * element.byteCount
  }

  /// - Parameter rows: of the buffers.
  func write(
    layer: Int, head: Int, at start: Int, _ rows: Range<Int>, keys newKeys: FloatBuffer, values newValues: FloatBuffer,
    _ compute: Compute
  ) {
    for (t, row) in rows.enumerated() {
      let offset = byteOffset(layer: layer, head: head, row: start + t)
      unsafe store(newKeys.row(row) + head * headDim, at: keys + offset, compute)
      unsafe store(newValues.row(row) + head * headDim, at: values + offset, compute)
    }
  }

  @unsafe private func store(
    _ source: UnsafePointer<Float>, at target: UnsafeMutableRawPointer, _ compute: Compute
  ) {
    if element == .float16 {
      unsafe compute.kernels.pointee.narrow_to_float16(source, headDim, target.assumingMemoryBound(to: UInt16.self))
    } else {
      unsafe target.copyMemory(from: source, byteCount: headDim * MemoryLayout<Float>.size)
    }
  }

  /// - Parameters:
  ///   - queries: their own rows.
  ///   - first: the first row that the first query sees; each later query starts one row later. Nil: every query sees
  ///     all.
  ///   - textOffset: tokens of the text before row 0's.
  func spans(layer: Int, _ queries: Range<Int>, first: Int?, sinks: Int, textOffset: Int) -> TextSpans {
    let seen = queries.lowerBound + 1
    // Whole blocks: where they end must not depend on how many queries come together.
    let start = max(first ?? 0, 0) / PackedRows.rowsTogether * PackedRows.rowsTogether
    return TextSpans(
      sinks: sinks > 0 ? span(layer: layer, rows: 0..<sinks, queryAngle: .slot, visibility: .all) : nil,
      latest: span(
        layer: layer, rows: start..<queries.upperBound, textOffset: textOffset, queryAngle: .position,
        visibility: first.map { .moving($0..<seen) } ?? .causal(before: seen)))
  }

  private func span(
    layer: Int, rows: Range<Int>, textOffset: Int = 0, queryAngle: RowSpan.QueryAngle, visibility: RowSpan.Visibility
  ) -> RowSpan {
    let offset = byteOffset(layer: layer, head: 0, row: rows.lowerBound)
    let stride = capacity * headDim * element.byteCount
    return unsafe RowSpan(
      keys: UnsafeRawPointer(keys + offset), values: UnsafeRawPointer(values + offset), keyHeadByteStride: stride,
      valueHeadByteStride: stride, rows: rows, textOffset: textOffset, form: .floats(element), queryAngle: queryAngle,
      visibility: visibility)
  }

  /// Copies rows of a head.
  func copy(layer: Int, head: Int, _ rows: Range<Int>, to writer: TextRowWriter) {
    let from = byteOffset(layer: layer, head: head, row: rows.lowerBound)
    let byteCount = rows.count * headDim * element.byteCount
    let target = unsafe writer.head(head, layer: layer)
    unsafe target.copyMemory(from: keys + from, byteCount: byteCount)
    unsafe (target + writer.layout.floatByteCount(rows: rows.count)).copyMemory(
      from: values + from, byteCount: byteCount)
  }

  /// Moves rows of a head down.
  func move(layer: Int, head: Int, rows: Range<Int>, to target: Int) {
    guard rows.lowerBound != target else { return }
    let byteCount = rows.count * headDim * element.byteCount
    let from = byteOffset(layer: layer, head: head, row: rows.lowerBound)
    let to = byteOffset(layer: layer, head: head, row: target)
    unsafe (keys + to).copyMemory(from: keys + from, byteCount: byteCount)
    unsafe (values + to).copyMemory(from: values + from, byteCount: byteCount)
  }

  /// - Parameter angles: cosines and sines: (2, head dim / 2).
  func turn(row: Int, by angles: [Float], _ compute: Compute) {
    precondition(element == .float32, "only float32 keys are turned without loss")
    unsafe angles.withUnsafeBufferPointer { angles in
      guard let cosines = angles.baseAddress else { return }
      for layer in 0..<layerCount {
        for head in 0..<kvHeadCount {
          let key = unsafe keys + byteOffset(layer: layer, head: head, row: row)
          unsafe compute.kernels.pointee.rotate(
            key.assumingMemoryBound(to: Float.self), 1, headDim, cosines, cosines + headDim / 2)
        }
      }
    }
  }

  func fill() {
    // 0x2C2C is 0.065 in float16; 0x2C2C2C2C is 2e-12 in float32.
    unsafe keys.initializeMemory(as: UInt8.self, repeating: 0x2C, count: byteCount / 2)
    unsafe values.initializeMemory(as: UInt8.self, repeating: 0x2C, count: byteCount / 2)
  }
}
