import ContextTrees
public import FileAccess
import LlamaRuntime
import ModelPacks
public import NodeBlocks
import Tokenization
public import TreeStore

/// Encodes texts into a store. A store has one builder at a time; readers are not disturbed.
///
/// When the task that it works for is cancelled, it stops after the current chunk: no document is added, the chunks
/// that were committed before stay so that the next build resumes there, and the builder can be used further.
public struct StoreBuilder: ~Copyable {
  let model: LanguageModel
  let work: Work
  private let compression: Compression
  private(set) var writer: TreeStoreWriter
  private var lastCommit = ContinuousClock.now
  /// The rows of the frame behind which texts are read deeply, once they were needed.
  private var frameRows: TextPrefix?
  /// What several texts at once were made of, for `add`.
  var ready: [ChunkKey: EncodedAhead] = [:]
  var lanes: EncodingLanes?

  /// What was added becomes durable this often, so that a build that is killed resumes.
  var commitInterval = Duration.seconds(15)
  /// And whenever so many bytes wait.
  private static let commitByteCount = 1 << 28

  /// Whether the oldest documents that are not pinned make room for new ones where a store has a limit; else what does
  /// not fit is refused.
  public var evicts = false

  /// Whether the store keeps the texts themselves, compressed, so that what is read of them can be shown as it was written,
  /// and what is lost of them encoded again.
  public var keepsTexts = false

  /// The part of the texts of a reader that is taken; nil for all.
  public var shard: DocumentShard?

  /// What is made of a text's chunks.
  enum Work {
    case trees(TreeShape, TreeEncoder, ChunkBorders)
    case texts(TextForm)
  }

  /// Opens a store for writing, and creates it if it is not there: of context trees for a model that has them, else of
  /// texts for deep reading.
  /// - Throws: `Refusal`, as the other initializers.
  public init(opening path: String, model: LanguageModel) throws(Refusal) {
    if model.pack.sharedLLM != nil {
      try self.init(opening: path, model: model, encoding: nil)
    } else {
      try self.init(deeply: path, model: model)
    }
  }

  /// Opens a store of context trees for writing, and creates it if it is not there.
  /// - Parameters:
  ///   - path: of the store's directory.
  ///   - model: encodes the texts; a store has one model.
  ///   - encoding: how keys and values are kept; nil takes the store's, or int8. A store has one encoding.
  ///   - compression: of new blocks; compressed blocks are not mapped.
  ///   - borders: where texts are cut.
  ///   - sharing: who may read a store that is created.
  /// - Throws: `Refusal` `busy`, `model-mismatch`, `configuration-mismatch`, `no-injection`, `cannot-create`.
  public init(
    opening path: String, model: LanguageModel, encoding: RowEncoding? = nil, compression: Compression = .none,
    borders: ChunkBorders = .sentences, sharing: StoreSharing = .owner
  ) throws(Refusal) {
    let encoding = encoding ?? Self.treeEncoding(of: path) ?? .int8
    let configuration = try model.storeConfiguration(encoding)
    let work = Work.trees(try model.requireTrees(encoding).shape, try model.makeTreeEncoder(encoding), borders)
    writer = try TreeStoreWriter(opening: path, creating: configuration, sharing: sharing)
    self.work = work
    self.model = model
    self.compression = compression
  }

  /// Opens a store of texts for exact reading for writing, and creates it if it is not there.
  /// - Parameters:
  ///   - path: of the store's directory.
  ///   - model: reads the texts; a store has one model.
  ///   - frame: what stands before documents in a prompt; nil takes the store's, or the model's.
  ///   - compression: of new rows; compressed rows are not mapped.
  ///   - sharing: who may read a store that is created.
  /// - Throws: `Refusal` `busy`, `model-mismatch`, `configuration-mismatch`, `no-injection` for a model whose rotary
  ///   positions depend on the length of the text, `cannot-create`, and those of
  ///   ``LanguageModel/readingFrame(usesChatTemplate:system:now:)``.
  public init(
    exactly path: String, model: LanguageModel, frame: ReadingFrame? = nil, compression: Compression = .none,
    sharing: StoreSharing = .owner
  ) throws(Refusal) {
    try model.requireFixedPositions()
    let frame = try Self.frame(frame, of: path, model)
    try self.init(path, model, model.exactTextForm(frame: frame), compression, sharing)
  }

