public import FileAccess

/// A manifest's entry for a segment.
struct SegmentReference: Equatable {
  /// The SHA-256 of the file, which names it.
  let digest: Digest256
  /// The digest with which the segment ends, over header, index and footer.
  let closingDigest: Digest256
  let byteCount: Int
  let chunkCount: Int
}

/// A text as it was cut into chunks.
/// Format: `Formats/tree-store.md`, documents.
public struct StoredDocument: Sendable, Hashable {
  public let name: String
  /// The SHA-256 of the text.
  public let textDigest: Digest256
  public let textByteCount: Int
  /// Of the text.
  public let tokenCount: Int
  /// In the order of the text.
  public let chunks: [ChunkKey]

  static let nameByteCounts = 1...1024

  /// Names are compared by their bytes: names that look equal may differ.
  static func nameOrder(_ left: String, _ right: String) -> Bool {
    left.utf8.lexicographicallyPrecedes(right.utf8)
  }

  /// - Returns: why a name is refused; nil when it is accepted.
  static func fault(ofName name: String) -> String? {
    guard nameByteCounts.contains(name.utf8.count) else { return "a name has 1 to 1024 bytes, not \(name.utf8.count)" }
    let controls = name.unicodeScalars.contains { $0.value < 0x20 || (0x7F..<0xA0).contains($0.value) }
    return controls ? "a name has no control characters" : nil
  }
}

extension [StoredDocument] {
  /// Binary search: the index of a name, or the one where it would be inserted.
  func index(of name: String) -> (index: Int, isThere: Bool) {
    var low = 0
    var high = count
    while low < high {
      let middle = low + (high - low) / 2
      if StoredDocument.nameOrder(self[middle].name, name) { low = middle + 1 } else { high = middle }
    }
    return (low, low < count && self[low].name.utf8.elementsEqual(name.utf8))
  }
}

/// One generation of a store: its segments and its documents.
/// Format: `Formats/tree-store.md`, manifests.
struct Manifest: Equatable {
  var generation: Int
  /// The SHA-256 of the previous generation; nil for the first.
  var previous: Digest256?
  let configuration: TreeStoreConfiguration
  /// Sorted by digest.
  var segments: [SegmentReference]
  /// Sorted by name.
  var documents: [StoredDocument]

  /// 2^36 bytes name 2^31 chunks.
  static let byteCountLimit = 1 << 36
  private static let fixedByteCount = 88
  private static let segmentByteCount = 80

  /// The whole file.
  var encoded: [UInt8] {
    var writer = ByteWriter()
    StoreFormat.writePreamble(StoreFormat.manifestMagic, features: configuration.features, into: &writer)
    writer.integer(UInt64(generation))
    writer.append(previous?.bytes ?? [UInt8](repeating: 0, count: 32))
    writer.integer(UInt64(segments.count))
    writer.integer(UInt64(documents.count))
    writer.integer(UInt64(0))
    writer.append(configuration.encoded)
    writer.pad(to: 8)
    for segment in segments {
      writer.append(segment.digest.bytes)
      writer.append(segment.closingDigest.bytes)
      writer.integer(UInt64(segment.byteCount))
      writer.integer(UInt64(segment.chunkCount))
    }
    for document in documents {
      writer.append(document.textDigest.bytes)
      writer.integer(UInt64(document.textByteCount))
      writer.integer(UInt64(document.tokenCount))
      writer.integer(UInt64(document.chunks.count))
      writer.integer(UInt64(document.name.utf8.count))
      writer.append(document.name.utf8)
      writer.pad(to: 8)
      for key in document.chunks { key.write(into: &writer) }
    }
    writer.append(Digest256(of: writer.bytes).bytes)
    return writer.bytes
  }

