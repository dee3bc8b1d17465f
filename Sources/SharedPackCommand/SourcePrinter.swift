import CanonicalJSON
import SharedPack

/// Says which chunks are read for a question, and why.
enum SourcePrinter {
  /// One line for people.
  static func line(_ source: Inquiry.Source, of inquiry: Inquiry) -> String {
    let document = inquiry.documents[source.document]
    var parts = ["chunk \(source.chunk + 1) of \(document.chunkCount)"]
    if let range = source.byteRange { parts.append("bytes \(range.lowerBound) to \(range.upperBound)") }
    parts.append("score \(Format.rounded(Double(source.score)))")
    if !source.words.isEmpty {
      parts.append(
        "words "
          + source.words.map { word in
            "\(word.word)\(word.count > 1 ? " (\(word.count) times)" : "") \(Format.rounded(Double(word.score)))"
          }.joined(separator: " + "))
    }
    if !source.nodes.isEmpty {
      parts.append(
        "nodes "
          + source.nodes.map { "\($0.path) tokens \($0.range.lowerBound) to \($0.range.upperBound)" }
          .joined(separator: " + "))
    }
    parts.append(Format.count(source.rowCount, "row"))
    if source.storedByteCount > 0 { parts.append("\(Format.bytes(source.storedByteCount)) of the store") }
    return "sharedpack: reading \(document.name), " + parts.joined(separator: ", ")
  }

  /// All sources, for programs.
  static func json(_ inquiry: Inquiry) -> JSONValue {
    .array(
      inquiry.sources.map { source in
        .members([
          "document": .string(inquiry.documents[source.document].name), "chunk": .integer(source.chunk),
          "byte_range": source.byteRange.map { .array([.integer($0.lowerBound), .integer($0.upperBound)]) },
          "score": .number(Double(source.score)),
          "words": source.words.isEmpty ? nil : .array(source.words.map(json)),
          "nodes": source.nodes.isEmpty ? nil : .array(source.nodes.map(json)),
          "rows": .integer(source.rowCount), "stored_bytes": .integer(source.storedByteCount),
          "text": .string(source.text),
        ])
      })
  }

  private static func json(_ word: WordMatch) -> JSONValue {
    .members(["word": .string(word.word), "count": .integer(word.count), "score": .number(Double(word.score))])
  }

  private static func json(_ node: TreeNode) -> JSONValue {
    .members([
      "path": .string(node.path),
      "token_range": .array([.integer(node.range.lowerBound), .integer(node.range.upperBound)]),
      "rows": .integer(node.rowCount),
    ])
  }
}