  /// Opens a store of texts for deep reading for writing, and creates it if it is not there.
  /// - Parameters:
  ///   - path: of the store's directory.
  ///   - model: reads the texts; a store has one model.
  ///   - reading: how they are cut and kept; nil takes the store's, or the model's.
  ///   - frame: what stands before documents in a prompt; nil takes the store's, or the model's.
  ///   - compression: of new rows; compressed rows are not mapped.
  ///   - sharing: who may read a store that is created.
  /// - Throws: `Refusal`, as the initializer for exact reading, and `unsupported-encoding`.
  public init(
    deeply path: String, model: LanguageModel, reading: DeepReading? = nil, frame: ReadingFrame? = nil,
    compression: Compression = .none, sharing: StoreSharing = .owner
  ) throws(Refusal) {
    try model.requireFixedPositions()
    let frame = try Self.frame(frame, of: path, model)
    let there = Self.reading(of: path)
    var reading = reading ?? there ?? model.reading
    if reading.encoding == nil { reading.encoding = there?.encoding }
    try self.init(path, model, try model.textForm(reading, frame: frame), compression, sharing)
  }

  private init(
    _ path: String, _ model: LanguageModel, _ form: TextForm, _ compression: Compression, _ sharing: StoreSharing
  ) throws(Refusal) {
    writer = try TreeStoreWriter(opening: path, creating: model.storeConfiguration(form), sharing: sharing)
    self.model = model
    work = .texts(form)
    self.compression = compression
  }

  /// How the documents of a store are cut and kept; nil where there is no store for deep reading.
  public static func reading(of path: String) -> DeepReading? {
    form(of: path).flatMap { $0.manner == .deep ? DeepReading(of: $0) : nil }
  }

  /// How a store of context trees keeps keys and values; nil where there is none.
  public static func treeEncoding(of path: String) -> RowEncoding? {
    configuration(of: path)?.tree?.layout.encoding
  }

  /// What stands around the documents of a store of texts; nil where there is none.
  public static func frame(of path: String) -> ReadingFrame? { form(of: path)?.frame }

  /// The texts' form of a store that is there.
  private static func form(of path: String) -> TextForm? { configuration(of: path)?.text }

  private static func configuration(of path: String) -> TreeStoreConfiguration? {
    Directory.exists(path) == nil ? nil : try? TreeStore.configuration(of: path)
  }

  private static func frame(
    _ frame: ReadingFrame?, of path: String, _ model: LanguageModel
  ) throws(Refusal) -> ReadingFrame {
    if let frame = frame ?? form(of: path)?.frame { return frame }
    return try model.readingFrame()
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
      /// The same text was there under this name, and what was damaged of it was encoded again.
      case repaired
      /// The same text was there under this name, encoded, and now it is kept as well.
      case kept
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
    /// The documents that were removed to make room, by their names.
    public var evicted: [String] = []
  }

  /// Encodes a text unless the store has it, and names its chunks.
  ///
  /// Takes minutes for a book, on the caller's thread.
  /// - Parameters:
  ///   - source: the text's file, and its name in the store.
  ///   - replacing: whether another text may be there under this name.
  ///   - waits: whether the text need not be durable when this returns. Of many texts it soon becomes so together with
  ///     others, which is faster; ``commit()`` does it for the last ones.
  ///   - progress: called with the tokens done, those of them that were encoded, and all tokens.
  /// - Throws: `Refusal` `document-exists`, `not-text`, `digest-mismatch` for a damaged pack, `cancelled`, `no-space`,
  ///   `store-full` and others; what was committed before stays.
  public mutating func add(
    _ source: DocumentSource, replacing: Bool = false, waits: Bool = false,
    progress: (_ done: Int, _ encoded: Int, _ total: Int) -> Void = { _, _, _ in }
  ) throws(Refusal) -> Report {
    try add(try source.read(), replacing: replacing, waits: waits, progress: progress)
  }

