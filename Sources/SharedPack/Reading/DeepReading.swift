import ContextTrees
public import FileAccess
import LlamaRuntime
import NodeBlocks
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

  /// How documents are read.
  /// - Parameters:
  ///   - chunkSize: tokens of a chunk, at most 1,024.
  ///   - chunkCount: chunks that are read for a question, at most.
  public init(chunkSize: Int = 512, chunkCount: Int = 1) {
    self.chunkSize = chunkSize
    self.chunkCount = chunkCount
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
    _ passages: [Passage], of documents: [TextDocument], behind frame: ReadingFrame
  ) throws(Refusal) -> ContextSelection {
    try read(passages, of: documents, behind: prefix(reading: frame.opening))
  }

  func read(
    _ passages: [Passage], of documents: [TextDocument], behind opening: TextPrefix
  ) throws(Refusal) -> ContextSelection {
    var text = opening
    for passage in passages {
      try Refusal.checkCancellation(documents[passage.document].name)
      let chunk = documents[passage.document].chunks[passage.chunk]
      var rows = try chunk.storedRows()
      if rows == nil { rows = try self.rows(of: chunk.tokens, behind: opening) }
      if let rows { text.append(rows, readAt: opening.tokenCount) }
    }
    return ContextSelection(text: text, chunkCount: passages.count)
  }
}
