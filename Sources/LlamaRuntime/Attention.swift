internal import CKernels
internal import NodeBlocks
internal import PackedTiles

/// Softmax attention of some queries over spans of rows: one softmax over all of them.
///
/// This one routine is self-attention (the running text), cross-attention (the spans of the injected nodes) and the
/// merged softmax (both). Rows are attended to block by block, with the largest score and the sums so far, and blocks
/// in parts of about a thousand rows, which are merged in their order. Where blocks and parts end depends on
/// where the rows are in the text alone, so that a result depends neither on threads nor on how many queries come together.
@safe final class Attention {
  private let compute: Compute
  private let headCount: Int
  private let kvHeadCount: Int
  private let headDim: Int
  private var desks: [AttentionDesk]
  /// The sums of every part of every item of work, where threads share the parts.
  private let parts: AttentionSums
  /// The largest scores and the sums of every item of work, where weights are added up.
  private let totals: AttentionSums
  /// What is attended to next, all at once.
  private var calls: [Call] = []

  /// Rows of a part: whole blocks of the running text, or injected spans that have this many together.
  static let partRows = 1024
  /// Queries that share one look at the rows, heads of a group times tokens. Blocks of the running text have 64 rows,
  /// so that tokens of one block see the same packed rows.
  private static let queriesTogether = 64

  /// Bytes of the next node that are prefetched while one is attended to: as far as the kernels prefetch.
  private static let prefetchedByteCount = 2048

  init(compute: Compute, headCount: Int, kvHeadCount: Int, headDim: Int) {
    self.compute = compute
    self.headCount = headCount
    self.kvHeadCount = kvHeadCount
    self.headDim = headDim
    desks = (0..<compute.threads.threadCount).map { _ in AttentionDesk(headDim: headDim) }
    parts = AttentionSums(headDim: headDim)
    totals = AttentionSums(headDim: headDim)
  }

  /// The queries of one text, and what they attend to.
  private struct Call {
    let queries: FloatBuffer
    /// The first query's row, in the queries and in the output.
    let firstRow: Int
    let tokens: Int
    let injected: InjectedRows
    let runningText: RunningTextRows?
    let rotary: RotaryCache
    let output: FloatBuffer
    /// Where the largest weights of the last injected rows are collected, if anywhere: (kv head, rows of whole spans).
    /// Of the queries of a few consecutive tokens and all heads of a group the sum counts.
    let peaks: FloatBuffer?
    /// Tokens of a set, which share one look at the rows of a head; how many of the first set came before; sets.
    let together: Int
    let shift: Int
    let sets: Int
    /// The first token that no longer sees all tokens before it: no set straddles it.
    let windowStart: Int?
    let textParts: (sinks: Bool, numbers: Range<Int>)
    /// Items of work, and pieces of them, of the calls before.
    let firstItem: Int
    let firstPiece: Int
    let itemCount: Int

    init(
      _ queries: FloatBuffer, rows: Range<Int>, to injected: InjectedRows, _ runningText: RunningTextRows?,
      _ rotary: RotaryCache, into output: FloatBuffer, peaks: FloatBuffer?, together: Int, heads: Int,
      behind last: Call?
    ) {
      self.queries = queries
      firstRow = rows.lowerBound
      tokens = rows.count
      self.injected = injected
      self.runningText = runningText
      self.rotary = rotary
      self.output = output
      self.peaks = peaks
      self.together = together
      shift = (runningText?.precedingCount ?? 0) % together
      windowStart = runningText?.windowStart
      sets = (shift + tokens + together - 1) / together + (windowStart == nil ? 0 : 1)
      textParts = runningText?.parts(behind: injected.open.rows) ?? (false, 0..<0)
      firstItem = last?.endItem ?? 0
      firstPiece = last?.endPiece ?? 0
      itemCount = sets * heads
    }

    var endItem: Int { firstItem + itemCount }
    var endPiece: Int { firstPiece + itemCount * partCount }

