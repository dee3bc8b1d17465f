public import FileAccess

/// A text of a store.
/// Format: `Formats/tree-store.md`, documents.
public struct StoredDocument: Sendable, Hashable {
  public let name: String
  /// The SHA-256 of the text.
  public let textDigest: Digest256
  public let textByteCount: Int
  /// Of the text.
  public let tokenCount: Int
  /// How many chunks it was cut into.
  public let chunkCount: Int
  /// Its place in the order of all additions to the store: the least is the oldest document.
  public let order: Int
  /// Whether it stays when documents make room for others.
  public var isPinned: Bool
  /// Whether the store keeps its text.
  public internal(set) var keepsText: Bool
  /// What its owner wrote about it: a JSON object; empty for nothing.
  public let metadata: String

  static let nameByteCounts = 1...1024
  /// Bytes of metadata, at most.
  public static let metadataByteLimit = 1 << 16

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

  private static let pinnedFlag: UInt64 = 1
  private static let textFlag: UInt64 = 2

  init(
    name: String, textDigest: Digest256, textByteCount: Int, tokenCount: Int, chunkCount: Int, order: Int,
    isPinned: Bool, keepsText: Bool, metadata: String
  ) {
    self.name = name
    self.textDigest = textDigest
    self.textByteCount = textByteCount
    self.tokenCount = tokenCount
    self.chunkCount = chunkCount
    self.order = order
    self.isPinned = isPinned
    self.keepsText = keepsText
    self.metadata = metadata
  }

  /// The catalog's value for it.
  var encoded: [UInt8] {
    var writer = ByteWriter()
    writer.append(textDigest.bytes)
    for number in [textByteCount, tokenCount, chunkCount, order] { writer.integer(UInt64(number)) }
    writer.integer((isPinned ? Self.pinnedFlag : 0) | (keepsText ? Self.textFlag : 0))
    writer.append(metadata.utf8)
    return writer.bytes
  }

  /// - Parameters:
  ///   - key: the catalog's, of a document.
  ///   - file: for messages.
  /// - Throws: `Refusal` `malformed-table`.
  init(key: [UInt8], value: [UInt8], file: String) throws(Refusal) {
    func malformed(_ fault: String) -> Refusal {
      Refusal(.malformedTable, file: file, structure: "document", fault)
    }
    guard let name = String(validating: key.dropFirst(), as: UTF8.self) else {
      throw malformed("the name is not UTF-8")
    }
    if let fault = Self.fault(ofName: name) { throw malformed(fault) }
    let span = unsafe value.span.bytes
    var reader = ByteReader(span, file: file, structure: "document \"\(name)\"")
    guard let digest = Digest256(bytes: try reader.bytes(32)) else { throw malformed("has no digest") }
    let numbers = (try reader.size(), try reader.size(), try reader.size(), try reader.size())
    let flags = try reader.integer(UInt64.self)
    guard flags & ~(Self.pinnedFlag | Self.textFlag) == 0, reader.remainingByteCount <= Self.metadataByteLimit,
      let metadata = String(validating: try reader.bytes(reader.remainingByteCount), as: UTF8.self)
    else { throw malformed("\"\(name)\" is not as a writer writes it") }
    self.init(
      name: name, textDigest: digest, textByteCount: numbers.0, tokenCount: numbers.1, chunkCount: numbers.2,
      order: numbers.3, isPinned: flags & Self.pinnedFlag != 0, keepsText: flags & Self.textFlag != 0,
      metadata: metadata)
  }
}

/// The chunks of a document, in the order of the text.
/// Format: `Formats/tree-store.md`, documents.
public struct DocumentChunks: Sendable, Hashable {
  public var keys: [ChunkKey]
  /// Bytes of the text that each chunk stands for, as far as they are known: all of them or none. They add up to the text.
  public var textByteCounts: [Int]

  public init(keys: [ChunkKey], textByteCounts: [Int] = []) {
    precondition(textByteCounts.isEmpty || textByteCounts.count == keys.count, "every chunk has a length or none")
    self.keys = keys
    self.textByteCounts = textByteCounts
  }

  /// The bytes of the text that a chunk stands for; nil when they are not known.
  public func textRange(of chunk: Int) -> Range<Int>? {
    guard !textByteCounts.isEmpty else { return nil }
    let start = textByteCounts[..<chunk].reduce(0, +)
    return start..<start + textByteCounts[chunk]
  }

  /// Chunks of an entry of the catalog.
  static let partLength = 64
  static func partCount(_ chunkCount: Int) -> Int { chunkCount / partLength + (chunkCount % partLength == 0 ? 0 : 1) }
  private static let unknown = UInt32.max

  /// The catalog's value for a part.
  func encoded(part: Int) -> [UInt8] {
    var writer = ByteWriter()
    for number in part * Self.partLength..<min((part + 1) * Self.partLength, keys.count) {
      keys[number].write(into: &writer)
      writer.integer(textByteCounts.isEmpty ? Self.unknown : UInt32(textByteCounts[number]))
    }
    return writer.bytes
  }

  /// Reads the list of a document.
  /// - Parameters:
  ///   - store: for messages.
  ///   - value: what the catalog says about a key.
  /// - Throws: `Refusal` `malformed-table` and those of the catalog.
  init(
    of document: StoredDocument, store: String, value: (_ key: [UInt8]) throws(Refusal) -> [UInt8]?
  ) throws(Refusal) {
    self.init(keys: [])
    for part in 0..<Self.partCount(document.chunkCount) {
      let count = min(Self.partLength, document.chunkCount - part * Self.partLength)
      guard let bytes = try value(CatalogKey.list(document.name, part: part)), append(bytes, chunkCount: count) else {
        throw Refusal(
          .malformedTable, file: store, structure: "document \"\(document.name)\"",
          "part \(part) of the list of its chunks is missing or malformed")
      }
    }
  }

  /// Appends a part.
  /// - Returns: whether it is one of this many chunks.
  mutating func append(_ bytes: [UInt8], chunkCount: Int) -> Bool {
    guard bytes.count == chunkCount * 36 else { return false }
    let span = unsafe bytes.span.bytes
    for number in 0..<chunkCount {
      let isFirst = keys.isEmpty
      keys.append(ChunkKey(span, at: number * 36))
      let count = unsafe UInt32(
        littleEndian: span.unsafeLoadUnaligned(fromByteOffset: number * 36 + 32, as: UInt32.self))
      if count != Self.unknown {
        guard isFirst || !textByteCounts.isEmpty else { return false }
        textByteCounts.append(Int(count))
      } else if !textByteCounts.isEmpty {
        return false
      }
    }
    return true
  }
}
