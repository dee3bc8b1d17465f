internal import CKernels
public import ModelPacks
public import PackedTiles

/// Second moments of the inputs of a model's matrices, collected while sessions and encoders read. Weights are rounded
/// so that the error on such inputs is small.
///
/// Not thread-safe: one session or encoder at a time.
public final class SecondMoments {
  /// Columns whose moments with each other are kept; columns of different blocks count as independent.
  public let blockColumns: Int
  private let pack: ModelPack
  /// Indices into `moments`, by the byte offset of a matrix in the pack. Matrices with the same inputs share moments.
  private var numbers: [Int: Int] = [:]
  /// (columns, blockColumns) each: row j and column k of a block hold Σ x_j x_k.
  private var moments: [FloatBuffer] = []
  private var isEmpty: [Bool] = []
  /// The transposed inputs of a block, for each thread: (blockColumns · tokens).
  private var turned: [FloatBuffer] = []

  public init(_ model: LlamaModel, blockColumns: Int) {
    self.blockColumns = blockColumns
    pack = model.pack
    for layer in model.weights.layers + (model.lowerWeights?.layers ?? []) {
      share([layer.query, layer.key, layer.value])
      share([layer.output])
      share([layer.gate, layer.up])
      share([layer.down])
      if let cross = layer.crossAttention {
        share([cross.query])
        share([cross.output])
      }
    }
    // An embedding that is also the output matrix is rounded as the latter: eight bits lose little of an embedding.
    if let head = model.weights.head { share([head]) }
  }

  /// Bytes that a model's moments take.
  /// - Parameter sharedLLM: nil for a plain model.
  public static func byteCount(
    _ configuration: LlamaConfiguration, _ sharedLLM: SharedLLMConfiguration?, blockColumns: Int
  ) -> Int {
    let querySize = configuration.headCount * configuration.headDim
    let ofLayer = 2 * configuration.hiddenSize + querySize + configuration.intermediateSize
    var columns = configuration.layerCount * ofLayer + configuration.hiddenSize
    if let sharedLLM {
      if let encoder = sharedLLM.encoder {
        columns += byteCount(encoder, nil, blockColumns: 1) / MemoryLayout<Float>.size
      } else if sharedLLM.lowerModel == .own {
        columns += sharedLLM.injectedLayerCount * ofLayer
      }
      if sharedLLM.injection == .crossAttention {
        columns += sharedLLM.injectedLayerCount * (configuration.hiddenSize + querySize)
      }
    }
    return columns * blockColumns * MemoryLayout<Float>.size
  }

  private func share(_ matrices: [WeightMatrix]) {
    // The lower model may be the bottom of the upper one.
    guard let first = matrices.first, numbers[first.byteRange.lowerBound] == nil else { return }
    for matrix in matrices { numbers[matrix.byteRange.lowerBound] = moments.count }
    moments.append(FloatBuffer(rows: first.columns, columns: blockColumns))
    isEmpty.append(true)
  }

  /// Adds the moments of the first `tokens` rows of x, a matrix's inputs.
  func add(_ x: FloatBuffer, tokens: Int, of matrix: WeightMatrix, _ compute: Compute) {
    guard let number = numbers[matrix.byteRange.lowerBound] else { return }
    if turned.count < compute.threads.threadCount || turned[0].columns < tokens {
      turned = (0..<compute.threads.threadCount).map { _ in FloatBuffer(rows: blockColumns, columns: tokens) }
    }
    compute.threads.run(
      count: (x.columns + blockColumns - 1) / blockColumns, with: (self, x, tokens, number, compute)
    ) { work, thread, range in
      let (sums, x, tokens, number, compute) = work
      for block in range {
        let start = block * sums.blockColumns
        let width = min(sums.blockColumns, x.columns - start)
        let turned = unsafe sums.turned[thread].base
        for t in 0..<tokens {
          let row = unsafe x.row(t) + start
          for column in 0..<width { unsafe turned[column * tokens + t] = row[column] }
        }
        let matrix = unsafe sp_matrix(
          values: turned, element: SP_FLOAT32, rows: width, columns: tokens, group_size: 0, row_block_bytes: 0)
        let output = unsafe sp_output(
          values: sums.moments[number].row(start), stride: sums.blockColumns, accumulate: !sums.isEmpty[number])
        let rowBlocks = (width + PackedTileLayout.tileRows - 1) / PackedTileLayout.tileRows
        unsafe compute.kernels.pointee.product_floats(matrix, 0, rowBlocks, turned, width, output)
      }
    }
    isEmpty[number] = false
  }

  /// How the columns of a matrix make up for the rounding errors of the columns before them.
  /// - Parameter name: of a tensor.
  /// - Returns: nil for a tensor that is not one of the matrices, and for a matrix whose inputs were never read.
  public func errorFeedback(forTensor name: String) -> ErrorFeedback? {
    guard let tensor = pack.tensor(named: name), let number = numbers[tensor.byteOffset], !isEmpty[number] else {
      return nil
    }
    let columns = moments[number].rows
    return ErrorFeedback(
      moments: moments[number].array(rows: 0..<columns), columns: columns, blockColumns: blockColumns)
  }
}