  /// Encodes a text that was read, as `add` does one of a file.
  /// - Parameters:
  ///   - document: the text, and its name in the store.
  ///   - replacing: whether another text may be there under this name.
  ///   - waits: whether the text need not be durable when this returns.
  ///   - progress: called with the tokens done, those of them that were encoded, and all tokens.
  /// - Throws: `Refusal` `document-exists`, `invalid-document-name`, `cancelled`, `no-space` and others; what was committed
  ///   before stays.
  public mutating func add(
    _ document: DocumentText, replacing: Bool = false, waits: Bool = false,
    progress: (_ done: Int, _ encoded: Int, _ total: Int) -> Void = { _, _, _ in }
  ) throws(Refusal) -> Report {
    do throws(Refusal) {
      try writer.requireName(document.name)
    } catch {
      throw Refusal(error.name, file: document.place, structure: error.structure, error.fault)
    }
    let text = document.text
    let digest = Digest256(of: text)
    let existing = try writer.document(named: document.name)
    let isSame = existing?.textDigest == digest
    if let existing, isSame, writer.holdsWhole(existing) {
      let isToKeep = keepsTexts && !existing.keepsText
      if isToKeep {
        try writer.keepText(text, of: existing)
        if waits { try commitIfDue() } else { try commit() }
      }
      return Report(
        name: document.name, outcome: isToKeep ? .kept : .unchanged, tokenCount: existing.tokenCount,
        chunkCount: existing.chunkCount, encodedTokenCount: 0)
    }
    guard existing == nil || isSame || replacing else {
      throw Refusal(
        .documentExists, file: document.place,
        "another text is stored as \"\(document.name)\"")
    }
    let tokens = try model.documentTokens(text, file: document.place)
    // A store keeps what damaged weights make, and answers nonsense with whole ones.
    try model.verifyWeights()
    let evicted = try makeRoom(for: tokens, of: document)
    let (keys, encodedTokenCount) =
      switch work {
      case .trees(let shape, let encoder, let borders):
        try addChunks(
          tokens, model.chunks(of: tokens, shape: shape, borders: borders), file: document.place, progress
        ) { [compression] (chunk, ready, writer) throws(Refusal) in
          let encoded = if case .tree(let tree) = ready { tree } else { try encoder.encode(chunk) }
          _ = try writer.add(encoded, compression: compression)
        }
      case .texts(let form) where form.manner == .deep:
        try addDeeply(tokens, form, file: document.place, progress)
      case .texts(let form):
        try addExactly(tokens, form, file: document.place, progress)
      }
    try writer.addDocument(
      name: document.name, textDigest: digest, textByteCount: text.count, tokenCount: tokens.count,
      chunks: DocumentChunks(keys: keys, textByteCounts: byteCounts(tokens, text)), text: keepsTexts ? text : nil,
      metadata: document.metadata ?? "", replacing: replacing || isSame)
    if waits { try commitIfDue() } else { try commit() }
    return Report(
      name: document.name, outcome: existing == nil ? .added : isSame ? .repaired : .replaced, tokenCount: tokens.count,
      chunkCount: keys.count, encodedTokenCount: encodedTokenCount, evicted: evicted)
  }

  /// Sees to it that a text fits a store that has a limit.
  /// - Throws: `Refusal` `store-full`.
  /// - Returns: the documents that were removed for it.
  private mutating func makeRoom(
    for tokens: [Int32], of document: DocumentText
  ) throws(Refusal) -> [String] {
    guard writer.byteLimit > 0 else { return [] }
    let chunks = chunks(of: tokens)
    let entries = TreeStoreWriter.entryByteCount(
      name: document.name, chunkCount: chunks.count, metadataByteCount: document.metadata?.utf8.count ?? 0,
      keeping: keepsTexts ? document.text.count : 0)
    let byteCount = chunks.reduce(entries) {
      $0 + writer.configuration.byteCount(tokens: $1.count, words: $1.count)
    }
    if evicts { return try writer.makeRoom(for: byteCount, keeping: document.name) }
    try writer.requireRoom(for: byteCount)
    return []
  }

