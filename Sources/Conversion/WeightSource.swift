public import FileAccess
import PackedTiles

/// Weights in one or more files, each of which is read once, from its start to its end.
public protocol WeightSource: Sendable {
  /// Of all the files, for messages.
  var path: String { get }
  var files: [WeightFile] { get }
  /// Lines for the person who converts, about what is not as one might expect.
  var notes: [String] { get }

  /// - Parameter number: of the file in `files`.
  func open(_ number: Int) throws(Refusal) -> any WeightReader
}

extension WeightSource {
  public var notes: [String] { [] }
}

/// A file of weights and where its tensors lie.
public struct WeightFile: Sendable {
  /// Without directory, for the provenance.
  public let name: String
  /// For messages.
  public let path: String
  public let byteCount: Int
  /// By ascending offset. Bytes that are no tensor's are read for the digest only.
  public let tensors: [SourceTensor]

  public init(name: String, path: String, byteCount: Int, tensors: [SourceTensor]) {
    self.name = name
    self.path = path
    self.byteCount = byteCount
    self.tensors = tensors
  }
}

/// A tensor in a file of weights.
public struct SourceTensor: Sendable {
  /// The name in Hugging Face's layout, as `LlamaConfiguration.tensors` has them.
  public let name: String
  /// Row-major sizes, outermost first; empty for a scalar.
  public let shape: [Int]
  /// In the file.
  public let byteRange: Range<Int>
  /// How its numbers are written, as messages call it, such as `BF16`.
  public let typeName: String
  /// nil when such numbers cannot be converted.
  public let blocks: NumberBlocks?
  public let rowOrder: RowOrder

  public init(
    name: String, shape: [Int], byteRange: Range<Int>, typeName: String, blocks: NumberBlocks?,
    rowOrder: RowOrder = .plain
  ) {
    self.name = name
    self.shape = shape
    self.byteRange = byteRange
    self.typeName = typeName
    self.blocks = blocks
    self.rowOrder = rowOrder
  }
}

/// The order in which a source has the rows of a matrix, or the elements of a bias.
public enum RowOrder: Sendable, Hashable {
  /// That of Hugging Face's layout.
  case plain
  /// Within each head, the two rows of every rotary pair are neighbours, where Hugging Face's layout has them half a
  /// head apart.
  case rotatedPairs(headDim: Int)

  /// Rows that change places among themselves only.
  var groupRows: Int {
    switch self {
    case .plain: 1
    case .rotatedPairs(let headDim): headDim
    }
  }

  /// Where the source has a row, counted from the start of any group.
  func sourceRow(_ row: Int) -> Int {
    switch self {
    case .plain: return row
    case .rotatedPairs(let headDim):
      let (head, place) = row.quotientAndRemainder(dividingBy: headDim)
      let (half, pair) = place.quotientAndRemainder(dividingBy: headDim / 2)
      return head * headDim + pair * 2 + half
    }
  }
}

/// How the numbers of a row are written: in blocks of a fixed count of numbers and of bytes. A plain element is a block
/// of one.
public struct NumberBlocks: Sendable {
  /// Numbers of a block; they are neighbours in a row.
  public let length: Int
  public let byteCount: Int
  let decode: @Sendable (_ blocks: RawSpan, _ numbers: inout MutableSpan<Float>) -> Void

  /// - Parameter decode: turns whole blocks into numbers, `length` for each `byteCount` bytes.
  public init(
    length: Int, byteCount: Int,
    decode: @escaping @Sendable (_ blocks: RawSpan, _ numbers: inout MutableSpan<Float>) -> Void
  ) {
    precondition(length > 0 && byteCount > 0)
    self.length = length
    self.byteCount = byteCount
    self.decode = decode
  }

  public static let float32 = NumberBlocks(.float32)
  public static let float16 = NumberBlocks(.float16)
  public static let bfloat16 = NumberBlocks(.bfloat16)

  private init(_ element: ElementType) {
    self.init(length: 1, byteCount: element.byteCount) { source, numbers in
      unsafe source.withUnsafeBytes { source in
        unsafe numbers.withUnsafeMutableBufferPointer { unsafe PackedTiles.widen(source, from: element, into: $0) }
      }
    }
  }

  /// Bytes of a row.
  /// - Returns: nil when blocks would cross its end, or the result does not fit.
  func byteCount(columns: Int) -> Int? {
    guard columns % length == 0 else { return nil }
    return CheckedSize.product(columns / length, byteCount)
  }
}

/// Reads a file of weights piece by piece: only the caller's buffer holds what is read.
public protocol WeightReader: Sendable {
  /// Of the file, now.
  var byteCount: Int { get }

  /// Fills `buffer` from an offset.
  /// - Throws: `Refusal` `truncated` when the file ends before the buffer is full; `input-output`.
  func read(at byteOffset: Int, into buffer: inout MutableRawSpan) throws(Refusal)

  /// Starts to read a range into memory without waiting for it, if that can be done.
  func prefetch(_ range: Range<Int>)

  /// Releases what will not be read again.
  func release(_ range: Range<Int>)
}

/// A file of weights on a disk.
final class WeightFileReader: WeightReader {
  private let file: SequentialFile

  init(_ path: String) throws(Refusal) { file = try SequentialFile(path) }

  var byteCount: Int { file.byteCount }

  func read(at byteOffset: Int, into buffer: inout MutableRawSpan) throws(Refusal) {
    try file.read(at: byteOffset, into: &buffer)
  }

  func prefetch(_ range: Range<Int>) { file.prefetch(range) }

  func release(_ range: Range<Int>) { file.release(range) }
}
