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
/// rows move down behind them when memory is full; where it chooses rows, they are floats, and the ones that stay move
/// together in each layer and head. Such a policy's first prompt is read with packed rows nevertheless if the pack is one
/// of int8: it sees what it would see without a policy. Keys keep the angles of their tokens' positions: a query at its
/// own position is as far from a recent key as it should be, and one at its slot from a sink.
@safe final class KeyValueCache {
  /// Tokens that the cache is made for.
  let capacity: Int
  /// The policy's answers, which do not change.
  private let window: RowWindow?
  private let chooser: (any RowChooser)?
  private let layerCount: Int
  private let kvHeadCount: Int
  private let headDim: Int
  /// Rows that memory is reserved for.
  private let rowCapacity: Int
  /// Tokens that have been read, whose rows are filled in every layer.
  private(set) var count = 0
  /// Tokens that no longer have a row, of each layer: behind a window's sinks, a multiple of 64.
  private var droppedCounts: [Int]
  /// The rows of each head, where the policy chooses among them: (layer, kv head).
  private(set) var lists: [RowList]
  /// The tokens of the prompt that goes through the layers one by one, and the rows of the layer that it is in.
  private var prompt: Range<Int>?
  private var promptRows: FloatRows?
  /// The same in tiles, which the queries of the first prompt see where a cache without a policy would pack its rows.
  private var promptTiles: PackedRows?
  /// The rows that go, while they are chosen.
  private var dropped: [Int] = []
  /// The attention weights of the rows of each head of a layer, where the policy needs them: (kv head, rows).
  private let weights: FloatBuffer?
  /// The same, of the rows of the layer that a prompt is in.
  private var promptWeights: FloatBuffer?
  /// Rows at distances that do not grow; nil without any.
  private let distant: DistantRows?
  /// The position of the first row.
  let firstPosition: Int
  private let floats: FloatRows?
  private let packed: PackedRows?
  private let packsPrompt: Bool
  /// Tokens that are written together, at most.
  private let blockSize: Int