  /// Where a text is cut; of what is read exactly, with its frame.
  private func chunks(of tokens: [Int32]) -> [Range<Int>] {
    switch work {
    case .trees(let shape, _, let borders): model.chunks(of: tokens, shape: shape, borders: borders)
    case .texts(let form) where form.manner == .deep:
      model.textChunks(of: tokens, reading: DeepReading(chunkSize: form.chunkSize))
    case .texts(let form): (0..<tokens.count + form.frame.opening.count).cut(into: form.chunkSize)
    }
  }

  /// Limits the bytes of all of the store's files, for this and later builds.
  /// - Parameter byteCount: 0 for no limit.
  public mutating func setByteLimit(_ byteCount: Int) { writer.setByteLimit(byteCount) }

  /// Bytes of the text that each of its chunks has; empty where the tokens do not tell, or the chunks begin with a frame.
  private func byteCounts(_ tokens: [Int32], _ text: [UInt8]) -> [Int] {
    if case .texts(let form) = work, form.manner == .exact { return [] }
    return model.chunkByteCounts(of: tokens, ranges: chunks(of: tokens), text: text) ?? []
  }

  /// Chunks of a text that are in the store.
  private typealias Added = (keys: [ChunkKey], encodedTokenCount: Int)

  /// Encodes each chunk of a text alone, behind another chunk or none.
  /// - Parameter encode: makes a chunk that the store does not have, unless it is ready, and adds it.
  private mutating func addChunks(
    _ tokens: [Int32], _ ranges: [Range<Int>], behind: ChunkKey? = nil, file: String,
    _ progress: (_ done: Int, _ encoded: Int, _ total: Int) -> Void,
    encode: (_ chunk: [Int32], _ ready: EncodedAhead?, _ writer: inout TreeStoreWriter) throws(Refusal) -> Void
  ) throws(Refusal) -> Added {
    var keys: [ChunkKey] = []
    var encodedTokenCount = 0
    for range in ranges {
      try Refusal.checkCancellation(file)
      let chunk = Array(tokens[range])
      let key = writer.configuration.chunkKey(tokens: chunk, behind: behind)
      if !writer.contains(key) {
        try encode(chunk, ready.removeValue(forKey: key), &writer)
        encodedTokenCount += chunk.count
        try commitIfDue()
      }
      keys.append(key)
      progress(range.upperBound, encodedTokenCount, tokens.count)
    }
    return (keys, encodedTokenCount)
  }

  /// Reads each chunk alone, behind the frame, whose rows come first.
  private mutating func addDeeply(
    _ tokens: [Int32], _ form: TextForm, file: String,
    _ progress: (_ done: Int, _ encoded: Int, _ total: Int) -> Void
  ) throws(Refusal) -> Added {
    let (model, compression) = (model, compression)
    let tokenizer = try model.requireTokenizer()
    let opening = form.frame.opening
    guard let frameKey = writer.configuration.frameKey else { preconditionFailure("deep reading has a frame") }
    if !writer.contains(frameKey) {
      _ = try writer.add(
        EncodedText(tokens: opening, behind: nil, words: .none, rows: try model.keptOpening(form)),
        compression: compression)
    }
    let ranges = model.textChunks(of: tokens, reading: DeepReading(chunkSize: form.chunkSize))
    var frameRows = frameRows
    let added = try addChunks(
      tokens, ranges, behind: frameKey, file: file, progress
    ) { (chunk, ready, writer) throws(Refusal) in
      let rows: TextRows
      if case .text(let made) = ready {
        rows = made
      } else {
        let opened = if let frameRows { frameRows } else { try model.prefix(reading: opening) }
        frameRows = opened
        rows = try model.keptRows(of: chunk, behind: opened, form)
      }
      let words = WordCounts(of: tokenizer.decode(chunk[...]))
      _ = try writer.add(
        EncodedText(tokens: chunk, behind: frameKey, words: words, rows: rows), compression: compression)
    }
    self.frameRows = frameRows
    return added
  }

