internal import CKernels
internal import FileAccess
internal import PackedTiles

/// The operations of a layer, over rows of activations, on all threads of a pool.
///
/// Every output value is computed by one thread in one order, so results depend neither on the number of threads nor
/// on how many tokens are processed together.
@safe final class Compute {
  let threads: ThreadPool
  @unsafe let kernels: UnsafePointer<sp_kernels_table>
  private var quantized: ActivationBuffer
  /// Collects the second moments of the matrices' inputs for calibration; nil otherwise.
  var moments: SecondMoments?

  init(threads: ThreadPool) {
    self.threads = threads
    unsafe kernels = sp_kernels()
    quantized = ActivationBuffer()
  }

  /// Work below this many multiplications is not worth a hand-off between threads.
  private static let smallestShare = 1 << 15

  /// The least number of items of `cost` multiplications each that a piece of work should have.
  static func minimumShare(cost: Int) -> Int { max(1, smallestShare / max(cost, 1)) }

  typealias Product = (matrix: WeightMatrix, output: FloatBuffer)

  /// output[t] = matrix · x[t] + bias, or added to output, for the first `tokens` rows and each of up to three matrices.
  ///
  /// - Parameters:
  ///   - x: (tokens, columns of every matrix).
  ///   - first, second, third: matrices with their outputs, each (tokens, rows of its matrix).
  func multiply(
    _ x: FloatBuffer, tokens: Int, by first: Product, _ second: Product? = nil, _ third: Product? = nil,
    adding: Bool = false
  ) {
    let groupSize = first.matrix.tiles?.groupSize
    // Matrices of one group size share the quantized activations. A layer's have one, unless a pack is odd.
    guard second.map({ $0.matrix.tiles?.groupSize == groupSize }) ?? true,
      third.map({ $0.matrix.tiles?.groupSize == groupSize }) ?? true
    else {
      multiply(x, tokens: tokens, by: first, adding: adding)
      if let second { multiply(x, tokens: tokens, by: second, third, adding: adding) }
      return
    }
    prepare(x, tokens: tokens, first)
    moments?.add(x, tokens: tokens, of: first.matrix, self)
    if let second { prepare(second, like: first) }
    if let third { prepare(third, like: first) }
    // The row blocks of all matrices are one piece of work: threads meet once, however many matrices there are.
    let blocks = first.matrix.blockCount + (second?.matrix.blockCount ?? 0) + (third?.matrix.blockCount ?? 0)
    threads.run(
      count: blocks, minimum: Self.minimumShare(cost: PackedTileLayout.tileRows * x.columns * tokens),
      with: (self, x, tokens, first, second, third, adding)
    ) { work, _, range in
      let (compute, x, tokens, first, second, third, adding) = work
      var start = 0
      func multiply(_ product: Product) {
        let part = range.clamped(to: start..<start + product.matrix.blockCount)
        if !part.isEmpty {
          compute.multiply(
            x, tokens: tokens, by: product, blocks: part.lowerBound - start..<part.upperBound - start, adding)
        }
        start += product.matrix.blockCount
      }
      multiply(first)
      if let second { multiply(second) }
      if let third { multiply(third) }
    }
  }

  /// gate's output = silu(gate · x[t]) · (up · x[t]), with their biases. Some rows at a time: their products do not leave the caches
  /// before they are activated.
  func multiplyGated(_ x: FloatBuffer, tokens: Int, gate: Product, up: Product) {
    guard gate.matrix.tiles?.groupSize == up.matrix.tiles?.groupSize else {
      multiply(x, tokens: tokens, by: gate)
      multiply(x, tokens: tokens, by: up)
      for t in 0..<tokens {
        unsafe kernels.pointee.swiglu(gate.output.row(t), up.output.row(t), gate.output.columns)
      }
      return
    }
    prepare(x, tokens: tokens, gate)
    moments?.add(x, tokens: tokens, of: gate.matrix, self)
    prepare(up, like: gate)
    precondition(gate.matrix.rows == up.matrix.rows)
    threads.run(
      count: gate.matrix.blockCount,
      minimum: Self.minimumShare(cost: 2 * PackedTileLayout.tileRows * x.columns * tokens),
      with: (self, x, tokens, gate, up)
    ) { work, _, range in
      let (compute, x, tokens, gate, up) = work
      let kernels = unsafe compute.kernels.pointee
      for start in stride(from: range.lowerBound, to: range.upperBound, by: Self.blocksActivatedTogether) {
        let blocks = start..<min(start + Self.blocksActivatedTogether, range.upperBound)
        compute.multiply(x, tokens: tokens, by: gate, blocks: blocks, false)
        compute.multiply(x, tokens: tokens, by: up, blocks: blocks, false)
        let first = start * PackedTileLayout.tileRows
        let end = min(blocks.upperBound * PackedTileLayout.tileRows, gate.matrix.rows)
        for t in 0..<tokens {
          unsafe kernels.swiglu(gate.output.row(t) + first, up.output.row(t) + first, end - first)
        }
      }
    }
  }

  private static let blocksActivatedTogether = 16

  /// Checks the shapes and quantizes x if the matrix wants it.
  private func prepare(_ x: FloatBuffer, tokens: Int, _ product: Product) {
    precondition(x.columns == product.matrix.columns && product.output.columns == product.matrix.rows)
    precondition(tokens <= x.rows && tokens <= product.output.rows)
    if let groupSize = product.matrix.tiles?.groupSize { quantize(x, tokens: tokens, groupSize: groupSize) }
  }