    /// Whether the weights of rows are added up.
    var weighs: Bool { runningText?.weights != nil || peaks != nil }

    /// Rows of a head in the cache whose weights are added up, and injected spans.
    var weighedRowCount: Int { runningText.map { $0.weights == nil ? 0 : $0.rowCount } ?? 0 }
    var weighedSpanCount: Int { peaks == nil ? 0 : injected.spans.count }

    var partCount: Int { injected.parts.count + (textParts.sinks ? 1 : 0) + textParts.numbers.count }

    /// The tokens of an item of work: a set, for one key-value head. The set with `windowStart` is two, of which one may
    /// be empty.
    func tokens(item: Int) -> Range<Int> {
      let set = item % sets
      guard let windowStart else { return tokens(set: set) }
      let first = (windowStart + shift) / together
      return set <= first
        ? tokens(set: set).clamped(to: 0..<windowStart) : tokens(set: set - 1).clamped(to: windowStart..<tokens)
    }

    private func tokens(set: Int) -> Range<Int> {
      let start = set * together - shift
      return max(start, 0)..<min(start + together, tokens)
    }
  }

  /// Adds queries to those that `attend` answers:
  /// output[t, h] = Σ softmax(query[t, h] · keys · factor / √headDim) · values.
  ///
  /// - Parameters:
  ///   - queries: (rows, heads · head dim), not rotated.
  ///   - rows: those of the queries, consecutive tokens of one text, and of their outputs.
  ///   - injected: rows that every query sees.
  ///   - runningText: rows of the text that the queries are the last tokens of; nil for cross-attention.
  ///   - rotary: the angles for spans that have one, computed already.
  ///   - output: (rows, heads · head dim).
  ///   - peaks: where the largest weights of the last injected rows are collected; nil for nowhere.
  func add(
    _ queries: FloatBuffer, rows: Range<Int>, to injected: InjectedRows, runningText: RunningTextRows? = nil,
    rotary: RotaryCache, into output: FloatBuffer, peaks: FloatBuffer? = nil
  ) {
    calls.append(
      Call(
        queries, rows: rows, to: injected, runningText, rotary, into: output, peaks: peaks, together: tokensTogether,
        heads: kvHeadCount, behind: calls.last))
  }

  /// Tokens of a set: see `Call`.
  private var tokensTogether: Int {
    let group = headCount / kvHeadCount
    var together = 1
    while 2 * together * group <= Self.queriesTogether { together *= 2 }
    return together
  }

  /// Answers all queries that were added.
  func attend() {
    guard let last = calls.last else { return }
    let queries = last.together * (headCount / kvHeadCount)
    for desk in desks { desk.prepare(queries: queries) }
    if calls.contains(where: \.weighs) { totals.prepare(count: last.endItem, queries: queries) }
    let sharesItems = last.endItem >= 4 * compute.threads.threadCount || calls.allSatisfy { $0.partCount == 1 }
    if sharesItems {
      compute.threads.run(count: last.endItem, with: self) { attention, thread, range in
        for item in range {
          let call = attention.calls[attention.index(ofItem: item)]
          attention.attend(item - call.firstItem, of: call, desk: attention.desks[thread])
          if call.weighs, call.sets == 1 {
            attention.weigh(head: item - call.firstItem, of: call, desk: attention.desks[thread])
          }
        }
      }
    } else {
      // Few heads and many rows: threads share the parts.
      parts.prepare(count: last.endPiece, queries: queries)
      compute.threads.run(count: last.endPiece, with: self) { attention, thread, range in
        let desk = attention.desks[thread]
        for piece in range {
          let call = attention.calls[attention.index(ofPiece: piece)]
          let (item, part) = (piece - call.firstPiece).quotientAndRemainder(dividingBy: call.partCount)
          let sums = unsafe attention.parts.start(piece)
          desk.begin(call.firstItem + item)
          unsafe attention.attend(item, part: part, of: call, desk: desk, into: sums)
        }
      }
      for call in calls {
        for item in 0..<call.itemCount {
          let whole = unsafe desks[0].sums.start(0)
          for part in 0..<call.partCount {
            unsafe merge(parts.sums(call.firstPiece + item * call.partCount + part), item, call, whole)
          }
          unsafe finish(item, of: call, whole)
        }
      }
    }
    for (index, call) in calls.enumerated() where call.weighs && !(sharesItems && call.sets == 1) { weigh(index) }
    calls.removeAll(keepingCapacity: true)
  }

