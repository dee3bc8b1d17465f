import CanonicalJSON
public import FileAccess

extension Refusal.Name {
  /// A safetensors file that is not one, or lies about itself.
  public static let malformedSafetensors = Refusal.Name("malformed-safetensors", .badInput)
  /// Weights in files of a kind that is not read.
  public static let unsupportedFormat = Refusal.Name("unsupported-format", .badInput)
  /// `model.safetensors.index.json` and the files it names do not agree, or there is none and the files do not tell.
  public static let malformedShardIndex = Refusal.Name("malformed-shard-index", .badInput)
  public static let unsupportedElementType = Refusal.Name("unsupported-element-type", .badInput)
  /// A key of `config.json` is missing, of a wrong type or out of range.
  public static let invalidConfiguration = Refusal.Name("invalid-configuration", .badInput)
  /// A key of `config.json` asks for something that cannot be run.
  public static let unsupportedConfiguration = Refusal.Name("unsupported-configuration", .badInput)
  public static let nonFiniteWeight = Refusal.Name("non-finite-weight", .badInput)
  /// A weight is too large for float16.
  public static let weightOutOfRange = Refusal.Name("weight-out-of-range", .badInput)
  /// Options of the caller that do not go together or with the checkpoint.
  public static let invalidOption = Refusal.Name("invalid-option", .usage)
}

extension JSONValue {
  /// - Throws: `Refusal` `malformed-json`.
  init(parsing text: [UInt8], file: String) throws(Refusal) {
    do {
      try self.init(parsingFile: text)
    } catch {
      if let mistaken = MistakenFile(text.prefix(MistakenFile.beginningByteCount)) {
        throw mistaken.refusal(file: file, insteadOf: "JSON")
      }
      throw Refusal(.malformedJSON, file: file, error.description)
    }
  }
}