  private func prepare(_ product: Product, like first: Product) {
    precondition(product.matrix.columns == first.matrix.columns && product.output.columns == product.matrix.rows)
    precondition(product.output.rows == first.output.rows)
  }

  /// The product for some blocks of 16 rows, to which these rows' biases are added while they are in the caches.
  private func multiply(
    _ x: FloatBuffer, tokens: Int, by product: Product, blocks: Range<Int>, _ adding: Bool
  ) {
    let (matrix, output) = product
    let target = unsafe sp_output(values: output.base, stride: output.columns, accumulate: adding)
    if matrix.tiles != nil {
      unsafe kernels.pointee.product_packed(
        matrix.kernelMatrix, blocks.lowerBound, blocks.upperBound, quantized.activations, target)
    } else {
      unsafe kernels.pointee.product_floats(
        matrix.kernelMatrix, blocks.lowerBound, blocks.upperBound, x.base, tokens, target)
    }
    guard let bias = matrix.bias else { return }
    let first = blocks.lowerBound * PackedTileLayout.tileRows
    let end = min(blocks.upperBound * PackedTileLayout.tileRows, matrix.rows)
    for t in 0..<tokens {
      let row = unsafe output.row(t)
      for i in first..<end { unsafe row[i] += bias.base[i] }
    }
  }

  private func quantize(_ x: FloatBuffer, tokens: Int, groupSize: Int) {
    quantized.prepare(tokens: tokens, columns: x.columns, groupSize: groupSize)
    threads.run(count: tokens, minimum: Self.minimumShare(cost: 4 * x.columns), with: (self, x)) { work, _, range in
      let (compute, x) = work
      unsafe compute.kernels.pointee.quantize_activations(
        x.base, range.lowerBound, range.upperBound, compute.quantized.activations)
    }
  }

  /// output[t] = x[t] / rms(x[t]) · weight.
  func normalize(_ x: FloatBuffer, tokens: Int, _ weight: WeightVector, epsilon: Float, into output: FloatBuffer) {
    precondition(x.columns == weight.count && output.columns == x.columns && tokens <= output.rows)
    threads.run(
      count: tokens, minimum: Self.minimumShare(cost: 4 * x.columns), with: (self, x, weight, epsilon, output)
    ) { work, _, range in
      let (compute, x, weight, epsilon, output) = work
      for t in range {
        unsafe compute.kernels.pointee.rms_norm(x.row(t), weight.base, x.columns, epsilon, output.row(t))
      }
    }
  }

  /// Rotates every head of some rows of x, the first by the angle of position `start`, each later one by the next.
  func rotate(_ x: FloatBuffer, rows: Range<Int>, from start: Int, _ rotary: RotaryCache) {
    rotary.prepare(start..<start + rows.count)
    threads.run(
      count: rows.count, minimum: Self.minimumShare(cost: 4 * x.columns), with: (self, x, rows, start, rotary)
    ) { work, _, range in
      let (compute, x, rows, start, rotary) = work
      let headDim = rotary.table.headDim
      for t in range {
        unsafe rotary.with(start + t) { cosines, sines in
          unsafe compute.kernels.pointee.rotate(
            x.row(rows.lowerBound + t), x.columns / headDim, headDim, cosines, sines)
        }
      }
    }
  }

  /// output[first + t] = the matrix's row of each token.
  func embed(_ tokens: some Collection<Int32>, _ embedding: WeightMatrix, into output: FloatBuffer, at first: Int = 0) {
    precondition(first + tokens.count <= output.rows && output.columns == embedding.columns)
    for (t, token) in zip(first..., tokens) {
      let row = Int(token)
      precondition(row >= 0 && row < embedding.rows, "token \(token) is not in the vocabulary")
      if let tiles = embedding.tiles {
        unsafe PackedTiles.dequantize(
          row: row, of: UnsafeRawBufferPointer(start: embedding.base, count: tiles.byteCount), layout: tiles,
          into: UnsafeMutableBufferPointer(start: output.row(t), count: output.columns))
      } else {
        let element = embedding.element
        unsafe kernels.pointee.widen(
          embedding.base + row * embedding.columns * element.byteCount, element.kernelElement, embedding.columns,
          output.row(t))
      }
    }
  }
}

/// A reused buffer for quantized activations, which grows when a larger batch comes.
@safe struct ActivationBuffer: ~Copyable {
  /// Values, scales and offsets, one after the other.
  private var memory = AlignedMemory(byteCount: 0)
  private var tokens = 0
  private var columns = 0
  private var groupSize = 1

  mutating func prepare(tokens: Int, columns: Int, groupSize: Int) {
    self.tokens = tokens
    self.columns = columns
    self.groupSize = groupSize
    let byteCount = valueByteCount + tokens * groupCount * (MemoryLayout<Float>.size + MemoryLayout<Int32>.size)
    if byteCount > memory.byteCount { memory = AlignedMemory(byteCount: byteCount) }
  }

  private var stride: Int { (columns + 63) / 64 * 64 }
  private var groupCount: Int { (columns + groupSize - 1) / groupSize }
  private var valueByteCount: Int { tokens * stride }

  @unsafe var activations: sp_activations {
    let scales = unsafe memory.base + valueByteCount
    let offsets = unsafe scales + tokens * groupCount * MemoryLayout<Float>.size
    return unsafe sp_activations(
      values: memory.base.assumingMemoryBound(to: Int8.self), scales: scales.assumingMemoryBound(to: Float.self),
      offsets: offsets.assumingMemoryBound(to: Int32.self), tokens: tokens, columns: columns, group_size: groupSize,
      stride: stride)
  }
}
