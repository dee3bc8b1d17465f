public import ContextTrees
public import FileAccess
package import LlamaRuntime
import ModelPacks
import NodeBlocks

/// What a question reads of some documents: nodes that it picks from their trees or, for a plain model, chunks.
public struct ContextSelection: Sendable {
  /// The preserved nodes of every chunk, documents and chunks in order, none of those that a limit of rows left out;
  /// empty for a plain model.
  public let nodes: [[TreeNode]]
  /// Chunks that have a part in it.
  public let chunkCount: Int
  package let rows: Rows

  package enum Rows: Sendable {
    /// Of trees, for the layers that read them.
    case trees(InjectedContext)
    /// Of a text before the running one, for all layers.
    case text(TextPrefix)
  }

  /// Nodes that the caller's own search picked.
  package init(nodes: [[TreeNode]], context: InjectedContext) {
    self.nodes = nodes
    chunkCount = nodes.count { !$0.isEmpty }
    rows = .trees(context)
  }

  /// A text that stands before the question.
  package init(text: TextPrefix, chunkCount: Int) {
    nodes = []
    self.chunkCount = chunkCount
    rows = .text(text)
  }

  /// Rows of keys and values that are there for each layer.
  public var rowCount: Int {
    switch rows {
    case .trees(let context): context.rowCount
    case .text(let text): text.rowCount
    }
  }

  /// Whether it comes from trees, for the layers that read them.
  public var isInjected: Bool { context != nil }

  /// What is injected from trees.
  package var context: InjectedContext? { if case .trees(let context) = rows { context } else { nil } }
}

extension LanguageModel {
  /// Searches the trees of documents.
  ///
  /// - Parameters:
  ///   - documents: in the order in which the model is to read them; all with one row encoding.
  ///   - search: how nodes are picked.
  ///   - query: the running text, which only some policies look at; not empty.
  /// - Throws: `Refusal` `model-mismatch` when another model encoded a document (its identity counts, not its shape),
  ///   `configuration-mismatch` when documents have rows of different forms, `no-injection` for a plain pack, those of a
  ///   stored node that is damaged, `empty-document` without documents, `row-limit` when the search's limit is below the
  ///   rows of one chunk, and `cancelled`.
  public func select(
    from documents: [ContextDocument], search: TreeSearch = .standard, query: [Int32]
  ) throws(Refusal) -> ContextSelection {
    try select(from: documents) { (chunks) throws(Refusal) in
      let nodes = try search.preservedNodes(of: chunks, query: searchQuery(query, for: search))
      if let limit = search.rowLimit, nodes.allSatisfy(\.isEmpty) {
        throw Refusal(
          .rowLimit, file: pack.path, parameter: "rowLimit",
          "is \(limit), below the rows that the best chunk has at least"
        )
      }
      return nodes
    }
  }

  /// The query that trees are searched for, as far as the search looks at it.
  package func searchQuery(_ tokens: [Int32], for search: TreeSearch) -> SearchQuery {
    SearchQuery(
      tokens: tokens,
      embedding: search.policy.looksAtEmbeddings ? runtime.queryEmbedding(tokens) : [])
  }

  /// Searches the trees of documents by the caller's own scores: of two children the one with the higher score is
  /// expanded, the left one of equals.
  /// - Parameters:
  ///   - documents: in the order in which the model is to read them; all with one row encoding.
  ///   - score: given the number of the chunk, counted through all documents, and a node of it.
  /// - Throws: `Refusal` as ``select(from:search:query:)``.
  public func select(
    from documents: [ContextDocument], score: (_ chunk: Int, _ node: TreeNode) -> Float
  ) throws(Refusal) -> ContextSelection {
    try select(from: documents) { chunks in
      chunks.enumerated().map { number, chunk in
        chunk.tree.preservedNodes(rule: .path) { score(number, $0) }
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
    let configuration = try storeConfiguration(first.configuration.rowEncoding)
    for document in documents { try document.configuration.require(configuration, file: document.name) }
    let chunks = documents.flatMap(\.chunks)
    let selected = try search(chunks)
    try pack.requireWhole()
    var injected: [[NodeBlock]] = []
    for (chunk, nodes) in zip(chunks, selected) where !nodes.isEmpty {
      try Refusal.checkCancellation(first.name)
      var blocks: [NodeBlock] = []
      for node in nodes { blocks.append(try chunk.block(of: node)) }
      injected.append(blocks)
    }
    return ContextSelection(
      nodes: selected, context: try makeContext(injected, encoding: first.configuration.rowEncoding))
  }

  /// What a session reads of the nodes of some chunks.
  /// - Parameter encoding: of the nodes.
  /// - Throws: `Refusal` `no-injection` for a plain pack, `not-finite`, `file-changed`.
  package func makeContext(_ chunks: [[NodeBlock]], encoding: RowEncoding) throws(Refusal) -> InjectedContext {
    _ = try requireTrees(encoding)
    guard let context = try runtime.makeContext(chunks, encoding: encoding) else {
      preconditionFailure("a model with trees reads them")
    }
    return context
  }
}

extension Refusal.Name {
  /// Not even one chunk fits a limit of rows.
  public static let rowLimit = Refusal.Name("row-limit", .usage)
}
