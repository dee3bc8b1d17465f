import FileAccess

extension Checkpoint {
  /// A directory in Hugging Face's layout: `config.json`, safetensors and the tokenizer's files.
  /// - Throws: `Refusal` `missing-file`, `not-a-directory`, and those of the three sources.
  init(huggingFace directory: String) throws(Refusal) {
    guard Directory.exists(directory) == .directory else {
      throw Refusal(
        Directory.exists(directory) == nil ? .missingFile : .notADirectory, file: directory,
        "is not a directory with config.json and model.safetensors")
    }
    let configuration = try HuggingFaceConfiguration(directory: directory)
    let weights = try SafetensorsWeights(directory: directory)
    self.init(
      path: directory, configuration: configuration, tokenizer: try HuggingFaceTokenizer(directory: directory),
      weights: weights)
  }
}
