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
    let rows: Int
    let columns: Int
    let element: FloatElement
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

  /// Cuts the shards of a checkpoint.
  /// - Returns: the files in the order of the shards, and the names of tensors that are not used.
  /// - Throws: `Refusal` `missing-tensor`, `unexpected-tensor`, `wrong-shape` or `unsupported-element-type`.
  static func plan(
    _ checkpoint: Checkpoint, needed: [LlamaTensor], tensors: [PackTensor]
  ) throws(Refusal) -> (files: [SourceFile], unused: [String]) {
    if let missing = needed.first(where: { checkpoint.places[$0.name] == nil }) {
      throw Refusal(.missingTensor, file: checkpoint.directory, "\(missing.name) is in none of the weights")
    }
    let numbers = Dictionary(uniqueKeysWithValues: needed.enumerated().map { ($1.name, $0) })
    var unused: [String] = []
    var files: [SourceFile] = []
    for (fileNumber, shard) in checkpoint.shards.enumerated() {
      var pieces: [Piece] = []
      func digestOnly(_ range: Range<Int>) {
        for start in stride(from: range.lowerBound, to: range.upperBound, by: pieceByteCount) {
          let end = min(start + pieceByteCount, range.upperBound)
          pieces.append(Piece(file: fileNumber, byteRange: start..<end, part: nil))
        }
      }
      digestOnly(0..<shard.header.dataOffset)
      for tensor in shard.header.tensors {
        guard let number = numbers[tensor.name] else {
          guard isIgnored(tensor.name, numbers) else {
            throw Refusal(
              .unexpectedTensor, file: shard.path, structure: tensor.name,
              "is nothing that the architecture of config.json has")
          }
          unused.append(tensor.name)
          digestOnly(tensor.byteRange)
          continue
        }
        let element = try checked(tensor, against: needed[number], file: shard.path)
        let columns = needed[number].columns
        let rowByteCount = columns * element.byteCount
        // Whole row blocks, at least one.
        let rowsOfPiece = max(pieceByteCount / rowByteCount / PackedTileLayout.tileRows, 1) * PackedTileLayout.tileRows
        for row in stride(from: 0, to: needed[number].rows, by: rowsOfPiece) {
          let rows = min(rowsOfPiece, needed[number].rows - row)
          let start = tensor.byteRange.lowerBound + row * rowByteCount
          pieces.append(
            Piece(
              file: fileNumber, byteRange: start..<start + rows * rowByteCount,
              part: Part(tensor: number, rows: rows, columns: columns, element: element)))
        }
      }
      files.append(SourceFile(path: shard.path, byteCount: shard.byteCount, pieces: pieces))
    }
    return (files, unused)
  }

  /// Tensors that transformers leaves aside too: cached angles, and an output projection where the embedding serves.
  private static func isIgnored(_ name: String, _ needed: [String: Int]) -> Bool {
    name.hasSuffix(".rotary_emb.inv_freq") || (name == "lm_head.weight" && needed[name] == nil)
  }

  private static func checked(
    _ tensor: SafetensorsHeader.Tensor, against need: LlamaTensor, file: String
  ) throws(Refusal) -> FloatElement {
    let shape = need.isNorm ? [need.columns] : [need.rows, need.columns]
    guard tensor.shape == shape else {
      throw Refusal(
        .wrongShape, file: file, structure: tensor.name,
        "has the shape \(tensor.shape); the configuration asks for \(shape)")
    }
    switch tensor.elementType {
    case "F32": return .float32
    case "F16": return .float16
    case "BF16": return .bfloat16
    default:
      throw Refusal(
        .unsupportedElementType, file: file, structure: tensor.name,
        "has elements of the type \(tensor.elementType); F32, F16 and BF16 can be converted")
    }
  }
}
