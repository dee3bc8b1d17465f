import CanonicalJSON
public import FileAccess

/// How a model reads documents of any length best, as measured: what a program takes where it is not told otherwise.
/// No row depends on it.
/// Format: `Formats/model-pack.md` §Metadata.
public struct PackReading: Sendable, Hashable {
  /// Tokens of a chunk.
  public var chunkSize: Int
  /// Chunks that are read for a question, at most.
  public var chunkCount: Int

  public static let chunkSizes = 64...1024
  public static let chunkCounts = 1...4096

  /// - Precondition: the numbers are in the ranges above.
  public init(chunkSize: Int, chunkCount: Int) {
    precondition(Self.chunkSizes.contains(chunkSize) && Self.chunkCounts.contains(chunkCount), "out of range")
    self.chunkSize = chunkSize
    self.chunkCount = chunkCount
  }
}

extension PackReading {
  var json: JSONValue { .members(["chunkCount": .integer(chunkCount), "chunkSize": .integer(chunkSize)]) }

  init(_ reader: MetadataReader) throws(Refusal) {
    let (size, count) = (try reader.integer("chunkSize"), try reader.integer("chunkCount"))
    guard Self.chunkSizes.contains(size) else { throw reader.fault("chunkSize is \(size)") }
    guard Self.chunkCounts.contains(count) else { throw reader.fault("chunkCount is \(count)") }
    self.init(chunkSize: size, chunkCount: count)
  }
}

extension ModelPack {
  /// Writes the same model with another way of reading documents: all else stays as it is, but for the identity.
  /// - Parameters:
  ///   - path: where the pack appears when it is whole; one of that name is replaced, this one too.
  ///   - progress: called with bytes of tensors written, of how many.
  /// - Returns: the identity of the new pack.
  /// - Throws: `Refusal` `digest-mismatch` when a tensor is damaged, `newer-version` when the pack has parts that this
  ///   version does not know and would lose, `cannot-create`, `no-space` or `input-output`.
  public func write(
    to path: String, reading: PackReading, progress: (_ done: Int, _ of: Int) -> Void = { _, _ in }
  ) throws(Refusal) -> Digest256 {
    var metadata = PackMetadata(
      configuration: configuration, sharedLLM: sharedLLM, quantization: quantization, provenance: provenance,
      reading: self.reading)
    guard skippedSections.isEmpty, metadata.json.canonical == self.metadata.canonical else {
      throw Refusal(
        .newerVersion, file: self.path, structure: "metadata",
        "has parts that this version does not know and would lose")
    }
    metadata.reading = reading
    var writer = try ModelPackWriter(
      creating: path, contents: PackContents(metadata: metadata, tokenizer: tokenizer, chatTemplate: chatTemplate))
    let total = tensors.reduce(0) { $0 + $1.byteCount }
    var done = 0
    let file = file
    for (number, tensor) in tensors.enumerated() {
      // A pass over a large tensor is shown as it goes.
      for start in stride(from: 0, to: tensor.byteCount, by: 1 << 24) {
        let end = min(start + 1 << 24, tensor.byteCount)
        let from = tensor.byteOffset + start
        try writer.append(file.bytes.extracting(from..<from + end - start), toTensor: number)
        progress(done + end, total)
      }
      done += tensor.byteCount
      guard writer.tensors[number].digest == tensor.digest else {
        throw Refusal(
          .digestMismatch, file: self.path, structure: "tensor \(tensor.name)",
          "its SHA-256 is not the one in the index")
      }
    }
    return try writer.publish()
  }
}
