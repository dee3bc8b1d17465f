public import FileAccess
package import PackedTiles

/// How the numbers of a tensor are written.
/// Format: `Formats/model-pack.md` §Tensor index.
public enum TensorEncoding: Sendable, Hashable {
  /// Row-major.
  case float32
  /// Row-major.
  case float16
  /// Packed tiles with one scale a row and group of columns. Format: `Formats/packed-tile.md`.
  case int8(groupSize: Int)
  /// The same with 16 levels. Format: `Formats/packed-tile.md` §Nibble tiles.
  case int4(groupSize: Int)

  /// The default for a model: int8 in groups of 128 columns, or fewer where the hidden state has fewer than 1,024.
  /// Fewer errors average out in a short sum, and shorter groups make smaller errors; in a large matrix they would only
  /// cost bytes. A power of two, as that of two divides the widths of most models, whose groups then are all whole.
  public static func usual(hiddenSize: Int) -> TensorEncoding {
    .int8(groupSize: hiddenSize < 512 ? 32 : hiddenSize < 1024 ? 64 : 128)
  }

  /// Bytes of a matrix.
  /// - Returns: nil when a size is not positive, the group size is not one, or the result does not fit.
  public func byteCount(rows: Int, columns: Int) -> Int? {
    guard rows > 0, columns > 0 else { return nil }
    switch self {
    case .float32, .float16: return CheckedSize.product(rows, columns, element.byteCount)
    case .int8, .int4: return packedTiles(rows: rows, columns: columns)?.byteCount
    }
  }

  /// Where the parts of a matrix lie.
  /// - Returns: nil for floats, and what `byteCount(rows:columns:)` returns nil for.
  package func packedTiles(rows: Int, columns: Int) -> PackedTileLayout? {
    PackedTileLayout(element, rows: rows, columns: columns, groupSize: groupSize)
  }

  /// The encoding of a tensor in a pack that is converted to this one: the weights of norms and biases are float32, and
  /// what has a row for each token stays int8 in packs of int4.
  /// Format: `Formats/model-pack.md` §Tensors.
  package func encoding(of tensor: LlamaTensor) -> TensorEncoding {
    switch (tensor.kind, self) {
    case (.norm, _), (.bias, _): .float32
    case (.vocabulary, .int4): .int8(groupSize: 128)
    default: self
    }
  }

  package var element: ElementType {
    switch self {
    case .float32: .float32
    case .float16: .float16
    case .int8: .int8
    case .int4: .int4
    }
  }

  /// `float32`, `float16`, `int8` or `int4`.
  public var name: String { element.rawValue }

  var code: UInt32 {
    switch self {
    case .float32: 1
    case .float16: 2
    case .int8: 3
    case .int4: 4
    }
  }

  /// Columns that share a scale; 0 where no columns do.
  public var groupSize: Int {
    switch self {
    case .float32, .float16: 0
    case .int8(let groupSize), .int4(let groupSize): groupSize
    }
  }

  init?(code: UInt32, groupSize: UInt32) {
    switch (code, groupSize) {
    case (1, 0): self = .float32
    case (2, 0): self = .float16
    case (3, 1...): self = .int8(groupSize: Int(groupSize))
    case (4, 1...): self = .int4(groupSize: Int(groupSize))
    default: return nil
    }
  }
}

/// One tensor of a pack.
public struct PackTensor: Sendable, Hashable {
  /// The Hugging Face name, such as `model.layers.0.self_attn.q_proj.weight`.
  public let name: String
  public let encoding: TensorEncoding
  /// Output features of a projection, tokens of an embedding, 1 of a norm's weights and of a bias.
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