  /// - Parameter generation: the one in the file's name.
  /// - Throws: `Refusal`, see `Formats/tree-store.md`, refusals.
  init(parsing bytes: [UInt8], generation: Int, file: String) throws(Refusal) {
    func malformed(_ structure: String, _ fault: String) -> Refusal {
      Refusal(.malformedManifest, file: file, structure: structure, fault)
    }
    let all = unsafe bytes.span.bytes
    var start = ByteReader(all, file: file, structure: "manifest")
    let features = try StoreFormat.readPreamble(StoreFormat.manifestMagic, from: &start, file: file)
    guard bytes.count >= Self.fixedByteCount + 32 else {
      throw Refusal(.truncated, file: file, structure: "manifest", "has \(bytes.count) bytes")
    }
    var hasher = Hasher256()
    let body = all.extracting(0..<bytes.count - 32)
    hasher.update(body)
    guard hasher.finalize().bytes == Array(bytes[(bytes.count - 32)...]) else {
      throw Refusal(
        .digestMismatch, file: file, structure: "manifest", "the SHA-256 at its end is not that of its bytes")
    }

    var reader = ByteReader(body, file: file, structure: "manifest")
    try reader.seek(to: 24)
    guard try reader.size() == generation else {
      throw malformed("generation", "is not the one of the file's name")
    }
    self.generation = generation
    let previous = try reader.bytes(32)
    self.previous = generation == 1 ? nil : Digest256(bytes: previous)
    let (segmentCount, documentCount) = (try reader.size(), try reader.size())
    _ = try reader.size()
    configuration = try TreeStoreConfiguration(from: &reader, features: features, file: file)
    try reader.seek(to: reader.offset + CheckedSize.padding(after: reader.offset, to: 8))

    guard segmentCount <= reader.remainingByteCount / Self.segmentByteCount else {
      throw malformed("segments", "\(segmentCount) of them do not fit")
    }
    segments = []
    for _ in 0..<segmentCount {
      guard let digest = Digest256(bytes: try reader.bytes(32)),
        let closingDigest = Digest256(bytes: try reader.bytes(32))
      else { throw malformed("segments", "a digest is missing") }
      if let last = segments.last, last.digest >= digest { throw malformed("segments", "the digests do not ascend") }
      segments.append(
        SegmentReference(
          digest: digest, closingDigest: closingDigest, byteCount: try reader.size(), chunkCount: try reader.size()))
    }

    documents = []
    for number in 0..<documentCount {
      let document = try StoredDocument(from: &reader, malformed: { malformed("document \(number)", $0) })
      if let last = documents.last, !StoredDocument.nameOrder(last.name, document.name) {
        throw malformed("document \(number)", "the names do not ascend")
      }
      documents.append(document)
    }
    guard reader.remainingByteCount == 0 else { throw malformed("manifest", "has bytes after its documents") }
    // Whatever is not spelled as a writer spells it, padding included, is refused.
    guard encoded == bytes else { throw malformed("manifest", "is not in its canonical form") }
  }

  init(
    generation: Int, previous: Digest256?, configuration: TreeStoreConfiguration, segments: [SegmentReference],
    documents: [StoredDocument]
  ) {
    self.generation = generation
    self.previous = previous
    self.configuration = configuration
    self.segments = segments.sorted { $0.digest < $1.digest }
    self.documents = documents
  }

  /// Reads a generation of a store.
  /// - Returns: the manifest and the SHA-256 of its file.
  static func read(_ generation: Int, in store: String) throws(Refusal) -> (Manifest, Digest256) {
    let path = "\(store)/\(StoreFormat.manifestName(generation))"
    let bytes = try SequentialFile.contents(path, limit: byteCountLimit, followingLinks: false)
    return (try Manifest(parsing: bytes, generation: generation, file: path), Digest256(of: bytes))
  }

  /// Makes this generation durable and visible.
  /// - Returns: the SHA-256 of its file.
  func publish(in store: String) throws(Refusal) -> Digest256 {
    let bytes = encoded
    var file = try PublishedFile(creating: "\(store)/manifest", mode: 0o400)
    try file.append(bytes)
    try file.publish(as: StoreFormat.manifestName(generation))
    return Digest256(of: bytes)
  }
}

extension StoredDocument {
  @_lifetime(reader: copy reader)
  fileprivate init(from reader: inout ByteReader, malformed: (String) -> Refusal) throws(Refusal) {
    guard let textDigest = Digest256(bytes: try reader.bytes(32)) else { throw malformed("has no digest") }
    self.textDigest = textDigest
    textByteCount = try reader.size()
    tokenCount = try reader.size()
    let (chunkCount, nameByteCount) = (try reader.size(), try reader.size())
    guard Self.nameByteCounts.contains(nameByteCount) else { throw malformed("a name of \(nameByteCount) bytes") }
    guard let name = String(validating: try reader.bytes(nameByteCount), as: UTF8.self) else {
      throw malformed("the name is not UTF-8")
    }
    if let fault = Self.fault(ofName: name) { throw malformed(fault) }
    self.name = name
    try reader.seek(to: reader.offset + CheckedSize.padding(after: reader.offset, to: 8))
    guard chunkCount <= reader.remainingByteCount / 32 else { throw malformed("\(chunkCount) chunks do not fit") }
    let keys = try reader.bytes(chunkCount * 32)
    chunks = (0..<chunkCount).map { unsafe ChunkKey(keys.span.bytes, at: $0 * 32) }
  }
}
