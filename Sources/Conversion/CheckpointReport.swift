import CanonicalJSON
public import FileAccess
public import ModelPacks
import Tokenization

/// What a checkpoint is, what a conversion would make of it, and everything that is in the way.
///
/// A conversion ends at the first fault; here each source is looked at on its own, and every fault is listed.
public struct CheckpointReport: Sendable {
  public let path: String
  /// How a checkpoint's files are laid out.
  public enum Layout: String, Sendable, Hashable {
    case huggingFace = "Hugging Face"
    case gguf = "GGUF"
  }
  public let layout: Layout
  /// What the checkpoint calls its architecture, whether it can be converted or not; nil when it does not say.
  public private(set) var architecture: String?
  /// nil when the configuration cannot be run.
  public private(set) var configuration: LlamaConfiguration?
  /// Files of weights; empty when they cannot be read.
  public private(set) var weights: [WeightFile] = []
  /// The files that the tokenizer is read from, without directory.
  public private(set) var tokenizerFiles: [String] = []
  /// Tokens of the tokenizer; nil when there is none, or it cannot be read.
  public private(set) var tokenCount: Int?
  public private(set) var hasChatTemplate = false
  /// What the checkpoint or its model card says.
  public private(set) var licence: String?
  /// Of a conversion without options; nil when there are obstacles.
  public private(set) var plan: ConversionPlan?
  /// What is in the way, in the order in which a conversion would come across it.
  public private(set) var obstacles: [Refusal] = []

  /// Numbers in all tensors of the checkpoint.
  public var parameterCount: Int {
    weights.reduce(0) { $0 + $1.tensors.reduce(0) { $0 + ($1.elementCount ?? 0) } }
  }

  /// How numbers are written, such as `BF16`, with the count of tensors, most frequent first.
  public var elementTypes: [(name: String, tensorCount: Int)] {
    let counts = weights.flatMap(\.tensors).reduce(into: [:]) { $0[$1.typeName, default: 0] += 1 }
    return counts.sorted { ($1.value, $0.key) < ($0.value, $1.key) }.map { ($0.key, $0.value) }
  }

  /// Bytes of all files of weights.
  public var weightByteCount: Int { weights.reduce(0) { $0 + $1.byteCount } }

  /// Whether a path looks like a checkpoint, whole or not.
  public static func recognizes(_ path: String) -> Bool {
    if Directory.exists(path) == .directory {
      return isHuggingFace(path) || ((try? Directory.names(in: path)) ?? []).contains { $0.hasSuffix(".gguf") }
    }
    guard let file = try? MappedFile(path) else { return false }
    return file.bytes.extracting(first: GGUFHeader.magic.count).array == GGUFHeader.magic
  }

  private static func isHuggingFace(_ path: String) -> Bool {
    let names = (try? Directory.names(in: path)) ?? []
    return names.contains { $0 == "config.json" || $0.hasSuffix(".safetensors") }
      || names.contains("snapshots") && names.contains("blobs")
  }

  /// Looks at a checkpoint.
  /// - Throws: `Refusal` `missing-file`, or what the layout of a cache is refused with. What is wrong with a source is an
  ///   obstacle.
  public init(of path: String) throws(Refusal) {
    guard Self.isHuggingFace(path) else {
      self.path = path
      layout = .gguf
      // The three sources are one file, and a fault in its header is one of all three.
      let checkpoint = attempt { () throws(Refusal) in try Checkpoint(opening: path) }
      examine(
        configuration: checkpoint?.configuration, weights: checkpoint?.weights, tokenizer: checkpoint?.tokenizer)
      return
    }
    layout = .huggingFace
    let directory = try HubCache.snapshot(of: path) ?? path
    self.path = directory
    let configuration = attempt { () throws(Refusal) in try HuggingFaceConfiguration(directory: directory) }
    let weights = attempt { () throws(Refusal) in try SafetensorsWeights(directory: directory) }
    let tokenizer = attempt { () throws(Refusal) in try HuggingFaceTokenizer(directory: directory) }
    architecture = Self.architecture(of: directory)
    examine(configuration: configuration, weights: weights, tokenizer: tokenizer)
    licence = licence ?? Self.licence(inCardOf: directory)
  }