  /// Adds up the weights of the rows of a call that has been answered: a row's are one thread's, in the order of the
  /// queries.
  private func weigh(_ index: Int) {
    let call = calls[index]
    let rows = call.weighedRowCount
    // Queries are laid out anew for each piece: as few as keep all threads busy.
    var together = Self.partRows
    func pieces() -> Int { (rows + together - 1) / together }
    while together > Self.fewestRowsWeighed, kvHeadCount * pieces() < 4 * compute.threads.threadCount { together /= 2 }
    let spans = call.weighedSpanCount
    compute.threads.run(
      count: kvHeadCount * (spans + pieces()),
      minimum: Compute.minimumShare(cost: together * call.tokens * headCount / kvHeadCount * headDim),
      with: (self, index, spans, spans + pieces(), together)
    ) { work, thread, range in
      let (attention, index, spans, pieces, together) = work
      let (call, desk) = (attention.calls[index], attention.desks[thread])
      for number in range {
        let (head, piece) = number.quotientAndRemainder(dividingBy: pieces)
        if piece < spans {
          attention.weigh(injected: piece, head: head, of: call, desk: desk)
        } else {
          let first = (piece - spans) * together
          attention.weigh(first..<first + together, head: head, of: call, desk: desk)
        }
      }
    }
  }

  /// Rows of a piece of work, at least: whole blocks.
  private static let fewestRowsWeighed = 128

  /// Adds up the weights of all rows of a head.
  private func weigh(head: Int, of call: Call, desk: AttentionDesk) {
    for span in 0..<call.weighedSpanCount { weigh(injected: span, head: head, of: call, desk: desk) }
    weigh(0..<call.weighedRowCount, head: head, of: call, desk: desk)
  }

  /// Adds up what a call's queries give some rows of a head in the cache.
  private func weigh(_ range: Range<Int>, head: Int, of call: Call, desk: AttentionDesk) {
    guard let text = call.runningText, let weights = text.weights else { return }
    let target = unsafe weights.row(head)
    let range = range.clamped(to: 0..<weights.columns)
    unsafe (target + range.lowerBound).update(repeating: 0, count: range.count)
    for item in head * call.sets..<(head + 1) * call.sets {
      let tokens = call.tokens(item: item)
      guard !tokens.isEmpty else { continue }
      desk.begin(call.firstItem + item)
      let spans = text.spans(for: tokens, head: head)
      func weigh(_ span: RowSpan?) {
        guard let span else { return }
        let rows = span.rows.clamped(to: range)
        guard !rows.isEmpty else { return }
        unsafe visit(
          item, of: call, span, rows, desk: desk, totals.sums(call.firstItem + item), adding: target)
      }
      weigh(spans.packedSinks)
      weigh(spans.sinks)
      weigh(spans.packed)
      weigh(spans.latest)
    }
  }

  /// Raises the largest weights of the rows of an injected span to those that a call's queries give them, a set of them
  /// together.
  private func weigh(injected index: Int, head: Int, of call: Call, desk: AttentionDesk) {
    let span = call.injected.spans[index]
    guard let peaks = call.peaks, span.isSeen(by: head) else { return }
    // The last rows are looked at.
    let behind = call.injected.spans[index...].reduce(0) { $0 + ($1.isSeen(by: head) ? $1.rows.count : 0) }
    guard behind <= peaks.columns else { return }
    let target = unsafe peaks.row(head) + peaks.columns - behind
    for item in head * call.sets..<(head + 1) * call.sets where !call.tokens(item: item).isEmpty {
      desk.begin(call.firstItem + item)
      let sums = unsafe desk.rowWeights(span.rows.count)
      unsafe visit(
        item, of: call, span, span.rows, desk: desk, totals.sums(call.firstItem + item),
        adding: sums - span.rows.lowerBound)
      for row in 0..<span.rows.count { unsafe target[row] = max(target[row], sums[row]) }
    }
  }

