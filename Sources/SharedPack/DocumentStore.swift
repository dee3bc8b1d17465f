import ContextTrees
public import FileAccess
import LlamaRuntime
import ModelPacks
public import NodeBlocks
public import TreeStore

/// A store of documents, opened for asking with the model that encoded them.
///
/// Pins the generation that was the newest when it was opened; safe to use from any number of tasks.
public final class DocumentStore: Sendable {
  public let store: TreeStore
  public let model: LanguageModel

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
    guard let stored = store.document(named: name) else {
      throw Refusal(.missingDocument, file: store.path, structure: "document \"\(name)\"", "is not in the store")
    }
    var chunks: [ContextChunk] = []
    for key in stored.chunks {
      guard let chunk = try store.chunk(key) else {
        throw Refusal(
          .missingChunk, file: store.path, structure: "document \"\(name)\"", "chunk \(key) is in no segment")
      }
      chunks.append(ContextChunk(chunk))
    }
    return ContextDocument(name: name, chunks: chunks, layout: store.configuration.layout)
  }
}

/// A text file that is to be stored.
public struct DocumentSource: Sendable, Hashable {
  /// The name in the store.
  public var name: String
  public var path: String

  public init(name: String, path: String) {
    self.name = name
    self.path = path
  }

  /// Texts are read whole; a book has a few million bytes.
  public static let byteLimit = 1 << 30

  /// The file's bytes.
  /// - Throws: `Refusal` `missing-file`, `not-text` when it is not UTF-8, `too-large`, `empty-document`.
  public func text() throws(Refusal) -> [UInt8] {
    let bytes = try SequentialFile.contents(path, limit: Self.byteLimit)
    guard !bytes.isEmpty else { throw Refusal(.emptyDocument, file: path, "has no text") }
    guard bytes.span.isValidUTF8, !bytes.contains(0) else {
      throw Refusal(.notText, file: path, "is not text in UTF-8")
    }
    return bytes
  }

  /// The sources that paths name: files, and all files of directories and what is below them, by ascending name.
  /// Names are paths relative to the directory that was named, or the last component of a file's path.
  /// - Throws: `Refusal` `missing-file`, `duplicate-name`.
  public static func find(_ paths: [String]) throws(Refusal) -> [DocumentSource] {
    var sources: [DocumentSource] = []
    for path in paths {
      let trimmed = path.count > 1 && path.hasSuffix("/") ? String(path.dropLast()) : path
      switch Directory.exists(trimmed) {
      case .directory: try add(directory: trimmed, prefix: "", to: &sources)
      case .file, .other: sources.append(DocumentSource(name: Directory.split(trimmed).name, path: trimmed))
      case nil: throw Refusal(.missingFile, file: path, "does not exist")
      }
    }
    var paths: [String: String] = [:]
    for source in sources {
      if let other = paths.updateValue(source.path, forKey: source.name) {
        throw Refusal(
          .duplicateNaming, file: source.path, "would be stored as \"\(source.name)\", and so would \(other)")
      }
    }
    return sources
  }

  private static func add(
    directory: String, prefix: String, to sources: inout [DocumentSource]
  ) throws(Refusal) {
    for name in try Directory.names(in: directory) where !name.hasPrefix(".") {
      let path = "\(directory)/\(name)"
      switch Directory.exists(path) {
      case .directory: try add(directory: path, prefix: prefix + name + "/", to: &sources)
      case .file: sources.append(DocumentSource(name: prefix + name, path: path))
      default: break
      }
    }
  }
}

/// Encodes texts into a store. One at a time for a store; readers go on undisturbed.
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
  /// - Throws: `Refusal` `busy`, `model-mismatch`, `configuration-mismatch`, `no-injection`, `cannot-create`.
  public init(
    _ path: String, model: LanguageModel, encoding: RowEncoding = .int8, compression: Compression = .none,
    borders: ChunkBorders = .sentences
  ) throws(Refusal) {
    let configuration = try model.storeConfiguration(encoding)
    guard let encoder = TreeEncoder(model.runtime, encoding: encoding) else {
      preconditionFailure("a model with trees has an encoder")
    }
    writer = try TreeStoreWriter(opening: path, creating: configuration)
    self.model = model
    shape = configuration.shape
    self.encoder = encoder
    self.compression = compression
    self.borders = borders
  }

  /// What has become of a document.
  public struct Report: Sendable, Hashable {
    public enum Outcome: String, Sendable, Hashable {
      case added, replaced
      /// The same text is there under this name.
      case unchanged
    }
    public var name: String
    public var outcome: Outcome
    public var tokenCount: Int
    public var chunkCount: Int
    /// Tokens of the chunks that had to be encoded; the others were there.
    public var encodedTokenCount: Int
  }

  /// Encodes a text unless it is there, and makes it durable under its name.
  /// - Parameters:
  ///   - replacing: whether another text may be there under this name.
  ///   - progress: called with the tokens done, those of them that were encoded, and all tokens.
  /// - Throws: `Refusal` `document-exists`, `not-text`, `no-space` and others; what was committed before stays.
  public mutating func add(
    _ source: DocumentSource, replacing: Bool = false, progress: (_ done: Int, _ encoded: Int, _ of: Int) -> Void
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
        "another text is stored as \"\(source.name)\"; --replace puts this one in its place")
    }
    let tokens = try model.documentTokens(text, file: source.path)
    var keys: [ChunkKey] = []
    var encodedTokenCount = 0
    for range in model.chunks(of: tokens, shape: shape, borders: borders) {
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

  /// Bytes that a text takes in a store, when none of its chunks is there.
  /// - Throws: `Refusal` `no-injection`.
  public static func byteCount(
    _ tokens: [Int32], model: LanguageModel, encoding: RowEncoding = .int8, borders: ChunkBorders = .sentences
  ) throws(Refusal) -> Int {
    let (shape, layout) = try model.requireTrees(encoding)
    return model.chunks(of: tokens, shape: shape, borders: borders).reduce(0) { sum, chunk in
      ContextTree(shape: shape, tokenCount: chunk.count).nodes.reduce(sum + chunk.count * 4) {
        $0 + layout.byteCount(rows: $1.rowCount) + model.configuration.hiddenSize * 4
      }
    }
  }

  private mutating func commit() throws(Refusal) {
    try writer.commit()
    lastCommit = .now
  }
}

extension Refusal.Name {
  public static let duplicateNaming = Refusal.Name("duplicate-name", .badInput)
}

extension Span<UInt8> {
  /// Whether the bytes are UTF-8.
  fileprivate var isValidUTF8: Bool {
    (try? UTF8Span(validating: self)) != nil
  }
}
