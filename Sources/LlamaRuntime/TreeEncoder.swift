public import ContextTrees
public import FileAccess
internal import ModelPacks
public import NodeBlocks

/// What makes nodes of a chunk's tokens: some layers of a LLaMA, or an encoder. Not thread-safe: one task or thread at a
/// time.
protocol NodeEncoder: AnyObject {
  /// - Parameters:
  ///   - tokens: the chunk's.
  ///   - passes: the nodes of its tree that are to be made.
  ///   - layout: of the nodes.
  /// - Throws: `Refusal` `not-finite`, `file-changed`.
  func encode(
    _ tokens: [Int32], _ passes: [ContextTree.SpinePass], _ layout: NodeBlockLayout
  ) throws(Refusal) -> [TreeEncoder.EncodedNode]
}

/// The lower model: encodes chunks into the nodes of their trees.
///
/// Source: arXiv 2410.19318, section 3.2. Every node is encoded alone, from position 0; the nodes of a left spine share
/// one pass. An encoder reads a chunk as a whole, and nodes have parts of its states. Not thread-safe: one task or thread
/// at a time.
public final class TreeEncoder {
  private let model: LlamaModel
  private let shape: TreeShape
  public let layout: NodeBlockLayout
  private let encoder: any NodeEncoder

  /// An encoded node.
  public struct EncodedNode: Sendable {
    public let node: TreeNode
    /// The vector that searches compare with the query's: (`LlamaModel.nodeEmbeddingSize`).
    public let embedding: [Float]
    public let block: NodeBlock
  }

  /// - Parameters:
  ///   - threads: share the work; nil takes the model's. Results do not depend on it.
  ///   - moments: collects the second moments of the inputs of the lower model's matrices.
  /// - Returns: nil for a plain pack, which has no lower model.
  public init?(_ model: LlamaModel, encoding: RowEncoding, threads: ThreadPool? = nil, moments: SecondMoments? = nil) {
    guard let weights = model.lowerWeights, let shape = model.treeShape, let layout = model.nodeLayout(encoding)
    else { return nil }
    self.model = model
    self.shape = shape
    self.layout = layout
    let threads = threads ?? model.threads
    encoder =
      StateEncoder(model, threads: threads, moments: moments)
      ?? LayerEncoder(model, weights, threads: threads, moments: moments)
  }

  /// Encodes one chunk.
  /// - Parameter tokens: 1 … chunk size tokens of the vocabulary.
  /// - Returns: all nodes of the chunk's tree.
  /// - Throws: `Refusal` `not-finite` when the weights make keys or values overflow, `file-changed`.
  public func encode(_ tokens: [Int32]) throws(Refusal) -> EncodedChunk {
    let tree = ContextTree(shape: shape, tokenCount: tokens.count)
    let nodes = try encoder.encode(tokens, tree.spinePasses, layout).sorted { $0.node.number < $1.node.number }
    try model.pack.requireWhole()
    return EncodedChunk(tokens: tokens, embeddings: nodes.flatMap(\.embedding), blocks: nodes.map(\.block))
  }

  /// Encodes one node in a pass of its own, which gives the same bits as `encode(_:)`.
  /// - Parameter tokens: the tokens of the node's chunk.
  /// - Throws: `Refusal` `not-finite`.
  public func encode(alone node: TreeNode, of tokens: [Int32]) throws(Refusal) -> EncodedNode {
    try encoder.encode(tokens, [ContextTree.SpinePass([node])], layout)[0]
  }
}

extension Refusal.Name {
  public static let notFinite = Refusal.Name("not-finite", .badInput)
}
