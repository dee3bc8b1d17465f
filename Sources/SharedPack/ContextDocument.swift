import ContextTrees
public import FileAccess
public import LlamaRuntime
public import NodeBlocks

/// A text that can be asked about.
public struct ContextDocument: Sendable {
  public let name: String
  public let chunks: [ContextChunk]
  public let layout: NodeBlockLayout

  public var tokenCount: Int { chunks.reduce(0) { $0 + $1.tokens.count } }

  public init(name: String, chunks: [ContextChunk], layout: NodeBlockLayout) {
    self.name = name
    self.chunks = chunks
    self.layout = layout
  }
}

extension LanguageModel {
  /// Encodes tokens into the chunks of a document, in memory.
  /// - Parameters:
  ///   - borders: where it is cut; a store's chunks are the same if it was built alike.
  ///   - moments: takes in what the lower model's matrices are multiplied with.
  ///   - progress: called with the number of tokens done; throws to stop.
  /// - Throws: `Refusal` `no-injection`, `not-finite`, and what `progress` throws.
  public func encode(
    name: String, tokens: [Int32], encoding: RowEncoding = .int8, borders: ChunkBorders = .sentences,
    moments: InputMoments? = nil, progress: (_ done: Int) throws(Refusal) -> Void = { _ in }
  ) throws(Refusal) -> ContextDocument {
    let (shape, layout) = try requireTrees(encoding)
    guard let encoder = TreeEncoder(runtime, encoding: encoding, moments: moments) else {
      preconditionFailure("a model with trees has an encoder")
    }
    var chunks: [ContextChunk] = []
    for range in self.chunks(of: tokens, shape: shape, borders: borders) {
      chunks.append(ContextChunk(try encoder.encode(Array(tokens[range])), shape: shape))
      try progress(range.upperBound)
    }
    return ContextDocument(name: name, chunks: chunks, layout: layout)
  }
}
