public import FileAccess

extension Checkpoint {
  /// A checkpoint in GGUF: one file, or any part of one that was split.
  /// - Throws: `Refusal` `missing-file`, `malformed-gguf`, `malformed-gguf-split`, `unsupported-format`,
  ///   `unsupported-architecture`, `unsupported-configuration`, `invalid-configuration` and others.
  init(gguf path: String) throws(Refusal) {
    try self.init(GGUFFiles(path), path: path)
  }

  /// A checkpoint whose header is in memory, for tests: what the file would have behind it is not there.
  /// - Parameter fileByteCount: what to take for the length of the file.
  package init(ggufHeader bytes: [UInt8], fileByteCount: Int, path: String) throws(Refusal) {
    let header = try GGUFHeader(parsing: bytes, fileByteCount: fileByteCount, file: path)
    try self.init(GGUFFiles(header, byteCount: fileByteCount), path: path)
  }

  private init(_ files: GGUFFiles, path: String) throws(Refusal) {
    let configuration = try GGUFConfiguration(files)
    let weights = try GGUFWeights(
      files, rotatedPairsOf: configuration.hasRotatedPairs ? configuration.headDim : nil)
    self.init(path: path, configuration: configuration, tokenizer: try GGUFTokenizer(files.metadata), weights: weights)
  }

  /// A checkpoint of any layout: a directory in Hugging Face's, a GGUF file, or a directory with one of them and without
  /// `config.json`.
  /// - Throws: `Refusal`, those of `init(huggingFace:)` and `init(gguf:)`; `unsupported-format` for anything else.
  public init(opening path: String) throws(Refusal) {
    guard try Directory.kind(of: path) == .file else {
      try self.init(huggingFaceOrGGUF: path)
      return
    }
    let file = try SequentialFile(path)
    var beginning = [UInt8](repeating: 0, count: min(file.byteCount, MistakenFile.beginningByteCount))
    var span = beginning.mutableSpan
    var raw = unsafe span.mutableBytes
    try file.read(at: 0, into: &raw)
    guard !beginning.starts(with: GGUFHeader.magic) else {
      try self.init(gguf: path)
      return
    }
    if let mistaken = MistakenFile(beginning) { throw mistaken.refusal(file: path, insteadOf: "a checkpoint") }
    throw Refusal(
      .unsupportedFormat, file: path,
      "\(Self.kind(of: beginning, path)); a checkpoint is a directory with config.json and safetensors, or a GGUF file")
  }

  private init(huggingFaceOrGGUF directory: String) throws(Refusal) {
    guard try Directory.kind(of: directory) == .directory,
      try Directory.kind(of: "\(directory)/config.json") == nil
    else {
      try self.init(huggingFace: directory)
      return
    }
    let names = try Directory.names(in: directory).filter { $0.hasSuffix(".gguf") && !$0.hasPrefix(".") }.sorted()
    // Of a split file, the first part stands for all.
    let files = names.filter { GGUFPartName($0).map { $0.number == 1 } ?? true }
    if files.count > 1 {
      throw Refusal(
        .unsupportedFormat, file: directory,
        "holds several checkpoints in GGUF: \(files.map(\.printable).joined(separator: ", ")); name the file")
    }
    guard let file = files.first ?? names.first else {
      try self.init(huggingFace: directory)
      return
    }
    try self.init(gguf: "\(directory)/\(file)")
  }

  /// What a file is, in words.
  private static func kind(of beginning: [UInt8], _ path: String) -> String {
    let kinds: [(prefix: [UInt8], words: String)] = [
      (Array("ggml".utf8.reversed()), "is in GGML's first format"),
      (Array("ggmf".utf8.reversed()), "is in GGML's second format"),
      (Array("ggjt".utf8.reversed()), "is in GGML's third format"),
      (Array("FUGG".utf8), "is a big-endian GGUF file"), ([0x50, 0x4B, 3, 4], "is a ZIP archive or PyTorch's format"),
      ([0x80, 2], "is a Python pickle"), ([0x1F, 0x8B], "is compressed with gzip"), (Array("{".utf8), "is a JSON file"),
    ]
    if path.hasSuffix(".safetensors") { return "is one file of a checkpoint; name its directory" }
    return kinds.first { beginning.starts(with: $0.prefix) }?.words ?? "is no checkpoint"
  }
}
