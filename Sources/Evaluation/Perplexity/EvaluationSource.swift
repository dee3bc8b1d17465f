public import FileAccess
import SharedPack

/// Texts of one domain to evaluate on: a text file, a `.zst` file of texts with a NUL byte between them, or a directory
/// of either.
public struct EvaluationSource: Sendable {
  /// The last part of the path, without `.txt` and `.zst`.
  public let domain: String
  /// In UTF-8, none empty: sorted by file name, those of one file in its order.
  public let texts: [[UInt8]]
  public let path: String

  /// Reads all texts.
  /// - Throws: `Refusal` `missing-file`, `not-text`, `too-large`, `malformed-zstd`, `empty-document`.
  public init(reading path: String) throws(Refusal) {
    self.path = path
    var name = Directory.split(path.count > 1 && path.hasSuffix("/") ? String(path.dropLast()) : path).name
    for suffix in [".zst", ".txt"] where name.hasSuffix(suffix) { name.removeLast(suffix.count) }
    domain = name
    var texts: [[UInt8]] = []
    for source in try DocumentSource.find([path]) {
      texts += source.path.hasSuffix(".zst") ? try Self.archive(source.path) : [try source.text()]
    }
    guard !texts.isEmpty else { throw Refusal(.emptyDocument, file: path, "has no texts") }
    self.texts = texts
  }

  private static func archive(_ path: String) throws(Refusal) -> [[UInt8]] {
    let limit = DocumentSource.byteLimit
    let compressed = try SequentialFile.contents(path, limit: limit)
    guard let bytes = unsafe Compression.decompressZstdFile(compressed.span.bytes, limit: limit) else {
      throw Refusal(.malformedZstd, file: path, "is not a zstd file, or has more than \(limit) bytes of text")
    }
    let texts = bytes.split(separator: 0).map(Array.init)
    for (number, text) in texts.enumerated() where String(validating: text, as: UTF8.self) == nil {
      throw Refusal(.notText, file: path, structure: "text \(number + 1)", "is not text in UTF-8")
    }
    return texts
  }
}

extension Refusal.Name {
  public static let malformedZstd = Refusal.Name("malformed-zstd", .badInput)
}
