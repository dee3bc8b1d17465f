import ContextTrees
import FileAccess
import LlamaRuntime
import NodeBlocks
import Tokenization
import TreeStore

extension LanguageModel {
  /// What is read of trees.
  func sources(
    of selection: ContextSelection, from documents: [ContextDocument], search: TreeSearch, query: [Int32]
  ) throws(Refusal) -> [Inquiry.Source] {
    let scores = try search.scores(
      of: selection.nodes, in: documents.flatMap(\.chunks), query: searchQuery(query, for: search))
    let layout = selection.context?.layout
    var sources: [Inquiry.Source] = []
    var number = 0
    for (index, document) in documents.enumerated() {
      let byteRanges = byteRanges(document.chunks.map(\.tokens), of: document.text)
      for (chunk, content) in document.chunks.enumerated() {
        defer { number += 1 }
        let nodes = selection.nodes[number]
        guard !nodes.isEmpty else { continue }
        let byteCount = nodes.reduce(0) { $0 + (layout?.byteCount(rows: $1.rowCount) ?? 0) }
        sources.append(
          Inquiry.Source(
            document: index, chunk: chunk, byteRange: byteRanges?[chunk],
            text: try text(of: content.tokens, at: byteRanges?[chunk], in: document.text), score: scores[number],
            words: [],
            nodes: nodes, rowCount: nodes.reduce(0) { $0 + $1.rowCount },
            storedByteCount: content.isStored ? byteCount : 0))
      }
    }
    return sources
  }

  /// What is read of texts.
  /// - Parameter rows: of each passage.
  func sources(
    _ passages: [Passage], _ rows: [TextRows], of documents: [TextDocument]
  ) throws(Refusal) -> [Inquiry.Source] {
    var byteRanges: [Int: [Range<Int>]] = [:]
    for number in Set(passages.map(\.document)) {
      let document = documents[number]
      byteRanges[number] = self.byteRanges(document.chunks.map(\.tokens), of: document.text)
    }
    var sources: [Inquiry.Source] = []
    for (passage, rows) in zip(passages, rows) {
      let document = documents[passage.document]
      let chunk = document.chunks[passage.chunk]
      let range = byteRanges[passage.document]?[passage.chunk]
      sources.append(
        Inquiry.Source(
          document: passage.document, chunk: passage.chunk, byteRange: range,
          text: try text(of: chunk.tokens, at: range, in: document.text), score: passage.score, words: passage.words,
          nodes: [], rowCount: rows.rowCount, storedByteCount: chunk.isStored ? rows.storage.byteCount : 0))
    }
    return sources
  }

  /// The text of a chunk, as it was written where a store keeps it, else as its tokens say.
  func text(of tokens: [Int32], at range: Range<Int>?, in text: TextBytes) throws(Refusal) -> String {
    if let kept = text.kept, let range, let bytes = try kept.store.text(of: kept.document, bytes: range) {
      return String(decoding: bytes, as: UTF8.self)
    }
    return tokenizer?.decode(tokens[...]) ?? ""
  }

  /// Where the chunks of a text lie in it.
  /// - Returns: nil when that is not known, and the bytes of the tokens are not as many as the text's.
  private func byteRanges(_ chunks: [[Int32]], of text: TextBytes) -> [Range<Int>]? {
    var ranges: [Range<Int>] = []
    var start = 0
    func append(_ count: Int) {
      ranges.append(start..<start + count)
      start += count
    }
    guard text.chunkCounts.isEmpty else {
      text.chunkCounts.forEach(append)
      return ranges.count == chunks.count ? ranges : nil
    }
    guard let count = text.count, let tokenizer else { return nil }
    tokenizer.forEachChunkText(chunks.lazy.map { $0[...] }) { text in
      append(text.utf8.count)
      return true
    }
    return start == count ? ranges : nil
  }

  /// The number of bytes of a text that each of its chunks has.
  /// - Parameters:
  ///   - tokens: of the whole text, as ``documentTokens(_:file:)`` makes them.
  ///   - ranges: of the chunks: all tokens, in order.
  ///   - text: UTF-8.
  /// - Returns: nil when the tokens do not spell the text, as those of a tokenizer that changes it, or without a
  ///   tokenizer. A character that two chunks share is the second one's.
  package func chunkByteCounts(of tokens: [Int32], ranges: [Range<Int>], text: [UInt8]) -> [Int]? {
    tokenizer?.chunkByteCounts(of: tokens, ranges: ranges, text: text)
  }
}

/// What is known of the bytes of a document's text.
struct TextBytes: Sendable {
  /// Of all of it.
  var count: Int?
  /// Of each chunk; empty when they are not known.
  var chunkCounts: [Int] = []
  /// Where the text itself is.
  var kept: (store: TreeStore, document: StoredDocument)?
}

extension Tokenizer {
  /// As the model's.
  func chunkByteCounts(of tokens: [Int32], ranges: [Range<Int>], text: [UInt8]) -> [Int]? {
    var byteCounts: [Int] = []
    var start = 0
    let isWhole = forEachChunkText(ranges.lazy.map { tokens[$0] }) { chunk in
      let bytes = chunk.utf8
      guard bytes.count <= text.count - start, text[start..<start + bytes.count].elementsEqual(bytes) else {
        return false
      }
      byteCounts.append(bytes.count)
      start += bytes.count
      return true
    }
    return isWhole && start == text.count ? byteCounts : nil
  }

  /// Decodes the chunks of a text one after the other, whole characters at a time.
  /// - Parameter body: is given the text of each chunk, and says whether to go on.
  /// - Returns: whether it always did.
  @discardableResult
  func forEachChunkText(
    _ chunks: some Collection<ArraySlice<Int32>>, _ body: (_ text: String) -> Bool
  ) -> Bool {
    var decoder = makeStreamDecoder()
    var left = chunks.count
    for chunk in chunks {
      left -= 1
      var text = ""
      for token in chunk { text += decoder.push(token) }
      if left == 0 { text += decoder.finish() }
      guard body(text) else { return false }
    }
    return true
  }
}
