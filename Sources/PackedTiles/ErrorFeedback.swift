/// How the columns of a quantized matrix make up for the rounding errors of the columns before them.
///
/// Rounding a row of weights by errors e changes its products with inputs x by Σ (e · x)² = eᵀ H e in all, with the
/// second moments H = Σ x xᵀ. With H = F D Fᵀ, F unit upper triangular, that is Σ_m D_m (e_m + Σ_{i<m} e_i F_im)²:
/// a column m that is rounded from its weight plus Σ_{i<m} e_i F_im leaves no more than its own rounding in its term.
/// Columns are cut into blocks, and the moments between blocks are taken to be zero, because those of all columns of a
/// large matrix would take more memory than the matrix.
///
/// Source: Frantar et al., GPTQ, arXiv 2210.17323, in the form that Chee et al., arXiv 2307.13304, call LDLQ.
public struct ErrorFeedback: Sendable {
  public let columns: Int
  /// Columns of a block; the last one may be narrower.
  public let blockColumns: Int
  /// (columns, blockColumns): row j, column k of a block hold F_jk for k > j.
  let coefficients: [Float]

  /// The number of columns of a block: as many whole groups as fit into 256 columns.
  /// - Returns: nil for wider groups.
  public static func blockColumns(groupSize: Int) -> Int? {
    (1...256).contains(groupSize) ? 256 / groupSize * groupSize : nil
  }

  /// How much of the mean second moment is added to each: inputs that hardly varied when the moments were taken still
  /// count for something.
  private static let damping = 0.01

  /// - Parameter moments: second moments of the inputs, (columns, blockColumns): row j, column k of a block hold
  ///   Σ x_j x_k, at least for k ≤ j.
  public init(moments: [Float], columns: Int, blockColumns: Int) {
    precondition(columns > 0 && blockColumns > 0 && moments.count == columns * blockColumns)
    self.columns = columns
    self.blockColumns = blockColumns
    var coefficients = [Float](repeating: 0, count: moments.count)
    for start in stride(from: 0, to: columns, by: blockColumns) {
      let width = min(blockColumns, columns - start)
      Self.decompose(moments, from: start * blockColumns, width: width, stride: blockColumns, into: &coefficients)
    }
    self.coefficients = coefficients
  }

  private static func decompose(
    _ moments: [Float], from first: Int, width: Int, stride: Int, into coefficients: inout [Float]
  ) {
    let mean = (0..<width).reduce(0) { $0 + Double(moments[first + $1 * stride + $1]) } / Double(width)
    guard mean > 0, mean.isFinite else { return }
    // The lower triangle of the rest of H. Columns are removed one by one, starting with the last.
    var rest = [Double](repeating: 0, count: width * width)
    for j in 0..<width {
      for k in 0...j { rest[j * width + k] = Double(moments[first + j * stride + k]) }
      rest[j * width + j] += damping * mean
    }
    for m in (0..<width).reversed() {
      let pivot = rest[m * width + m]
      guard pivot > 0 else { continue }
      for i in 0..<m {
        let factor = rest[m * width + i] / pivot
        coefficients[first + i * stride + m] = Float(factor)
        for l in 0...i { rest[i * width + l] -= factor * rest[m * width + l] }
      }
    }
  }
}
