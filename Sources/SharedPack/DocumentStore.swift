public import FileAccess
public import TreeStore

/// A store of documents, opened with the model that encoded them, to ask about.
///
/// Pins the generation that was the newest when it was opened: later commits are visible only to stores that are opened
/// later, and documents that are removed later stay readable here. Safe to use from any number of tasks.
public final class DocumentStore: Sendable {
  /// The store itself.
  public let store: TreeStore
  /// The model that encoded it.
  public let model: LanguageModel

  /// Opens the newest generation of a store.
  /// - Parameters:
  ///   - path: of the store's directory.
  ///   - model: the one that encoded the store.
  /// - Throws: `Refusal` `model-mismatch` when another model encoded the store (its identity counts, not its name),
  ///   and those of `Formats/tree-store.md`.
  public init(opening path: String, model: LanguageModel) throws(Refusal) {
    let store = try TreeStore(opening: path)
    try store.require(try model.storeConfiguration(like: store.configuration))
    self.store = store
    self.model = model
  }

  /// A document with its trees.
  /// - Throws: `Refusal` `missing-document`; `missing-chunk` or a damaged chunk's; `configuration-mismatch` when the store
  ///   has texts.
  public func document(named name: String) throws(Refusal) -> ContextDocument {
    guard store.configuration.tree != nil else {
      throw Refusal(.configurationMismatch, file: store.path, "holds texts, not context trees")
    }
    let (chunks, text) = try chunks(of: name) { (key) throws(Refusal) in try store.chunk(key) }
    var document = ContextDocument(
      name: name, chunks: chunks.map { ContextChunk($0) }, configuration: store.configuration)
    document.text = text
    return document
  }

  /// The chunks of a document, in the form that they are stored in.
  /// - Throws: `Refusal` `missing-document`; `missing-chunk` or a damaged chunk's.
  func chunks<Chunk>(
    of name: String, find: (ChunkKey) throws(Refusal) -> Chunk?
  ) throws(Refusal) -> (chunks: [Chunk], text: TextBytes) {
    let document = try store.requireDocument(named: name)
    let stored = try store.chunks(of: document)
    var chunks: [Chunk] = []
    for key in stored.keys {
      guard let chunk = try find(key) else {
        throw Refusal(
          .missingChunk, file: store.path, structure: "document \"\(name)\"", "chunk \(key) is in no segment")
      }
      chunks.append(chunk)
    }
    return (
      chunks,
      TextBytes(count: document.textByteCount, chunkCounts: stored.textByteCounts, kept: (store, document))
    )
  }
}

extension LanguageModel {
  /// This model's form of texts that is kept like another.
  private func textForm(like other: TextForm) throws(Refusal) -> TextForm {
    switch other.manner {
    case .exact: exactTextForm(frame: other.frame)
    case .deep:
      try textForm(DeepReading(of: other), frame: other.frame)
    }
  }

  /// The configuration of this model's stores that have the form of a store.
  /// - Throws: `Refusal` `no-injection` for trees and a plain pack.
  func storeConfiguration(like other: TreeStoreConfiguration) throws(Refusal) -> TreeStoreConfiguration {
    switch other.form {
    case .tree(let form): try storeConfiguration(form.layout.encoding)
    case .text(let form): storeConfiguration(try textForm(like: form))
    }
  }
}
