import FileAccess
import ModelPacks
import PackedTiles

/// A file of weights, cut into pieces that are read and converted one after the other.
struct SourceFile: Sendable {
  /// Bytes of a source file that are in memory together.
  struct Piece: Sendable {
    /// The file's number among the sources.
    let file: Int
    let byteRange: Range<Int>
    /// nil for bytes that are only digested.
    let part: Part?
  }

  /// Whole row blocks of one tensor.
  struct Part: Sendable {
    /// The tensor's number in the pack.
    let tensor: Int
    var rows: Int
    let columns: Int
    let blocks: NumberBlocks
    let rowByteCount: Int
    let rowOrder: RowOrder
  }

  let path: String
  let byteCount: Int
  /// Ascending, without gaps, from 0 to `byteCount`.
  let pieces: [Piece]

  /// Large enough that a piece costs much more than handing it over, small enough to stay in a core's cache.
  static let pieceByteCount = 1 << 20

  static func bufferByteCount(_ files: [SourceFile]) -> Int {
    files.reduce(0) { max($0, $1.pieces.reduce(0) { max($0, $1.byteRange.count) }) }
  }

  /// Cuts the files of a checkpoint.
  /// - Returns: the files in their order, and the names of tensors that are not used.
  /// - Throws: `Refusal` `missing-tensor`, `duplicate-tensor`, `unexpected-tensor`, `wrong-shape`, `wrong-size`,
  ///   `misplaced-tensor` or `unsupported-element-type`.
  static func plan(
    _ weights: any WeightSource, needed: [LlamaTensor]
  ) throws(Refusal) -> (files: [SourceFile], unused: [String]) {
    var seen: Set<String> = []
    for file in weights.files {
      for tensor in file.tensors where !seen.insert(tensor.name).inserted {
        throw Refusal(.duplicateTensor, file: file.path, structure: tensor.name, "is in the weights twice")
      }
    }
    if let missing = needed.first(where: { !seen.contains($0.name) }) {
      throw Refusal(.missingTensor, file: weights.path, "\(missing.name) is in none of the weight files")
    }
    let numbers = Dictionary(uniqueKeysWithValues: needed.enumerated().map { ($1.name, $0) })
    var unused: [String] = []
    var files: [SourceFile] = []
    for (number, file) in weights.files.enumerated() {
      var pieces = Pieces(file: number)
      for tensor in file.tensors {
        guard tensor.byteRange.lowerBound >= pieces.end, tensor.byteRange.upperBound <= file.byteCount else {
          throw Refusal(
            .misplacedTensor, file: file.path, structure: tensor.name, "lies in another tensor or beyond the end")
        }
        pieces.digest(upTo: tensor.byteRange.lowerBound)
        // An output projection is not used where the embedding serves as one.
        if let number = numbers[tensor.name] {
          pieces.convert(try part(tensor, number, needed[number], file: file.path))
        } else {
          guard tensor.isDispensable || tensor.name == "lm_head.weight" else {
            throw Refusal(
              .unexpectedTensor, file: file.path, structure: tensor.name,
              "is not a tensor of this architecture")
          }
          unused.append(tensor.name)
          pieces.digest(upTo: tensor.byteRange.upperBound)
        }
      }
      pieces.digest(upTo: file.byteCount)
      files.append(SourceFile(path: file.path, byteCount: file.byteCount, pieces: pieces.all))
    }
    return (files, unused)
  }

  /// All of a tensor.
  private static func part(
    _ tensor: SourceTensor, _ number: Int, _ need: LlamaTensor, file: String
  ) throws(Refusal) -> Part {
    let shape = need.isVector ? [need.columns] : [need.rows, need.columns]
    guard tensor.shape == shape else {
      throw Refusal(
        .wrongShape, file: file, structure: tensor.name,
        "has the shape \(tensor.shape); the configuration asks for \(shape)")
    }
    guard let blocks = tensor.blocks else {
      throw Refusal(
        .unsupportedElementType, file: file, structure: tensor.name,
        "has elements of the type \(tensor.typeName), which cannot be converted")
    }
    // Elements of a bias that change places are rows.
    let isColumn = need.isVector && tensor.rowOrder != .plain
    let (rows, columns) = isColumn ? (need.columns, 1) : (need.rows, need.columns)
    guard tensor.rowOrder.groupRows > 0, rows % tensor.rowOrder.groupRows == 0 else {
      throw Refusal(.wrongShape, file: file, structure: tensor.name, "has \(rows) rows, which are not whole heads")
    }
    guard let rowByteCount = blocks.byteCount(columns: columns),
      CheckedSize.product(rows, rowByteCount) == tensor.byteRange.count
    else {
      throw Refusal(
        .wrongSize, file: file, structure: tensor.name,
        "\(shape) elements of \(tensor.typeName) do not take \(tensor.byteRange.count) bytes")
    }
    return Part(
      tensor: number, rows: rows, columns: columns, blocks: blocks, rowByteCount: rowByteCount,
      rowOrder: tensor.rowOrder)
  }
}

/// The pieces of a file, from its start on.
private struct Pieces {
  let file: Int
  private(set) var all: [SourceFile.Piece] = []
  private(set) var end = 0

  init(file: Int) { self.file = file }

  private mutating func append(byteCount: Int, _ part: SourceFile.Part?) {
    all.append(SourceFile.Piece(file: file, byteRange: end..<end + byteCount, part: part))
    end += byteCount
  }

  mutating func digest(upTo offset: Int) {
    while end < offset { append(byteCount: min(SourceFile.pieceByteCount, offset - end), nil) }
  }

  mutating func convert(_ tensor: SourceFile.Part) {
    // Whole row blocks and whole groups of rows, at least one.
    let blockRows = Self.leastCommonMultiple(PackedTileLayout.tileRows, tensor.rowOrder.groupRows)
    let rowsOfPiece = max(SourceFile.pieceByteCount / tensor.rowByteCount / blockRows, 1) * blockRows
    for row in stride(from: 0, to: tensor.rows, by: rowsOfPiece) {
      var part = tensor
      part.rows = min(rowsOfPiece, tensor.rows - row)
      append(byteCount: part.rows * part.rowByteCount, part)
    }
  }

  private static func leastCommonMultiple(_ first: Int, _ second: Int) -> Int {
    var (divisor, rest) = (first, second)
    while rest != 0 { (divisor, rest) = (rest, divisor % rest) }
    return first / divisor * second
  }
}
