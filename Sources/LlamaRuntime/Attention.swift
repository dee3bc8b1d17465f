internal import CKernels
internal import PackedTiles

/// Softmax attention of some queries over spans of rows: one softmax over all of them.
///
/// This one routine is self-attention (the running text), cross-attention (the spans of the injected nodes) and the
/// merged softmax (both).
@safe final class Attention {
  private let compute: Compute
  private let headCount: Int
  private let kvHeadCount: Int
  private let headDim: Int
  private var desks: [Desk]

  /// Queries that share one look at the rows, heads of a group times tokens.
  private static let queriesTogether = 16

  init(compute: Compute, headCount: Int, kvHeadCount: Int, headDim: Int) {
    self.compute = compute
    self.headCount = headCount
    self.kvHeadCount = kvHeadCount
    self.headDim = headDim
    desks = (0..<compute.crew.threadCount).map { _ in Desk() }
  }

  /// output[t, h] = Σ softmax(query[t, h] · keys · factor / √headDim) · values.
  ///
  /// - Parameters:
  ///   - queries: (tokens, heads · head dim), not turned yet: each span says how it wants them.
  ///   - injected: rows that every query sees.
  ///   - runningText: rows of the text that the queries are the last tokens of; nil for cross-attention.
  ///   - rotary: for spans with an angle; prepared for it.
  ///   - output: (tokens, heads · head dim).
  func attend(
    _ queries: FloatBuffer, tokens: Int, to injected: [RowSpan], runningText: RunningTextRows? = nil,
    rotary: RotaryCache, into output: FloatBuffer
  ) {
    let group = headCount / kvHeadCount
    // A power of two, so that no set of tokens straddles the border of a block of packed rows.
    var together = 1
    while 2 * together * group <= Self.queriesTogether { together *= 2 }
    let shift = (runningText?.firstPosition ?? 0) % together
    let sets = (shift + tokens + together - 1) / together
    let rows = injected.reduce(0) { $0 + $1.rows } + (runningText?.rowCount ?? 0)
    for desk in desks { desk.prepare(queries: together * group, headDim: headDim, rows: rows) }
    compute.crew.run(count: sets * kvHeadCount) { thread, range in
      for item in range {
        let start = item % sets * together - shift
        let tokens = max(start, 0)..<min(start + together, tokens)
        for tokens in runningText?.alike(tokens) ?? [tokens] {
          // Cross-attention takes the injected spans as they are; there can be thousands.
          let spans = runningText.map { injected + $0.spans(for: tokens) } ?? injected
          attend(
            queries, tokens: tokens, kvHead: item / sets, over: spans, runningText: runningText, rotary: rotary,
            desk: desks[thread], into: output)
        }
      }
    }
  }

