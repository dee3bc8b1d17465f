import ContextTrees
public import FileAccess
import LlamaRuntime
import ModelPacks
public import NodeBlocks
public import TreeStore

/// A store of documents, opened with the model that encoded them, to ask about.
///
/// Pins the generation that was the newest when it was opened: later commits are visible only to stores that are opened
/// later, and documents that are removed later stay readable here. Safe to use from any number of tasks.
public final class DocumentStore: Sendable {
  /// The store itself.
  public let store: TreeStore
  /// The model that encoded it.
  public let model: LanguageModel

  /// Opens the newest generation of a store.
  /// - Parameters:
  ///   - path: of the store's directory.
  ///   - model: the one that encoded the store.
  /// - Throws: `Refusal` `model-mismatch` when another model encoded the store (its identity counts, not its name),
  ///   and those of `Formats/tree-store.md`.
  public init(opening path: String, model: LanguageModel) throws(Refusal) {
    let store = try TreeStore(opening: path)
    try store.require(try model.storeConfiguration(store.configuration.layout.encoding))
    self.store = store
    self.model = model
  }

  /// A document with its chunks.
  /// - Throws: `Refusal` `missing-document`; `missing-chunk` or a damaged chunk's.
  public func document(named name: String) throws(Refusal) -> ContextDocument {
    let stored = try store.requireDocument(named: name)
    var chunks: [ContextChunk] = []
    for key in stored.chunks {
      guard let chunk = try store.chunk(key) else {
        throw Refusal(
          .missingChunk, file: store.path, structure: "document \"\(name)\"", "chunk \(key) is in no segment")
      }
      chunks.append(ContextChunk(chunk))
    }
    return ContextDocument(name: name, chunks: chunks, configuration: store.configuration)
  }
}

/// Encodes texts into a store. A store has one builder at a time; readers are not disturbed.
///
/// When the task that it works for is cancelled, it stops after the current chunk: no document is added, the chunks
/// that were committed before stay so that the next build resumes there, and the builder can be used further.
public struct StoreBuilder: ~Copyable {
  private let model: LanguageModel
  private let shape: TreeShape
  private let encoder: TreeEncoder
  private let compression: Compression
  private let borders: ChunkBorders
  private var writer: TreeStoreWriter
  private var lastCommit = ContinuousClock.now

  /// Chunks become durable this often while a long text is encoded, so that a build that is killed resumes.
  var commitInterval = Duration.seconds(60)

  /// Opens a store for writing, and creates it if it is not there.
  /// - Parameters:
  ///   - path: of the store's directory.
  ///   - model: encodes the texts; a store has one model.
  ///   - encoding: how keys and values are kept; a store has one encoding.
  ///   - compression: of new blocks; compressed blocks are not mapped.
  ///   - borders: where texts are cut.
  /// - Throws: `Refusal` `busy`, `model-mismatch`, `configuration-mismatch`, `no-injection`, `cannot-create`.
  public init(
    opening path: String, model: LanguageModel, encoding: RowEncoding = .int8, compression: Compression = .none,
    borders: ChunkBorders = .sentences
  ) throws(Refusal) {
    let configuration = try model.storeConfiguration(encoding)
    let encoder = try model.makeTreeEncoder(encoding)
    writer = try TreeStoreWriter(opening: path, creating: configuration)
    self.model = model
    shape = configuration.shape
    self.encoder = encoder
    self.compression = compression
    self.borders = borders
  }

  /// What happened to a document.
  public struct Report: Sendable, Hashable {
    /// Whether the store has changed.
    public enum Outcome: String, Sendable, Hashable {
      /// The name is new.
      case added
      /// Another text had the name.
      case replaced
      /// The same text is there under this name.
      case unchanged
    }
    /// The name in the store.
    public var name: String
    /// Whether the store has changed.
    public var outcome: Outcome
    /// Tokens of the text.
    public var tokenCount: Int
    /// Chunks of the text.
    public var chunkCount: Int
    /// Tokens of the chunks that had to be encoded; the others were there.
    public var encodedTokenCount: Int
  }

