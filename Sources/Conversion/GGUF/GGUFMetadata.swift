import FileAccess

/// The keys and values of a GGUF file, read as what they should be.
struct GGUFMetadata: Sendable {
  /// The header, or more.
  let bytes: [UInt8]
  /// For messages.
  let file: String
  let values: [String: GGUFValue]

  /// Of tokens, scores or merges.
  static let arrayLimit = 1 << 21

  func fault(_ key: String, _ words: String, name: Refusal.Name = .invalidConfiguration) -> Refusal {
    Refusal(name, file: file, structure: key, words)
  }

  private func optional<Value>(_ key: String, _ kind: String, _ get: (GGUFValue) -> Value?) throws(Refusal) -> Value? {
    guard let value = values[key] else { return nil }
    guard let result = get(value) else { throw fault(key, "is not \(kind)") }
    return result
  }

  func integer(_ key: String) throws(Refusal) -> Int? {
    try optional(key, "an integer") { if case .integer(let value) = $0 { value } else { nil } }
  }

  func number(_ key: String) throws(Refusal) -> Double? {
    try optional(key, "a number") {
      switch $0 {
      case .number(let value): value
      case .integer(let value): Double(value)
      default: nil
      }
    }
  }

  func boolean(_ key: String) throws(Refusal) -> Bool? {
    try optional(key, "true or false") { if case .boolean(let value) = $0 { value } else { nil } }
  }

  func string(_ key: String) throws(Refusal) -> String? {
    try optional(key, "a text in UTF-8") {
      if case .text(let range) = $0 { String(validating: bytes[range], as: UTF8.self) } else { nil }
    }
  }

  func required<Value>(_ key: String, _ value: Value?) throws(Refusal) -> Value {
    guard let value else { throw fault(key, "is missing") }
    return value
  }

  /// One integer, or one for each layer if they are all the same.
  func uniformInteger(_ key: String) throws(Refusal) -> Int? {
    guard case .array = values[key] else { return try integer(key) }
    let integers = try integers(key) ?? []
    guard let first = integers.first else { throw fault(key, "is empty") }
    guard integers.allSatisfy({ $0 == first }) else {
      throw fault(
        key, "differs between layers; only models whose layers are all alike can be run",
        name: .unsupportedConfiguration)
    }
    return first
  }

  func strings(_ key: String) throws(Refusal) -> [String]? {
    try elements(key, "texts in UTF-8") {
      if case .text(let range) = $0 { String(validating: bytes[range], as: UTF8.self) } else { nil }
    }
  }

  func integers(_ key: String) throws(Refusal) -> [Int]? {
    try elements(key, "integers") { if case .integer(let value) = $0 { value } else { nil } }
  }

  func numbers(_ key: String) throws(Refusal) -> [Double]? {
    try elements(key, "numbers") { if case .number(let value) = $0 { value } else { nil } }
  }

  private func elements<Value>(
    _ key: String, _ kind: String, _ get: (GGUFValue) -> Value?
  ) throws(Refusal) -> [Value]? {
    guard let value = values[key] else { return nil }
    guard case .array(let array) = value else { throw fault(key, "is not an array") }
    guard array.count <= Self.arrayLimit else {
      throw fault(key, "has \(array.count) elements; at most \(Self.arrayLimit) are read")
    }
    var reader = unsafe ByteReader(bytes.span.bytes, file: file, structure: key)
    try reader.seek(to: array.byteRange.lowerBound)
    var result: [Value] = []
    result.reserveCapacity(array.count)
    for number in 0..<array.count {
      let value = try GGUFValue(&reader, array.element) { fault(key, $0) }
      guard let element = get(value) else { throw fault("\(key)[\(number)]", "is not one of \(kind)") }
      result.append(element)
    }
    return result
  }
}
