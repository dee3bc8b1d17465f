import FileAccess

/// A value of a GGUF file's metadata. Texts and arrays stay where they are in the header until they are asked for.
enum GGUFValue: Sendable, Hashable {
  case integer(Int)
  /// Also an integer beyond `Int`.
  case number(Double)
  case boolean(Bool)
  /// The bytes of the header that are the text.
  case text(Range<Int>)
  case array(GGUFArray)

  /// The types of single values, as the format numbers them.
  enum Kind: UInt32, Sendable {
    case uint8, int8, uint16, int16, uint32, int32, float32, boolean, text, array, uint64, int64, float64

    /// Bytes of one; of a text or an array, what it has at least.
    var byteCount: Int {
      switch self {
      case .uint8, .int8, .boolean: 1
      case .uint16, .int16: 2
      case .uint32, .int32, .float32: 4
      case .uint64, .int64, .float64, .text: 8
      case .array: 12
      }
    }
  }

  /// Reads a type and a value.
  /// - Parameter malformed: makes a refusal that names the key.
  init(_ reader: inout ByteReader, malformed: (String) -> Refusal) throws(Refusal) {
    func kind(_ number: UInt32) throws(Refusal) -> Kind {
      guard let kind = Kind(rawValue: number) else { throw malformed("has the unknown type \(number)") }
      return kind
    }
    let type = try kind(reader.integer())
    guard type == .array else {
      try self.init(&reader, type, malformed: malformed)
      return
    }
    let element = try kind(reader.integer())
    guard element != .array else { throw malformed("is an array of arrays") }
    let count = try reader.size()
    let start = reader.offset
    guard let least = CheckedSize.product(count, element.byteCount), let end = CheckedSize.sum(start, least) else {
      throw malformed("is an array of \(count)")
    }
    try reader.seek(to: end)
    if element == .text {
      try reader.seek(to: start)
      for _ in 0..<count { _ = try Self.text(&reader, malformed: malformed) }
    }
    self = .array(GGUFArray(element: element, count: count, byteRange: start..<reader.offset))
  }

  /// Reads a single value.
  init(_ reader: inout ByteReader, _ kind: Kind, malformed: (String) -> Refusal) throws(Refusal) {
    switch kind {
    case .uint8: self = .integer(Int(try reader.integer(UInt8.self)))
    case .int8: self = .integer(Int(try reader.integer(Int8.self)))
    case .uint16: self = .integer(Int(try reader.integer(UInt16.self)))
    case .int16: self = .integer(Int(try reader.integer(Int16.self)))
    case .uint32: self = .integer(Int(try reader.integer(UInt32.self)))
    case .int32: self = .integer(Int(try reader.integer(Int32.self)))
    case .int64: self = .integer(Int(try reader.integer(Int64.self)))
    case .uint64:
      let value = try reader.integer(UInt64.self)
      self = Int(exactly: value).map { .integer($0) } ?? .number(Double(value))
    case .float32: self = .number(Double(Float(bitPattern: try reader.integer())))
    case .float64: self = .number(Double(bitPattern: try reader.integer()))
    case .boolean:
      let value = try reader.integer(UInt8.self)
      guard value <= 1 else { throw malformed("is a truth value of \(value)") }
      self = .boolean(value == 1)
    case .text: self = .text(try Self.text(&reader, malformed: malformed))
    case .array: throw malformed("is an array of arrays")
    }
  }

  /// Passes over a text.
  private static func text(
    _ reader: inout ByteReader, malformed: (String) -> Refusal
  ) throws(Refusal) -> Range<Int> {
    let count = try reader.size()
    let start = reader.offset
    guard let end = CheckedSize.sum(start, count) else { throw malformed("is a text of \(count) bytes") }
    try reader.seek(to: end)
    return start..<end
  }
}

/// An array of single values, in the header.
struct GGUFArray: Sendable, Hashable {
  let element: GGUFValue.Kind
  let count: Int
  let byteRange: Range<Int>
}
