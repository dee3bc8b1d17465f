internal import CKernels
internal import PackedTiles

/// The operations of a layer, over rows of activations, on all threads of a crew.
///
/// Every output value is computed by one thread in one order, so results depend neither on the number of threads nor
/// on how many tokens are processed together.
@safe final class Compute {
  let crew: ThreadCrew
  @unsafe let kernels: UnsafePointer<sp_kernels_table>
  private var quantized: ActivationBuffer

  init(crew: ThreadCrew) {
    self.crew = crew
    unsafe kernels = sp_kernels()
    quantized = ActivationBuffer()
  }

  /// Work below this many multiplications is not worth a hand-off between threads.
  private static let smallestShare = 1 << 15

  /// The least number of items of `cost` multiplications each that a thread should get.
  private func minimumShare(cost: Int) -> Int { max(1, Self.smallestShare / max(cost, 1)) }

  /// output[t] = matrix · x[t], or added to output, for the first `tokens` rows and each of the matrices.
  ///
  /// - Parameters:
  ///   - x: (tokens, columns of every matrix).
  ///   - products: matrices with their outputs, each (tokens, rows of its matrix).
  func multiply(
    _ x: FloatBuffer, tokens: Int, by products: [(matrix: WeightMatrix, output: FloatBuffer)],
    adding: Bool = false
  ) {
    for (matrix, output) in products {
      precondition(x.columns == matrix.columns && output.columns == matrix.rows, "shapes do not agree")
      precondition(tokens <= x.rows && tokens <= output.rows)
    }
    // Matrices of one group size share the quantized activations. A layer's have one, unless a pack is odd.
    var rest = products[...]
    while let groupSize = rest.first.map({ $0.matrix.tiles?.groupSize }) {
      let alike = rest.prefix { $0.matrix.tiles?.groupSize == groupSize }
      if let groupSize { quantize(x, tokens: tokens, groupSize: groupSize) }
      multiply(x, tokens: tokens, by: alike, adding)
      rest = rest.dropFirst(alike.count)
    }
  }

  private func multiply(
    _ x: FloatBuffer, tokens: Int, by products: ArraySlice<(matrix: WeightMatrix, output: FloatBuffer)>, _ adding: Bool
  ) {
    // The row blocks of all matrices are one piece of work: threads meet once, however many matrices there are.
    let blockRows = PackedTileLayout.tileRows
    let blocks = products.map { ($0.matrix.rows + blockRows - 1) / blockRows }
    crew.run(
      count: blocks.reduce(0, +), minimum: minimumShare(cost: blockRows * x.columns * tokens)
    ) { _, range in
      var first = 0
      for ((matrix, output), count) in zip(products, blocks) {
        let part = range.clamped(to: first..<first + count)
        if !part.isEmpty {
          multiply(
            x, tokens: tokens, by: matrix, blocks: part.lowerBound - first..<part.upperBound - first, output, adding)
        }
        first += count
      }
    }
  }

  /// The product for some blocks of 16 rows.
  private func multiply(
    _ x: FloatBuffer, tokens: Int, by matrix: WeightMatrix, blocks: Range<Int>, _ output: FloatBuffer, _ adding: Bool
  ) {
    if let tiles = matrix.tiles {
      let product = unsafe tiles.element == .int8 ? kernels.pointee.product_int8 : kernels.pointee.product_int4
      unsafe product!(
        matrix.base.assumingMemoryBound(to: UInt8.self), tiles.rowBlockByteCount, blocks.lowerBound,
        blocks.upperBound, matrix.rows, matrix.columns, tiles.groupSize, quantized.activations, tokens, output.base,
        output.columns, adding)
    } else {
      let rows = PackedTileLayout.tileRows
      unsafe kernels.pointee.product_float(
        matrix.base, matrix.floatElement.kernelElement, blocks.lowerBound * rows,
        min(blocks.upperBound * rows, matrix.rows), matrix.columns, x.base, tokens, output.base, output.columns,
        adding)
    }
  }

  private func quantize(_ x: FloatBuffer, tokens: Int, groupSize: Int) {
    quantized.prepare(tokens: tokens, columns: x.columns, groupSize: groupSize)
    let activations = unsafe quantized.activations
    crew.run(count: tokens, minimum: minimumShare(cost: 4 * x.columns)) { _, range in
      unsafe kernels.pointee.quantize_activations(
        x.base, x.columns, range.lowerBound, range.upperBound, x.columns, groupSize, activations)
    }
  }

