internal import FileAccess

/// Properties that all files of a store share.
/// Format: `Formats/tree-store.md`, preamble.
enum StoreFormat {
  static let majorVersion: UInt16 = 2
  static let minorVersion: UInt16 = 0
  /// The chunks are texts, not trees.
  static let textFeature: UInt64 = 1
  /// Bits whose meaning a reader must know.
  static let knownFeatures: UInt64 = textFeature

  // A byte that is not text, the kind, and the line ends and the end-of-file mark that a careless transfer changes.
  static let segmentMagic: [UInt8] = [0x89, 0x54, 0x53, 0x47, 0x0D, 0x0A, 0x1A, 0x0A]
  static let manifestMagic: [UInt8] = [0x89, 0x54, 0x53, 0x4D, 0x0D, 0x0A, 0x1A, 0x0A]
  static let tableMagic: [UInt8] = [0x89, 0x54, 0x53, 0x43, 0x0D, 0x0A, 0x1A, 0x0A]
  static let footerMagic: [UInt8] = [0x89, 0x54, 0x53, 0x45, 0x0D, 0x0A, 0x1A, 0x0A]

  static let lockName = "LOCK"
  static let segmentsName = "segments"
  static let segmentSuffix = ".seg"
  static let catalogName = "catalog"
  static let tableSuffix = ".table"
  /// What repairs put aside; readers and writers ignore it.
  static let quarantineName = "quarantine"
  static let partialSuffix = ".partial"

  private static let manifestPrefix = "MANIFEST-"
  private static let generationDigits = 16

  static func manifestName(_ generation: Int) -> String {
    let digits = String(generation)
    return manifestPrefix + String(repeating: "0", count: generationDigits - digits.utf8.count) + digits
  }

  /// The generation of a manifest's name; nil for every other name.
  static func generation(_ name: String) -> Int? {
    guard name.hasPrefix(manifestPrefix), let generation = Int(name.dropFirst(manifestPrefix.count)),
      (1..<10_000_000_000_000_000).contains(generation), manifestName(generation) == name
    else { return nil }
    return generation
  }

  /// The generations in a store's directory, ascending.
  static func generations(in path: String) throws(Refusal) -> [Int] {
    try Directory.names(in: path).compactMap(generation)
  }

  static func segmentPath(_ store: String, _ digest: Digest256) -> String {
    "\(store)/\(segmentsName)/\(digest)\(segmentSuffix)"
  }

  static func tablePath(_ store: String, _ digest: Digest256) -> String {
    "\(store)/\(catalogName)/\(digest)\(tableSuffix)"
  }

  static func writePreamble(_ magic: [UInt8], features: UInt64, into writer: inout ByteWriter) {
    writer.append(magic)
    writer.integer(majorVersion)
    writer.integer(minorVersion)
    writer.integer(UInt32(0))
    writer.integer(features)
  }

  /// The header of a segment or a table: preamble, salt and configuration.
  /// - Parameter alignment: of what follows it.
  static func header(
    _ magic: [UInt8], _ configuration: TreeStoreConfiguration, salt: UInt64, alignment: Int
  ) -> [UInt8] {
    var writer = ByteWriter()
    writePreamble(magic, features: configuration.features, into: &writer)
    writer.integer(salt)
    writer.append(configuration.encoded)
    writer.pad(to: alignment)
    return writer.bytes
  }

  /// Reads such a header. One that is not, byte for byte, what a writer would write is refused, padding included.
  /// - Parameter malformed: the name of that refusal.
  /// - Returns: what it says, and its bytes.
  @_lifetime(reader: copy reader)
  static func readHeader(
    _ magic: [UInt8], alignment: Int, from reader: inout ByteReader, file: String, malformed: Refusal.Name
  ) throws(Refusal) -> (TreeStoreConfiguration, salt: UInt64, bytes: [UInt8]) {
    let features = try readPreamble(magic, from: &reader, file: file)
    let salt = try reader.integer(UInt64.self)
    let configuration = try TreeStoreConfiguration(from: &reader, features: features, file: file)
    let header = header(magic, configuration, salt: salt, alignment: alignment)
    try reader.seek(to: 0)
    guard try reader.bytes(header.count) == header else {
      throw Refusal(malformed, file: file, structure: "header", "is not in its canonical form")
    }
    return (configuration, salt, header)
  }

  /// Reads the first 24 bytes of a manifest or a segment.
  /// - Returns: the features.
  @_lifetime(reader: copy reader)
  static func readPreamble(
    _ magic: [UInt8], from reader: inout ByteReader, file: String
  ) throws(Refusal) -> UInt64 {
    guard try reader.bytes(magic.count) == magic else {
      throw Refusal(.badMagic, file: file, "does not start like a file of a tree store")
    }
    let major = try reader.integer(UInt16.self)
    let minor = try reader.integer(UInt16.self)
    guard major == majorVersion, minor <= minorVersion else {
      throw Refusal(
        .newerVersion, file: file,
        "has format version \(major).\(minor); version \(majorVersion).\(minorVersion) is read here"
          + (major < majorVersion ? ": build the store again" : ""))
    }
    _ = try reader.integer(UInt32.self)
    let features = try reader.integer(UInt64.self)
    guard features & ~knownFeatures == 0 else {
      let unknown = (0..<64).filter { (features & ~knownFeatures) >> $0 & 1 == 1 }
      throw Refusal(.unknownFeature, file: file, "needs feature \(unknown[0]), which this version does not know")
    }
    return features
  }
}
