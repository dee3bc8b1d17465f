public import Conversion
public import FileAccess
import LlamaRuntime
import ModelPacks
import PackedTiles

/// Makes a model pack from a checkpoint in Hugging Face's layout or in GGUF, its weights rounded to the nearest or for a text.
///
/// Rounding for a text (GPTQ) first lets the model read up to 16,384 tokens of it, then rounds weights so that products
/// with such inputs change least. That takes as long as such a prompt, and disk space for an int8 pack beside the
/// result until it is done.
public struct ModelConversion: Sendable {
  /// How weights are kept, which layers read documents, and what goes into the provenance.
  public typealias Options = Converter.Options
  /// Where the chat template of a pack comes from.
  public typealias ChatTemplateChoice = Converter.ChatTemplateChoice

  /// The steps of a conversion.
  public enum Step: Sendable, Hashable, CaseIterable {
    /// Bytes are converted to the pack with which the text is read.
    case convertingForCalibration
    /// Tokens of the text are read.
    case calibrating
    /// Bytes are converted.
    case converting
  }

  /// How far a step of a conversion has got.
  public struct Progress: Sendable, Hashable {
    /// The current step; each starts at 0.
    public let step: Step
    /// Bytes or tokens, as the step says.
    public let done: Int
    /// Bytes or tokens of the whole step.
    public let total: Int
  }

  /// The result of the conversion as the headers alone predict it.
  public let plan: ConversionPlan
  private let directory: String
  private let options: Options
  private let converter: Converter
  private let calibration: CalibrationText?
  /// Files that are read, none of which the pack may replace.
  private let inputs: [String]

  /// Reads the configuration, the tokenizer, the headers of the weights and the text, and plans the pack.
  /// - Parameters:
  ///   - directory: holds `config.json` and `model.safetensors`, or shards and their index, and the tokenizer; or the path of
  ///     a GGUF file, any part of one that was split, or a directory with one and without `config.json`.
  ///   - options: how weights are kept, which layers read documents, and what goes into the provenance.
  ///   - calibrationText: the path of a text to round int8 or int4 weights for, of 512 tokens or more and of the kind that
  ///     the model will read; nil rounds every weight to the nearest. The pack's provenance names it.
  /// - Throws: `Refusal`: exit status 66 for what is missing, 65 for what cannot be converted, 64 for options.
  public init(directory: String, options: Options = Options(), calibrationText: String? = nil) throws(Refusal) {
    var options = options
    let text = try calibrationText.map { path throws(Refusal) in try DocumentSource(name: path, path: path).text() }
    if let calibrationText, let text {
      options.calibrationText = PackProvenance.Source(
        name: Directory.split(calibrationText).name, byteCount: text.count, digest: Digest256(of: text))
    }
    let converter = try Converter(directory: directory, options: options)
    var plan = converter.plan
    if let calibrationText, let text {
      guard plan.hasTokenizer else {
        throw Refusal(.noTokenizer, file: directory, "has no tokenizer, so the text to round for cannot be read")
      }
      let calibration = try CalibrationText(
        path: calibrationText, text: text, blockColumns: Self.blockColumns(plan.quantization, directory: directory))
      plan.memoryByteCount += SecondMoments.byteCount(
        plan.configuration, plan.sharedLLM, blockColumns: calibration.blockColumns)
      self.calibration = calibration
    } else {
      calibration = nil
    }
    self.plan = plan
    self.directory = directory
    inputs = [calibrationText].compactMap(\.self) + Self.files(of: converter.checkpointPath, plan)
    self.options = options
    self.converter = converter
  }

  /// Every file of the checkpoint: those that are not read belong to it as well.
  private static func files(of checkpoint: String, _ plan: ConversionPlan) -> [String] {
    guard Directory.exists(checkpoint) == .directory else {
      let directory = Directory.split(checkpoint).directory
      return [checkpoint] + plan.sources.map { "\(directory)/\($0.name)" }
    }
    return ((try? Directory.names(in: checkpoint)) ?? []).map { "\(checkpoint)/\($0)" }
  }

  /// The file that a conversion would write, if it may.
  /// - Parameters:
  ///   - output: where the pack is to appear.
  ///   - rule: what may be replaced.
  /// - Returns: the output, or what it leads to if it is a symbolic link.
  /// - Throws: `Refusal` `cannot-create` for what is no regular file, `would-replace` for one that is no pack,
  ///   `would-replace-input` for a file of the checkpoint, under whatever name, or the text.
  @discardableResult
  public func outputFile(_ output: String, replacing rule: OutputRule = .pack) throws(Refusal) -> String {
    guard let target = FileStatus.followingLink(output) else {
      throw Refusal(.cannotCreate, file: output, "is a symbolic link that leads nowhere")
    }
    guard !target.hasSuffix("/"), !target.isEmpty else {
      throw Refusal(.cannotCreate, file: output, "names no file for the pack")
    }
    // Nothing is there, rather than that it cannot be seen.
    guard try Directory.kind(of: target) != nil, let status = FileStatus(target) else { return target }
    switch status.kind {
    case .regularFile: break
    case .directory: throw Refusal(.cannotCreate, file: output, "is a directory: name the file of the pack")
    case .pipe, .socket, .device:
      throw Refusal(.cannotCreate, file: output, "is a \(status.kind), and a pack is a regular file")
    }
    // Packs that lie beside the checkpoint's files are none of them.
    if try ModelPack.starts(target) { return target }
    guard !inputs.contains(where: { FileStatus($0) == status }) else {
      throw Refusal(.wouldReplaceInput, file: output, "is a file that is converted: the pack needs a name of its own")
    }
    guard rule == .anyRegularFile else {
      throw Refusal(.wouldReplace, file: output, "exists and is not a model pack, so it is not replaced")
    }
    return target
  }

