public import FileAccess

/// The beginning of a GGUF file, before its numbers: pairs of keys and values, and where the tensors lie.
///
/// Versions 2 and 3, little-endian. Everything is checked here, once: sizes before they are multiplied, counts before
/// anything is allocated, and the place of every tensor in the file.
struct GGUFHeader: Sendable {
  struct Tensor: Sendable, Hashable {
    /// As in the file, such as `blk.0.attn_q.weight`.
    let name: String
    /// Sizes, outermost first: the other way round than in the file.
    let shape: [Int]
    let type: GGUFNumberType
    /// In the file.
    let byteRange: Range<Int>
  }

  let metadata: GGUFMetadata
  /// By ascending offset, without overlap.
  let tensors: [Tensor]

  static let magic = Array("GGUF".utf8)
  /// The largest vocabularies, with their merges, take about 20 MB.
  static let byteLimit = 48 << 20
  static let keyLimit = 16384
  static let tensorLimit = 1 << 17
  /// Of a key and of a tensor's name, in bytes.
  static let nameByteLimit = 255
  static let dimensionLimit = 4
  private static let usualAlignment = 32

  /// Parses the first bytes of a file.
  /// - Parameters:
  ///   - bytes: at least the header.
  ///   - fileByteCount: of the whole file.
  /// - Throws: `Refusal` `truncated`, also when the bytes end before the header; `malformed-gguf`, `unsupported-format`
  ///   or `unsupported-element-type`.
  init(parsing bytes: [UInt8], fileByteCount: Int, file: String) throws(Refusal) {
    var reader = unsafe ByteReader(bytes.span.bytes, file: file, structure: "GGUF header")
    func malformed(_ fault: String, structure: String = "GGUF header") -> Refusal {
      Refusal(.malformedGGUF, file: file, structure: structure, fault)
    }
    guard try reader.bytes(4) == Self.magic else { throw malformed("does not begin with GGUF") }
    let version: UInt32 = try reader.integer()
    guard version == 2 || version == 3 else {
      throw Refusal(
        .unsupportedFormat, file: file,
        version != 0 && version & 0xFFFF == 0
          ? "is a big-endian GGUF file; only little-endian ones are read"
          : "is a GGUF file of version \(version); versions 2 and 3 are read")
    }
    let tensorCount = try reader.size()
    let keyCount = try reader.size()
    guard tensorCount <= Self.tensorLimit, keyCount <= Self.keyLimit else {
      throw malformed(
        "counts \(tensorCount) tensors and \(keyCount) keys; at most \(Self.tensorLimit) and \(Self.keyLimit) are read")
    }
    var values: [String: GGUFValue] = [:]
    for number in 0..<keyCount {
      let key = try Self.name(&reader, malformed: { malformed("\($0)", structure: "key \(number)") })
      let value = try GGUFValue(&reader, malformed: { malformed($0, structure: key) })
      guard values.updateValue(value, forKey: key) == nil else { throw malformed("is there twice", structure: key) }
    }
    metadata = GGUFMetadata(bytes: bytes, file: file, values: values)
    var alignment = Self.usualAlignment
    if let value = values["general.alignment"] {
      guard case .integer(let number) = value, 8...65536 ~= number, number & (number - 1) == 0 else {
        throw malformed("is not a power of two from 8 to 65536", structure: "general.alignment")
      }
      alignment = number
    }

    var entries: [Entry] = []
    var names: Set<String> = []
    for number in 0..<tensorCount {
      let name = try Self.name(&reader, malformed: { malformed("\($0)", structure: "tensor \(number)") })
      guard names.insert(name).inserted else { throw malformed("is there twice", structure: name) }
      entries.append(
        try Entry(&reader, name: name, alignment: alignment, file: file, malformed: { malformed($0, structure: name) }))
    }
    guard let start = CheckedSize.aligned(reader.offset, to: alignment) else { throw malformed("is too long") }
    entries.sort { ($0.offset, $0.byteCount) < ($1.offset, $1.byteCount) }
    var tensors: [Tensor] = []
    var end = start
    for entry in entries {
      guard let lower = CheckedSize.sum(start, entry.offset), let upper = CheckedSize.sum(lower, entry.byteCount) else {
        throw malformed("does not lie in any file", structure: entry.name)
      }
      guard lower >= end else { throw malformed("lies in another tensor", structure: entry.name) }
      guard upper <= fileByteCount else {
        throw Refusal(
          .malformedGGUF, file: file, structure: entry.name,
          "ends at byte \(upper) of a file of \(fileByteCount): it is not all here")
      }
      tensors.append(
        Tensor(name: entry.name, shape: entry.shape, type: entry.type, byteRange: lower..<upper))
      end = upper
    }
    self.tensors = tensors
  }

