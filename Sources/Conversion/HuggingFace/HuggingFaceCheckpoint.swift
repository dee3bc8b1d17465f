import FileAccess

extension Checkpoint {
  /// A directory in Hugging Face's layout: `config.json`, safetensors and the tokenizer's files. A model's folder in
  /// Hugging Face's cache stands for the snapshot of its main branch.
  /// - Throws: `Refusal` `missing-file`, `not-a-directory`, `malformed-hub-cache`, `unsupported-format`, and those of the
  ///   three sources.
  init(huggingFace directory: String) throws(Refusal) {
    let kind = try Directory.kind(of: directory)
    guard kind == .directory else {
      throw Refusal(
        kind == nil ? .missingFile : .notADirectory, file: directory,
        "is not a directory with config.json and model.safetensors")
    }
    let directory = try HubCache.snapshot(of: directory) ?? directory
    try Self.checkLayout(directory)
    let configuration = try HuggingFaceConfiguration(directory: directory)
    let weights = try SafetensorsWeights(directory: directory)
    self.init(
      path: directory, configuration: configuration, tokenizer: try HuggingFaceTokenizer(directory: directory),
      weights: weights)
  }

  /// Names the layouts that are met most often besides Hugging Face's.
  private static func checkLayout(_ directory: String) throws(Refusal) {
    func holds(_ name: String) throws(Refusal) -> Bool { try Directory.kind(of: "\(directory)/\(name)") != nil }
    guard try !holds("config.json") else { return }
    if try holds("adapter_config.json") {
      throw Refusal(
        .unsupportedFormat, file: "\(directory)/adapter_config.json",
        "is an adapter's, not a model's: merge the adapter into the model that it was trained for")
    }
    if try holds("params.json") {
      throw Refusal(
        .unsupportedFormat, file: "\(directory)/params.json",
        "is of the layout of the model's authors: convert the checkpoint to Hugging Face's layout first")
    }
  }
}
