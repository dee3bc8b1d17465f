public import ContextTrees
public import FileAccess
import LlamaRuntime
import NodeBlocks
public import TreeStore

/// A question about documents, ready to be answered: ``LanguageModel/generate(_:options:)``.
public struct Inquiry: Sendable {
  /// The tokens that are read for it.
  public let prompt: [Int32]
  /// What was prepared; nil where the whole text stands in the prompt.
  public let context: ContextSelection?
  /// The first words of the answer, which stand in the prompt already: not part of what is generated. Often empty.
  public var answerStart = ""
  /// The documents, in order.
  public let documents: [Summary]
  /// The chunks that were found; empty where all is read.
  public let passages: [Passage]
  /// Their texts.
  public var passageTexts: [String] = []
  /// What is read of each chunk, in the order of the documents; empty where the whole text stands in the prompt.
  public var sources: [Source] = []

  /// Segments of the store that cannot be read, and were not searched.
  public var unreadableSegments = 0

  /// What is read of a chunk.
  public struct Source: Sendable, Hashable {
    /// The number of the document.
    public let document: Int
    /// The number of the chunk in the document.
    public let chunk: Int
    /// Its bytes in the text; nil where the tokens do not tell, as those of a tokenizer that changes the text. A
    /// character that two chunks share is the second one's.
    public var byteRange: Range<Int>?
    /// The text that is read, as it was written where the store keeps it, else as its tokens say.
    public var text = ""
    /// How well it fits the question: of a tree, its best node that is read. Greater is better.
    public var score: Float
    /// Of a text, the question's words that it has.
    public let words: [WordMatch]
    /// Of a tree, the nodes that are read.
    public let nodes: [TreeNode]
    /// Rows that are read for each layer.
    public let rowCount: Int
    /// Bytes of keys and values that are read from a store, decompressed; 0 for what was read for this question.
    public let storedByteCount: Int
  }

  /// A document of an inquiry.
  public struct Summary: Sendable, Hashable {
    /// In the store, or of the file.
    public let name: String
    /// Of the text.
    public let tokenCount: Int
    /// Of the text.
    public let chunkCount: Int
  }
}

extension LanguageModel {
  /// Answers a question.
  /// - Throws: `Refusal`, as ``generate(_:context:options:)``.
  public func generate(
    _ inquiry: Inquiry, options: GenerationOptions = GenerationOptions()
  ) throws(Refusal) -> ResponseStream {
    try generate(inquiry.prompt, context: inquiry.context, options: options)
  }

  /// A question about context trees.
  /// - Parameters:
  ///   - question: of the user.
  ///   - documents: in the order in which the model is to read them.
  ///   - search: how nodes are picked.
  ///   - usesChatTemplate: whether the model's chat template is used if it has one.
  ///   - explains: whether the inquiry has its sources, which takes a look at the embeddings of all nodes that are read.
  /// - Throws: `Refusal` `no-tokenizer`, those of ``select(from:search:query:)`` and of the chat template.
  public func inquiry(
    _ question: String, about documents: [ContextDocument], search: TreeSearch = .standard,
    usesChatTemplate: Bool = true, explains: Bool = false
  ) throws(Refusal) -> Inquiry {
    let prompt =
      try chatTemplate != nil && usesChatTemplate ? chatPrompt([.user(question)]) : textPrompt(question)
    let selection = try select(from: documents, search: search, query: prompt)
    return Inquiry(
      prompt: prompt, context: selection,
      documents: documents.map {
        Inquiry.Summary(name: $0.name, tokenCount: $0.tokenCount, chunkCount: $0.chunks.count)
      }, passages: [],
      sources: explains ? try sources(of: selection, from: documents, search: search, query: prompt) : [])
  }

  /// A question about texts, of which a plain model reads the chunks that fit it.
  /// - Parameters:
  ///   - question: of the user.
  ///   - documents: in the order in which the model is to read them.
  ///   - frame: what stands around them.
  ///   - reading: how many chunks are read, and how they are kept.
  ///   - explains: whether the inquiry has its sources.
  /// - Throws: `Refusal` `no-tokenizer`, and those of ``read(_:of:behind:reading:)``.
  public func inquiry(
    _ question: String, about documents: [TextDocument], behind frame: ReadingFrame,
    reading: DeepReading = DeepReading(), explains: Bool = false
  ) throws(Refusal) -> Inquiry {
    try requireFixedPositions()
    let form = try textForm(reading, frame: frame)
    return try inquiry(
      question, about: documents, behind: keptOpening(form), form, reading: reading, explains: explains)
  }

  /// - Parameter openingRows: the frame's, as they are kept.
  func inquiry(
    _ question: String, about documents: [TextDocument], behind openingRows: TextRows, _ form: TextForm,
    reading: DeepReading, explains: Bool
  ) throws(Refusal) -> Inquiry {
    guard documents.contains(where: { !$0.chunks.isEmpty }) else {
      throw Refusal(.emptyDocument, file: pack.path, "no document to ask about")
    }
    let tokenizer = try requireTokenizer()
    let passages = try passages(of: documents, for: question, reading: reading)
    let rows = try rows(of: passages, of: documents, form)
    return Inquiry(
      prompt: try questionPrompt(question, in: form.frame),
      context: try place(rows, behind: openingRows, repair: reading.repair),
      answerStart: form.frame.answerStart,
      documents: documents.map(Inquiry.Summary.init), passages: passages,
      passageTexts: passages.map { tokenizer.decode(documents[$0.document].chunks[$0.chunk].tokens[...]) },
      sources: explains ? try sources(passages, rows.map(\.rows), of: documents) : [])
  }

