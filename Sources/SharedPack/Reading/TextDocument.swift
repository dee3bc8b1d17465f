import ContextTrees
public import FileAccess
import LlamaRuntime
import NodeBlocks
package import TreeStore

/// A text that a plain model answers about, cut into the chunks in which it is read: from a store or a file. Both give
/// the same answers, to the last bit.
public struct TextDocument: Sendable {
  /// The name in the store, or of the file.
  public let name: String
  /// In the order of the text.
  public let chunks: [TextChunk]
  /// What is known of the text's bytes.
  var text = TextBytes()

  /// Tokens of all chunks.
  public var tokenCount: Int { chunks.reduce(0) { $0 + $1.tokens.count } }
}

/// A chunk of a text.
public struct TextChunk: Sendable {
  /// Without those of the frame.
  public let tokens: [Int32]
  private let source: Source

  private enum Source: Sendable {
    case stored(StoredText)
    case fresh(WordCounts)
  }

  package init(_ stored: StoredText) {
    tokens = stored.tokens
    source = .stored(stored)
  }

  /// A chunk that is read when a question needs it.
  init(_ tokens: [Int32], words: WordCounts) {
    self.tokens = tokens
    source = .fresh(words)
  }

  /// What searches look at.
  /// - Throws: `Refusal` when a stored one is damaged.
  func words() throws(Refusal) -> WordCounts {
    switch source {
    case .stored(let chunk): try chunk.words()
    case .fresh(let words): words
    }
  }

  /// The rows that a store keeps; nil for a chunk that is to be read.
  func storedRows() throws(Refusal) -> TextRows? {
    if case .stored(let chunk) = source { try chunk.rows() } else { nil }
  }

  /// Whether a store keeps its rows.
  var isStored: Bool { if case .stored = source { true } else { false } }
}

extension LanguageModel {
  /// A text file, cut into the chunks in which a plain model reads it.
  /// - Throws: `Refusal` `no-tokenizer`, `missing-file`, `not-text`, `empty-document`.
  public func textDocument(
    _ source: DocumentSource, reading: DeepReading = DeepReading()
  ) throws(Refusal) -> TextDocument {
    let text = try source.text()
    var document = try textDocument(documentTokens(text, file: source.path), named: source.name, reading: reading)
    document.text.count = text.count
    return document
  }

  package func textDocument(
    _ tokens: [Int32], named name: String, reading: DeepReading
  ) throws(Refusal) -> TextDocument {
    let tokenizer = try requireTokenizer()
    let chunks = textChunks(of: tokens, reading: reading).map { range in
      TextChunk(Array(tokens[range]), words: WordCounts(of: tokenizer.decode(tokens[range])))
    }
    return TextDocument(name: name, chunks: chunks)
  }

  /// The chunks of a text that is read deeply.
  package func textChunks(of tokens: [Int32], reading: DeepReading) -> [Range<Int>] {
    guard let shape = TreeShape(chunkSize: textChunkSize(reading), depth: 1, leafRatio: 1) else {
      preconditionFailure("a chunk has 1 to 1,024 tokens")
    }
    return chunks(of: tokens, shape: shape, borders: .sentences)
  }

  /// A short window holds a chunk, and as much for question and answer.
  func textChunkSize(_ reading: DeepReading) -> Int {
    min(max(reading.chunkSize, 1), max(runtime.window / 2, 1), TextForm.chunkSizes.upperBound)
  }
}
