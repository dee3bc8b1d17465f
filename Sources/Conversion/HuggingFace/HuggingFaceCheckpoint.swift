import FileAccess

extension Checkpoint {
  /// A directory in Hugging Face's layout: `config.json`, safetensors and the tokenizer's files. A model's folder in
  /// Hugging Face's cache stands for the snapshot of its main branch.
  /// - Throws: `Refusal` `missing-file`, `not-a-directory`, `malformed-hub-cache`, and those of the three sources.
  init(huggingFace directory: String) throws(Refusal) {
    let kind = try Directory.kind(of: directory)
    guard kind == .directory else {
      throw Refusal(
        kind == nil ? .missingFile : .notADirectory, file: directory,
        "is not a directory with config.json and model.safetensors")
    }
    let directory = try HubCache.snapshot(of: directory) ?? directory
    let configuration = try HuggingFaceConfiguration(directory: directory)
    let weights = try SafetensorsWeights(directory: directory)
    self.init(
      path: directory, configuration: configuration, tokenizer: try HuggingFaceTokenizer(directory: directory),
      weights: weights)
  }
}
