public import FileAccess
import PackedTiles

/// How the numbers of a tensor are written.
/// Format: `Formats/model-pack.md` §Tensor index.
public enum TensorEncoding: Sendable, Hashable {
  /// Row-major.
  case float32
  /// Row-major.
  case float16
  /// Packed tiles with one scale a row and group of columns. Format: `Formats/packed-tile.md`.
  case int8(groupSize: Int)

  /// Bytes of a matrix.
  /// - Returns: nil when a size is not positive, the group size is not one, or the result does not fit.
  public func byteCount(rows: Int, columns: Int) -> Int? {
    guard rows > 0, columns > 0 else { return nil }
    switch self {
    case .float32: return CheckedSize.product(rows, columns, 4)
    case .float16: return CheckedSize.product(rows, columns, 2)
    case .int8(let groupSize):
      return PackedTileLayout(rows: rows, columns: columns, groupSize: groupSize)?.byteCount
    }
  }

  /// `float32`, `float16` or `int8`.
  public var name: String {
    switch self {
    case .float32: "float32"
    case .float16: "float16"
    case .int8: "int8"
    }
  }

  var code: UInt32 {
    switch self {
    case .float32: 1
    case .float16: 2
    case .int8: 3
    }
  }

  /// Columns that share a scale; 0 where nothing does.
  var groupSize: Int {
    if case .int8(let groupSize) = self { groupSize } else { 0 }
  }

  init?(code: UInt32, groupSize: UInt32) {
    switch (code, groupSize) {
    case (1, 0): self = .float32
    case (2, 0): self = .float16
    case (3, 1...): self = .int8(groupSize: Int(groupSize))
    default: return nil
    }
  }
}

/// One tensor of a pack.
public struct PackTensor: Sendable, Hashable {
  /// The Hugging Face name, such as `model.layers.0.self_attn.q_proj.weight`.
  public let name: String
  public let encoding: TensorEncoding
  /// Output features of a projection, tokens of an embedding, 1 of a norm's weights.
  public let rows: Int
  public let columns: Int
  /// From the start of the file; a multiple of 64.
  public let byteOffset: Int
  public let byteCount: Int
  /// SHA-256 of the bytes.
  public let digest: Digest256

  func with(digest: Digest256) -> PackTensor {
    PackTensor(
      name: name, encoding: encoding, rows: rows, columns: columns, byteOffset: byteOffset, byteCount: byteCount,
      digest: digest)
  }
}