  private static func blockColumns(_ encoding: TensorEncoding, directory: String) throws(Refusal) -> Int {
    switch encoding {
    case .int8(let groupSize), .int4(let groupSize):
      if let blockColumns = ErrorFeedback.blockColumns(groupSize: groupSize) { return blockColumns }
      throw Refusal(
        .invalidOption, file: directory, parameter: "calibrationText",
        "takes groups of at most 256 columns, not of \(groupSize)")
    case .float16, .float32:
      throw Refusal(
        .invalidOption, file: directory, parameter: "calibrationText",
        "is for weights of int8 or int4, not of \(encoding.name)")
    }
  }

  /// Converts. The same input makes the same bytes.
  /// - Parameters:
  ///   - output: where the pack appears when it is whole and durable. A symbolic link to a file stays one, and that file
  ///     is replaced.
  ///   - rule: what may be replaced.
  ///   - progress: called on this thread, from time to time.
  /// - Throws: `Refusal` `would-replace` and `would-replace-input` before anything is written, `text-too-short`,
  ///   `not-finite`, `non-finite-weight`, `weight-out-of-range`, `cannot-create`, `no-space` and others, or `cancelled`
  ///   while a text is read; then nothing has changed under the name.
  public func run(
    output: String, replacing rule: OutputRule = .pack, progress: (Progress) -> Void = { _ in }
  ) throws(Refusal) -> ConversionSummary {
    let output = try outputFile(output, replacing: rule)
    PublishedFile.removeRemains(of: output)
    let moments = try calibration.map { calibration throws(Refusal) in
      try read(calibration, output: output, progress: progress)
    }
    return try converter.run(
      output: output,
      progress: { progress(Progress(step: .converting, done: $0.byteCount, total: $0.totalByteCount)) },
      feedback: moments.map { moments in { moments.errorFeedback(forTensor: $0) } })
  }

  /// The second moments of the inputs of the checkpoint's matrices while it reads the text, from an int8 pack that is
  /// removed afterwards.
  /// - Parameter output: the pack to be made; the other one is beside it.
  private func read(
    _ calibration: CalibrationText, output: String, progress: (Progress) -> Void
  ) throws(Refusal) -> SecondMoments {
    var options = options
    options.encoding = nil
    let pack = PublishedFile.temporaryPath(beside: output)
    _ = try Converter(directory: directory, options: options).run(output: pack) {
      progress(Progress(step: .convertingForCalibration, done: $0.byteCount, total: $0.totalByteCount))
    }
    let model: LanguageModel
    do {
      defer { PublishedFile.removeTemporary(pack) }
      model = try LanguageModel(opening: pack)
    }
    let tokens = try model.documentTokens(calibration.text, file: calibration.path)
    do {
      return try model.secondMoments(
        reading: tokens, blockColumns: calibration.blockColumns, file: calibration.path
      ) { progress(Progress(step: .calibrating, done: $0, total: $1)) }
    } catch {
      // The caller does not know the removed pack; its weights are the checkpoint's.
      throw error.file == pack ? Refusal(error.name, file: directory, structure: error.structure, error.fault) : error
    }
  }
}

/// What a conversion may replace.
public enum OutputRule: Sendable, Hashable {
  /// A model pack, or nothing.
  case pack
  /// Any regular file that is not converted.
  case anyRegularFile
}

extension ModelPack {
  /// Whether a regular file starts like a pack.
  static func starts(_ path: String) throws(Refusal) -> Bool {
    let file = try SequentialFile(path)
    guard file.byteCount >= magic.count else { return false }
    var start = [UInt8](repeating: 0, count: magic.count)
    var span = start.mutableSpan
    var bytes = unsafe span.mutableBytes
    try file.read(at: 0, into: &bytes)
    return start == magic
  }
}

/// A text that weights are rounded for.
private struct CalibrationText: Sendable {
  let path: String
  let text: [UInt8]
  /// Columns whose second moments with each other are kept.
  let blockColumns: Int
}

extension Refusal.Name {
  /// A file that is no pack has the name that a pack is to have.
  public static let wouldReplace = Refusal.Name("would-replace", .cannotCreate)
  /// A file that is converted has the name that a pack is to have.
  public static let wouldReplaceInput = Refusal.Name("would-replace-input", .cannotCreate)
}
