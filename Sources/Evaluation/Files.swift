import CanonicalJSON
import FileAccess

extension JSONValue {
  /// Reads a whole file as JSON.
  /// - Throws: `Refusal` `malformed-json`, and those of reading a file.
  init(reading path: String, limit: Int) throws(Refusal) {
    let bytes = try SequentialFile.contents(path, limit: limit)
    do throws(JSONError) {
      self = try JSONValue(parsingFile: bytes)
    } catch {
      throw Refusal(.malformedJSON, file: path, error.description)
    }
  }
}

extension PublishedFile {
  /// Writes a file, which replaces one of the same name when it is whole.
  static func write(_ bytes: [UInt8], to path: String) throws(Refusal) {
    var file = try PublishedFile(creating: path)
    try file.append(bytes)
    try file.publish()
  }
}
