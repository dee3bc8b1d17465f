public import FileAccess
public import ModelPacks
package import PackedTiles
import Tokenization

/// Turns a checkpoint into a model pack.
///
/// Every source file is read once, from its start to its end, through buffers of a fixed size. The same input makes
/// the same bytes.
public struct Converter: Sendable {
  public struct Options: Sendable {
    /// Of all matrices except those that `TensorEncoding.encoding(of:)` keeps differently; nil takes
    /// `TensorEncoding.usual(hiddenSize:)`.
    public var encoding: TensorEncoding?
    /// For a plain checkpoint: how many layers read context trees through one softmax over injected rows and running
    /// text. nil makes a plain pack.
    public var injectedLayers: Int?
    /// Overrides what the checkpoint says; the default is min(1024, half the trained window).
    public var chunkSize: Int?
    /// Overrides what the checkpoint says; the default is 3.
    public var treeDepth: Int?
    /// Overrides what the checkpoint says; the default is 4.
    public var leafRatio: Int?
    /// Overrides what the checkpoint says; the default is `local` with trained cross-attention and `none` without.
    public var positionMode: PositionMode?
    /// The licence of the weights, for the provenance; nil takes the one that the checkpoint names.
    public var licence: String?
    /// Name and version of the program, for the provenance.
    public var converter = "sharedpack"

    public var chatTemplate = ChatTemplateChoice.fromCheckpoint
    /// The text that weights are rounded for, for the provenance.
    public var calibrationText: PackProvenance.Source?

    public init() {}
  }

  /// Where the chat template of a pack comes from.
  public enum ChatTemplateChoice: Sendable, Hashable {
    /// The checkpoint's own: the one named `default` if there are several.
    case fromCheckpoint
    /// One of the checkpoint's several by its name, or one of `ChatTemplate.builtInNames`.
    case named(String)
    /// A Jinja program, and the file that it is from, for messages.
    case program(String, file: String)
    case none
  }

  public let plan: ConversionPlan
  /// The directory or file that the checkpoint is in.
  package let checkpointPath: String
  private let weights: any WeightSource
  private let contents: PackContents
  private let files: [SourceFile]

  /// Reads the configuration, the tokenizer and the headers of the weights, and plans the pack.
  /// - Parameter directory: holds `config.json` and `model.safetensors`, or shards; or a model's folder in Hugging Face's
  ///   cache; or the path of a GGUF file, any part of one that was split, or a directory with one and without
  ///   `config.json`.
  /// - Throws: `Refusal`: exit status 66 for what is missing, 65 for what cannot be converted, 64 for options.
  public init(directory: String, options: Options = Options()) throws(Refusal) {
    try self.init(Checkpoint(opening: directory), options: options)
  }

  /// Plans the pack of a checkpoint.
  /// - Throws: `Refusal`: exit status 66 for what is missing, 65 for what cannot be converted, 64 for options.
  package init(_ checkpoint: Checkpoint, options: Options = Options()) throws(Refusal) {
    if let encoding = options.encoding, encoding.byteCount(rows: 1, columns: 1) == nil {
      throw Refusal(
        .invalidOption, file: checkpoint.path, parameter: "groupSize",
        "makes \(encoding.name) no encoding: groups have 4 to 4096 columns, in fours, those of int4 in eights")
    }
    let shared = try SharedLLMImport(checkpoint)
    let configuration = try checkpoint.configuration.llama(isSharedLLM: shared.isPresent)
    let sharedLLM = try shared.configuration(configuration, options: options)
    let quantization = options.encoding ?? .usual(hiddenSize: configuration.hiddenSize)
    let section = try TokenizerSection(checkpoint, configuration: configuration, chatTemplate: options.chatTemplate)

    let weights = checkpoint.weights
    var sources = checkpoint.configuration.provenance + checkpoint.tokenizer.provenance
    if let text = options.calibrationText { sources.append(text) }
    // The digests of the weights are known only when these have been read, and have the same length.
    let unknown = Digest256(of: [])
    sources += weights.files.map { .init(name: $0.name, byteCount: $0.byteCount, digest: unknown) }
    contents = PackContents(
      metadata: PackMetadata(
        configuration: configuration, sharedLLM: sharedLLM, quantization: quantization,
        provenance: PackProvenance(
          converter: options.converter, licence: options.licence ?? checkpoint.configuration.licence, sources: sources)),
      tokenizer: section.tokenizer, chatTemplate: section.chatTemplate)
    let (tensors, packByteCount) = try contents.layout(file: checkpoint.path)
    let needed = weights.sources(of: configuration.tensors(sharedLLM: sharedLLM))
    let (files, unused) = try SourceFile.plan(weights, needed: needed)
    self.files = files
    self.weights = weights
    checkpointPath = checkpoint.path
    plan = ConversionPlan(
      configuration: configuration, sharedLLM: sharedLLM, quantization: quantization,
      sources: weights.files.map { .init(name: $0.name, byteCount: $0.byteCount) }, tensors: tensors,
      unusedTensors: unused, hasTokenizer: section.tokenizer != nil,
      notes: checkpoint.configuration.notes + section.notes + weights.notes,
      sourceByteCount: weights.files.reduce(0) { $0 + $1.byteCount }, packByteCount: packByteCount,
      memoryByteCount: PiecePipe.bufferCount * SourceFile.bufferByteCount(files)
        + PieceEncoder.memoryByteCount(files, tensors: tensors))
  }

  /// Converts.
  /// - Parameters:
  ///   - output: where the pack appears when it is whole and durable. A pack of that name is replaced.
  ///   - progress: called on this thread after every few megabytes.
  ///   - feedback: how the columns of a tensor, given its name, make up for each other's rounding errors; for nil,
  ///     every weight is rounded to the nearest, as it always is for floats. Its blocks must fit the groups.
  /// - Throws: `Refusal` `non-finite-weight`, `weight-out-of-range`, `cannot-create`, `no-space` or `input-output`;
  ///   then nothing has changed under the name.
  package func run(
    output: String, progress: (ConversionProgress) -> Void = { _ in },
    feedback: ((_ tensor: String) -> ErrorFeedback?)? = nil
  ) throws(Refusal) -> ConversionSummary {
    var writer = try ModelPackWriter(creating: output, contents: contents)
    var encoder = PieceEncoder(files, tensors: plan.tensors, feedback: feedback)
    let pipe = PiecePipe(bufferByteCount: SourceFile.bufferByteCount(files))
    pipe.read(files, of: weights)
    // Whatever happens, the reader has stopped before this returns.
    defer { pipe.stop() }
    var byteCount = 0
    while let (piece, buffer) = try pipe.next() {
      if let part = piece.part {
        try encoder.encode(buffer.bytes, of: piece, file: files[piece.file])
        try encoder.write(part, to: &writer)
      }
      pipe.recycle(buffer)
      byteCount += piece.byteRange.count
      progress(ConversionProgress(byteCount: byteCount, totalByteCount: plan.sourceByteCount))
    }
    var sources = contents.metadata.provenance.sources
    let first = sources.count - files.count
    for (number, digest) in pipe.digests.enumerated() { sources[first + number].digest = digest }
    let identity = try writer.publish(sources: sources)
    return ConversionSummary(identity: identity, packByteCount: plan.packByteCount, sources: sources)
  }
}
