public import ContextTrees
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
  /// Chunks that are read for a question, at most; fewer when those have all of its words that are to be found, or when
  /// the model's window holds fewer.
  public var chunkCount: Int
  /// How rows are kept. Nil keeps them as a store does that is there, else in int4, which takes half of int8's bytes; as
  /// the model's own where these are floats, or heads are too large for it.
  public var encoding: RowEncoding?
  /// Which part of its rows each head keeps, as ``LanguageModel/headShares(keeping:of:reading:frame:)`` measures it; those
  /// go that the model does not look at when it repeats the text, which takes as long as reading it once more. Nil keeps all.
  public var shares: HeadShares?
  /// Tokens of each passage but the first that are computed again for a question, with the passages before in view, so
  /// that it is known where one ends and the next begins: whole blocks of 64, or a whole passage that has no more.
  public var repair: Int
  /// Rows of all chunks that are read for a question, at most, without the frame's; nil for no limit but `chunkCount`.
  public var rowLimit: Int?

  /// How documents are read.
  /// - Parameters:
  ///   - chunkSize: tokens of a chunk, at most 1,024.
  ///   - chunkCount: chunks that are read for a question, at most.
  ///   - encoding: how rows are kept; nil for the standard, int4 for most models.
  ///   - shares: which part of its rows each head keeps; nil keeps all.
  ///   - repair: tokens of later passages that are computed again; 0 for none.
  ///   - rowLimit: rows of all chunks that are read for a question, at most; nil for no limit.
  public init(
    chunkSize: Int = 64, chunkCount: Int = 4, encoding: RowEncoding? = nil, shares: HeadShares? = nil, repair: Int = 64,
    rowLimit: Int? = nil
  ) {
    self.chunkSize = chunkSize
    self.chunkCount = chunkCount
    self.encoding = encoding
    self.shares = shares
    self.repair = repair
    self.rowLimit = rowLimit
  }

  /// The most rows that a head keeps of a chunk.
  func rowCount(tokens: Int) -> Int { shares?.rowCounts(tokens: tokens).max() ?? tokens }

  /// How a store's documents are cut and kept.
  init(of form: TextForm) {
    self.init(chunkSize: form.chunkSize, encoding: form.layout.encoding, shares: form.shares)
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
  /// The question's words that it has, and what each gives to its score.
  public let words: [WordMatch]

  /// A passage that the caller chose.
  public init(document: Int, chunk: Int, score: Float = 0) {
    self.init(document: document, chunk: chunk, score: score, words: [])
  }

  init(document: Int, chunk: Int, score: Float, words: [WordMatch]) {
    self.document = document
    self.chunk = chunk
    self.score = score
    self.words = words
  }
}

extension LanguageModel {
  /// The passages of documents that have a question's words, in the order of the documents: the best one, and others as
  /// long as they add something.
  /// - Throws: `Refusal` `row-limit` when the best one has more rows than the reading's limit, and when a stored chunk is
  ///   damaged.
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
    var passages: [Passage] = []
    var rowCount = 0
    for found in WordSearch(words).choice(question, atMost: passageLimit(reading)) {
      let place = places[found.text]
      rowCount += reading.rowCount(tokens: documents[place.document].chunks[place.chunk].tokens.count)
      if let limit = reading.rowLimit, rowCount > limit {
        guard passages.isEmpty else { break }
        throw Refusal(
          .rowLimit, file: documents[place.document].name, parameter: "rowLimit",
          "is \(limit), and the best chunk has \(rowCount) rows")
      }
      passages.append(
        Passage(document: place.document, chunk: place.chunk, score: found.score, words: found.words))
    }
    return passages.sorted { ($0.document, $0.chunk) < ($1.document, $1.chunk) }
  }

  /// Chunks that are read for a question, at most.
  func passageLimit(_ reading: DeepReading) -> Int {
    min(reading.chunkCount, max(runtime.window * 3 / 4 / reading.chunkSize, 1))
  }

  /// Reads passages behind a frame, each alone, for questions about them: what a store keeps is not read again, but for
  /// what is to be repaired.
  /// - Throws: `Refusal` `not-finite`, `cancelled`, `no-injection` for a model whose rotary positions depend on the length
  ///   of the text, and those of damaged chunks.
  public func read(
    _ passages: [Passage], of documents: [TextDocument], behind frame: ReadingFrame,
    reading: DeepReading = DeepReading()
  ) throws(Refusal) -> ContextSelection {
    try requireFixedPositions()
    let form = try textForm(reading, frame: frame)
    return try read(passages, of: documents, behind: keptOpening(form), form, repair: reading.repair)
  }

  /// - Parameter openingRows: the frame's, as they are kept.
  func read(
    _ passages: [Passage], of documents: [TextDocument], behind openingRows: TextRows, _ form: TextForm, repair: Int
  ) throws(Refusal) -> ContextSelection {
    try place(rows(of: passages, of: documents, form), behind: openingRows, repair: repair)
  }

  /// The rows of passages, each read alone, as they are kept: from a store or, where there is none, now.
  package func rows(
    of passages: [Passage], of documents: [TextDocument], _ form: TextForm
  ) throws(Refusal) -> [(tokens: [Int32], rows: TextRows)] {
    // Chunks are read behind the model's own rows, whatever is kept of them.
    var opening: TextPrefix?
    var read: [(tokens: [Int32], rows: TextRows)] = []
    for passage in passages {
      try Refusal.checkCancellation(documents[passage.document].name)
      let chunk = documents[passage.document].chunks[passage.chunk]
      var rows = try chunk.storedRows()
      if rows == nil {
        if opening == nil { opening = try prefix(reading: form.frame.opening) }
        if let opening { rows = try keptRows(of: chunk.tokens, behind: opening, form) }
      }
      if let rows { read.append((chunk.tokens, rows)) }
    }
    return read
  }

  /// Puts passages that were read alone one after the other behind a frame.
  /// - Parameters:
  ///   - openingRows: the frame's, as they are kept.
  ///   - repair: as `DeepReading` has it.
  package func place(
    _ passages: [(tokens: [Int32], rows: TextRows)], behind openingRows: TextRows, repair: Int
  ) throws(Refusal) -> ContextSelection {
    var opening = TextPrefix(layout: runtime.textRowLayout)
    opening.append(openingRows, readAt: 0)
    return try place(
      passages, behind: ContextSelection(text: opening, chunkCount: 0), readAt: opening.tokenCount, repair: repair)
  }

  /// - Parameters:
  ///   - first: the frame, and passages that come first.
  ///   - start: where the passages were read: behind the frame alone.
  func place(
    _ passages: [(tokens: [Int32], rows: TextRows)], behind first: ContextSelection, readAt start: Int, repair: Int
  ) throws(Refusal) -> ContextSelection {
    guard var text = first.text else { preconditionFailure("passages stand in a text") }
    for passage in passages {
      let count = passage.tokens.count
      // Some of the rows may have been left out: then only all can be computed again.
      let blocks = passage.rows.isEven && passage.rows.rowCount == count ? repair / TextRowLayout.rowsTogether : 0
      let repaired = text.tokenCount == start ? 0 : repair >= count ? count : blocks * TextRowLayout.rowsTogether
      let head = Array(passage.tokens.prefix(repaired))
      if repaired > 0 { text.append(try rows(of: head, behind: text), readAt: text.tokenCount) }
      if repaired == 0 {
        text.append(passage.rows, tokenCount: count, readAt: start)
      } else if repaired < count {
        text.append(passage.rows, range: repaired..<count, readAt: start)
      }
    }
    return ContextSelection(text: text, chunkCount: first.chunkCount + passages.count)
  }
}
