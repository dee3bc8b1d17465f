import FileAccess

/// The part of a pack that a section of the header points to.
enum SectionKind: UInt32, CaseIterable {
  case metadata = 1
  case tensorIndex = 2
  case tokenizer = 3
  case chatTemplate = 4
  case tensorData = 5

  var name: String {
    switch self {
    case .metadata: "metadata"
    case .tensorIndex: "tensor index"
    case .tokenizer: "tokenizer"
    case .chatTemplate: "chat template"
    case .tensorData: "tensor data"
    }
  }

  var isRequired: Bool { self != .tokenizer && self != .chatTemplate }

  /// The largest size that is accepted, which bounds the memory that an opened pack can take.
  var byteCountLimit: Int {
    switch self {
    case .metadata, .chatTemplate: 1 << 20
    case .tensorIndex: 1 << 24
    case .tokenizer: 1 << 26
    case .tensorData: .max
    }
  }
}

struct PackSection: Hashable {
  /// The number of a kind, which this version may not know.
  var code: UInt32
  var byteOffset: Int
  var byteCount: Int
  /// Zeros for the tensor data, whose digests are in the index.
  var digest: Digest256

  /// nil for a section that is skipped.
  var kind: SectionKind? { SectionKind(rawValue: code) }

  /// For messages.
  var name: String { kind?.name ?? String(code) }

  var byteRange: Range<Int> { byteOffset..<byteOffset + byteCount }
}

/// The first bytes of a pack.
/// Format: `Formats/model-pack.md` §Header.
struct PackHeader {
  static let magic: [UInt8] = [0x89, 0x53, 0x50, 0x4B, 0x0D, 0x0A, 0x1A, 0x0A]
  static let majorVersion: UInt16 = 1
  static let minorVersion: UInt16 = 0
  static let fixedByteCount = 96
  static let sectionByteCount = 64
  static let sectionCountLimit = 16
  /// A flag of a section: a reader that does not know its kind can do without it.
  static let optionalFlag: UInt32 = 1
  static let identityRange = 64..<96
  static let sectionAlignment = 4096
  static let zeroDigest = Digest256(bytes: [UInt8](repeating: 0, count: 32)).unsafelyPresent

  var fileByteCount: Int
  var sections: [PackSection]
  /// The Merkle root of the pack: SHA-256 of the header with zeros in place of itself.
  private(set) var identity: Digest256 = PackHeader.zeroDigest

  var byteCount: Int { Self.byteCount(sectionCount: sections.count) }

  static func byteCount(sectionCount: Int) -> Int { fixedByteCount + sectionByteCount * sectionCount }

  init(fileByteCount: Int, sections: [PackSection]) {
    self.fileByteCount = fileByteCount
    self.sections = sections
    identity = Digest256(of: encoded(identity: Self.zeroDigest))
  }

  var encoded: [UInt8] { encoded(identity: identity) }

  private func encoded(identity: Digest256) -> [UInt8] {
    var writer = ByteWriter()
    writer.append(Self.magic)
    writer.integer(Self.majorVersion)
    writer.integer(Self.minorVersion)
    writer.integer(UInt32(byteCount))
    writer.integer(UInt64(fileByteCount))
    writer.integer(UInt64(0))  // required features
    writer.integer(UInt64(0))  // optional features
    writer.integer(UInt32(sections.count))
    writer.pad(toByteCount: Self.identityRange.lowerBound)
    writer.append(identity.bytes)
    for section in sections {
      writer.integer(section.code)
      writer.integer(UInt32(0))
      writer.integer(UInt64(section.byteOffset))
      writer.integer(UInt64(section.byteCount))
      writer.append(section.digest.bytes)
      writer.integer(UInt64(0))
    }
    return writer.bytes
  }

  func section(_ kind: SectionKind) -> PackSection? { sections.first { $0.kind == kind } }
}

extension Optional {
  /// For constants that cannot be nil.
  fileprivate var unsafelyPresent: Wrapped {
    guard let self else { preconditionFailure("a constant is wrong") }
    return self
  }
}

