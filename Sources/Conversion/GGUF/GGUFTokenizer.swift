import FileAccess
import ModelPacks
import Tokenization

/// The tokenizer that a GGUF file has among its keys.
struct GGUFTokenizer: TokenizerSource {
  let tokenizer: Tokenizer?
  let chatTemplate: (text: String, path: String)?
  var provenance: [PackProvenance.Source] { [] }

  init(_ metadata: GGUFMetadata) throws(Refusal) {
    tokenizer = nil
    chatTemplate = try metadata.string("tokenizer.chat_template").map { ($0, metadata.file) }
  }
}
