import FileAccess

/// The table of tensors in a pack.
/// Format: `Formats/model-pack.md` §Tensor index.
enum TensorIndex {
  static let fixedByteCount = 16
  static let entryByteCount = 80
  static let nameByteLimit = 256
  static let tensorLimit = 65_536
  static let tensorAlignment = 64

  static func encoded(_ tensors: [PackTensor]) -> [UInt8] {
    var writer = ByteWriter()
    writer.integer(UInt32(tensors.count))
    writer.integer(UInt32(entryByteCount))
    writer.integer(UInt64(tensors.reduce(0) { $0 + $1.name.utf8.count }))
    var nameOffset = 0
    for tensor in tensors {
      writer.integer(UInt32(nameOffset))
      writer.integer(UInt32(tensor.name.utf8.count))
      writer.integer(tensor.encoding.code)
      writer.integer(UInt32(tensor.encoding.groupSize))
      writer.integer(UInt64(tensor.rows))
      writer.integer(UInt64(tensor.columns))
      writer.integer(UInt64(tensor.byteOffset))
      writer.integer(UInt64(tensor.byteCount))
      writer.append(tensor.digest.bytes)
      nameOffset += tensor.name.utf8.count
    }
    for tensor in tensors { writer.append(tensor.name.utf8) }
    return writer.bytes
  }

  /// Reads the index and checks each entry by itself, and where its tensor lies in the tensor data.
  /// - Throws: `Refusal` `truncated`, `malformed-index`, `unknown-encoding`, `duplicate-tensor`, `wrong-size` or
  ///   `misplaced-tensor`.
  static func parse(_ bytes: RawSpan, data: Range<Int>, file: String) throws(Refusal) -> [PackTensor] {
    var reader = ByteReader(bytes, file: file, structure: "tensor index")
    func malformed(_ fault: String) -> Refusal {
      Refusal(.malformedIndex, file: file, structure: "tensor index", fault)
    }
    let count = Int(try reader.integer(UInt32.self))
    let entryByteCount = Int(try reader.integer(UInt32.self))
    let namesByteCount = try reader.size()
    guard count <= tensorLimit, entryByteCount == Self.entryByteCount,
      CheckedSize.sum(fixedByteCount + count * entryByteCount, namesByteCount) == bytes.byteCount
    else {
      throw malformed("its tensor count, entry size and size of names do not make up its \(bytes.byteCount) bytes")
    }
    var names = ByteReader(
      bytes.extracting((fixedByteCount + count * entryByteCount)..<bytes.byteCount), file: file,
      structure: "tensor index, names")

    var tensors: [PackTensor] = []
    var known: Set<String> = []
    var end = data.lowerBound
    for number in 0..<count {
      let nameOffset = Int(try reader.integer(UInt32.self))
      let nameByteCount = Int(try reader.integer(UInt32.self))
      guard nameOffset == names.offset, (1...nameByteLimit).contains(nameByteCount),
        let name = String(validating: try names.bytes(nameByteCount), as: UTF8.self)
      else { throw malformed("the name of tensor \(number) is misplaced, too long or not UTF-8") }
      guard known.insert(name).inserted else {
        throw Refusal(.duplicateTensor, file: file, structure: "tensor index", "\(name) is listed twice")
      }
      let tensor = try entry(&reader, name: name, file: file)
      end = try checkLocation(of: tensor, after: end, data: data, file: file)
      tensors.append(tensor)
    }
    guard names.remainingByteCount == 0 else { throw malformed("bytes follow the last name") }
    guard end == data.upperBound else {
      throw Refusal(
        .misplacedTensor, file: file, structure: "tensor data",
        "ends at \(data.upperBound) and its last tensor at \(end)")
    }
    return tensors
  }

  @_lifetime(reader: copy reader)
  private static func entry(_ reader: inout ByteReader, name: String, file: String) throws(Refusal) -> PackTensor {
    func refusal(_ refusalName: Refusal.Name, _ fault: String) -> Refusal {
      Refusal(refusalName, file: file, structure: "tensor index, \(name)", fault)
    }
    let code = try reader.integer(UInt32.self)
    let groupSize = try reader.integer(UInt32.self)
    guard let encoding = TensorEncoding(code: code, groupSize: groupSize) else {
      throw refusal(.unknownEncoding, "encoding \(code) with groups of \(groupSize) is unknown")
    }
    let rows = try reader.size()
    let columns = try reader.size()
    let byteOffset = try reader.size()
    let byteCount = try reader.size()
    guard let derived = encoding.byteCount(rows: rows, columns: columns), derived == byteCount else {
      throw refusal(.wrongSize, "\(rows) × \(columns) in \(encoding) do not take \(byteCount) bytes")
    }
    guard let digest = Digest256(bytes: try reader.bytes(32)) else {
      preconditionFailure("a digest has 32 bytes")
    }
    return PackTensor(
      name: name, encoding: encoding, rows: rows, columns: columns, byteOffset: byteOffset, byteCount: byteCount,
      digest: digest)
  }

  /// - Returns: the end of the tensor.
  private static func checkLocation(
    of tensor: PackTensor, after end: Int, data: Range<Int>, file: String
  ) throws(Refusal) -> Int {
    guard let start = CheckedSize.aligned(end, to: tensorAlignment), tensor.byteOffset == start,
      let tensorEnd = CheckedSize.sum(tensor.byteOffset, tensor.byteCount), tensorEnd <= data.upperBound
    else {
      throw Refusal(
        .misplacedTensor, file: file, structure: "tensor index, \(tensor.name)",
        "\(tensor.byteCount) bytes at \(tensor.byteOffset) do not start at the first multiple of \(tensorAlignment) "
          + "after \(end) or leave the tensor data, which ends at \(data.upperBound)")
    }
    return tensorEnd
  }

  /// Checks that the tensors are those that the model needs, in its order and shapes.
  /// - Throws: `Refusal` `missing-tensor`, `unexpected-tensor`, `misplaced-tensor`, `wrong-shape` or
  ///   `unknown-encoding`.
  static func check(_ tensors: [PackTensor], needed: [LlamaTensor], file: String) throws(Refusal) {
    let present = Set(tensors.map(\.name))
    if let missing = needed.first(where: { !present.contains($0.name) }) {
      throw Refusal(.missingTensor, file: file, structure: "tensor index", "\(missing.name) is missing")
    }
    let wanted = Set(needed.map(\.name))
    if let extra = tensors.first(where: { !wanted.contains($0.name) }) {
      throw Refusal(.unexpectedTensor, file: file, structure: "tensor index", "the model does not have \(extra.name)")
    }
    for (tensor, need) in zip(tensors, needed) {
      let structure = "tensor index, \(tensor.name)"
      guard tensor.name == need.name else {
        throw Refusal(.misplacedTensor, file: file, structure: structure, "is in the place of \(need.name)")
      }
      guard tensor.rows == need.rows, tensor.columns == need.columns else {
        throw Refusal(
          .wrongShape, file: file, structure: structure,
          "is \(tensor.rows) × \(tensor.columns); the model needs \(need.rows) × \(need.columns)")
      }
      guard !need.isVector || tensor.encoding == .float32 else {
        throw Refusal(
          .unknownEncoding, file: file, structure: structure, "the weights of a norm and biases must be float32")
      }
    }
  }
}
