public import Conversion
public import FileAccess
import LlamaRuntime
import ModelPacks
import PackedTiles

/// Makes a model pack from a checkpoint in Hugging Face's layout, its weights rounded to the nearest or for a text.
///
/// Rounding for a text (GPTQ) first lets the model read up to 16,384 tokens of it, then rounds weights so that products
/// with such inputs change least. That takes as long as such a prompt, and disk space for an int8 pack beside the
/// result until it is done.
public struct ModelConversion: Sendable {
  /// How weights are kept, which layers read documents, and what goes into the provenance.
  public typealias Options = Converter.Options

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

  /// Reads the configuration, the tokenizer, the headers of the weights and the text, and plans the pack.
  /// - Parameters:
  ///   - directory: holds `config.json` and `model.safetensors`, or shards and their index, and the tokenizer.
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
    self.options = options
    self.converter = converter
  }

  private static func blockColumns(_ encoding: TensorEncoding, directory: String) throws(Refusal) -> Int {
    switch encoding {
    case .int8(let groupSize), .int4(let groupSize):
      if let blockColumns = ErrorFeedback.blockColumns(groupSize: groupSize) { return blockColumns }
      throw Refusal(.invalidOption, file: directory, "rounding for a text takes groups of at most 256 columns")
    case .float16, .float32:
      throw Refusal(.invalidOption, file: directory, "rounding for a text is for weights of int8 or int4")
    }
  }

  /// Converts. The same input makes the same bytes.
  /// - Parameters:
  ///   - output: where the pack appears when it is whole and durable. A pack of that name is replaced.
  ///   - progress: called on this thread, from time to time.
  /// - Throws: `Refusal` `text-too-short`, `not-finite`, `non-finite-weight`, `weight-out-of-range`, `cannot-create`,
  ///   `no-space` and others, or `cancelled` while a text is read; then nothing has changed under the name.
  public func run(
    output: String, progress: (Progress) -> Void = { _ in }
  ) throws(Refusal) -> ConversionSummary {
    guard Directory.exists(output) != .directory else {
      throw Refusal(.cannotCreate, file: output, "is a directory: name the file of the pack")
    }
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
    let target = Directory.split(output)
    let pack = "\(target.directory)/.\(target.name).calibration.partial"
    _ = try Converter(directory: directory, options: options).run(output: pack) {
      progress(Progress(step: .convertingForCalibration, done: $0.byteCount, total: $0.totalByteCount))
    }
    let model: LanguageModel
    do {
      defer { try? Directory.removeFile(pack) }
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

/// A text that weights are rounded for.
private struct CalibrationText: Sendable {
  let path: String
  let text: [UInt8]
  /// Columns whose second moments with each other are kept.
  let blockColumns: Int
}
