import ContextTrees
public import FileAccess
import LlamaRuntime
import NodeBlocks

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

/// A text that a plain model answers about.
public struct PlainDocument: Sendable {
  /// For messages.
  public let name: String
  /// Without begin of text.
  public let tokens: [Int32]
  /// The chunks, in order.
  public let chunks: [Range<Int>]
}

/// What a question reads of some documents.
public struct Passage: Sendable {
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
  /// The frame of questions about documents.
  /// - Parameters:
  ///   - usesChatTemplate: whether the model's chat template is used if it has one.
  ///   - system: a system message for the template.
  /// - Throws: `Refusal` `no-tokenizer`, and those of the chat template.
  public func readingFrame(usesChatTemplate: Bool = true, system: String? = nil) throws(Refusal) -> ReadingFrame {
    try ReadingFrame(self, usesChatTemplate: usesChatTemplate, system: system, now: nil)
  }

  /// A text, cut into the chunks in which a plain model reads it.
  /// - Throws: `Refusal` `no-tokenizer`, `missing-file`, `not-text`, `empty-document`.
  public func plainDocument(
    _ source: DocumentSource, reading: DeepReading = DeepReading()
  ) throws(Refusal) -> PlainDocument {
    let tokens = try documentTokens(source.text(), file: source.path)
    return plainDocument(tokens, named: source.name, reading: reading)
  }

  package func plainDocument(_ tokens: [Int32], named name: String, reading: DeepReading) -> PlainDocument {
    // A short window holds a chunk, and as much for question and answer.
    let chunkSize = min(reading.chunkSize, max(runtime.window / 2, 1))
    guard let shape = TreeShape(chunkSize: chunkSize, depth: 1, leafRatio: 1) else {
      preconditionFailure("a chunk has 64 to 1,024 tokens")
    }
    return PlainDocument(name: name, tokens: tokens, chunks: chunks(of: tokens, shape: shape, borders: .sentences))
  }

  /// The passages of documents that fit a question best, in the order of the documents.
  /// - Throws: `Refusal` `no-tokenizer`.
  public func passages(
    of documents: [PlainDocument], for question: String, reading: DeepReading = DeepReading()
  ) throws(Refusal) -> [Passage] {
    let tokenizer = try requireTokenizer()
    var search = WordSearch()
    var places: [(document: Int, chunk: Int)] = []
    for (number, document) in documents.enumerated() {
      for (chunk, range) in document.chunks.enumerated() {
        search.append(tokenizer.decode(document.tokens[range]))
        places.append((number, chunk))
      }
    }
    let scores = search.scores(question)
    // The first of equals: sorting is not stable.
    let count = min(reading.chunkCount, max(runtime.window * 3 / 4 / reading.chunkSize, 1))
    let best = scores.indices.sorted { (-scores[$0], $0) < (-scores[$1], $1) }.prefix(count)
    return best.sorted().map { Passage(document: places[$0].document, chunk: places[$0].chunk, score: scores[$0]) }
  }

  /// Reads passages behind a frame, each alone, for questions about them.
  /// - Throws: `Refusal` `not-finite`, `cancelled`, `prompt-too-long` when the window does not hold them,
  ///   `unsupported-configuration` for a model whose rotary positions depend on the length of the text.
  public func read(
    _ passages: [Passage], of documents: [PlainDocument], behind frame: ReadingFrame
  ) throws(Refusal) -> ContextSelection {
    var text = try prefix(reading: frame.opening)
    let opening = text
    for passage in passages {
      try Refusal.checkCancellation(documents[passage.document].name)
      let document = documents[passage.document]
      let tokens = Array(document.tokens[document.chunks[passage.chunk]])
      text.append(try rows(of: tokens, behind: opening), readAt: opening.tokenCount)
    }
    return ContextSelection(text: text, chunkCount: passages.count)
  }

  /// The rows of a beginning of a prompt.
  package func prefix(reading tokens: [Int32]) throws(Refusal) -> TextPrefix {
    if case .dynamic = configuration.ropeScaling {
      throw Refusal(
        .noInjection, file: pack.path,
        "its rotary positions depend on the length of the text, so that nothing can be read before")
    }
    var prefix = TextPrefix(layout: runtime.textRowLayout)
    for range in tokens.indices.cut(into: 1024) {
      prefix.append(try rows(of: Array(tokens[range]), behind: prefix), readAt: range.lowerBound)
    }
    return prefix
  }

  /// The rows of some tokens, at most 1,024, read behind others.
  package func rows(of tokens: [Int32], behind prefix: TextPrefix) throws(Refusal) -> TextRows {
    let session = Session(runtime, behind: prefix, capacity: tokens.count)
    session.skim(tokens)
    return try session.rows(0..<tokens.count)
  }
}

extension Range<Int> {
  /// Ranges of a size, and the rest.
  fileprivate func cut(into size: Int) -> [Range<Int>] {
    stride(from: lowerBound, to: upperBound, by: size).map { $0..<Swift.min($0 + size, upperBound) }
  }
}