  /// A question behind the whole of a text, which stands in the prompt.
  /// - Throws: `Refusal` `no-tokenizer`.
  public func inquiry(
    _ question: String, aboutAllOf document: TextDocument, behind frame: ReadingFrame
  ) throws(Refusal) -> Inquiry {
    Inquiry(
      prompt: try frame.opening + document.chunks.flatMap(\.tokens) + questionPrompt(question, in: frame),
      context: nil, answerStart: frame.answerStart, documents: [Inquiry.Summary(document)], passages: [])
  }
}

extension Inquiry.Summary {
  init(_ document: TextDocument) {
    self.init(name: document.name, tokenCount: document.tokenCount, chunkCount: document.chunks.count)
  }
}

extension DocumentStore {
  /// A question about documents of the store, in the way that they were prepared for.
  /// - Parameters:
  ///   - question: of the user.
  ///   - names: of documents; of a store for exact reading, one.
  ///   - search: how nodes of trees are picked.
  ///   - reading: how many chunks are read of texts.
  ///   - usesChatTemplate: for trees; texts are asked about in the frame that they were read in.
  ///   - explains: whether the inquiry has its sources.
  /// - Throws: `Refusal` `missing-document`, `one-document` when several are named in a store for exact reading, those of
  ///   damaged stores, and those of asking.
  public func inquiry(
    _ question: String, about names: [String], search: TreeSearch = .standard, reading: DeepReading = DeepReading(),
    usesChatTemplate: Bool = true, explains: Bool = false
  ) throws(Refusal) -> Inquiry {
    guard let text = store.configuration.text else {
      var documents: [ContextDocument] = []
      for name in names { documents.append(try document(named: name)) }
      return try model.inquiry(
        question, about: documents, search: search, usesChatTemplate: usesChatTemplate, explains: explains)
    }
    switch text.manner {
    case .exact:
      guard let name = names.first, names.count == 1 else {
        throw Refusal(
          .oneDocument, file: store.path, "its documents were read exactly, each as the whole text: ask about one")
      }
      return try exactInquiry(question, about: name, text)
    case .deep:
      var documents: [TextDocument] = []
      for name in names { documents.append(try textDocument(named: name)) }
      var reading = reading
      reading.chunkSize = text.chunkSize
      reading.shares = text.shares
      return try model.inquiry(
        question, about: documents, behind: try opening(text), text, reading: reading, explains: explains)
    }
  }

  /// A document of a store of texts.
  /// - Throws: `Refusal` `missing-document`, `configuration-mismatch` when the store has trees, and those of damaged
  ///   stores.
  public func textDocument(named name: String) throws(Refusal) -> TextDocument {
    let (chunks, text) = try storedTexts(of: name)
    return TextDocument(name: name, chunks: chunks.map { TextChunk($0) }, text: text)
  }

  /// The chunks of a document.
  func storedTexts(of name: String) throws(Refusal) -> (chunks: [StoredText], text: TextBytes) {
    guard store.configuration.text != nil else {
      throw Refusal(.configurationMismatch, file: store.path, "holds context trees, not texts")
    }
    return try chunks(of: name) { (key) throws(Refusal) in try store.text(key) }
  }

  /// The frame's rows, which a store for deep reading keeps.
  func opening(_ text: TextForm) throws(Refusal) -> TextRows {
    guard let key = store.configuration.frameKey, let rows = try store.text(key)?.rows() else {
      return try model.keptOpening(text)
    }
    return rows
  }

  /// A question behind a whole document: what is stored of it, and the rest of its text.
  private func exactInquiry(_ question: String, about name: String, _ text: TextForm) throws(Refusal) -> Inquiry {
    let chunks = try storedTexts(of: name).chunks
    var prefix = TextPrefix(layout: text.layout)
    var rest: [Int32] = []
    var sources: [Inquiry.Source] = []
    for (number, chunk) in chunks.enumerated() {
      guard rest.isEmpty else {
        throw Refusal(
          .malformedRecord, file: store.path, structure: "document \"\(name)\"", "only its last chunk can end anywhere")
      }
      if let rows = try chunk.rows() {
        prefix.append(rows, readAt: prefix.tokenCount)
        sources.append(
          Inquiry.Source(
            document: 0, chunk: number, text: model.tokenizer?.decode(chunk.tokens[...]) ?? "", score: 0, words: [],
            nodes: [], rowCount: rows.rowCount, storedByteCount: rows.storage.byteCount))
      }
      rest = Array(chunk.tokens[text.keptTokens(chunk.tokens.count)...])
    }
    let tokenCount = prefix.tokenCount + rest.count - text.frame.opening.count
    let prompt = try rest + model.questionPrompt(question, in: text.frame)
    return Inquiry(
      prompt: prompt, context: ContextSelection(text: prefix, chunkCount: chunks.count),
      answerStart: text.frame.answerStart,
      documents: [Inquiry.Summary(name: name, tokenCount: tokenCount, chunkCount: chunks.count)], passages: [],
      sources: sources)
  }
}

extension Refusal.Name {
  /// Several documents were named where one can be read.
  public static let oneDocument = Refusal.Name("one-document", .usage)
}
