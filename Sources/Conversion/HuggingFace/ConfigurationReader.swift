import CanonicalJSON
import FileAccess

/// Reads keys of `config.json` or `generation_config.json`. A null is an absent key, as in transformers.
struct ConfigurationReader {
  let json: JSONValue
  let file: String
  /// The object in the file, for messages.
  var structure = ""

  func fault(_ words: String) -> Refusal { fault(.invalidConfiguration, words) }

  func fault(_ name: Refusal.Name, _ words: String) -> Refusal {
    Refusal(name, file: file, structure: structure, words)
  }

  private func value(_ key: String) -> JSONValue? { json[key].flatMap { $0 == .null ? nil : $0 } }

  func has(_ key: String) -> Bool { value(key) != nil }

  /// For the keys whose null says something: that there is none, where an absent key has a default.
  func isNull(_ key: String) -> Bool { json[key] == .null }

  private func optional<Value>(_ key: String, _ kind: String, _ get: (JSONValue) -> Value?) throws(Refusal) -> Value? {
    guard let value = value(key) else { return nil }
    guard let result = get(value) else { throw fault("\(key) is not \(kind)") }
    return result
  }

  /// The first of the keys that is present.
  func integer(_ keys: String...) throws(Refusal) -> Int? {
    for key in keys {
      if let value = try optional(key, "an integer", \.integer) { return value }
    }
    return nil
  }

  func number(_ key: String) throws(Refusal) -> Double? { try optional(key, "a number", \.number) }

  /// The first of the keys that is present.
  func string(_ keys: String...) throws(Refusal) -> String? {
    for key in keys {
      if let value = try optional(key, "a string", \.string) { return value }
    }
    return nil
  }

  func boolean(_ key: String) throws(Refusal) -> Bool? { try optional(key, "true or false", \.boolean) }

  func required<Value>(_ key: String, _ value: Value?) throws(Refusal) -> Value {
    guard let value else { throw fault("\(key) is missing") }
    return value
  }

  /// The first of the keys that is present.
  func object(_ keys: String...) throws(Refusal) -> ConfigurationReader? {
    for key in keys {
      if let object = try optional(key, "an object", { (value: JSONValue) in value.object == nil ? nil : value }) {
        return ConfigurationReader(json: object, file: file, structure: key)
      }
    }
    return nil
  }

  func strings(_ key: String) throws(Refusal) -> [String]? {
    try optional(key, "an array of strings") { value in
      guard let strings = value.array?.map(\.string), !strings.contains(nil) else { return nil }
      return strings.compactMap(\.self)
    }
  }

  /// One integer or an array of them.
  func integers(_ key: String) throws(Refusal) -> [Int]? {
    try optional(key, "an integer or an array of them") { value in
      guard let values = value.array else { return value.integer.map { [$0] } }
      let integers = values.compactMap(\.integer)
      return integers.count == values.count ? integers : nil
    }
  }
}
