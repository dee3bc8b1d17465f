import FileAccess
import ModelPacks

/// The tokenizer and the chat template of a checkpoint, as they go into the pack.
///
/// A checkpoint without tokenizer can be converted: such packs take token ids.
struct TokenizerSection {
  /// Format: `Formats/tokenizer.md`.
  var tokenizer: [UInt8]?
  var chatTemplate: String?
  /// The files that were read.
  var sources: [PackProvenance.Source] = []

  init(directory: String, configuration: LlamaConfiguration) throws(Refusal) {}
}
