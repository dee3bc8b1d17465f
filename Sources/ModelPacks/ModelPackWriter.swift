import CanonicalJSON
public import FileAccess

/// The contents of a pack besides the bytes of its tensors.
public struct PackContents: Sendable {
  public var metadata: PackMetadata
  /// Format: `Formats/tokenizer.md`. Opaque here.
  public var tokenizer: [UInt8]?
  public var chatTemplate: String?

  public init(metadata: PackMetadata, tokenizer: [UInt8]? = nil, chatTemplate: String? = nil) {
    self.metadata = metadata
    self.tokenizer = tokenizer
    self.chatTemplate = chatTemplate
  }

  /// The tensors and their offsets, with digests of zeros, and the length of the file.
  /// - Parameter file: the name for messages.
  /// - Throws: `Refusal` `invalid-metadata` or `too-large`.
  public func layout(file: String) throws(Refusal) -> (tensors: [PackTensor], byteCount: Int) {
    let layout = try PackLayout(self, file: file)
    return (layout.tensors, layout.header.fileByteCount)
  }
}

/// Where everything in a pack lies: known before a tensor is read, as digests have a fixed length.
struct PackLayout {
  var tensors: [PackTensor]
  private(set) var header: PackHeader
  private var parts: [(kind: SectionKind, bytes: [UInt8])]

  init(_ contents: PackContents, file: String) throws(Refusal) {
    let metadata = contents.metadata
    if let fault = metadata.configuration.fault(sharedLLM: metadata.sharedLLM) {
      throw Refusal(.invalidMetadata, file: file, structure: "metadata", fault)
    }
    tensors = []
    for need in metadata.configuration.tensors(sharedLLM: metadata.sharedLLM) {
      let encoding = metadata.quantization.encoding(of: need)
      guard let byteCount = encoding.byteCount(rows: need.rows, columns: need.columns) else {
        throw Refusal(
          .invalidMetadata, file: file, structure: need.name, "\(need.rows) × \(need.columns) do not fit \(encoding)")
      }
      tensors.append(
        PackTensor(
          name: need.name, encoding: encoding, rows: need.rows, columns: need.columns, byteOffset: 0,
          byteCount: byteCount, digest: PackHeader.zeroDigest))
    }
    parts = [(.metadata, metadata.json.canonical), (.tensorIndex, TensorIndex.encoded(tensors))]
    if let tokenizer = contents.tokenizer { parts.append((.tokenizer, tokenizer)) }
    if let template = contents.chatTemplate { parts.append((.chatTemplate, Array(template.utf8))) }
    for part in parts where !(1...part.kind.byteCountLimit).contains(part.bytes.count) {
      throw Refusal(
        .tooLarge, file: file, structure: part.kind.name,
        "has \(part.bytes.count) bytes; it must have 1 to \(part.kind.byteCountLimit)")
    }
    var end = PackHeader.byteCount(sectionCount: parts.count + 1)
    for part in parts {
      end += CheckedSize.padding(after: end, to: PackHeader.sectionAlignment) + part.bytes.count
    }
    let start = end + CheckedSize.padding(after: end, to: PackHeader.sectionAlignment)
    end = start
    for number in tensors.indices {
      end += CheckedSize.padding(after: end, to: TensorIndex.tensorAlignment)
      tensors[number] = tensors[number].at(byteOffset: end)
      end += tensors[number].byteCount
    }
    header = PackHeader(fileByteCount: end, sections: [])
    seal(metadata: metadata)
  }

  /// Updates index, metadata and header with the digests that are known so far.
  mutating func seal(metadata: PackMetadata) {
    for number in parts.indices {
      let bytes =
        switch parts[number].kind {
        case .metadata: metadata.json.canonical
        case .tensorIndex: TensorIndex.encoded(tensors)
        default: parts[number].bytes
        }
      precondition(bytes.count == parts[number].bytes.count, "only digests may change")
      parts[number].bytes = bytes
    }
    var end = PackHeader.byteCount(sectionCount: parts.count + 1)
    var sections: [PackSection] = []
    for part in parts {
      let start = end + CheckedSize.padding(after: end, to: PackHeader.sectionAlignment)
      end = start + part.bytes.count
      sections.append(
        PackSection(
          code: part.kind.rawValue, byteOffset: start, byteCount: part.bytes.count, digest: Digest256(of: part.bytes)))
    }
    let start = end + CheckedSize.padding(after: end, to: PackHeader.sectionAlignment)
    sections.append(
      PackSection(
        code: SectionKind.tensorData.rawValue, byteOffset: start, byteCount: header.fileByteCount - start,
        digest: PackHeader.zeroDigest))
    header = PackHeader(fileByteCount: header.fileByteCount, sections: sections)
  }

