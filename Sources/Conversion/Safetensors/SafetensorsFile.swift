import CanonicalJSON
public import FileAccess

/// A small safetensors file as a whole: expected numbers and results, not checkpoints, which are streamed.
public struct SafetensorsFile: Sendable {
  public struct Tensor: Sendable, Hashable {
    public enum Values: Sendable, Hashable {
      case float32([Float])
      case int32([Int32])
    }
    /// Row-major sizes, outermost first.
    public var shape: [Int]
    public var values: Values

    public init(shape: [Int], values: Values) {
      self.shape = shape
      self.values = values
    }

    public var floats: [Float]? {
      guard case .float32(let values) = values else { return nil }
      return values
    }
  }

  public var tensors: [String: Tensor]

  public init(_ tensors: [String: Tensor]) { self.tensors = tensors }

  /// Files of at most 1 GiB are read.
  static let byteLimit = 1 << 30

  /// Reads a file of F32 and I32 tensors.
  /// - Throws: `Refusal` `malformed-safetensors`, `unsupported-element-type`, `too-large`, `missing-file`.
  public init(reading path: String) throws(Refusal) {
    let file = try SequentialFile(path)
    let header = try SafetensorsHeader(reading: file)
    let bytes = try SequentialFile.contents(path, limit: Self.byteLimit)
    tensors = [:]
    for tensor in header.tensors {
      var reader = unsafe ByteReader(bytes.span.bytes, file: path, structure: tensor.name)
      try reader.seek(to: tensor.byteRange.lowerBound)
      let count = tensor.byteRange.count / 4
      switch tensor.elementType {
      case "F32":
        var values: [Float] = []
        for _ in 0..<count { values.append(Float(bitPattern: try reader.integer())) }
        tensors[tensor.name] = Tensor(shape: tensor.shape, values: .float32(values))
      case "I32":
        var values: [Int32] = []
        for _ in 0..<count { values.append(try reader.integer()) }
        tensors[tensor.name] = Tensor(shape: tensor.shape, values: .int32(values))
      default:
        throw Refusal(
          .unsupportedElementType, file: path, structure: tensor.name, "is \(tensor.elementType), not F32 or I32")
      }
    }
  }

  /// Writes the file; the same tensors give the same bytes.
  /// - Throws: `Refusal` `cannot-create`, `no-space` or `input-output`.
  public func write(to path: String) throws(Refusal) {
    var data = ByteWriter()
    var members: [JSONValue.Member] = []
    for (name, tensor) in tensors.sorted(by: { $0.key < $1.key }) {
      let start = data.bytes.count
      let type: String
      switch tensor.values {
      case .float32(let values):
        type = "F32"
        for value in values { data.integer(value.bitPattern) }
      case .int32(let values):
        type = "I32"
        for value in values { data.integer(value) }
      }
      members.append(
        JSONValue.Member(
          name,
          .members([
            "dtype": .string(type), "shape": .array(tensor.shape.map(JSONValue.integer)),
            "data_offsets": .array([.integer(start), .integer(data.bytes.count)]),
          ])))
    }
    var header = JSONValue.object(members).canonical
    // Padded with spaces, so that the numbers are aligned.
    header += [UInt8](repeating: 0x20, count: CheckedSize.padding(after: header.count, to: 8))
    var front = ByteWriter()
    front.integer(UInt64(header.count))
    front.append(header)
    var file = try PublishedFile(creating: path)
    try file.append(front.bytes)
    try file.append(data.bytes)
    try file.publish()
  }
}