  /// Reserves memory for the whole capacity; the system provides its pages as tokens come.
  /// - Parameter packsPrompt: whether the queries of the first prompt see packed rows where the policy chooses among rows.
  init(
    layerCount: Int, kvHeadCount: Int, headDim: Int, capacity: Int, encoding: RowEncoding, blockSize: Int,
    policy: any RowPolicy = FullRows(), firstPosition: Int = 0, packsPrompt: Bool = false,
    scratch: ScratchMapping? = nil
  ) {
    self.capacity = capacity
    self.packsPrompt = packsPrompt
    self.blockSize = blockSize
    window = policy.window
    chooser = policy.chooser
    self.layerCount = layerCount
    self.kvHeadCount = kvHeadCount
    self.headDim = headDim
    self.firstPosition = firstPosition
    rowCapacity = policy.rowCapacity(tokens: capacity, blockSize: blockSize)
    droppedCounts = [Int](repeating: 0, count: layerCount)
    lists = [RowList](repeating: RowList(), count: chooser == nil ? 0 : layerCount * kvHeadCount)
    weights =
      chooser?.weighsSingleTokens == true || policy.blocks != nil
      ? FloatBuffer(rows: kvHeadCount, columns: rowCapacity) : nil
    distant = policy.window.flatMap {
      DistantRows(
        $0, policy.blocks, layerCount: layerCount, kvHeadCount: kvHeadCount, headDim: headDim, capacity: capacity,
        encoding: encoding, scratch: scratch)
    }
    switch encoding {
    // Rows that share their tiles do not go one by one.
    case .int8 where chooser != nil, .float16, .float32:
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
  var byteCount: Int { (floats?.byteCount ?? packed?.byteCount ?? 0) + (distant?.byteCount ?? 0) }

  /// Bytes of the rows that are there, of all layers and heads.
  var rowByteCount: Int {
    guard rowCapacity > 0 else { return 0 }
    let rows = (0..<layerCount).reduce(0) { sum, layer in
      (0..<kvHeadCount).reduce(sum) { $0 + rowCount(layer: layer, head: $1) }
    }
    let perRow = (floats?.byteCount ?? packed?.byteCount ?? 0) / (rowCapacity * layerCount * kvHeadCount)
    return rows * perRow + (distant?.byteCount(tokens: count) ?? 0)
  }

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

  /// Begins a prompt whose tokens all go through a layer before any goes through the next, where a policy chooses rows:
  /// it chooses when a layer has seen them all.
  func beginPrompt(tokens: Int) {
    guard let chooser, let floats else { return }
    precondition(prompt == nil && tokens <= capacity - count, "the cache was made for fewer tokens")
    prompt = count..<count + tokens
    let rows = (lists.map(\.count).max() ?? 0) + tokens
    promptRows = floats.ofOneLayer(capacity: rows)
    // Rows that are left of a text are not those of whole blocks.
    if packsPrompt, count == 0 {
      promptTiles = PackedRows(
        layerCount: 1, kvHeadCount: kvHeadCount, headDim: headDim, capacity: rows, blockSize: blockSize)
    }
    if chooser.weighedQueries(ofPrompt: tokens) > 0 { promptWeights = FloatBuffer(rows: kvHeadCount, columns: rows) }
  }

  /// Ends it, when every layer has been through.
  func endPrompt() {
    (prompt, promptRows, promptTiles, promptWeights) = (nil, nil, nil, nil)
  }

  /// Where a prompt of a number of tokens is cut, so that the weights of a whole piece are added up or none are, and in
  /// which pieces it is read at all: ascending, the first of them 0.
  func cuts(ofPrompt tokens: Int) -> [Int] {
    if let chooser { return [0, tokens - chooser.weighedQueries(ofPrompt: tokens)] }
    guard let block = distant?.pieceSize else { return [0] }
    return [0] + stride(from: block - count % block, to: tokens, by: block)
  }

  /// Writes the keys and values of new tokens of a layer behind the rows so far.
  /// - Parameters:
  ///   - rows: those of the tokens in the buffers.
  ///   - rotatedKeys, values: (rows, kv heads · head dim).
  func write(layer: Int, rows: Range<Int>, rotatedKeys: FloatBuffer, values: FloatBuffer, _ compute: Compute) {
    for head in 0..<kvHeadCount {
      let start = rowCount(layer: layer, head: head)
      if let promptRows, let floats {
        if count == prompt?.lowerBound {
          promptRows.copy(layer: 0, head: head, rows: start, of: floats, layer: layer)
        }
        promptRows.write(layer: 0, head: head, at: start, rows, keys: rotatedKeys, values: values, compute)
        continue
      }
      precondition(start + rows.count <= rowCapacity, "the cache was made for fewer tokens")
      floats?.write(layer: layer, head: head, at: start, rows, keys: rotatedKeys, values: values, compute)
    }
    (promptTiles ?? packed)?.write(
      layer: promptTiles == nil ? layer : 0, at: rowCount(layer: layer, head: 0), rows, keys: rotatedKeys,
      values: values, compute)
  }

  /// Begins a piece of a layer, before its keys are rotated: rows at distances that do not grow are written, and, where
  /// there are blocks of them, chosen.
  /// - Parameters:
  ///   - rows: those of the tokens in the buffers.
  ///   - queries: (rows, heads · head dim).
  ///   - keys, values: (rows, kv heads · head dim).
  func begin(
    layer: Int, rows: Range<Int>, queries: FloatBuffer, keys: FloatBuffer, values: FloatBuffer, _ compute: Compute
  ) {
    distant?.begin(layer: layer, at: count, rows: rows, queries: queries, keys: keys, values: values, compute)
  }

  /// Rows of a head in memory.
  private func rowCount(layer: Int, head: Int) -> Int {
    chooser == nil ? count - droppedCounts[layer] : lists[layer * kvHeadCount + head].count
  }

  /// Drops rows that no later token sees, before the rows of a block are written.
  func makeRoom(for tokens: Int) {
    guard let window else { return }
    for layer in 0..<layerCount where rowCount(layer: layer, head: 0) + tokens > rowCapacity {
      let kept = Self.wholeBlocks(window.sinksInPlace)
      let together = PackedRows.rowsTogether
      let first = max(count + 1 - window.recent, kept) / together * together
      let rows = first - droppedCounts[layer]..<rowCount(layer: layer, head: 0)
      for head in 0..<kvHeadCount { floats?.move(layer: layer, head: head, rows: rows, to: kept) }
      packed?.move(layer: layer, blocks: rows.lowerBound / together..<rows.upperBound / together, to: kept / together)
      droppedCounts[layer] = first - kept
    }
  }

  /// Lets the policy choose among the rows of a layer that has attended; its latest rows are not counted yet.
  func settle(layer: Int, tokens: Int) {
    let weights = weights(tokens: tokens)
    if let distant, let weights {
      distant.settle(
        layer: layer, weights, rows: rowCount(layer: layer, head: 0) + tokens, from: droppedCounts[layer])
    }
    guard let chooser, let rows = promptRows ?? floats else { return }
    let firstList = layer * kvHeadCount
    for head in 0..<kvHeadCount {
      lists[firstList + head].append(count..<count + tokens)
      guard let weights else { continue }
      let span = unsafe Span(_unsafeStart: weights.row(head), count: lists[firstList + head].count)
      chooser.add(span, to: &lists[firstList + head], layer: layer, head: head)
    }
    guard count + tokens == prompt?.upperBound ?? count + tokens else { return }
    let step = ChoiceStep(textCount: count + tokens, count: prompt?.count ?? tokens)
    for head in 0..<kvHeadCount {
      dropped.removeAll(keepingCapacity: true)
      chooser.choose(among: &lists[firstList + head], layer: layer, head: head, after: step, dropping: &dropped)
      lists[firstList + head].remove(dropped) { from, to in
        rows.move(layer: promptRows == nil ? layer : 0, head: head, rows: from..<from + 1, to: to)
      }
      if let promptRows {
        floats?.copy(layer: layer, head: head, rows: lists[firstList + head].count, of: promptRows, layer: 0)
      }
    }
  }

  /// The blocks of distant rows that the latest piece chose.
  func chosenBlocks(layer: Int) -> [Int] { distant?.chosen(layer: layer) ?? [] }

  /// Whether the weights of the queries of a piece are added up.
  private func weighs(tokens: Int) -> Bool {
    guard let chooser else { return weights != nil }
    guard let prompt else { return chooser.weighsSingleTokens }
    return count >= prompt.upperBound - chooser.weighedQueries(ofPrompt: prompt.count)
  }

  /// Called before tokens are read, which the policy may look at.
  func willRead(_ tokens: some Collection<Int32>) { chooser?.willRead(tokens) }

  /// Positions that queries are turned by, besides those in the text, and one; nil without a limit.
  var slotCount: Int? { window?.slotCount }

  /// Whether every row stays where it was written.
  var keepsAllRows: Bool { window == nil && chooser == nil }

  /// Whether a policy chooses among rows.
  var choosesRows: Bool { chooser != nil }

  /// The slots that a number of tokens takes.
  func slots(of tokens: Int) -> Int { window.map { min(tokens, $0.wholeCount) } ?? tokens }

  /// The rows of a layer that `tokens` queries see, whose own rows were the last ones written and are not counted yet.
  func rows(layer: Int, tokens: Int) -> RunningTextRows {
    RunningTextRows(cache: self, layer: layer, tokens: tokens)
  }

  /// Counts the new tokens, after every layer has written theirs.
  func advance(_ tokens: Int) { count += tokens }

  /// Continues after `count` tokens, where the next rows are written: one layer may read ahead of the next.
  func seek(_ count: Int) {
    precondition(
      count <= capacity && droppedCounts.allSatisfy { $0 == 0 } && (chooser == nil || prompt != nil),
      "rows that have gone do not come back")
    self.count = count
  }

  /// The rows that some of the queries of a head see. The layer's latest `written` rows are not counted yet.
  fileprivate func spans(layer: Int, head: Int, tokens: Range<Int>, written: Int) -> TextSpans {
    let rowCount = rowCount(layer: layer, head: head)
    let rows = rowCount + tokens.lowerBound..<rowCount + tokens.upperBound
    var first: Int?
    var sinkCount = 0
    if let window, count + tokens.upperBound > window.wholeCount {
      first = rows.lowerBound + 1 - window.recent
      sinkCount = window.sinksInPlace
    }
    // The rows that a policy chose lie together, wherever in the text they come from.
    let textOffset = chooser != nil ? 0 : count - rowCount
    if let packed = promptTiles ?? packed {
      return packed.spans(
        layer: promptTiles == nil ? layer : 0, rows, first: first, sinks: sinkCount, textOffset: textOffset,
        written: rowCount..<rowCount + written)
    }
    if let promptRows { return promptRows.spans(layer: 0, rows, first: nil, sinks: 0, textOffset: 0) }
    return floats?.spans(layer: layer, rows, first: first, sinks: sinkCount, textOffset: textOffset) ?? TextSpans()
  }

  /// The rows at a distance that some of the queries see, which lie behind `windowStart`.
  fileprivate func distantSpan(_ number: Int, layer: Int, tokens: Range<Int>) -> RowSpan? {
    distant?.span(number, layer: layer, tokens: count + tokens.lowerBound..<count + tokens.upperBound)
  }

  /// Rows of a head in memory, at most, with those of `tokens` that are not counted yet.
  fileprivate func rowCount(layer: Int, tokens: Int) -> Int {
    (0..<kvHeadCount).reduce(0) { max($0, rowCount(layer: layer, head: $1)) } + tokens
  }

  fileprivate func distantSpanCount(layer: Int) -> Int { distant?.spanCount(layer: layer) ?? 0 }

  fileprivate func weights(tokens: Int) -> FloatBuffer? { weighs(tokens: tokens) ? promptWeights ?? weights : nil }

  /// Whether any of `tokens` queries sees sinks in spans of their own, and the tokens of the other rows that any of
  /// them sees.
  fileprivate func seen(layer: Int, tokens: Int) -> (sinks: Bool, tokens: Range<Int>) {
    guard let window, count + tokens > window.wholeCount else {
      return (false, 0..<(chooser != nil ? rowCount(layer: layer, tokens: tokens) : count + tokens))
    }
    return (window.sinks > 0 || distant != nil, max(count + 1 - window.recent, 0)..<count + tokens)
  }

  /// The first query that no longer sees all tokens before it, if there are queries before it that do.
  fileprivate func windowStart(tokens: Int) -> Int? {
    guard let whole = window?.wholeCount, count < whole, count + tokens > whole else { return nil }
    return whole - count
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
    // Every layer and head has a row of most tokens.
    let angles = (0..<count).map { RotaryTable.angles(difference, position: firstPosition + $0) }
    for layer in 0..<layerCount {
      for head in 0..<kvHeadCount {
        for row in 0..<rowCount(layer: layer, head: head) {
          let token = chooser == nil ? row : Int(lists[layer * kvHeadCount + head].positions[row])
          floats.turn(layer: layer, head: head, row: row, by: angles[token], compute)
        }
      }
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
  func slot(token: Int) -> Int { cache.firstPosition + cache.slots(of: cache.count + token + 1) - 1 }

  /// The first query that sees sinks apart from other rows, if there are others before it.
  var windowStart: Int? { cache.windowStart(tokens: tokens) }

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

  /// Rows at distances that do not grow: how many spans there are, and those that a set of queries sees, which lies
  /// behind `windowStart`.
  var distantSpanCount: Int { cache.distantSpanCount(layer: layer) }

  func distantSpan(_ number: Int, for tokens: Range<Int>) -> RowSpan? {
    cache.distantSpan(number, layer: layer, tokens: tokens)
  }

  /// Rows of a head in the cache, at most, those of the queries' own tokens included.
  var rowCount: Int { cache.rowCount(layer: layer, tokens: tokens) }

  /// Where the weights of the rows are added up, if the policy needs them.
  var weights: FloatBuffer? { cache.weights(tokens: tokens) }
}

/// Spans of running text: the sinks, where other rows lie between them and the recent ones, and all other rows. Of
/// each, the packed rows come before those in floats.
struct TextSpans {
  var packedSinks: RowSpan?
  var sinks: RowSpan?
  var packed: RowSpan?
  var latest: RowSpan?
}
