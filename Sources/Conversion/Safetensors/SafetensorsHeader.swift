import CanonicalJSON
import FileAccess

/// The tensors of a safetensors file and where they lie.
///
/// Strict: every byte of the file belongs to the length, the header or exactly one tensor.
/// Source: huggingface.co/docs/safetensors, format.
struct SafetensorsHeader: Sendable {
  struct Tensor: Sendable, Hashable {
    let name: String
    let elementType: String
    /// Row-major sizes, outermost first; empty for a scalar.
    let shape: [Int]
    /// In the file.
    let byteRange: Range<Int>
  }

  /// In the order of the file.
  let tensors: [Tensor]
  /// Where the tensors start: 8 and the length of the header.
  let dataOffset: Int

  /// The format allows 100 MB; a header of a LLaMA has less than a tenth of a percent of that.
  static let headerByteLimit = 8 << 20
  static let tensorLimit = 65_536
  static let rankLimit = 8

  /// Bytes of an element.
  static let elementByteCounts: [String: Int] = [
    "BOOL": 1, "U8": 1, "I8": 1, "F8_E4M3": 1, "F8_E5M2": 1, "F8_E8M0": 1, "U16": 2, "I16": 2, "F16": 2, "BF16": 2,
    "U32": 4, "I32": 4, "F32": 4, "U64": 8, "I64": 8, "F64": 8, "C64": 8,
  ]

  /// Reads the header of an open file.
  /// - Throws: `Refusal` `malformed-safetensors`, `malformed-json`, `mistaken-file`, `too-large`,
  ///   `unsupported-element-type` or `input-output`.
  init(reading file: borrowing SequentialFile) throws(Refusal) {
    let path = file.path
    guard file.byteCount >= 8 else {
      throw Self.malformed(path, "has \(file.byteCount) bytes; 8 tell the header's length")
    }
    var prefix = [UInt8](repeating: 0, count: 8)
    try Self.read(file, at: 0, into: &prefix)
    let length = prefix.reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
    guard length <= Self.headerByteLimit else {
      var beginning = [UInt8](repeating: 0, count: min(file.byteCount, MistakenFile.beginningByteCount))
      try Self.read(file, at: 0, into: &beginning)
      if let mistaken = MistakenFile(beginning) { throw mistaken.refusal(file: path, insteadOf: "the weights") }
      throw Refusal(
        .tooLarge, file: path, structure: "header", "states \(length) bytes; at most \(Self.headerByteLimit) are read")
    }
    let count = Int(length)
    guard count <= file.byteCount - 8 else {
      throw Self.malformed(path, "the header states \(count) bytes and \(file.byteCount - 8) follow")
    }
    var text = [UInt8](repeating: 0, count: count)
    try Self.read(file, at: 8, into: &text)
    try self.init(parsing: text, fileByteCount: file.byteCount, file: path)
  }

  private static func read(
    _ file: borrowing SequentialFile, at offset: Int, into bytes: inout [UInt8]
  ) throws(Refusal) {
    var span = bytes.mutableSpan
    var raw = unsafe span.mutableBytes
    try file.read(at: offset, into: &raw)
  }

  private static func malformed(_ file: String, _ fault: String) -> Refusal {
    Refusal(.malformedSafetensors, file: file, structure: "header", fault)
  }

  /// - Parameter text: the header's JSON, which follows the eight bytes of its length.
  init(parsing text: [UInt8], fileByteCount: Int, file: String) throws(Refusal) {
    guard text.first == UInt8(ascii: "{") else { throw Self.malformed(file, "does not start with {") }
    let json: JSONValue
    do {
      json = try JSONValue(parsing: text, depthLimit: 8)
    } catch {
      throw Refusal(.malformedJSON, file: file, structure: "header", error.description)
    }
    let members = json.object ?? []
    guard members.count <= Self.tensorLimit + 1 else {
      throw Self.malformed(file, "lists more than \(Self.tensorLimit) tensors")
    }
    dataOffset = 8 + text.count
    var tensors: [Tensor] = []
    for member in members {
      if member.key == "__metadata__" {
        // Some programs write null where they have nothing to say.
        if member.value == .null { continue }
        guard let pairs = member.value.object, pairs.allSatisfy({ $0.value.string != nil }) else {
          throw Self.malformed(file, "__metadata__ is not an object of strings")
        }
      } else {
        tensors.append(try Self.tensor(member, dataOffset: dataOffset, fileByteCount: fileByteCount, file: file))
      }
    }
    tensors.sort {
      ($0.byteRange.lowerBound, $0.byteRange.upperBound) < ($1.byteRange.lowerBound, $1.byteRange.upperBound)
    }
    var end = dataOffset
    for tensor in tensors {
      guard tensor.byteRange.lowerBound == end else {
        throw Refusal(
          .malformedSafetensors, file: file, structure: tensor.name,
          "starts at byte \(tensor.byteRange.lowerBound) of the file and the tensor before it ends at \(end)")
      }
      end = tensor.byteRange.upperBound
    }
    guard end == fileByteCount else {
      throw Self.malformed(file, "its tensors end at byte \(end) and the file at \(fileByteCount)")
    }
    self.tensors = tensors
  }

  private static func tensor(
    _ member: JSONValue.Member, dataOffset: Int, fileByteCount: Int, file: String
  ) throws(Refusal) -> Tensor {
    func malformed(_ fault: String) -> Refusal {
      Refusal(.malformedSafetensors, file: file, structure: member.key, fault)
    }
    guard let keys = member.value.object?.map(\.key), Set(keys) == ["dtype", "shape", "data_offsets"],
      let elementType = member.value["dtype"]?.string
    else { throw malformed("does not have dtype, shape and data_offsets and nothing else") }
    guard let elementByteCount = elementByteCounts[elementType] else {
      throw Refusal(
        .unsupportedElementType, file: file, structure: member.key, "has elements of the unknown type \(elementType)")
    }
    guard let shape = sizes(member.value["shape"]), shape.count <= rankLimit else {
      throw malformed("shape is not an array of at most \(rankLimit) sizes")
    }
    guard let offsets = sizes(member.value["data_offsets"]), offsets.count == 2, offsets[0] <= offsets[1],
      let start = CheckedSize.sum(dataOffset, offsets[0]), let end = CheckedSize.sum(dataOffset, offsets[1]),
      end <= fileByteCount
    else { throw malformed("data_offsets are not two offsets in the file") }
    var byteCount: Int? = elementByteCount
    for size in shape { byteCount = byteCount.flatMap { CheckedSize.product($0, size) } }
    guard byteCount == end - start else {
      throw malformed("\(shape) elements of \(elementType) do not take \(end - start) bytes")
    }
    return Tensor(name: member.key, elementType: elementType, shape: shape, byteRange: start..<end)
  }

  private static func sizes(_ value: JSONValue?) -> [Int]? {
    guard let values = value?.array else { return nil }
    var sizes: [Int] = []
    for value in values {
      guard case .integer(let size) = value, size >= 0 else { return nil }
      sizes.append(size)
    }
    return sizes
  }
}
