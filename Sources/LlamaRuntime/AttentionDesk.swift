internal import CKernels

/// Softmax attention of the queries of some items of work, not yet divided by the sums of the weights.
@safe final class AttentionSums {
  private let headDim: Int
  private var queries = 0
  /// (count, queries) and (count · queries, head dim).
  private var maxima = FloatBuffer(rows: 0, columns: 1)
  private var sums = FloatBuffer(rows: 0, columns: 1)
  private var outputs = FloatBuffer(rows: 0, columns: 1)

  init(headDim: Int) { self.headDim = headDim }

  func prepare(count: Int, queries: Int) {
    guard queries != self.queries || count > maxima.rows else { return }
    // Some room to grow: the running text gets new parts as it grows.
    let count = max(count, queries == self.queries ? 2 * maxima.rows : 0)
    self.queries = queries
    maxima = FloatBuffer(rows: count, columns: queries)
    sums = FloatBuffer(rows: count, columns: queries)
    outputs = FloatBuffer(rows: count * queries, columns: headDim)
  }

  @unsafe func sums(_ index: Int) -> sp_attention {
    unsafe sp_attention(maxima: maxima.row(index), sums: sums.row(index), outputs: outputs.row(index * queries))
  }

  /// Keeps the largest scores and the sums of others; not the outputs.
  @unsafe func keep(_ other: sp_attention, at index: Int) {
    unsafe maxima.row(index).update(from: other.maxima, count: queries)
    unsafe sums.row(index).update(from: other.sums, count: queries)
  }

  /// Attention to no rows.
  @unsafe func start(_ index: Int) -> sp_attention {
    let result = unsafe sums(index)
    unsafe result.maxima.update(repeating: -.infinity, count: queries)
    unsafe result.sums.update(repeating: 0, count: queries)
    unsafe result.outputs.update(repeating: 0, count: queries * headDim)
    return unsafe result
  }
}

/// The buffers of one thread.
final class AttentionDesk {
  private(set) var queries: FloatBuffer
  /// The sums of all parts so far, and those of the part that is merged next.
  let sums: AttentionSums
  private let headDim: Int
  private var quantized = ActivationBuffer()
  private var weights = FloatBuffer(rows: 1, columns: 0)
  private var isQuantized = false
  private var item: Int?
  private var angle: RowSpan.QueryAngle?
  private var isMixed = false

  init(headDim: Int) {
    self.headDim = headDim
    queries = FloatBuffer(rows: 0, columns: headDim)
    sums = AttentionSums(headDim: headDim)
  }

  /// Zeros for the weights of some rows.
  @unsafe func rowWeights(_ count: Int) -> UnsafeMutablePointer<Float> {
    if weights.columns < count { weights = FloatBuffer(rows: 1, columns: max(count, Attention.partRows)) }
    unsafe weights.base.update(repeating: 0, count: count)
    return unsafe weights.base
  }

  func prepare(queries count: Int) {
    if queries.rows < count { queries = FloatBuffer(rows: count, columns: headDim) }
    sums.prepare(count: 2, queries: count)
    item = nil
  }

  /// Starts an item, whose queries are laid out when its first rows are visited.
  func begin(_ item: Int) {
    if self.item != item { angle = nil }
    self.item = item
  }

  /// Whether the queries have to be laid out anew, rotated by an angle, and mixed or not.
  func turn(to angle: RowSpan.QueryAngle, mixed isMixed: Bool) -> Bool {
    guard self.angle != angle || self.isMixed != isMixed else { return false }
    self.angle = angle
    self.isMixed = isMixed
    isQuantized = false
    return true
  }

  /// The queries in int8: one group, like keys.
  @unsafe func quantizedQueries(_ count: Int, _ kernels: sp_kernels_table) -> sp_activations {
    if !isQuantized {
      let groupSize = (headDim + 3) / 4 * 4
      quantized.prepare(tokens: count, columns: headDim, groupSize: groupSize)
      unsafe kernels.quantize_activations(queries.base, 0, count, quantized.activations)
      isQuantized = true
    }
    return unsafe quantized.activations
  }
}
