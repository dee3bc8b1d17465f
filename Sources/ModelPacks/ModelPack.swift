package import CanonicalJSON
public import FileAccess
import Synchronization

/// An opened model pack: a mapped file whose structure has been checked.
///
/// Opening checks everything but the bytes of the tensors, whose digests `verify` checks. Immutable and safe to use
/// from any thread. Processes that open the same pack share its pages.
/// Format: `Formats/model-pack.md`.
@safe public final class ModelPack: Sendable {
  /// The first bytes of every pack.
  package static var magic: [UInt8] { PackHeader.magic }

  /// As the caller named it.
  public let path: String
  public let byteCount: Int
  public let configuration: LlamaConfiguration
  /// nil: a plain LLaMA that reads no context trees.
  public let sharedLLM: SharedLLMConfiguration?
  /// The encoding that matrices were converted to. Each tensor states its own.
  public let quantization: TensorEncoding
  public let provenance: PackProvenance
  /// How the model reads documents of any length best; nil where nobody has measured it.
  public let reading: PackReading?
  /// All of the metadata, including members that this version does not know.
  package let metadata: JSONValue
  /// SHA-256 that stands for every byte of the pack.
  public let identity: Digest256
  /// In the order of use in one pass.
  public let tensors: [PackTensor]
  /// The name of the template that the checkpoint was trained with. Opaque here.
  public let chatTemplate: String?
  private let tokenizerRange: Range<Int>?
  private let numbers: [String: Int]
  /// Optional sections of kinds that this version does not know.
  let skippedSections: [PackSection]
  let file: MappedFile
  /// The state of the file in which its weights were verified; nil before.
  let verifiedState = Mutex<FileState?>(nil)

  /// Maps a pack and checks it: header, metadata, index, tokenizer, layout and padding, but no tensor.
  /// - Throws: `Refusal` of any name in `Formats/model-pack.md` §Refusals.
  public init(opening path: String) throws(Refusal) {
    let file = try MappedFile(path, keepsOpen: true)
    // Weights are read from the first to the last, for every token: data that is not in memory yet comes in large
    // pages, and there are fewer addresses to translate.
    file.advise(.hugePages, 0..<file.byteCount)
    let header = try PackHeader(parsing: file.bytes, file: path)
    try Self.checkPadding(file, between: [0..<header.byteCount] + header.sections.map(\.byteRange))
    for section in header.sections where section.kind != nil && section.kind != .tensorData {
      try Self.checkDigest(of: section, in: file)
    }
    guard let metadataSection = header.section(.metadata), let indexSection = header.section(.tensorIndex),
      let dataSection = header.section(.tensorData)
    else { preconditionFailure("the header has been checked") }

    let json = try Self.parseMetadata(file.bytes.extracting(metadataSection.byteRange).array, file: path)
    let metadata = try PackMetadata(json: json, file: path)
    let tensors = try TensorIndex.parse(
      file.bytes.extracting(indexSection.byteRange), data: dataSection.byteRange, file: path)
    try TensorIndex.check(
      tensors, needed: metadata.configuration.tensors(sharedLLM: metadata.sharedLLM), file: path)
    try Self.checkPadding(file, between: tensors.map { $0.byteOffset..<$0.byteOffset + $0.byteCount })

    if let section = header.section(.chatTemplate) {
      guard let text = String(validating: file.bytes.extracting(section.byteRange).array, as: UTF8.self) else {
        throw Refusal(.invalidText, file: path, structure: "chat template", "is not UTF-8")
      }
      chatTemplate = text
    } else {
      chatTemplate = nil
    }
    self.path = path
    self.file = file
    skippedSections = header.sections.filter { $0.kind == nil }
    byteCount = file.byteCount
    configuration = metadata.configuration
    sharedLLM = metadata.sharedLLM
    quantization = metadata.quantization
    provenance = metadata.provenance
    reading = metadata.reading
    self.metadata = json
    identity = header.identity
    self.tensors = tensors
    tokenizerRange = header.section(.tokenizer)?.byteRange
    numbers = Dictionary(uniqueKeysWithValues: tensors.enumerated().map { ($1.name, $0) })
    try file.requireWhole()
  }

  static func checkDigest(of section: PackSection, in file: MappedFile) throws(Refusal) {
    var hasher = Hasher256()
    hasher.update(file.bytes.extracting(section.byteRange))
    guard hasher.finalize() == section.digest else {
      throw Refusal(
        .digestMismatch, file: file.path, structure: "section \(section.name)",
        "its SHA-256 is not the one in the header")
    }
  }

  private static func checkPadding(_ file: MappedFile, between ranges: [Range<Int>]) throws(Refusal) {
    for (left, right) in zip(ranges, ranges.dropFirst()) where left.upperBound < right.lowerBound {
      if let offset = file.bytes.extracting(left.upperBound..<right.lowerBound).firstNonZeroOffset {
        throw Refusal(
          .nonzeroPadding, file: file.path, structure: "byte \(left.upperBound + offset)",
          "lies between two structures and is not zero")
      }
    }
  }

  private static func parseMetadata(_ text: [UInt8], file: String) throws(Refusal) -> JSONValue {
    let json: JSONValue
    do {
      json = try JSONValue(parsing: text, depthLimit: 8)
    } catch {
      throw Refusal(.malformedJSON, file: file, structure: "metadata", error.description)
    }
    guard json.canonical == text else {
      throw Refusal(.nonCanonicalMetadata, file: file, structure: "metadata", "is not in the canonical spelling")
    }
    return json
  }

  /// The bytes of the tokenizer. Format: `Formats/tokenizer.md`.
  public var tokenizer: [UInt8]? {
    guard let tokenizerRange else { return nil }
    let file = file
    return file.bytes.extracting(tokenizerRange).array
  }

  public func tensor(named name: String) -> PackTensor? {
    numbers[name].map { tensors[$0] }
  }

  /// The bytes of a tensor, in the mapping. Valid as long as this object lives. Aligned to 64 bytes.
  @unsafe package func unsafeBytes(of tensor: PackTensor) -> UnsafeRawBufferPointer {
    unsafe UnsafeRawBufferPointer(rebasing: file.unsafeBytes[tensor.byteOffset..<tensor.byteOffset + tensor.byteCount])
  }

  /// Ensures that all weights that have been read were the pack's: before what was computed with them is used.
  /// - Throws: `Refusal` `file-changed` when the pack was cut short, or could not be read.
  public func requireWhole() throws(Refusal) { try file.requireWhole() }

  /// For a pass through a pack that is larger than memory.
  package func makeReadAhead() -> ReadAhead { ReadAhead(file) }
}
