import ContextTrees
public import FileAccess
import LlamaRuntime
import ModelPacks
public import NodeBlocks
import Tokenization
public import TreeStore

extension StoreBuilder {
  /// The space that texts take in a store that has none of their chunks.
  public struct Plan: Sendable, Hashable {
    /// Documents that would be stored.
    public var documentCount = 0
    /// Tokens of all of them.
    public var tokenCount = 0
    /// Bytes of all chunks.
    public var byteCount = 0

    /// Nothing yet.
    public init() {}
  }

  /// Reads texts, and works out what they would take in a store of context trees. Writes nothing.
  /// - Parameters:
  ///   - sources: the texts' files.
  ///   - model: the one that would encode them.
  ///   - encoding: how keys and values would be kept.
  ///   - borders: where texts would be cut.
  ///   - fault: receives what is wrong with a text, which is then left out; throws it to end.
  /// - Throws: `Refusal` `no-injection`, `no-tokenizer`, `missing-file`, `not-text`, `empty-document`, `cancelled`.
  public static func plan(
    _ sources: [DocumentSource], model: LanguageModel, encoding: RowEncoding = .int8,
    borders: ChunkBorders = .sentences,
    fault: (Refusal) throws(Refusal) -> Void = { (fault) throws(Refusal) in throw fault }
  ) throws(Refusal) -> Plan {
    let (shape, layout) = try model.requireTrees(encoding)
    return try plan(sources, model: model, fault: fault) { tokens in
      model.chunks(of: tokens, shape: shape, borders: borders).reduce(0) { sum, chunk in
        ContextTree(shape: shape, tokenCount: chunk.count).nodes.reduce(sum + chunk.count * 4) {
          $0 + BlockGeometry.node(layout, rowCount: $1.rowCount).storedByteCount + model.runtime.nodeEmbeddingSize * 4
        }
      }
    }
  }

  /// Reads texts, and works out what they would take in a store of texts. Writes nothing.
  /// - Parameters:
  ///   - sources: the texts' files.
  ///   - model: the one that would read them.
  ///   - manner: how it would.
  ///   - reading: for deep reading, how they would be cut and kept.
  ///   - fault: receives what is wrong with a text, which is then left out; throws it to end.
  /// - Throws: `Refusal` `no-tokenizer`, `missing-file`, `not-text`, `empty-document`, `cancelled`.
  public static func plan(
    _ sources: [DocumentSource], model: LanguageModel, manner: ReadingManner, reading: DeepReading = DeepReading(),
    fault: (Refusal) throws(Refusal) -> Void = { (fault) throws(Refusal) in throw fault }
  ) throws(Refusal) -> Plan {
    let own = model.runtime.textRowLayout
    let layout = own.encoded(as: reading.encoding ?? own.standardEncoding) ?? own
    return try plan(sources, model: model, fault: fault) { tokens in
      switch manner {
      case .exact: own.byteCount(rows: max(tokens.count, 1)) + tokens.count * 4
      case .deep:
        model.textChunks(of: tokens, reading: reading).reduce(0) { sum, chunk in
          let counts =
            reading.shares?.rowCounts(tokens: chunk.count)
            ?? [Int](repeating: chunk.count, count: layout.layerCount * layout.kvHeadCount)
          return sum + chunk.count * 4 + BlockGeometry.text(layout, rowCounts: counts).storedByteCount
        }
      }
    }
  }

  private static func plan(
    _ sources: [DocumentSource], model: LanguageModel, fault: (Refusal) throws(Refusal) -> Void,
    byteCount: (_ tokens: [Int32]) -> Int
  ) throws(Refusal) -> Plan {
    _ = try model.requireTokenizer()
    var reader = DocumentReader(sources)
    var plan = Plan()
    while true {
      try Refusal.checkCancellation(model.pack.path)
      do throws(Refusal) {
        guard let document = try reader.next() else { return plan }
        let tokens = try model.documentTokens(document.text, file: document.place)
        plan.documentCount += 1
        plan.tokenCount += tokens.count
        plan.byteCount += byteCount(tokens)
      } catch {
        try fault(error)
      }
    }
  }
}
