import CanonicalJSON
import FileAccess

/// Reads the members of an object of the metadata and names the one at fault.
struct MetadataReader {
  let json: JSONValue
  let file: String
  /// The object, for messages.
  let path: String

  func fault(_ words: String) -> Refusal {
    Refusal(.invalidMetadata, file: file, structure: path, words)
  }

  private func optional<Value>(_ key: String, _ kind: String, _ get: (JSONValue) -> Value?) throws(Refusal) -> Value? {
    guard let value = json[key] else { return nil }
    guard let result = get(value) else { throw fault("\(key) is not \(kind)") }
    return result
  }

  private func required<Value>(_ key: String, _ value: Value?) throws(Refusal) -> Value {
    guard let value else { throw fault("\(key) is missing") }
    return value
  }

  func optionalString(_ key: String) throws(Refusal) -> String? { try optional(key, "a string", \.string) }
  func optionalInteger(_ key: String) throws(Refusal) -> Int? { try optional(key, "an integer", \.integer) }
  func optionalBoolean(_ key: String) throws(Refusal) -> Bool? { try optional(key, "true or false", \.boolean) }
  func optionalNumber(_ key: String) throws(Refusal) -> Double? { try optional(key, "a number", \.number) }

  func string(_ key: String) throws(Refusal) -> String { try required(key, try optionalString(key)) }
  func integer(_ key: String) throws(Refusal) -> Int { try required(key, try optionalInteger(key)) }
  func number(_ key: String) throws(Refusal) -> Double { try required(key, try optionalNumber(key)) }

  func boolean(_ key: String) throws(Refusal) -> Bool { try required(key, try optionalBoolean(key)) }

  func integers(_ key: String) throws(Refusal) -> [Int] { try array(key, "an array of integers", \.integer) }
  func numbers(_ key: String) throws(Refusal) -> [Double] { try array(key, "an array of numbers", \.number) }

  private func array<Value>(_ key: String, _ kind: String, _ get: (JSONValue) -> Value?) throws(Refusal) -> [Value] {
    try required(
      key,
      try optional(key, kind) { value in
        guard let values = value.array else { return nil }
        let results = values.compactMap(get)
        return results.count == values.count ? results : nil
      })
  }

  func choice<Value: RawRepresentable<String> & CaseIterable>(
    _ key: String, of type: Value.Type = Value.self
  ) throws(Refusal) -> Value {
    let text = try string(key)
    guard let value = Value(rawValue: text) else {
      let choices = Value.allCases.map(\.rawValue).joined(separator: ", ")
      throw fault("\(key) is \"\(text)\"; it must be one of \(choices)")
    }
    return value
  }

  func optionalObject(_ key: String) throws(Refusal) -> MetadataReader? {
    guard let value = json[key] else { return nil }
    guard value.object != nil else { throw fault("\(key) is not an object") }
    return MetadataReader(json: value, file: file, path: "\(path), \(key)")
  }

  func object(_ key: String) throws(Refusal) -> MetadataReader { try required(key, try optionalObject(key)) }

  func objects(_ key: String) throws(Refusal) -> [MetadataReader] {
    let values = try required(key, try optional(key, "an array", \.array))
    return values.enumerated().map { index, value in
      MetadataReader(json: value, file: file, path: "\(path), \(key) \(index)")
    }
  }
}