  /// Everything before the tensor data.
  var front: [UInt8] {
    var writer = ByteWriter()
    writer.append(header.encoded)
    for part in parts {
      writer.pad(to: PackHeader.sectionAlignment)
      writer.append(part.bytes)
    }
    return writer.bytes
  }
}

extension PackTensor {
  fileprivate func at(byteOffset: Int) -> PackTensor {
    PackTensor(
      name: name, encoding: encoding, rows: rows, columns: columns, byteOffset: byteOffset, byteCount: byteCount,
      digest: digest)
  }
}

/// Writes a pack whose contents are known but for the bytes of its tensors and the digests of their sources.
///
/// Tensors may be written in any order, each from its start to its end. The file appears under its name only when it
/// is whole; the same input makes the same bytes.
/// Format: `Formats/model-pack.md`.
public struct ModelPackWriter: ~Copyable {
  private var layout: PackLayout
  private var metadata: PackMetadata
  private var file: PublishedFile
  /// Running digests of the tensors that have been started.
  private var open: [Int: (hasher: Hasher256, byteCount: Int)] = [:]
  private var isWritten: [Bool]

  /// Creates the file, without its name, with room for all tensors.
  /// - Throws: `Refusal` `invalid-metadata`, `too-large`, `cannot-create` or `no-space`.
  public init(creating path: String, contents: PackContents) throws(Refusal) {
    let layout = try PackLayout(contents, file: path)
    let file = try PublishedFile(creating: path, unnamed: true)
    try file.resize(to: layout.header.fileByteCount)
    self.file = file
    isWritten = [Bool](repeating: false, count: layout.tensors.count)
    metadata = contents.metadata
    self.layout = layout
  }

  /// In the order of the file; the digests of those that are not yet whole are zeros.
  public var tensors: [PackTensor] { layout.tensors }
  /// Bytes of the finished file.
  public var byteCount: Int { layout.header.fileByteCount }

  /// Writes the next bytes of a tensor.
  /// - Parameter number: the tensor's index in `tensors`.
  /// - Throws: `Refusal` `no-space` or `input-output`.
  public mutating func append(_ bytes: RawSpan, toTensor number: Int) throws(Refusal) {
    let tensor = layout.tensors[number]
    var (hasher, done) = open[number] ?? (Hasher256(), 0)
    precondition(!isWritten[number] && bytes.byteCount <= tensor.byteCount - done, "\(tensor.name) is whole")
    hasher.update(bytes)
    try file.write(bytes, at: tensor.byteOffset + done)
    done += bytes.byteCount
    if done < tensor.byteCount {
      open[number] = (hasher, done)
    } else {
      open[number] = nil
      isWritten[number] = true
      layout.tensors[number] = tensor.with(digest: hasher.finalize())
    }
  }

  /// Writes the header, metadata and index, and makes the pack durable and visible under its name.
  /// - Parameter sources: the sources with their digests, where they were not known when the file was created.
  ///   Names and sizes must be the same.
  /// - Returns: the identity of the pack.
  /// - Throws: `Refusal` `no-space` or `input-output`.
  public mutating func publish(sources: [PackProvenance.Source]? = nil) throws(Refusal) -> Digest256 {
    precondition(isWritten.allSatisfy(\.self), "a tensor is not whole")
    if let sources { metadata.provenance.sources = sources }
    layout.seal(metadata: metadata)
    let front = layout.front
    try unsafe file.write(front.span.bytes, at: 0)
    try file.publish()
    return layout.header.identity
  }
}