  /// Reads a header, with as much of the file as that takes.
  /// - Throws: `Refusal`, those of `init(parsing:)`; `too-large`, `mistaken-file` or `input-output`.
  init(reading file: borrowing SequentialFile) throws(Refusal) {
    let limit = min(file.byteCount, Self.byteLimit)
    var byteCount = min(1 << 20, limit)
    while true {
      var bytes = [UInt8](repeating: 0, count: byteCount)
      var span = bytes.mutableSpan
      var raw = unsafe span.mutableBytes
      try file.read(at: 0, into: &raw)
      if !bytes.starts(with: Self.magic), let mistaken = MistakenFile(bytes.prefix(MistakenFile.beginningByteCount)) {
        throw mistaken.refusal(file: file.path, insteadOf: "a GGUF file")
      }
      do {
        try self.init(parsing: bytes, fileByteCount: file.byteCount, file: file.path)
        return
      } catch {
        guard error.name == .truncated, byteCount < file.byteCount else { throw error }
        guard byteCount < limit else {
          throw Refusal(
            .tooLarge, file: file.path, structure: "GGUF header",
            "is longer than the \(Self.byteLimit) bytes that are read")
        }
      }
      byteCount = min(byteCount * 8, limit)
    }
  }

  /// A key or a tensor's name: printable ASCII, as the format asks for, so that it can stand in a message.
  private static func name(
    _ reader: inout ByteReader, malformed: (String) -> Refusal
  ) throws(Refusal) -> String {
    let count = try reader.size()
    guard 1...nameByteLimit ~= count else { throw malformed("has a name of \(count) bytes") }
    let bytes = try reader.bytes(count)
    guard bytes.allSatisfy({ 0x21...0x7E ~= $0 }) else { throw malformed("has a name that is not printable ASCII") }
    return String(decoding: bytes, as: UTF8.self)
  }

  /// A tensor as the header writes it.
  private struct Entry {
    let name: String
    let shape: [Int]
    let type: GGUFNumberType
    /// From the first tensor's place on.
    let offset: Int
    let byteCount: Int

    init(
      _ reader: inout ByteReader, name: String, alignment: Int, file: String, malformed: (String) -> Refusal
    ) throws(Refusal) {
      let dimensionCount: UInt32 = try reader.integer()
      guard 1...GGUFHeader.dimensionLimit ~= Int(dimensionCount) else {
        throw malformed("has \(dimensionCount) dimensions")
      }
      var sizes: [Int] = []
      for _ in 0..<dimensionCount { sizes.append(try reader.size()) }
      let number: UInt32 = try reader.integer()
      guard let type = GGUFNumberType(rawValue: number) else {
        throw Refusal(
          .unsupportedElementType, file: file, structure: name, "has numbers of the type \(number), which is not known")
      }
      guard sizes.allSatisfy({ $0 > 0 }) else { throw malformed("has an empty dimension") }
      let layout = type.layout
      guard sizes[0] % layout.length == 0 else {
        throw malformed("has rows of \(sizes[0]) numbers, not whole blocks of \(layout.length)")
      }
      var byteCount: Int? = CheckedSize.product(sizes[0] / layout.length, layout.byteCount)
      for size in sizes.dropFirst() { byteCount = byteCount.flatMap { CheckedSize.product($0, size) } }
      guard let byteCount else { throw malformed("has more bytes than can be counted") }
      let offset = try reader.size()
      guard offset % alignment == 0 else { throw malformed("begins at \(offset), not at a multiple of \(alignment)") }
      self.name = name
      self.shape = sizes.reversed()
      self.type = type
      self.offset = offset
      self.byteCount = byteCount
    }
  }
}

extension Refusal.Name {
  /// A GGUF file that is not one, or lies about itself.
  public static let malformedGGUF = Refusal.Name("malformed-gguf", .badInput)
}