  private func index(ofItem item: Int) -> Int {
    var index = 0
    while calls[index].endItem <= item { index += 1 }
    return index
  }

  private func index(ofPiece piece: Int) -> Int {
    var index = 0
    while calls[index].endPiece <= piece { index += 1 }
    return index
  }

  /// One item of work, part by part.
  private func attend(_ item: Int, of call: Call, desk: AttentionDesk) {
    desk.begin(call.firstItem + item)
    let whole = unsafe desk.sums.start(0)
    for part in 0..<call.partCount {
      let more = unsafe desk.sums.start(1)
      unsafe attend(item, part: part, of: call, desk: desk, into: more)
      unsafe merge(more, item, call, whole)
    }
    unsafe finish(item, of: call, whole)
  }

  @unsafe private func attend(_ item: Int, part: Int, of call: Call, desk: AttentionDesk, into sums: sp_attention) {
    if part < call.injected.parts.count {
      unsafe visit(item, injected: call.injected.parts[part], of: call, desk: desk, into: sums)
      return
    }
    let tokens = call.tokens(item: item)
    guard let text = call.runningText, !tokens.isEmpty else { return }
    let spans = text.spans(for: tokens, head: item / call.sets)
    func attend(to span: RowSpan?, tokens: Range<Int>) {
      guard let span else { return }
      let rows = (tokens.lowerBound - span.textOffset..<tokens.upperBound - span.textOffset).clamped(to: span.rows)
      if !rows.isEmpty { unsafe visit(item, of: call, span, rows, desk: desk, sums) }
    }
    let number = part - call.injected.parts.count - (call.textParts.sinks ? 1 : 0)
    if number < 0 {
      attend(to: spans.packedSinks, tokens: 0..<Int.max)
      attend(to: spans.sinks, tokens: 0..<Int.max)
      guard call.windowStart.map({ tokens.lowerBound >= $0 }) ?? true else { return }
      for number in 0..<text.distantSpanCount {
        guard let span = text.distantSpan(number, for: tokens) else { continue }
        unsafe visit(item, of: call, span, span.rows, desk: desk, sums)
      }
    } else {
      if number == 0 { unsafe visit(item, injected: call.injected.open.spans, of: call, desk: desk, into: sums) }
      let first = (call.textParts.numbers.lowerBound + number) * Self.partRows - call.injected.open.rows
      attend(to: spans.packed, tokens: first..<first + Self.partRows)
      attend(to: spans.latest, tokens: first..<first + Self.partRows)
    }
  }

  @unsafe private func visit(
    _ item: Int, injected spans: Range<Int>, of call: Call, desk: AttentionDesk, into sums: sp_attention
  ) {
    let head = item / call.sets
    // What is summed of mixed values is mixed, as what was summed before is while they are.
    var isMixed = false
    func mixOutputs() {
      for i in 0..<call.tokens(item: item).count * (headCount / kvHeadCount) {
        unsafe HeadMixing.mix(sums.outputs + i * headDim, headDim: headDim)
      }
      isMixed.toggle()
    }
    for index in spans {
      let span = call.injected.spans[index]
      guard span.isSeen(by: head) else { continue }
      if span.isMixed != isMixed { mixOutputs() }
      // Spans lie far apart, and the kernels prefetch no further than the end of one.
      if index + 1 < call.injected.spans.count {
        let next = call.injected.spans[index + 1]
        unsafe sp_prefetch(next.keys + head * next.keyHeadByteStride, Self.prefetchedByteCount)
      }
      unsafe visit(item, of: call, span, span.rows, desk: desk, sums)
    }
    if isMixed { mixOutputs() }
  }

