public import ContextTrees
public import NodeBlocks

/// What a store keeps of its chunks.
public enum ChunkForm: Sendable, Hashable {
  /// Context trees.
  case tree(TreeForm)
  /// The rows of the text in all layers.
  case text(TextForm)
}

/// The form of a store's context trees.
public struct TreeForm: Sendable, Hashable {
  public let shape: TreeShape
  package let layout: NodeBlockLayout
  /// Floats of a node's embedding: the model's hidden size.
  public let embeddingSize: Int
}

/// How the chunks of a text are read whose rows a store keeps.
public enum ReadingManner: UInt32, Sendable, Hashable, CaseIterable {
  /// One after the other, each with all before it in view.
  case exact = 1
  /// Each alone, behind the frame.
  case deep = 2
}

/// The form of a store of text rows.
public struct TextForm: Sendable, Hashable {
  public let manner: ReadingManner
  /// Tokens of a chunk, at most.
  public let chunkSize: Int
  package let layout: TextRowLayout
  public let frame: ReadingFrame
  /// Rows that are kept of 64 tokens that were read deeply; 64 keeps all.
  public let keptRows: Int

  /// Tokens of a chunk: rows are attended to in parts of no more.
  public static let chunkSizes = 1...1024
  /// Rows that are kept of 64.
  public static let keptRowCounts = 1...64

  /// - Precondition: a chunk size of 1 to 1,024; 1 to 64 rows kept, and all of what is read exactly.
  package init(
    manner: ReadingManner, chunkSize: Int, layout: TextRowLayout, frame: ReadingFrame, keptRows: Int = 64
  ) {
    precondition(Self.chunkSizes.contains(chunkSize), "a chunk has 1 to 1024 tokens")
    precondition(
      Self.keptRowCounts.contains(keptRows) && (manner == .deep || keptRows == 64), "1 to 64 rows of 64 are kept")
    self.keptRows = keptRows
    self.manner = manner
    self.chunkSize = chunkSize
    self.layout = layout
    self.frame = frame
  }

  /// Rows that are kept of a chunk: of what is read exactly, those of whole blocks, since the rest is packed only when
  /// it is followed by more.
  package func rowCount(tokens: Int) -> Int {
    let together = TextRowLayout.rowsTogether
    return manner == .exact ? tokens / together * together : (tokens * keptRows + together - 1) / together
  }

  /// How the frame's rows are kept: all of them, and precisely, as every question reads them.
  package var frameLayout: TextRowLayout {
    guard layout.encoding == .int4, let precise = layout.encoded(as: .float16) else { return layout }
    return precise
  }

  /// The layout and the number of a chunk's rows.
  package func rows(tokens: Int, isFrame: Bool) -> (layout: TextRowLayout, count: Int) {
    isFrame ? (frameLayout, tokens) : (layout, rowCount(tokens: tokens))
  }
}

/// A block of a chunk's record, as its configuration determines it.
struct BlockForm {
  /// The node's number; 0 for a text's rows.
  let number: Int
  /// As the kernels read it.
  let byteCount: Int
}

extension TreeStoreConfiguration {
  /// The context trees of the chunks; nil when there are none.
  public var tree: TreeForm? { if case .tree(let form) = form { form } else { nil } }

  /// The texts' form; nil for trees.
  public var text: TextForm? { if case .text(let form) = form { form } else { nil } }

  /// Tokens of a chunk, at most.
  public var chunkSize: Int {
    switch form {
    case .tree(let form): form.shape.chunkSize
    case .text(let form): form.chunkSize
    }
  }

  /// Tokens of the largest record: a frame may be longer than a chunk.
  var tokenLimit: Int {
    switch form {
    case .tree(let form): form.shape.chunkSize
    case .text(let form): max(form.chunkSize, form.frame.opening.count)
    }
  }

  /// How keys and values are kept.
  public var rowEncoding: RowEncoding {
    switch form {
    case .tree(let form): form.layout.encoding
    case .text(let form): form.layout.encoding
    }
  }

  /// Tokens of the chunks of a text: what is read exactly begins with those of the frame.
  func chunkTokenCount(text tokenCount: Int) -> Int {
    text.map { $0.manner == .exact ? tokenCount + $0.frame.opening.count : tokenCount } ?? tokenCount
  }

  /// The chunk that all others were read behind; nil where there is none.
  package var frameKey: ChunkKey? {
    text.flatMap { $0.manner == .deep ? chunkKey(tokens: $0.frame.opening) : nil }
  }

  /// The chunks that documents need.
  func neededChunks(of documents: [StoredDocument]) -> Set<ChunkKey> {
    var needed = Set(documents.lazy.flatMap(\.chunks))
    if let frameKey { needed.insert(frameKey) }
    return needed
  }

  /// The blocks of a chunk's record.
  /// - Parameter isFrame: whether it has `frameKey`.
  func blocks(tokens: Int, isFrame: Bool) -> [BlockForm] {
    switch form {
    case .tree(let form):
      return ContextTree(shape: form.shape, tokenCount: tokens).nodes.map {
        BlockForm(number: $0.number, byteCount: form.layout.byteCount(rows: $0.rowCount))
      }
    case .text(let form):
      let rows = form.rows(tokens: tokens, isFrame: isFrame)
      return rows.count == 0 ? [] : [BlockForm(number: 0, byteCount: rows.layout.byteCount(rows: rows.count))]
    }
  }
}
