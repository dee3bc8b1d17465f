package import FileAccess
import LlamaRuntime
import ModelPacks
package import NodeBlocks

extension StoreBuilder {
  /// How fast a model encodes, from a sample of a text.
  ///
  /// Takes seconds, on the caller's thread.
  /// - Parameters:
  ///   - source: the text's file.
  ///   - model: the one that would encode it.
  ///   - encoding: how the rows of context trees would be kept; nil for texts.
  /// - Returns: tokens in a second.
  /// - Throws: `Refusal` `no-tokenizer`, `missing-file`, `not-text`, `empty-document`, `no-injection`.
  package static func tokensPerSecond(
    of source: DocumentSource, model: LanguageModel, encoding: RowEncoding?
  ) throws(Refusal) -> Double {
    let tokens = try model.documentTokens(source.text(), file: source.path)
    let clock = ContinuousClock()
    let start = clock.now
    let sample: [Int32]
    if let encoding {
      sample = Array(tokens.prefix(try model.requireTrees(encoding).shape.chunkSize))
      _ = try model.makeTreeEncoder(encoding).encode(sample)
    } else {
      sample = Array(tokens.prefix(512))
      _ = try model.rows(of: sample, behind: TextPrefix(layout: model.runtime.textRowLayout))
    }
    let seconds = (clock.now - start) / .seconds(1)
    return Double(sample.count) / max(seconds, 1e-9)
  }
}
