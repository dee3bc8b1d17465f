public import ContextTrees
public import FileAccess
import LlamaRuntime
import NodeBlocks
public import TreeStore

extension DocumentStore {
  /// Texts with fewer chunks are searched chunk by chunk, which is as fast as the indexes of a large store and looks at
  /// nothing else.
  private static var scanLimit: Int { 2048 }

  /// A question about all documents of the store, or those whose names a pattern stands for.
  ///
  /// Of texts that are read deeply, the chunks are found by the word indexes of the store, however many there are: how
  /// rare a word is follows from the whole store, or from the documents of the pattern. Of trees, all are searched.
  /// - Parameters:
  ///   - question: of the user.
  ///   - pattern: of names; nil for all documents.
  ///   - search: how nodes of trees are picked.
  ///   - reading: how many chunks are read of texts.
  ///   - usesChatTemplate: for trees; texts are asked about in the frame that they were read in.
  ///   - explains: whether the inquiry has its sources.
  /// - Throws: `Refusal` `missing-document` when the pattern stands for none, `no-match` when no chunk has a word of the
  ///   question, and those of ``inquiry(_:about:search:reading:usesChatTemplate:explains:)``.
  public func inquiry(
    _ question: String, aboutAll pattern: NamePattern?, search: TreeSearch = .standard,
    reading: DeepReading = DeepReading(), usesChatTemplate: Bool = true, explains: Bool = false
  ) throws(Refusal) -> Inquiry {
    let form = store.configuration.text
    if let form, form.manner == .deep, pattern == nil {
      return try inquiry(question, among: nil, pattern, form, reading, explains: explains)
    }
    let documents = try store.documents(matching: pattern)
    guard !documents.isEmpty else {
      throw Refusal(
        .missingDocument, file: store.path,
        pattern.map { "no document is named like \"\($0.text)\"" } ?? "the store has no documents")
    }
    let chunkCount = documents.reduce(0) { $0 + $1.chunkCount }
    guard let form, form.manner == .deep, chunkCount > Self.scanLimit else {
      return try inquiry(
        question, about: documents.map(\.name), search: search, reading: reading, usesChatTemplate: usesChatTemplate,
        explains: explains)
    }
    var keys: [ChunkKey] = []
    for document in documents { keys += try store.chunks(of: document).keys }
    return try inquiry(question, among: keys, pattern, form, reading, explains: explains)
  }

  /// - Parameter keys: the chunks that are searched; nil for all.
  func inquiry(
    _ question: String, among keys: [ChunkKey]?, _ pattern: NamePattern?, _ form: TextForm, _ reading: DeepReading,
    explains: Bool
  ) throws(Refusal) -> Inquiry {
    var reading = reading
    reading.chunkSize = form.chunkSize
    reading.shares = form.shares
    let tokenizer = try model.requireTokenizer()
    let (found, unreadable) = try store.choice(
      question, atMost: model.passageLimit(reading), among: keys, threadCount: model.threadCount)
    guard !found.isEmpty else {
      throw Refusal(.noMatch, file: store.path, "no chunk that can be searched has a word of the question")
    }
    var chunks: [(name: String, number: Int, found: FoundChunk, text: StoredText)] = []
    var rowCount = 0
    for chunk in found {
      guard let text = try store.text(chunk.key) else { continue }
      rowCount += reading.rowCount(tokens: text.tokens.count)
      let holders = try store.documents(holding: chunk.key)
      guard let holder = holders.first(where: { pattern?.matches($0.name) ?? true }) else { continue }
      if let limit = reading.rowLimit, rowCount > limit {
        guard chunks.isEmpty else { break }
        throw Refusal(
          .rowLimit, file: holder.name, parameter: "rowLimit", "is \(limit), and the best chunk has \(rowCount) rows")
      }
      chunks.append((holder.name, holder.chunk, chunk, text))
    }
    chunks.sort { ($0.name, $0.number) < ($1.name, $1.number) }
    var documents: [Inquiry.Summary] = []
    var texts: [(bytes: TextBytes, chunks: DocumentChunks)] = []
    var passages: [Passage] = []
    var rows: [(tokens: [Int32], rows: TextRows)] = []
    var sources: [Inquiry.Source] = []
    for chunk in chunks {
      if documents.last?.name != chunk.name {
        let document = try store.requireDocument(named: chunk.name)
        documents.append(
          Inquiry.Summary(name: document.name, tokenCount: document.tokenCount, chunkCount: document.chunkCount))
        let stored = try store.chunks(of: document)
        texts.append((TextBytes(kept: (store, document)), stored))
      }
      guard let kept = try chunk.text.rows() else { continue }
      let passage = Passage(
        document: documents.count - 1, chunk: chunk.number, score: chunk.found.score, words: chunk.found.words)
      passages.append(passage)
      rows.append((chunk.text.tokens, kept))
      guard explains else { continue }
      let (bytes, stored) = texts[passage.document]
      let range = stored.textRange(of: passage.chunk)
      sources.append(
        Inquiry.Source(
          document: passage.document, chunk: passage.chunk, byteRange: range,
          text: try model.text(of: chunk.text.tokens, at: range, in: bytes), score: passage.score, words: passage.words,
          nodes: [], rowCount: kept.rowCount,
          storedByteCount: kept.storage.byteCount))
    }
    return Inquiry(
      prompt: try model.questionPrompt(question, in: form.frame),
      context: try model.place(rows, behind: opening(form), repair: reading.repair),
      answerStart: form.frame.answerStart, documents: documents, passages: passages,
      passageTexts: rows.map { tokenizer.decode($0.tokens[...]) }, sources: sources, unreadableSegments: unreadable)
  }
}

extension Refusal.Name {
  /// Nothing has a word of a question.
  public static let noMatch = Refusal.Name("no-match", .missing)
}
