public import ContextTrees
public import FileAccess
public import LlamaRuntime
import ModelPacks
import NodeBlocks

/// The nodes that a query picks from the trees of some documents, and their rows.
public struct ContextSelection: Sendable {
  /// The preserved nodes of every chunk, documents and chunks in order.
  public let nodes: [[TreeNode]]
  public let context: InjectedContext

  /// What a search of the caller's own has picked.
  public init(nodes: [[TreeNode]], context: InjectedContext) {
    self.nodes = nodes
    self.context = context
  }

  /// Rows of keys and values that are injected into each layer.
  public var rowCount: Int { context.rowCount }
}

extension LanguageModel {
  /// Searches the trees of documents.
  ///
  /// - Parameters:
  ///   - documents: in the order in which the model is to read them; all with one layout.
  ///   - query: the running text, which only some policies look at; not empty.
  /// - Throws: `Refusal` when a stored node is damaged, `no-injection` for a plain pack, `configuration-differs` when
  ///   documents differ in layout or are another model's.
  public func select(
    from documents: [ContextDocument], search: TreeSearch = .standard, query: [Int32]
  ) throws(Refusal) -> ContextSelection {
    try select(from: documents) { (chunks) throws(Refusal) in
      try search.preservedNodes(of: chunks, query: searchQuery(query, for: search))
    }
  }

  /// What trees are searched for, with what a search looks at.
  public func searchQuery(_ tokens: [Int32], for search: TreeSearch) -> SearchQuery {
    SearchQuery(
      tokens: tokens,
      embedding: search.policy.looksAtEmbeddings ? runtime.queryEmbedding(tokens) : [])
  }

  /// Searches the trees of documents by scores of the caller's own: of two children the one with the higher score is
  /// expanded, the left one of equals.
  /// - Parameter score: given the number of the chunk, counted through all documents, and a node of it.
  /// - Throws: `Refusal` as `select(from:search:query:)`.
  public func select(
    from documents: [ContextDocument], score: (_ chunk: Int, _ node: TreeNode) -> Float
  ) throws(Refusal) -> ContextSelection {
    try select(from: documents) { chunks in
      chunks.enumerated().map { number, chunk in
        chunk.tree.preservedNodes(opening: .path) { score(number, $0) }
      }
    }
  }

  /// - Parameter search: the nodes to keep of every chunk.
  private func select(
    from documents: [ContextDocument], search: (_ chunks: [ContextChunk]) throws(Refusal) -> [[TreeNode]]
  ) throws(Refusal) -> ContextSelection {
    guard let first = documents.first else {
      throw Refusal(.emptyDocument, file: pack.path, "no document to ask about")
    }
    guard first.layout == (try requireTrees(first.layout.encoding).layout) else {
      throw Refusal(.configurationDiffers, file: first.name, "was encoded by a model of another shape")
    }
    for document in documents where document.layout != first.layout {
      throw Refusal(
        .configurationDiffers, file: document.name,
        "its rows are \(document.layout.encoding), those of \(first.name) are \(first.layout.encoding)")
    }
    let chunks = documents.flatMap(\.chunks)
    let selected = try search(chunks)
    var injected: [[NodeBlock]] = []
    for (chunk, nodes) in zip(chunks, selected) {
      var blocks: [NodeBlock] = []
      for node in nodes { blocks.append(try chunk.block(of: node)) }
      injected.append(blocks)
    }
    return ContextSelection(nodes: selected, context: InjectedContext(layout: first.layout, chunks: injected))
  }
}

extension Refusal.Name {
  public static let configurationDiffers = Refusal.Name("configuration-differs", .badInput)
}
