import ContextTrees
public import FileAccess
import LlamaRuntime
import NodeBlocks
import Synchronization
public import TreeStore

/// What has left the window of conversations, to be asked about like documents: the text of a conversation's earlier
/// messages is cut into chunks, which are kept as they were encoded, so that the next question encodes only what is new.
///
/// Nothing of it is written to a disk. A chunk is known by its tokens, and by the scope of the conversation, as those of
/// one scope never see what another's have. When there are too many bytes, the chunk that was not used for longest goes
/// first; it is encoded again when it is needed. Safe to use from any number of tasks.
public final class OverflowMemory: Sendable {
  /// What stands for the name of a document.
  public static let documentName = "(conversation)"

  private let model: LanguageModel
  /// What stands around the texts where no documents bring it; nil for a model with trees, which stand in no text.
  public let frame: ReadingFrame?
  private let reading: DeepReading
  /// Bytes of all chunks.
  private let limit: Int
  private let kept = Mutex(Kept())

  private struct Key: Hashable {
    /// What rows depend on besides the tokens.
    enum Form: Hashable {
      case tree(RowEncoding)
      /// A chunk that was read behind an opening.
      case text(opening: [Int32])
      case opening
    }

    let scope: String
    let form: Form
    let tokens: [Int32]
  }

  private enum Chunk: Sendable {
    case tree(EncodedChunk)
    case text(TextRows)

    var byteCount: Int {
      switch self {
      case .tree(let chunk):
        chunk.blocks.reduce(0) { $0 + $1.storage.byteCount }
          + chunk.embeddings.count * MemoryLayout<Float>.size + chunk.tokens.count * MemoryLayout<Int32>.size
      case .text(let rows): rows.storage.byteCount
      }
    }
  }

  private struct Kept {
    var chunks: [Key: (chunk: Chunk, lastUse: Int)] = [:]
    var byteCount = 0
    var uses = 0
    var encodedTokenCount = 0
  }

  /// - Parameters:
  ///   - model: encodes and reads.
  ///   - limit: bytes of all chunks.
  /// - Throws: `Refusal` `no-tokenizer` and, for a plain model, `no-injection` when its rotary positions depend on the
  ///   length of the text, and those of ``LanguageModel/readingFrame(usesChatTemplate:system:now:)``.
  public init(_ model: LanguageModel, limit: Int) throws(Refusal) {
    self.model = model
    self.limit = limit
    _ = try model.requireTokenizer()
    var reading = model.reading
    // The question, the messages that stay and the answer need the rest of the window.
    reading.chunkCount = max(1, min(reading.chunkCount, model.window / 4 / model.textChunkSize(reading)))
    self.reading = reading
    if model.runtime.treeShape == nil {
      try model.requireFixedPositions()
      frame = try model.readingFrame()
    } else {
      frame = nil
    }
  }

  /// Bytes of the chunks that are kept.
  public var byteCount: Int { kept.withLock { $0.byteCount } }

  /// Tokens of conversations that were encoded, again or for the first time.
  public var encodedTokenCount: Int { kept.withLock { $0.encodedTokenCount } }

  /// Tokens of the window that stand before the prompt when a conversation's text is asked about, at most.
  /// - Parameter inquiry: about documents, which are read before it; nil for none.
  package func tokensBefore(_ inquiry: Inquiry?, in frame: ReadingFrame?) -> Int {
    guard let frame else { return 0 }
    let before = inquiry.map { $0.context?.tokensBefore ?? 0 } ?? frame.opening.count
    return before + reading.chunkCount * model.textChunkSize(reading)
  }

  /// A question about the text of a conversation's earlier messages.
  /// - Parameters:
  ///   - question: of the user.
  ///   - text: of the messages.
  ///   - scope: of the conversation.
  /// - Throws: `Refusal` `needs-more-memory` when the trees of the text have more bytes than may be kept, `empty-document`,
  ///   `not-finite`, `cancelled`.
  public func inquiry(_ question: String, about text: String, scope: String) throws(Refusal) -> Inquiry {
    if let frame {
      return try textInquiry(question, about: text, behind: nil, frame, scope)
    }
    return try model.inquiry(question, about: [document(text, encoding: .int8, scope)], explains: true)
  }

  /// A question about documents of a store and, behind them, the text of a conversation's earlier messages.
  /// - Parameters:
  ///   - question: of the user.
  ///   - inquiry: the same question about the documents alone.
  ///   - store: has the documents; none that was read exactly.
  ///   - text: of the messages.
  ///   - scope: of the conversation.
  /// - Throws: `Refusal`, as ``inquiry(_:about:scope:)``, and those of damaged stores.
  public func inquiry(
    _ question: String, adding text: String, to inquiry: Inquiry, of store: DocumentStore, scope: String
  ) throws(Refusal) -> Inquiry {
    if let form = store.store.configuration.text {
      return try textInquiry(question, about: text, behind: inquiry, form.frame, scope)
    }
    var documents: [ContextDocument] = []
    for document in inquiry.documents { documents.append(try store.document(named: document.name)) }
    documents.append(try document(text, encoding: store.store.configuration.rowEncoding, scope))
    return try model.inquiry(question, about: documents, explains: true)
  }

  // MARK: Trees and texts