  /// output[t] = x[t] / rms(x[t]) · weight.
  func normalize(_ x: FloatBuffer, tokens: Int, _ weight: WeightVector, epsilon: Float, into output: FloatBuffer) {
    precondition(x.columns == weight.count && output.columns == x.columns && tokens <= output.rows)
    crew.run(count: tokens, minimum: minimumShare(cost: 4 * x.columns)) { _, range in
      for t in range {
        unsafe kernels.pointee.rms_norm(x.row(t), weight.base, x.columns, epsilon, output.row(t))
      }
    }
  }

  /// gate[t] = silu(gate[t]) · up[t].
  func activate(gate: FloatBuffer, up: FloatBuffer, tokens: Int) {
    crew.run(count: tokens, minimum: minimumShare(cost: 16 * gate.columns)) { _, range in
      for t in range { unsafe kernels.pointee.swiglu(gate.row(t), up.row(t), gate.columns) }
    }
  }

  /// Rotates every head of x[t] by the angle of position `start + t`.
  func rotate(_ x: FloatBuffer, tokens: Int, from start: Int, _ rotary: RotaryCache) {
    let headDim = rotary.table.headDim
    rotary.prepare(start..<start + tokens)
    crew.run(count: tokens, minimum: minimumShare(cost: 4 * x.columns)) { _, range in
      for t in range {
        unsafe rotary.with(start + t) { cosines, sines in
          unsafe kernels.pointee.rotate(x.row(t), x.columns / headDim, headDim, cosines, sines)
        }
      }
    }
  }

  /// output[t] = the matrix's row of each token.
  func embed(_ tokens: ArraySlice<Int32>, _ embedding: WeightMatrix, into output: FloatBuffer) {
    precondition(tokens.count <= output.rows && output.columns == embedding.columns)
    for (t, token) in tokens.enumerated() {
      let row = Int(token)
      precondition(row >= 0 && row < embedding.rows, "token \(token) is not in the vocabulary")
      if let tiles = embedding.tiles {
        unsafe PackedTiles.dequantize(
          row: row, of: UnsafeRawBufferPointer(start: embedding.base, count: tiles.byteCount), layout: tiles,
          into: UnsafeMutableBufferPointer(start: output.row(t), count: output.columns))
      } else {
        let element = embedding.floatElement
        unsafe kernels.pointee.widen(
          embedding.base + row * embedding.columns * element.byteCount, element.kernelElement, embedding.columns,
          output.row(t))
      }
    }
  }
}

/// Room for quantized activations: it grows when a larger batch comes and is used again.
@safe struct ActivationBuffer: ~Copyable {
  @unsafe private var values: UnsafeMutablePointer<Int8>?
  @unsafe private var scales: UnsafeMutablePointer<Float>?
  @unsafe private var offsets: UnsafeMutablePointer<Int32>?
  private var valueCapacity = 0
  private var groupCapacity = 0
  private var stride = 0

  init() {}

  deinit {
    unsafe values?.deallocate()
    unsafe scales?.deallocate()
    unsafe offsets?.deallocate()
  }

  mutating func prepare(tokens: Int, columns: Int, groupSize: Int) {
    stride = (columns + 63) / 64 * 64
    let groups = (columns + groupSize - 1) / groupSize
    if tokens * stride > valueCapacity {
      unsafe values?.deallocate()
      valueCapacity = tokens * stride
      unsafe values = UnsafeMutableRawPointer.allocate(byteCount: valueCapacity, alignment: 64)
        .bindMemory(to: Int8.self, capacity: valueCapacity)
    }
    if tokens * groups > groupCapacity {
      unsafe scales?.deallocate()
      unsafe offsets?.deallocate()
      groupCapacity = tokens * groups
      unsafe scales = .allocate(capacity: groupCapacity)
      unsafe offsets = .allocate(capacity: groupCapacity)
    }
  }

  @unsafe var activations: sp_activations {
    unsafe sp_activations(values: values, scales: scales, offsets: offsets, stride: stride)
  }
}