  /// The rows behind which chunks are read deeply.
  mutating func requireFrameRows(_ form: TextForm) throws(Refusal) -> TextPrefix {
    if let frameRows { return frameRows }
    let rows = try model.prefix(reading: form.frame.opening)
    frameRows = rows
    return rows
  }

  /// Reads the frame and the text as one long prompt, chunk by chunk, each with all before it in view.
  private mutating func addExactly(
    _ tokens: [Int32], _ form: TextForm, file: String,
    _ progress: (_ done: Int, _ encoded: Int, _ total: Int) -> Void
  ) throws(Refusal) -> Added {
    let opening = form.frame.opening
    let all = opening + tokens
    let room = min(Self.roomForQuestion, model.runtime.window / 4)
    guard all.count + room <= model.runtime.window else {
      throw Refusal(
        .promptTooLong, file: file,
        "has \(tokens.count) tokens; for exact reading the model's window holds "
          + "\(max(model.runtime.window - room - opening.count, 0)) of a document")
    }
    var keys: [ChunkKey] = []
    var encodedTokenCount = 0
    // What comes before is read from the store where it lies, unless it has just been made.
    var before = TextPrefix(layout: form.layout)
    var isBeforeThere = true
    for range in all.indices.cut(into: form.chunkSize) {
      try Refusal.checkCancellation(file)
      let chunk = Array(all[range])
      let key = writer.configuration.chunkKey(tokens: chunk, behind: keys.last)
      if writer.contains(key) {
        isBeforeThere = false
      } else {
        if !isBeforeThere {
          try commit()
          before = try storedPrefix(keys, form)
          isBeforeThere = true
        }
        let kept = form.keptTokens(chunk.count)
        let rows = kept == 0 ? nil : try model.rows(of: Array(chunk[..<kept]), behind: before)
        _ = try writer.add(
          EncodedText(tokens: chunk, behind: keys.last, words: .none, rows: rows), compression: compression)
        if let rows { before.append(rows, readAt: before.tokenCount) }
        encodedTokenCount += chunk.count
      }
      keys.append(key)
      if try commitIfDue() { isBeforeThere = false }
      progress(max(range.upperBound - opening.count, 0), encodedTokenCount, tokens.count)
    }
    return (keys, min(encodedTokenCount, tokens.count))
  }

  /// Tokens of the window that a document leaves for question and answer.
  static var roomForQuestion: Int { 256 }

  /// The rows of chunks that were committed.
  private func storedPrefix(_ keys: [ChunkKey], _ form: TextForm) throws(Refusal) -> TextPrefix {
    var prefix = TextPrefix(layout: form.layout)
    for key in keys {
      guard let rows = try writer.text(key)?.rows() else {
        throw Refusal(.missingChunk, file: writer.path, "chunk \(key) is in no segment")
      }
      prefix.append(rows, readAt: prefix.tokenCount)
    }
    return prefix
  }

  /// Makes everything that was added durable, at once.
  /// - Throws: `Refusal` `no-space`, `input-output` and others; then the store is as it was after the commit before.
  public mutating func commit() throws(Refusal) {
    try writer.commit()
    lastCommit = .now
  }

  /// Whether texts were added that are not durable yet.
  public var hasChanges: Bool { writer.hasChanges }

  @discardableResult
  private mutating func commitIfDue() throws(Refusal) -> Bool {
    guard ContinuousClock.now - lastCommit > commitInterval || writer.waitingByteCount > Self.commitByteCount else {
      return false
    }
    try commit()
    return true
  }
}
