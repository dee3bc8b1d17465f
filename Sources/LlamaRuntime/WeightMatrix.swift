internal import CKernels
internal import ModelPacks
internal import PackedTiles

/// A weight matrix as it lies in the mapping: (rows, columns), one row for each output, with its bias, if it has one.
@safe struct WeightMatrix: @unchecked Sendable {
  let rows: Int
  let columns: Int
  let element: ElementType
  /// Where it lies in the pack.
  let byteRange: Range<Int>
  @unsafe let base: UnsafeRawPointer
  /// What is added to products with the matrix, one number for each row; nil for most matrices.
  let bias: WeightVector?

  init(_ tensor: PackTensor, bias: PackTensor? = nil, in pack: ModelPack) {
    self.bias = bias.map { WeightVector($0, in: pack) }
    rows = tensor.rows
    columns = tensor.columns
    element = tensor.encoding.element
    byteRange = tensor.byteOffset..<tensor.byteOffset + tensor.byteCount
    tiles = tensor.encoding.packedTiles(rows: tensor.rows, columns: tensor.columns)
    guard let address = unsafe pack.unsafeBytes(of: tensor).baseAddress else {
      preconditionFailure("a tensor has bytes: the pack was checked when it was opened")
    }
    unsafe base = address
  }

  /// The layout of packed tiles; nil for floats.
  let tiles: PackedTileLayout?

  /// Blocks of 16 rows, the last one possibly of fewer.
  var blockCount: Int { (rows + PackedTileLayout.tileRows - 1) / PackedTileLayout.tileRows }

  /// The kernels' view of it.
  @unsafe var kernelMatrix: sp_matrix {
    unsafe sp_matrix(
      values: base, element: element.kernelElement, rows: rows, columns: columns, group_size: tiles?.groupSize ?? 0,
      row_block_bytes: tiles?.rowBlockByteCount ?? 0)
  }
}

/// A vector of float32 weights as it lies in the mapping.
@safe struct WeightVector: @unchecked Sendable {
  let count: Int
  @unsafe let base: UnsafePointer<Float>

  init(_ tensor: PackTensor, in pack: ModelPack) {
    count = tensor.rows * tensor.columns
    guard let address = unsafe pack.unsafeBytes(of: tensor).baseAddress else {
      preconditionFailure("a tensor has bytes: the pack was checked when it was opened")
    }
    unsafe base = address.assumingMemoryBound(to: Float.self)
  }
}
