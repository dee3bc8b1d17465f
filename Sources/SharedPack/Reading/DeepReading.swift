import ContextTrees
public import FileAccess
import LlamaRuntime
public import NodeBlocks
public import TreeStore

/// How a plain model reads documents of any length: the chunks that fit a question, in all its layers.
///
/// Every chunk is read alone, behind the frame, so that chunks of any documents combine in any order; for a question the
/// chosen ones take consecutive places behind the frame.
public struct DeepReading: Sendable, Hashable {
  /// Tokens of a chunk, at most 1,024.
  public var chunkSize: Int
  /// Chunks that are read for a question, at most; fewer when the model's window holds fewer.
  public var chunkCount: Int
  /// How rows are kept; nil keeps them as the model's cache does. In int4 they take half of int8's bytes.
  public var encoding: RowEncoding?
  /// Rows that are kept of 64; below 64, those go first that the model does not look at when it repeats the text, which
  /// takes as long as reading it once more.
  public var keptRows: Int

  /// How documents are read.
  /// - Parameters:
  ///   - chunkSize: tokens of a chunk, at most 1,024.
  ///   - chunkCount: chunks that are read for a question, at most.
  ///   - encoding: how rows are kept; nil keeps them as the model's cache does.
  ///   - keptRows: rows that are kept of 64.
  public init(chunkSize: Int = 512, chunkCount: Int = 1, encoding: RowEncoding? = nil, keptRows: Int = 64) {
    self.chunkSize = chunkSize
    self.chunkCount = chunkCount
    self.encoding = encoding
    self.keptRows = keptRows
  }

  /// How a store's documents are cut and kept.
  init(of form: TextForm) {
    self.init(chunkSize: form.chunkSize, encoding: form.layout.encoding, keptRows: form.keptRows)
  }
}

/// What a question reads of some documents.
public struct Passage: Sendable, Hashable {
  /// The number of the document.
  public let document: Int
  /// The number of the chunk in the document.
  public let chunk: Int
  /// How well it fits the question; greater is better, and 0 means that they have no word in common.
  public let score: Float

  /// A passage that the caller chose.
  public init(document: Int, chunk: Int, score: Float = 0) {
    self.document = document
    self.chunk = chunk
    self.score = score
  }
}

extension LanguageModel {
  /// The passages of documents that fit a question best, in the order of the documents.
  /// - Throws: `Refusal` when a stored chunk is damaged.
  public func passages(
    of documents: [TextDocument], for question: String, reading: DeepReading = DeepReading()
  ) throws(Refusal) -> [Passage] {
    var words: [WordCounts] = []
    var places: [(document: Int, chunk: Int)] = []
    for (number, document) in documents.enumerated() {
      for (index, chunk) in document.chunks.enumerated() {
        words.append(try chunk.words())
        places.append((number, index))
      }
    }
    let scores = WordSearch(words).scores(question)
    // The first of equals: sorting is not stable.
    let count = min(reading.chunkCount, max(runtime.window * 3 / 4 / reading.chunkSize, 1))
    let best = scores.indices.sorted { (-scores[$0], $0) < (-scores[$1], $1) }.prefix(count)
    return best.sorted().map { Passage(document: places[$0].document, chunk: places[$0].chunk, score: scores[$0]) }
  }

  /// Reads passages behind a frame, each alone, for questions about them: what a store keeps is not read again.
  /// - Throws: `Refusal` `not-finite`, `cancelled`, `no-injection` for a model whose rotary positions depend on the length
  ///   of the text, and those of damaged chunks.
  public func read(
    _ passages: [Passage], of documents: [TextDocument], behind frame: ReadingFrame,
    reading: DeepReading = DeepReading()
  ) throws(Refusal) -> ContextSelection {
    try requireFixedPositions()
    let form = try textForm(reading, frame: frame)
    return try read(passages, of: documents, behind: keptOpening(form), form)
  }

  /// - Parameter openingRows: the frame's, as they are kept.
  func read(
    _ passages: [Passage], of documents: [TextDocument], behind openingRows: TextRows, _ form: TextForm
  ) throws(Refusal) -> ContextSelection {
    var text = TextPrefix(layout: runtime.textRowLayout)
    text.append(openingRows, readAt: 0)
    let start = text.tokenCount
    // Chunks are read behind the model's own rows, whatever is kept of them.
    var opening: TextPrefix?
    for passage in passages {
      try Refusal.checkCancellation(documents[passage.document].name)
      let chunk = documents[passage.document].chunks[passage.chunk]
      var rows = try chunk.storedRows()
      if rows == nil {
        if opening == nil { opening = try prefix(reading: form.frame.opening) }
        if let opening { rows = try keptRows(of: chunk.tokens, behind: opening, form) }
      }
      if let rows { text.append(rows, tokenCount: chunk.tokens.count, readAt: start) }
    }
    return ContextSelection(text: text, chunkCount: passages.count)
  }
}
