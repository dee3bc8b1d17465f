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
  /// Which part of its rows each head keeps of what was read deeply; nil keeps all.
  public let shares: HeadShares?

  /// Tokens of a chunk: rows are attended to in parts of no more.
  public static let chunkSizes = 1...1024

  /// - Precondition: a chunk size of 1 to 1,024; a share for each head, and none for what is read exactly.
  package init(
    manner: ReadingManner, chunkSize: Int, layout: TextRowLayout, frame: ReadingFrame, shares: HeadShares? = nil
  ) {
    precondition(Self.chunkSizes.contains(chunkSize), "a chunk has 1 to 1024 tokens")
    precondition(
      shares.map { manner == .deep && $0.shares.count == layout.layerCount * layout.kvHeadCount } ?? true,
      "each head has a share")
    self.shares = shares
    self.manner = manner
    self.chunkSize = chunkSize
    self.layout = layout
    self.frame = frame
  }

  /// Tokens of a chunk whose rows are kept, from the first on: of what is read exactly, those of whole blocks, since the
  /// rest is packed only when it is followed by more.
  package func keptTokens(_ tokens: Int) -> Int {
    manner == .exact ? tokens / TextRowLayout.rowsTogether * TextRowLayout.rowsTogether : tokens
  }

  /// How the frame's rows are kept: all of them, and precisely, as every question reads them.
  package var frameLayout: TextRowLayout {
    guard layout.encoding == .int4, let precise = layout.encoded(as: .float16) else { return layout }
    return precise
  }

  /// The layout of a chunk's rows and how many of them each head keeps: (layer, kv head); empty when none are kept.
  package func rows(tokens: Int, isFrame: Bool) -> (layout: TextRowLayout, counts: [Int]) {
    if isFrame { return (frameLayout, even(tokens)) }
    return (layout, shares.map { $0.rowCounts(tokens: tokens) } ?? even(keptTokens(tokens)))
  }

  /// How many rows are kept, for people.
  package var keptText: String {
    guard let shares else { return "all" }
    return "\((100 * shares.mean).rounded())% on average"
  }

  private func even(_ rows: Int) -> [Int] {
    rows == 0 ? [] : [Int](repeating: rows, count: layout.layerCount * layout.kvHeadCount)
  }
}

/// A block of a chunk's record, as its configuration determines it.
struct BlockForm {
  /// The node's number; 0 for a text's rows.
  let number: Int
  let geometry: BlockGeometry

  /// As the kernels read it.
  var byteCount: Int { geometry.byteCount }
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

  /// The layers and heads whose keys and values are kept.
  package var heads: (layers: Int, kvHeads: Int, headDim: Int) {
    switch form {
    case .tree(let form): (form.layout.layerCount, form.layout.kvHeadCount, form.layout.headDim)
    case .text(let form): (form.layout.layerCount, form.layout.kvHeadCount, form.layout.headDim)
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

  /// The blocks of a chunk's record.
  /// - Parameter isFrame: whether it has `frameKey`.
  func blocks(tokens: Int, isFrame: Bool) -> [BlockForm] {
    switch form {
    case .tree(let form):
      return ContextTree(shape: form.shape, tokenCount: tokens).nodes.map {
        BlockForm(number: $0.number, geometry: .node(form.layout, rowCount: $0.rowCount))
      }
    case .text(let form):
      let rows = form.rows(tokens: tokens, isFrame: isFrame)
      return rows.counts.isEmpty
        ? [] : [BlockForm(number: 0, geometry: .text(rows.layout, rowCounts: rows.counts))]
    }
  }
}

extension HeadShares {
  /// The mean of the shares, 0 to 1.
  package var mean: Double { shares.reduce(0) { $0 + Double($1) } / Double(64 * shares.count) }
}