  /// Attends to some rows of a span, or adds up their weights.
  /// - Parameters:
  ///   - sums: the attention so far, whose outputs are mixed if the rows are, or, where weights are added, to all rows.
  ///   - weights: of the head's rows in the cache, from its first one on.
  @unsafe private func visit(
    _ item: Int, of call: Call, _ span: RowSpan, _ rows: Range<Int>, desk: AttentionDesk, _ sums: sp_attention,
    adding weights: UnsafeMutablePointer<Float>? = nil
  ) {
    let kernels = unsafe compute.kernels.pointee
    let group = headCount / kvHeadCount
    let head = item / call.sets
    let tokens = call.tokens(item: item)
    let count = tokens.count * group
    if desk.turn(to: span.queryAngle, mixed: span.isMixed) {
      // Query i is head i % group of token i / group.
      for i in 0..<count {
        let query = unsafe desk.queries.row(i)
        let token = tokens.lowerBound + i / group
        let source = unsafe call.queries.row(call.firstRow + token) + (head * group + i % group) * headDim
        unsafe query.update(from: source, count: headDim)
        let position =
          switch span.queryAngle {
          case .position: call.runningText?.position(token: token) ?? 0
          case .slot: call.runningText?.slot(token: token) ?? 0
          case .moved(let shift): (call.runningText?.position(token: token) ?? 0) - shift
          case .fixed(let position): position
          }
        if position != 0 {
          unsafe call.rotary.with(position) { unsafe kernels.rotate(query, 1, headDim, $0, $1) }
        }
        unsafe kernels.scale(query, call.rotary.table.scoreFactor / Float(headDim).squareRoot(), headDim)
        if span.isMixed { unsafe HeadMixing.mix(query, headDim: headDim) }
      }
    }
    switch span.form {
    case .floats(let element):
      let floats = unsafe span.floats(head: head, rows, element, headDim: headDim, queriesPerRow: group)
      if let weights = unsafe weights {
        unsafe kernels.weigh_floats(floats, desk.queries.base, count, headDim, sums, weights + rows.lowerBound)
      } else {
        unsafe kernels.attend_floats(floats, desk.queries.base, count, headDim, sums)
      }
    case .tiles(let tiles):
      let quantized = unsafe desk.quantizedQueries(count, kernels)
      // A part of the text may lie in two parts of the memory when rows before it have been dropped.
      var first = rows.lowerBound
      while first < rows.upperBound {
        let end = tiles.partByteStride == 0 ? rows.upperBound : (first / Self.partRows + 1) * Self.partRows
        let packed = unsafe span.packed(
          head: head, first..<min(end, rows.upperBound), tiles, queriesPerRow: group)
        if let weights = unsafe weights {
          unsafe kernels.weigh_packed(packed, quantized, sums, weights + first)
        } else {
          unsafe kernels.attend_packed(packed, quantized, sums)
        }
        first = end
      }
    }
  }

  @unsafe private func merge(_ more: sp_attention, _ item: Int, _ call: Call, _ whole: sp_attention) {
    let count = call.tokens(item: item).count * (headCount / kvHeadCount)
    unsafe compute.kernels.pointee.merge_attention(more, count, headDim, whole)
  }

  /// Divides by the sums of the weights.
  @unsafe private func finish(_ item: Int, of call: Call, _ whole: sp_attention) {
    if call.weighs { unsafe totals.keep(whole, at: call.firstItem + item) }
    let group = headCount / kvHeadCount
    let tokens = call.tokens(item: item)
    for i in 0..<tokens.count * group {
      let target =
        unsafe call.output.row(call.firstRow + tokens.lowerBound + i / group)
        + (item / call.sets * group + i % group) * headDim
      unsafe target.update(from: whole.outputs + i * headDim, count: headDim)
      unsafe compute.kernels.pointee.scale(target, 1 / whole.sums[i], headDim)
    }
  }
}
