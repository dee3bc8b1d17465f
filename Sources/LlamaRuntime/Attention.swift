internal import CKernels
internal import PackedTiles

/// Softmax attention of some queries over spans of rows: one softmax over all of them.
///
/// This one routine is self-attention (a single causal span), cross-attention (the spans of the injected nodes) and
/// the merged softmax (both).
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
  ///   - queries: (tokens, heads · head dim), turned as the spans with angle 0 want them.
  ///   - spans: at least one row must be visible to every query.
  ///   - rotary: for the spans with another angle; prepared for it.
  ///   - output: (tokens, heads · head dim).
  func attend(
    _ queries: FloatBuffer, tokens: Int, over spans: [RowSpan], rotary: RotaryCache, into output: FloatBuffer
  ) {
    let group = headCount / kvHeadCount
    let tokensTogether = max(1, Self.queriesTogether / group)
    let blocks = (tokens + tokensTogether - 1) / tokensTogether
    let totalRows = spans.reduce(0) { $0 + $1.rows }
    for desk in desks { desk.prepare(queries: tokensTogether * group, headDim: headDim, rows: totalRows, spans: spans) }
    compute.crew.run(count: blocks * kvHeadCount) { thread, range in
      for item in range {
        let head = item / blocks
        let first = item % blocks * tokensTogether
        attend(
          queries, tokens: first..<min(first + tokensTogether, tokens), kvHead: head, over: spans, rotary: rotary,
          desk: desks[thread], into: output)
      }
    }
  }

  private func attend(
    _ queries: FloatBuffer, tokens: Range<Int>, kvHead: Int, over spans: [RowSpan], rotary: RotaryCache, desk: Desk,
    into output: FloatBuffer
  ) {
    let group = headCount / kvHeadCount
    let count = tokens.count * group
    let kernels = unsafe compute.kernels.pointee
    let scale = rotary.table.scoreFactor / Float(headDim).squareRoot()

    // Scores: (query, row of all spans). Query i is head i % group of token i / group.
    var angle: Int?
    var start = 0
    for span in spans {
      if angle != span.queryAngle {
        angle = span.queryAngle
        for i in 0..<count {
          let query = unsafe desk.queries.row(i)
          let source = unsafe queries.row(tokens.lowerBound + i / group) + (kvHead * group + i % group) * headDim
          unsafe query.update(from: source, count: headDim)
          if span.queryAngle != 0 {
            unsafe rotary.with(span.queryAngle) { unsafe kernels.rotate(query, 1, headDim, $0, $1) }
          }
          unsafe kernels.scale(query, scale, headDim)
        }
      }
      let keys = unsafe span.keys + kvHead * span.headByteStride
      switch span.form {
      case .floats(let element):
        for i in 0..<count {
          unsafe kernels.scores_float(
            keys, element.kernelElement, span.visibleRows(token: tokens.lowerBound + i / group), headDim,
            desk.queries.row(i), desk.scores.row(i) + start)
        }
      case .tiles(let layout, _):
        desk.quantized.prepare(tokens: count, columns: headDim, groupSize: layout.groupSize)
        let activations = unsafe desk.quantized.activations
        unsafe kernels.quantize_activations(
          desk.queries.base, headDim, 0, count, headDim, layout.groupSize, activations)
        unsafe kernels.product_int8(
          keys.assumingMemoryBound(to: UInt8.self), 0, layout.rowBlockCount, span.rows, headDim, layout.groupSize,
          activations, count, desk.scores.base + start, desk.scores.columns, false)
      }
      start += span.rows
    }

    // Softmax, without the division, which is made at the end. Rows behind the visible ones get no weight.
    for i in 0..<count {
      let scores = unsafe desk.scores.row(i)
      var largest = -Float.infinity
      start = 0
      for span in spans {
        let visible = span.visibleRows(token: tokens.lowerBound + i / group)
        if visible > 0 { largest = max(largest, unsafe kernels.maximum(scores + start, visible)) }
        start += span.rows
      }
      var sum: Float = 0
      start = 0
      for span in spans {
        let visible = span.visibleRows(token: tokens.lowerBound + i / group)
        if visible > 0 { sum += unsafe kernels.exponentiate(scores + start, visible, largest) }
        start += span.rows
      }
      desk.sums[i] = sum
      unsafe desk.outputs.row(i).update(repeating: 0, count: headDim)
    }

    // The weighted sum of the values.
    start = 0
    for span in spans {
      let values = unsafe span.values + kvHead * span.headByteStride
      switch span.form {
      case .floats(let element):
        for i in 0..<count {
          unsafe kernels.weighted_sum_float(
            values, element.kernelElement, span.visibleRows(token: tokens.lowerBound + i / group), headDim,
            desk.scores.row(i) + start, desk.outputs.row(i))
        }
      case .tiles(_, let layout):
        desk.quantized.prepare(tokens: count, columns: span.rows, groupSize: layout.groupSize)
        let activations = unsafe desk.quantized.activations
        unsafe kernels.quantize_activations(
          desk.scores.base + start, desk.scores.columns, 0, count, span.rows, layout.groupSize, activations)
        unsafe kernels.product_int8(
          values.assumingMemoryBound(to: UInt8.self), 0, layout.rowBlockCount, headDim, span.rows, layout.groupSize,
          activations, count, desk.outputs.base, headDim, true)
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
  var quantized = ActivationBuffer()

  func prepare(queries count: Int, headDim: Int, rows: Int, spans: [RowSpan]) {
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
