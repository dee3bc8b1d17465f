import ContextTrees
package import FileAccess
import LlamaRuntime
import ModelPacks
import NodeBlocks
import Tokenization
package import TreeStore

// What was lost of a store is encoded again.
extension StoreBuilder {
  /// Opens a store that is there for writing, whatever it holds.
  /// - Throws: `Refusal` `missing-file`, `not-a-store`, `busy`, `model-mismatch`, `configuration-mismatch`.
  package init(continuing path: String, model: LanguageModel) throws(Refusal) {
    let configuration = try TreeStore.configuration(of: path)
    switch configuration.form {
    case .tree: try self.init(opening: path, model: model, encoding: configuration.rowEncoding)
    case .text(let form) where form.manner == .exact: try self.init(exactly: path, model: model)
    case .text: try self.init(deeply: path, model: model)
    }
  }

  /// Encodes a document again, from the text that its store keeps.
  /// - Returns: nil where it does not keep it, or has no such document.
  /// - Throws: `Refusal`, as adding, and those of a damaged catalog.
  package mutating func encodeAgain(
    _ name: String, progress: (_ done: Int, _ encoded: Int, _ total: Int) -> Void = { _, _, _ in }
  ) throws(Refusal) -> Report? {
    let store = try TreeStore(opening: writer.path)
    guard let document = try store.document(named: name), let text = try store.text(of: document) else { return nil }
    let metadata = document.metadata.isEmpty ? nil : document.metadata
    return try add(
      DocumentText(name: name, text: text, metadata: metadata, place: "\(writer.path): document \"\(name)\""),
      waits: true, progress: progress)
  }
}

/// Encodes chunks of a store again whose tokens are known.
package struct ChunkHealing: ~Copyable {
  private let model: LanguageModel
  private var writer: TreeStoreWriter
  /// The frame's rows, once they were needed.
  private var frameRows: TextPrefix?

  /// - Throws: `Refusal` `busy`, `model-mismatch`, `configuration-mismatch` and those of damaged stores.
  package init(_ path: String, model: LanguageModel) throws(Refusal) {
    let configuration = try model.storeConfiguration(like: try TreeStore.configuration(of: path))
    writer = try TreeStoreWriter(opening: path, creating: configuration)
    self.model = model
  }

  /// Encodes chunks and commits them.
  /// - Parameter progress: called with the chunks done and all chunks.
  /// - Returns: how many were encoded; of what is read exactly, those that all before them are there of.
  package mutating func encode(
    _ chunks: [ReadableTokens], progress: (_ done: Int, _ total: Int) -> Void = { _, _ in }
  ) throws(Refusal) -> Int {
    var waiting = chunks
    var count = 0
    // A chunk of what is read exactly needs those before it.
    while !waiting.isEmpty {
      var later: [ReadableTokens] = []
      for chunk in waiting {
        try Refusal.checkCancellation(writer.path)
        if try encode(chunk) { count += 1 } else { later.append(chunk) }
        progress(count, chunks.count)
        if writer.waitingByteCount > 1 << 28 { try writer.commit() }
      }
      try writer.commit()
      guard later.count < waiting.count else { break }
      waiting = later
    }
    return count
  }

  /// - Returns: whether it could be done.
  private mutating func encode(_ chunk: ReadableTokens) throws(Refusal) -> Bool {
    let configuration = writer.configuration
    switch configuration.form {
    case .tree:
      let encoder = try model.makeTreeEncoder(configuration.rowEncoding)
      _ = try writer.add(try encoder.encode(chunk.tokens), compression: .none)
    case .text(let form) where form.manner == .deep:
      guard let frameKey = configuration.frameKey else { preconditionFailure("deep reading has a frame") }
      if chunk.key == frameKey {
        let text = EncodedText(
          tokens: chunk.tokens, behind: nil, words: .none, rows: try model.keptOpening(form))
        _ = try writer.add(text, compression: .none)
        return true
      }
      if frameRows == nil { frameRows = try model.prefix(reading: form.frame.opening) }
      guard let frameRows else { preconditionFailure("they were read") }
      let words = WordCounts(of: try model.requireTokenizer().decode(chunk.tokens[...]))
      let rows = try model.keptRows(of: chunk.tokens, behind: frameRows, form)
      _ = try writer.add(
        EncodedText(tokens: chunk.tokens, behind: frameKey, words: words, rows: rows), compression: .none)
    case .text(let form):
      guard let before = try prefix(before: chunk, form) else { return false }
      let kept = form.keptTokens(chunk.tokens.count)
      let rows = kept == 0 ? nil : try model.rows(of: Array(chunk.tokens[..<kept]), behind: before)
      _ = try writer.add(
        EncodedText(tokens: chunk.tokens, behind: chunk.behind, words: .none, rows: rows), compression: .none)
    }
    return true
  }

  /// The rows of all that stands before a chunk of what is read exactly; nil unless all of it is there.
  private func prefix(before chunk: ReadableTokens, _ form: TextForm) throws(Refusal) -> TextPrefix? {
    var texts: [StoredText] = []
    var next = chunk.behind
    while let key = next {
      guard writer.contains(key), let text = try writer.text(key) else { return nil }
      texts.append(text)
      next = text.behind
    }
    var prefix = TextPrefix(layout: form.layout)
    for text in texts.reversed() {
      guard let rows = try text.rows() else { return nil }
      prefix.append(rows, readAt: prefix.tokenCount)
    }
    return prefix
  }
}
