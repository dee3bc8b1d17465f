import ContextTrees
public import FileAccess
import LlamaRuntime
public import NodeBlocks
package import TreeStore

/// A text that questions can be asked about.
///
/// A document from a store keeps the part of the store that it lies in: what this or another process removes from the
/// store afterwards stays readable here and keeps its disk space until the last such document is gone. Immutable and
/// safe to use from any number of tasks.
public struct ContextDocument: Sendable {
  /// The name in the store, or the one that it was encoded under.
  public let name: String
  /// In the order of the text.
  public let chunks: [ContextChunk]
  /// The model and all else that decides the rows.
  package let configuration: TreeStoreConfiguration
  /// What is known of the text's bytes.
  var text = TextBytes()

  /// The identity of the pack that encoded the document; no other model can answer about it.
  public var modelIdentity: Digest256 { configuration.modelIdentity }

  /// Tokens of all chunks.
  public var tokenCount: Int { chunks.reduce(0) { $0 + $1.tokens.count } }

  package init(name: String, chunks: [ContextChunk], configuration: TreeStoreConfiguration) {
    self.name = name
    self.chunks = chunks
    self.configuration = configuration
  }
}

extension LanguageModel {
  /// Encodes a text file into a document in memory.
  ///
  /// Takes minutes for a book, on the caller's thread. When its task is cancelled, it stops after the current chunk.
  /// - Parameters:
  ///   - source: the text's file.
  ///   - encoding: how keys and values are kept.
  ///   - borders: where the text is cut; a store's chunks are the same if it was built alike.
  ///   - progress: called with the tokens done and all tokens.
  /// - Throws: `Refusal` `no-injection`, `no-tokenizer`, `missing-file`, `not-text`, `empty-document`, `not-finite`,
  ///   `cancelled`.
  public func encode(
    _ source: DocumentSource, encoding: RowEncoding = .int8, borders: ChunkBorders = .sentences,
    progress: (_ done: Int, _ total: Int) -> Void = { _, _ in }
  ) throws(Refusal) -> ContextDocument {
    let text = try source.text()
    let tokens = try documentTokens(text, file: source.path)
    var document = try encode(tokens, named: source.name, encoding: encoding, borders: borders, progress: progress)
    document.text.count = text.count
    return document
  }

  /// Encodes tokens into a document in memory, like a text file.
  /// - Parameters:
  ///   - tokens: of the text, without begin of text.
  ///   - name: for messages.
  ///   - encoding: how keys and values are kept.
  ///   - borders: where the text is cut; a store's chunks are the same if it was built alike.
  ///   - progress: called with the tokens done and all tokens.
  /// - Throws: `Refusal` `no-injection`, `not-finite`, `cancelled`.
  public func encode(
    _ tokens: [Int32], named name: String, encoding: RowEncoding = .int8, borders: ChunkBorders = .sentences,
    progress: (_ done: Int, _ total: Int) -> Void = { _, _ in }
  ) throws(Refusal) -> ContextDocument {
    try encode(tokens, named: name, encoding: encoding, borders: borders, moments: nil, progress: progress)
  }

  /// - Parameter moments: collects the inputs of the lower model's matrices.
  func encode(
    _ tokens: [Int32], named name: String, encoding: RowEncoding = .int8, borders: ChunkBorders,
    moments: SecondMoments?, progress: (_ done: Int, _ total: Int) -> Void
  ) throws(Refusal) -> ContextDocument {
    let configuration = try storeConfiguration(encoding)
    let shape = try requireTrees(encoding).shape
    let encoder = try makeTreeEncoder(encoding, moments: moments)
    var chunks: [ContextChunk] = []
    for range in self.chunks(of: tokens, shape: shape, borders: borders) {
      try Refusal.checkCancellation(name)
      chunks.append(ContextChunk(try encoder.encode(Array(tokens[range])), shape: shape))
      progress(range.upperBound, tokens.count)
    }
    return ContextDocument(name: name, chunks: chunks, configuration: configuration)
  }
}