  private func attend(
    _ queries: FloatBuffer, tokens: Range<Int>, kvHead: Int, over spans: [RowSpan], runningText: RunningTextRows?,
    rotary: RotaryCache, desk: Desk, into output: FloatBuffer
  ) {
    let group = headCount / kvHeadCount
    let count = tokens.count * group
    let kernels = unsafe compute.kernels.pointee
    let scale = rotary.table.scoreFactor / Float(headDim).squareRoot()

    // Scores: (query, row of all spans). Query i is head i % group of token i / group.
    var angle: RowSpan.QueryAngle?
    var quantizedGroupSize: Int?
    var start = 0
    for span in spans {
      if angle != span.queryAngle {
        angle = span.queryAngle
        quantizedGroupSize = nil
        for i in 0..<count {
          let query = unsafe desk.queries.row(i)
          let token = tokens.lowerBound + i / group
          let source = unsafe queries.row(token) + (kvHead * group + i % group) * headDim
          unsafe query.update(from: source, count: headDim)
          let position =
            switch span.queryAngle {
            case .position: runningText?.position(token: token) ?? 0
            case .slot: runningText?.slot(token: token) ?? 0
            case .fixed(let position): position
            }
          if position != 0 {
            unsafe rotary.with(position) { unsafe kernels.rotate(query, 1, headDim, $0, $1) }
          }
          unsafe kernels.scale(query, scale, headDim)
        }
      }
      let keys = unsafe span.keys + kvHead * span.keyHeadByteStride
      switch span.form {
      case .floats(let element):
        for i in 0..<count {
          let visible = span.visibleRows(query: i / group)
          unsafe kernels.scores_float(
            keys + visible.lowerBound * headDim * element.byteCount, element.kernelElement, visible.count, headDim,
            desk.queries.row(i), desk.scores.row(i) + start + visible.lowerBound)
        }
      case .tiles(let tiles, _):
        if quantizedGroupSize != tiles.groupSize {
          quantizedGroupSize = tiles.groupSize
          desk.quantizedQueries.prepare(tokens: count, columns: headDim, groupSize: tiles.groupSize)
          unsafe kernels.quantize_activations(
            desk.queries.base, headDim, 0, count, headDim, tiles.groupSize, desk.quantizedQueries.activations)
        }
        unsafe kernels.product_int8(
          keys.assumingMemoryBound(to: UInt8.self), tiles.rowBlockByteStride, 0, (span.rows + 15) / 16, span.rows,
          headDim, tiles.groupSize, desk.quantizedQueries.activations, count, desk.scores.base + start,
          desk.scores.columns, false)
      }
      start += span.rows
    }

    // Softmax, without the division, which is made at the end. Rows that a query does not see get no weight.
    for i in 0..<count {
      let scores = unsafe desk.scores.row(i)
      var largest = -Float.infinity
      start = 0
      for span in spans {
        let visible = span.visibleRows(query: i / group)
        if !visible.isEmpty {
          largest = max(largest, unsafe kernels.maximum(scores + start + visible.lowerBound, visible.count))
        }
        start += span.rows
      }
      var sum: Float = 0
      start = 0
      for span in spans {
        let visible = span.visibleRows(query: i / group)
        if !visible.isEmpty {
          sum += unsafe kernels.exponentiate(scores + start + visible.lowerBound, visible.count, largest)
        }
        if case .tiles = span.form, visible.count < span.rows {
          unsafe (scores + start).update(repeating: 0, count: visible.lowerBound)
          unsafe (scores + start + visible.upperBound).update(repeating: 0, count: span.rows - visible.upperBound)
        }
        start += span.rows
      }
      desk.sums[i] = sum
      unsafe desk.outputs.row(i).update(repeating: 0, count: headDim)
    }

    // The weighted sum of the values.
    start = 0
    for span in spans {
      let values = unsafe span.values + kvHead * span.valueHeadByteStride
      switch span.form {
      case .floats(let element):
        for i in 0..<count {
          let visible = span.visibleRows(query: i / group)
          unsafe kernels.weighted_sum_float(
            values + visible.lowerBound * headDim * element.byteCount, element.kernelElement, visible.count, headDim,
            desk.scores.row(i) + start + visible.lowerBound, desk.outputs.row(i))
        }
      case .tiles(_, let tiles):
        desk.quantizedWeights.prepare(tokens: count, columns: span.rows, groupSize: tiles.groupSize)
        unsafe kernels.quantize_activations(
          desk.scores.base + start, desk.scores.columns, 0, count, span.rows, tiles.groupSize,
          desk.quantizedWeights.activations)
        unsafe kernels.product_int8(
          values.assumingMemoryBound(to: UInt8.self), tiles.rowBlockByteStride, 0, (headDim + 15) / 16, headDim,
          span.rows, tiles.groupSize, desk.quantizedWeights.activations, count, desk.outputs.base, headDim, true)
      }
      start += span.rows
    }
    for i in 0..<count {
      let result = unsafe desk.outputs.row(i)
      unsafe kernels.scale(result, 1 / desk.sums[i], headDim)
      let target = unsafe output.row(tokens.lowerBound + i / group) + (kvHead * group + i % group) * headDim
      unsafe target.update(from: result, count: headDim)
    }
  }
}

/// What one thread works with while it attends.
private final class Desk {
  private(set) var queries = FloatBuffer(rows: 0, columns: 1)
  private(set) var outputs = FloatBuffer(rows: 0, columns: 1)
  private(set) var scores = FloatBuffer(rows: 0, columns: 1)
  var sums: [Float] = []
  var quantizedQueries = ActivationBuffer()
  var quantizedWeights = ActivationBuffer()

  func prepare(queries count: Int, headDim: Int, rows: Int) {
    if queries.rows < count || queries.columns != headDim {
      queries = FloatBuffer(rows: count, columns: headDim)
      outputs = FloatBuffer(rows: count, columns: headDim)
      sums = [Float](repeating: 0, count: count)
    }
    if scores.rows < count || scores.columns < rows {
      // Some room to grow, so that every new token does not ask for memory.
      scores = FloatBuffer(rows: count, columns: (rows + 255) / 256 * 256 + 256)
    }
  }
}
