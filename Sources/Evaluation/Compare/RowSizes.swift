import LlamaRuntime
import NodeBlocks
import SharedPack

/// Bytes that the keys and values of a token take, of all layers and heads that keep them.
struct RowSizes {
  /// As the model's cache keeps them.
  let own: Double
  /// Of a row of a tree, as layers read it; 0 for a plain model.
  let tree: Double
  /// As a store of texts for deep reading keeps them.
  let deep: Double

  init(_ model: LanguageModel, deep form: TextRowLayout?) {
    // Many rows, so that what blocks share is shared.
    let rows = 1024
    own = Double(model.cacheByteCount(rows: 1, .full, encoding: Self.encoding(model)))
    deep = form.map { Double($0.byteCount(rows: rows)) / Double(rows) } ?? own
    tree =
      model.runtime.injectedLayout(.int8).map { Double($0.byteCount(rows: rows)) / Double(rows) } ?? 0
  }

  /// How every method keeps rows: as the model's cache does, also where they are chosen one by one.
  static func encoding(_ model: LanguageModel) -> RowEncoding { model.runtime.textRowLayout.encoding }

  /// Rows of every head whose keys and values fit a number of bytes.
  static func rows(inBytes bytes: Int, _ policy: CachePolicy.Name, _ model: LanguageModel) -> Int {
    model.cacheRows(inBytes: bytes, policy, encoding: encoding(model))
  }
}