  private mutating func attempt<Source>(_ open: () throws(Refusal) -> Source) -> Source? {
    do {
      return try open()
    } catch {
      obstacles.append(error)
      return nil
    }
  }

  /// - Parameters: nil for a source that cannot be read.
  private mutating func examine(
    configuration: (any ConfigurationSource)?, weights: (any WeightSource)?, tokenizer: (any TokenizerSource)?
  ) {
    self.weights = weights?.files ?? []
    tokenizerFiles = tokenizer?.provenance.map(\.name) ?? []
    tokenCount = tokenizer?.tokenizer?.vocabularySize
    hasChatTemplate = tokenizer?.chatTemplate != nil
    guard let configuration else { return }
    licence = configuration.licence
    // Without what is faulty, the next fault shows.
    let isWhole = weights != nil && tokenizer != nil
    let whole = Checkpoint(
      path: path, configuration: configuration, tokenizer: tokenizer ?? NoTokenizer(),
      weights: weights ?? NoWeights(path: path))
    let withoutTokenizer = Checkpoint(
      path: path, configuration: configuration, tokenizer: NoTokenizer(), weights: whole.weights)
    for checkpoint in [whole, withoutTokenizer] {
      do {
        let plan = try Converter(checkpoint).plan
        self.configuration = plan.configuration
        guard !isWhole || !obstacles.isEmpty else {
          self.plan = plan
          return
        }
      } catch {
        // Tensors cannot but be missing from weights that cannot be read.
        if weights == nil, error.name == .missingTensor { continue }
        if !obstacles.contains(where: { $0.description == error.description }) { obstacles.append(error) }
      }
    }
    if self.configuration == nil {
      let isSharedLLM = (try? SharedLLMImport(whole))?.isPresent ?? false
      self.configuration = try? configuration.llama(isSharedLLM: isSharedLLM)
    }
  }

  private static func architecture(of directory: String) -> String? {
    let path = "\(directory)/config.json"
    guard let text = try? SequentialFile.contents(path, limit: 1 << 20),
      let json = try? JSONValue(parsing: text, file: path)
    else { return nil }
    return json["architectures"]?.array?.first?.string ?? json["model_type"]?.string
  }

  /// `license` in the front matter of a model card.
  private static func licence(inCardOf directory: String) -> String? {
    guard let text = try? SequentialFile.contents("\(directory)/README.md", limit: 1 << 20) else { return nil }
    let lines = String(decoding: text, as: UTF8.self).split(omittingEmptySubsequences: false) { $0.isNewline }
    guard lines.first == "---" else { return nil }
    for line in lines.dropFirst().prefix(while: { $0 != "---" }) where line.hasPrefix("license:") {
      let name = line.dropFirst("license:".count).drop { $0 == " " }
      return name.isEmpty ? nil : String(name.prefix(100))
    }
    return nil
  }
}

extension SourceTensor {
  /// nil when it does not fit; such a tensor is refused elsewhere.
  fileprivate var elementCount: Int? {
    shape.reduce(1) { (count: Int?, size) in count.flatMap { CheckedSize.product($0, size) } }
  }
}

/// In place of a tokenizer that is faulty.
private struct NoTokenizer: TokenizerSource {
  var provenance: [PackProvenance.Source] { [] }
  var tokenizer: Tokenizer? { nil }
  var chatTemplate: (text: String, path: String)? { nil }
}

/// In place of weights that cannot be read.
private struct NoWeights: WeightSource {
  let path: String
  var files: [WeightFile] { [] }

  func open(_ number: Int) throws(Refusal) -> any WeightReader {
    throw Refusal(.missingFile, file: path, "there are no weights")
  }
}