  private func document(
    _ text: String, encoding: RowEncoding, _ scope: String
  ) throws(Refusal) -> ContextDocument {
    let tokens = try model.documentTokens(Array(text.utf8), file: Self.documentName)
    let shape = try model.requireTrees(encoding).shape
    let encoder = try model.makeTreeEncoder(encoding)
    var byteCount = 0
    var chunks: [ContextChunk] = []
    for range in model.chunks(of: tokens, shape: shape, borders: .sentences) {
      try Refusal.checkCancellation(Self.documentName)
      let key = Key(scope: scope, form: .tree(encoding), tokens: Array(tokens[range]))
      let chunk = try chunk(key) { () throws(Refusal) in .tree(try encoder.encode(key.tokens)) }
      byteCount += chunk.byteCount
      guard byteCount <= limit else {
        throw Refusal(
          .needsMoreMemory, file: model.pack.path,
          "what has left the window takes more than \(limit) bytes, which all conversations may have together")
      }
      if case .tree(let encoded) = chunk { chunks.append(ContextChunk(encoded, shape: shape)) }
    }
    var document = ContextDocument(
      name: Self.documentName, chunks: chunks, configuration: try model.storeConfiguration(encoding))
    document.text.count = text.utf8.count
    return document
  }

  private func textInquiry(
    _ question: String, about text: String, behind inquiry: Inquiry?, _ frame: ReadingFrame, _ scope: String
  ) throws(Refusal) -> Inquiry {
    let form = try model.textForm(reading, frame: frame)
    let tokens = try model.documentTokens(Array(text.utf8), file: Self.documentName)
    var document = try model.textDocument(tokens, named: Self.documentName, reading: reading)
    document.text.count = text.utf8.count
    let passages = try model.passages(of: [document], for: question, reading: reading)

    // The frame is no conversation's: all share it.
    let opening = try rows(Key(scope: "", form: .opening, tokens: frame.opening)) { () throws(Refusal) in
      try model.rows(of: frame.opening, behind: TextPrefix(layout: model.runtime.textRowLayout))
    }
    var openingPrefix = TextPrefix(layout: model.runtime.textRowLayout)
    openingPrefix.append(opening, readAt: 0)
    var read: [(tokens: [Int32], rows: TextRows)] = []
    for passage in passages {
      try Refusal.checkCancellation(Self.documentName)
      let key = Key(
        scope: scope, form: .text(opening: frame.opening), tokens: document.chunks[passage.chunk].tokens)
      let rows = try rows(key) { () throws(Refusal) in
        try model.keptRows(of: key.tokens, behind: openingPrefix, form)
      }
      read.append((key.tokens, rows))
    }

    let context =
      if let documents = inquiry?.context {
        try model.place(read, behind: documents, readAt: frame.opening.count, repair: reading.repair)
      } else {
        try model.place(read, behind: model.keptOpening(opening, form), repair: reading.repair)
      }
    let tokenizer = try model.requireTokenizer()
    let found = Inquiry(
      prompt: try model.questionPrompt(question, in: frame), context: context, answerStart: frame.answerStart,
      documents: [Inquiry.Summary(document)], passages: passages,
      passageTexts: read.map { tokenizer.decode($0.tokens[...]) },
      sources: try model.sources(passages, read.map(\.rows), of: [document]))
    return inquiry.map { found.behind($0) } ?? found
  }

  // MARK: What is kept

  private func rows(_ key: Key, _ read: () throws(Refusal) -> TextRows) throws(Refusal) -> TextRows {
    let chunk = try chunk(key) { () throws(Refusal) in .text(try read()) }
    guard case .text(let rows) = chunk else { preconditionFailure("a key says what its chunk is") }
    return rows
  }

  /// A chunk that is kept, or else is encoded now.
  private func chunk(_ key: Key, _ encode: () throws(Refusal) -> Chunk) throws(Refusal) -> Chunk {
    let known = kept.withLock { kept -> Chunk? in
      kept.uses += 1
      kept.chunks[key]?.lastUse = kept.uses
      return kept.chunks[key]?.chunk
    }
    if let known { return known }
    let chunk = try encode()
    kept.withLock { kept in
      if key.form != .opening { kept.encodedTokenCount += key.tokens.count }
      // Another request may have encoded the same meanwhile.
      guard kept.chunks[key] == nil, chunk.byteCount <= limit else { return }
      kept.chunks[key] = (chunk, kept.uses)
      kept.byteCount += chunk.byteCount
      while kept.byteCount > limit, let oldest = kept.chunks.min(by: { $0.value.lastUse < $1.value.lastUse }) {
        kept.chunks[oldest.key] = nil
        kept.byteCount -= oldest.value.chunk.byteCount
      }
    }
    return chunk
  }
}

extension Inquiry {
  /// The same question, behind what is read of other documents, which its context already has before it.
  fileprivate func behind(_ first: Inquiry) -> Inquiry {
    let count = first.documents.count
    return Inquiry(
      prompt: prompt, context: context, answerStart: answerStart, documents: first.documents + documents,
      passages: first.passages
        + passages.map {
          Passage(document: $0.document + count, chunk: $0.chunk, score: $0.score, words: $0.words)
        },
      passageTexts: first.passageTexts + passageTexts,
      sources: first.sources
        + sources.map {
          Inquiry.Source(
            document: $0.document + count, chunk: $0.chunk, byteRange: $0.byteRange, text: $0.text, score: $0.score,
            words: $0.words, nodes: $0.nodes, rowCount: $0.rowCount, storedByteCount: $0.storedByteCount)
        },
      unreadableSegments: first.unreadableSegments)
  }
}