  /// Encodes a text unless the store has it, and makes it durable under its name.
  ///
  /// Takes minutes for a book, on the caller's thread.
  /// - Parameters:
  ///   - source: the text's file, and its name in the store.
  ///   - replacing: whether another text may be there under this name.
  ///   - progress: called with the tokens done, those of them that were encoded, and all tokens.
  /// - Throws: `Refusal` `document-exists`, `not-text`, `cancelled`, `no-space` and others; what was committed before
  ///   stays.
  public mutating func add(
    _ source: DocumentSource, replacing: Bool = false,
    progress: (_ done: Int, _ encoded: Int, _ total: Int) -> Void = { _, _, _ in }
  ) throws(Refusal) -> Report {
    try writer.requireName(source.name)
    let text = try source.text()
    let digest = Digest256(of: text)
    let existing = writer.document(named: source.name)
    if let existing, existing.textDigest == digest {
      return Report(
        name: source.name, outcome: .unchanged, tokenCount: existing.tokenCount, chunkCount: existing.chunks.count,
        encodedTokenCount: 0)
    }
    guard existing == nil || replacing else {
      throw Refusal(
        .documentExists, file: source.path,
        "another text is stored as \"\(source.name)\"")
    }
    let tokens = try model.documentTokens(text, file: source.path)
    var keys: [ChunkKey] = []
    var encodedTokenCount = 0
    for range in model.chunks(of: tokens, shape: shape, borders: borders) {
      try Refusal.checkCancellation(source.path)
      let chunk = Array(tokens[range])
      let key = writer.configuration.chunkKey(tokens: chunk)
      if !writer.contains(key) {
        _ = try writer.add(try encoder.encode(chunk), compression: compression)
        encodedTokenCount += chunk.count
        if ContinuousClock.now - lastCommit > commitInterval { try commit() }
      }
      keys.append(key)
      progress(range.upperBound, encodedTokenCount, tokens.count)
    }
    try writer.addDocument(
      name: source.name, textDigest: digest, textByteCount: text.count, tokenCount: tokens.count, chunks: keys,
      replacing: replacing)
    try commit()
    return Report(
      name: source.name, outcome: existing == nil ? .added : .replaced, tokenCount: tokens.count,
      chunkCount: keys.count, encodedTokenCount: encodedTokenCount)
  }

  /// The space that texts take in a store that has none of their chunks.
  public struct Plan: Sendable, Hashable {
    /// Documents that would be stored.
    public var documentCount = 0
    /// Tokens of all of them.
    public var tokenCount = 0
    /// Bytes of all chunks.
    public var byteCount = 0
  }

  /// Reads texts, and works out what they would take in a store. Writes nothing.
  /// - Parameters:
  ///   - sources: the texts' files.
  ///   - model: the one that would encode them.
  ///   - encoding: how keys and values would be kept.
  ///   - borders: where texts would be cut.
  /// - Throws: `Refusal` `no-injection`, `no-tokenizer`, `missing-file`, `not-text`, `empty-document`, `cancelled`.
  public static func plan(
    _ sources: [DocumentSource], model: LanguageModel, encoding: RowEncoding = .int8,
    borders: ChunkBorders = .sentences
  ) throws(Refusal) -> Plan {
    let (shape, layout) = try model.requireTrees(encoding)
    var plan = Plan()
    for source in sources {
      try Refusal.checkCancellation(source.path)
      let tokens = try model.documentTokens(source.text(), file: source.path)
      plan.documentCount += 1
      plan.tokenCount += tokens.count
      for chunk in model.chunks(of: tokens, shape: shape, borders: borders) {
        plan.byteCount += chunk.count * 4
        for node in ContextTree(shape: shape, tokenCount: chunk.count).nodes {
          plan.byteCount += layout.byteCount(rows: node.rowCount) + model.configuration.hiddenSize * 4
        }
      }
    }
    return plan
  }

  private mutating func commit() throws(Refusal) {
    try writer.commit()
    lastCommit = .now
  }
}