extension PackHeader {
  /// Reads and checks the header of a file: everything but the contents of its sections.
  /// - Throws: `Refusal` `not-a-pack`, `newer-version`, `truncated`, `malformed-header`, `digest-mismatch`,
  ///   `unknown-feature`, `unknown-section`, `missing-section`, `misplaced-section`, `too-large` or `wrong-length`.
  init(parsing bytes: RawSpan, file: String) throws(Refusal) {
    func refusal(_ name: Refusal.Name, _ fault: String) -> Refusal {
      Refusal(name, file: file, structure: "header", fault)
    }
    var reader = ByteReader(bytes, file: file, structure: "header")
    guard bytes.byteCount >= Self.magic.count, try reader.bytes(Self.magic.count) == Self.magic else {
      throw refusal(.notAPack, "does not start like a model pack")
    }
    let majorVersion = try reader.integer(UInt16.self)
    _ = try reader.integer(UInt16.self)
    guard majorVersion <= Self.majorVersion else {
      throw refusal(
        .newerVersion, "has format version \(majorVersion); this program reads \(Self.majorVersion)")
    }
    let byteCount = Int(try reader.integer(UInt32.self))
    let fileByteCount = try reader.integer(UInt64.self)
    let requiredFeatures = try reader.integer(UInt64.self)
    _ = try reader.integer(UInt64.self)
    let sectionCount = Int(try reader.integer(UInt32.self))
    let reserved = try reader.bytes(Self.identityRange.lowerBound - reader.offset)
    guard majorVersion > 0, sectionCount <= Self.sectionCountLimit,
      byteCount == Self.byteCount(sectionCount: sectionCount), reserved.allSatisfy({ $0 == 0 })
    else { throw refusal(.malformedHeader, "its version, byte count, section count or reserved bytes are wrong") }
    let stored = try reader.bytes(Self.identityRange.count)
    var sections: [(section: PackSection, flags: UInt32)] = []
    for _ in 0..<sectionCount {
      let code = try reader.integer(UInt32.self)
      let flags = try reader.integer(UInt32.self)
      let byteOffset = try reader.size()
      let byteCount = try reader.size()
      let digest = Digest256(bytes: try reader.bytes(32)).unsafelyPresent
      guard try reader.integer(UInt64.self) == 0 else {
        throw refusal(.malformedHeader, "the reserved bytes of a section are not zero")
      }
      // Kinds and flags are checked after the identity, so that bit rot is reported as such.
      sections.append(
        (PackSection(code: code, byteOffset: byteOffset, byteCount: byteCount, digest: digest), flags))
    }

    var hasher = Hasher256()
    hasher.update(bytes.extracting(0..<Self.identityRange.lowerBound))
    hasher.update([UInt8](repeating: 0, count: Self.identityRange.count))
    hasher.update(bytes.extracting(Self.identityRange.upperBound..<byteCount))
    identity = hasher.finalize()
    guard identity.bytes == stored else {
      throw refusal(.digestMismatch, "its SHA-256 is not the identity that it states")
    }

    guard requiredFeatures == 0 else {
      throw refusal(
        .unknownFeature, "needs features \(String(requiredFeatures, radix: 2)) (bits) that this version does not know")
    }
    self.sections = sections.map(\.section)
    self.fileByteCount = 0
    try checkSections(flags: sections.map(\.flags), file: file)
    guard fileByteCount == UInt64(bytes.byteCount), self.fileByteCount == bytes.byteCount else {
      throw refusal(
        .wrongLength,
        "the file has \(bytes.byteCount) bytes, the header states \(fileByteCount) and its sections need "
          + "\(self.fileByteCount)")
    }
  }

  /// Checks order, alignment and gaps, and sets the length of the file that follows from them.
  private mutating func checkSections(flags: [UInt32], file: String) throws(Refusal) {
    var end = byteCount
    var lastCode: UInt32 = 0
    for (section, flags) in zip(sections, flags) {
      func refusal(_ refusalName: Refusal.Name, _ fault: String) -> Refusal {
        Refusal(refusalName, file: file, structure: "header, section \(section.name)", fault)
      }
      guard section.kind != nil || (section.code > 0 && flags == Self.optionalFlag) else {
        throw refusal(.unknownSection, "has an unknown kind and is not optional")
      }
      guard section.kind == nil || flags == 0 else { throw refusal(.malformedHeader, "has flags") }
      guard section.code > lastCode else { throw refusal(.misplacedSection, "is not in ascending order of kinds") }
      lastCode = section.code
      guard let start = CheckedSize.aligned(end, to: Self.sectionAlignment), section.byteOffset == start else {
        throw refusal(
          .misplacedSection,
          "starts at \(section.byteOffset) and not at the first multiple of \(Self.sectionAlignment) after \(end)")
      }
      guard section.byteCount > 0, let sectionEnd = CheckedSize.sum(section.byteOffset, section.byteCount) else {
        throw refusal(.misplacedSection, "has \(section.byteCount) bytes")
      }
      if let limit = section.kind?.byteCountLimit, section.byteCount > limit {
        throw refusal(.tooLarge, "has \(section.byteCount) bytes; at most \(limit) are read")
      }
      guard section.kind != .tensorData || section.digest == Self.zeroDigest else {
        throw refusal(.malformedHeader, "has a digest; the index holds those of the tensors")
      }
      end = sectionEnd
    }
    for kind in SectionKind.allCases where kind.isRequired && section(kind) == nil {
      throw Refusal(.missingSection, file: file, structure: "header", "has no section \(kind.name)")
    }
    fileByteCount = end
  }
}
