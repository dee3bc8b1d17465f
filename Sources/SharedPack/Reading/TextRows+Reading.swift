import FileAccess
package import LlamaRuntime
package import NodeBlocks
package import TreeStore

extension LanguageModel {
  /// The configuration of a store of texts that this model can read.
  package func storeConfiguration(
    _ manner: ReadingManner, chunkSize: Int, frame: ReadingFrame
  ) -> TreeStoreConfiguration {
    TreeStoreConfiguration(
      modelIdentity: pack.identity,
      text: TextForm(manner: manner, chunkSize: chunkSize, layout: runtime.textRowLayout, frame: frame),
      rowNumerics: runtime.textRowNumerics)
  }

  /// - Throws: `Refusal` `no-injection` for a model whose rotary positions depend on the length of the text.
  func requireFixedPositions() throws(Refusal) {
    if case .dynamic = configuration.ropeScaling {
      throw Refusal(
        .noInjection, file: pack.path,
        "its rotary positions depend on the length of the text, so that nothing can be read before")
    }
  }

  /// The rows of a beginning of a prompt.
  /// - Throws: `Refusal` `not-finite`, `no-injection` as `requireFixedPositions()`.
  package func prefix(reading tokens: [Int32]) throws(Refusal) -> TextPrefix {
    try requireFixedPositions()
    var prefix = TextPrefix(layout: runtime.textRowLayout)
    for range in tokens.indices.cut(into: 1024) {
      prefix.append(try rows(of: Array(tokens[range]), behind: prefix), readAt: range.lowerBound)
    }
    return prefix
  }

  /// The rows of some tokens, at most 1,024, read behind others.
  package func rows(of tokens: [Int32], behind prefix: TextPrefix) throws(Refusal) -> TextRows {
    let session = Session(runtime, behind: prefix, capacity: tokens.count)
    session.skim(tokens)
    return try session.rows(0..<tokens.count)
  }
}

extension Range<Int> {
  /// Ranges of a size, and the rest.
  func cut(into size: Int) -> [Range<Int>] {
    stride(from: lowerBound, to: upperBound, by: size).map { $0..<Swift.min($0 + size, upperBound) }
  }
}
