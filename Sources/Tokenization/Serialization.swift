/// The form of a tokenizer that is embedded in a model pack.
///
/// Format: Formats/tokenizer.md, "The serialized form".
enum SerializedForm {
  static let magic: [UInt8] = Array("SPTK".utf8)
  /// What a tokenizer is written as when the first version can express it, so that its bytes stay the same.
  static let firstVersion: UInt32 = 1
  static let version: UInt32 = 2
  static let headerByteCount = 64
  static let noToken = UInt32.max
}

extension Tokenizer {
  /// The bytes that `init(serialized:)` reads. Equal tokenizers have equal bytes.
  public func serialized() -> [UInt8] {
    let definition = vocabulary.definition
    var output = SerializedForm.magic
    func append(_ value: UInt32) { withLittleEndianBytes(value) { output.append($0) } }
    func appendPadded(_ bytes: some Collection<UInt8>) {
      output.append(contentsOf: bytes)
      while output.count % 4 != 0 { output.append(0) }
    }
    let isFirstVersion = definition.fitsFirstVersion
    append(isFirstVersion ? SerializedForm.firstVersion : SerializedForm.version)
    append(definition.unit.rawValue)
    append(definition.pattern.rawValue)
    append(definition.prefixRule.rawValue)
    append(definition.flags.rawValue)
    append(definition.unknownToken.map(UInt32.init) ?? SerializedForm.noToken)
    append(definition.beginOfText.map(UInt32.init) ?? SerializedForm.noToken)
    append(UInt32(definition.endOfText.count))
    append(UInt32(definition.unknownSurface.count))
    append(UInt32(definition.pieces.count))
    append(UInt32(definition.pieces.bytes.count))
    append(UInt32(definition.extraCharacters.count))
    append(UInt32(definition.merges.count))
    append(isFirstVersion ? 0 : UInt32(definition.normalizers.count) | UInt32(definition.splits.count) << 16)
    append(isFirstVersion ? 0 : UInt32(definition.options.count))
    for token in definition.endOfText { append(UInt32(token)) }
    appendPadded(definition.unknownSurface)
    for end in definition.pieces.ends { append(end) }
    appendPadded(definition.kinds.map(\.rawValue))
    appendPadded(definition.pieces.bytes)
    for scalar in definition.extraCharacters { append(scalar) }
    for merge in definition.merges {
      let word =
        UInt64(merge.left) | UInt64(merge.right) << 20 | UInt64(merge.result) << 40 | (merge.sharesRank ? 1 << 60 : 0)
      append(UInt32(truncatingIfNeeded: word))
      append(UInt32(truncatingIfNeeded: word >> 32))
    }
    for (token, options) in definition.options.sorted(by: { $0.key < $1.key }) {
      append(UInt32(token))
      append(options.rawValue)
    }
    for record in definition.normalizers.map(\.record) + definition.splits.map(\.record) {
      append(record.kind)
      append(record.parameter)
      append(UInt32(record.first.count))
      append(UInt32(record.second.count))
      appendPadded(record.first)
      appendPadded(record.second)
    }
    return output
  }

  /// Opens what `serialized()` wrote. The bytes are copied.
  /// - Throws: `TokenizerError` for anything else, see Formats/tokenizer.md.
  public init(serialized bytes: [UInt8]) throws(TokenizerError) {
    try self.init(serialized: unsafe bytes.span.bytes)
  }

  /// Opens what `serialized()` wrote, such as a region of a mapped model pack. The bytes are copied.
  /// - Throws: `TokenizerError` for anything else, see Formats/tokenizer.md.
  public init(serialized bytes: RawSpan) throws(TokenizerError) {
    var reader = SerializedReader(bytes)
    try self.init(try reader.definition())
  }
}

private func withLittleEndianBytes(_ value: UInt32, _ body: (UInt8) -> Void) {
  for shift: UInt32 in [0, 8, 16, 24] { body(UInt8(truncatingIfNeeded: value >> shift)) }
}

private struct SerializedReader: ~Escapable {
  private let bytes: RawSpan
  private var offset = 0

  @_lifetime(copy bytes)
  init(_ bytes: RawSpan) { self.bytes = bytes }

  @_lifetime(self: copy self)
  mutating func definition() throws(TokenizerError) -> TokenizerDefinition {
    guard try take(4) == SerializedForm.magic else { throw malformed("header", "it does not start with SPTK") }
    let version = try word()
    guard version == SerializedForm.firstVersion || version == SerializedForm.version else {
      throw TokenizerError(
        .unknownVersion, "header",
        "version \(version); \(SerializedForm.firstVersion) and \(SerializedForm.version) are known here")
    }
    let isFirstVersion = version == SerializedForm.firstVersion
    guard let unit = SymbolUnit(rawValue: try word()) else { throw malformed("header", "an unknown symbol unit") }
    guard let pattern = WordPattern(rawValue: try word()) else { throw malformed("header", "an unknown pattern") }
    guard let rule = PrefixRule(rawValue: try word()) else { throw malformed("header", "an unknown prefix rule") }
    let flags = TokenizerFlags(rawValue: try word())
    guard flags.isSubset(of: isFirstVersion ? .first : .all) else { throw malformed("header", "unknown flags") }
    var definition = TokenizerDefinition(unit: unit, pattern: pattern, prefixRule: rule, flags: flags)
    definition.unknownToken = try token()
    definition.beginOfText = try token()
    let endOfTextCount = Int(try word())
    let surfaceByteCount = Int(try word())
    let pieceCount = Int(try word())
    let pieceByteCount = Int(try word())
    let characterCount = Int(try word())
    let mergeCount = Int(try word())
    let stepCounts = try word()
    let optionCount = Int(try word())
    guard !isFirstVersion || stepCounts == 0 && optionCount == 0 else {
      throw malformed("header", "reserved fields are not zero")
    }
    // Each term is below 2^35, so the sum cannot overflow. An exact size means that no count makes us allocate more
    // than there are bytes for.
    let expected =
      SerializedForm.headerByteCount + 4 * endOfTextCount + padded(surfaceByteCount) + 4 * pieceCount
      + padded(pieceCount) + padded(pieceByteCount) + 4 * characterCount + 8 * mergeCount
      + 8 * optionCount
    guard isFirstVersion ? bytes.byteCount == expected : bytes.byteCount >= expected else {
      throw TokenizerError(
        bytes.byteCount < expected ? .truncated : .malformed, "header",
        "the counts need \(expected) bytes and there are \(bytes.byteCount)")
    }
    definition.endOfText = try words(endOfTextCount).map { Int32(truncatingIfNeeded: $0) }
    definition.unknownSurface = try takePadded(surfaceByteCount)
    definition.pieces.ends = try words(pieceCount)
    definition.kinds = try kinds(pieceCount)
    definition.pieces.bytes = try takePadded(pieceByteCount)
    definition.extraCharacters = try words(characterCount)
    definition.merges = try merges(mergeCount)
    if !isFirstVersion {
      definition.options = try options(optionCount)
      for index in 0..<Int(stepCounts & 0xFFFF) {
        guard let step = NormalizerStep(try record()) else { throw malformed("normalizer \(index)", "it is not known") }
        definition.normalizers.append(step)
      }
      for index in 0..<Int(stepCounts >> 16) {
        guard let step = SplitStep(try record()) else { throw malformed("split \(index)", "it is not known") }
        definition.splits.append(step)
      }
      guard offset == bytes.byteCount else { throw malformed("steps", "bytes follow them") }
      // One tokenizer has one form.
      guard !definition.fitsFirstVersion else {
        throw malformed("header", "version \(version) for what version \(SerializedForm.firstVersion) says")
      }
    }
    return definition
  }

  @_lifetime(self: copy self)
  private mutating func options(_ count: Int) throws(TokenizerError) -> [Int32: AddedTokenOptions] {
    var options: [Int32: AddedTokenOptions] = [:]
    var last: UInt32?
    for index in 0..<count {
      let token = try word()
      guard last.map({ $0 < token }) ?? true, token <= UInt32(Int32.max) else {
        throw malformed("options \(index)", "tokens do not ascend")
      }
      options[Int32(token)] = AddedTokenOptions(rawValue: try word())
      last = token
    }
    return options
  }

  @_lifetime(self: copy self)
  private mutating func record() throws(TokenizerError) -> StepRecord {
    var record = StepRecord(kind: try word(), parameter: try word())
    let firstByteCount = Int(try word())
    let secondByteCount = Int(try word())
    record.first = try takePadded(firstByteCount)
    record.second = try takePadded(secondByteCount)
    return record
  }

  private func padded(_ count: Int) -> Int { (count + 3) / 4 * 4 }

  private func malformed(_ structure: String, _ fault: String) -> TokenizerError {
    TokenizerError(.malformed, structure, fault)
  }

  @_lifetime(self: copy self)
  private mutating func advance(_ count: Int) throws(TokenizerError) -> Int {
    guard bytes.byteCount - offset >= count else {
      throw TokenizerError(.truncated, "header", "\(bytes.byteCount) bytes are too few")
    }
    defer { offset += count }
    return offset
  }

  @_lifetime(self: copy self)
  private mutating func word() throws(TokenizerError) -> UInt32 {
    let start = try advance(4)
    return UInt32(littleEndian: unsafe bytes.unsafeLoadUnaligned(fromByteOffset: start, as: UInt32.self))
  }

  @_lifetime(self: copy self)
  private mutating func words(_ count: Int) throws(TokenizerError) -> [UInt32] {
    let start = try advance(4 * count)
    var words = [UInt32](repeating: 0, count: count)
    for index in 0..<count {
      words[index] = UInt32(
        littleEndian: unsafe bytes.unsafeLoadUnaligned(fromByteOffset: start + 4 * index, as: UInt32.self))
    }
    return words
  }

  @_lifetime(self: copy self)
  private mutating func take(_ count: Int) throws(TokenizerError) -> [UInt8] {
    let start = try advance(count)
    return unsafe bytes.extracting(start..<start + count).withUnsafeBytes { unsafe [UInt8]($0) }
  }

  @_lifetime(self: copy self)
  private mutating func takePadded(_ count: Int) throws(TokenizerError) -> [UInt8] {
    let result = try take(count)
    guard try take(padded(count) - count).allSatisfy({ $0 == 0 }) else {
      throw malformed("padding", "it is not zero before byte \(offset)")
    }
    return result
  }

  @_lifetime(self: copy self)
  private mutating func token() throws(TokenizerError) -> Int32? {
    let value = try word()
    return value == SerializedForm.noToken ? nil : Int32(truncatingIfNeeded: value)
  }

  @_lifetime(self: copy self)
  private mutating func kinds(_ count: Int) throws(TokenizerError) -> [PieceKind] {
    var kinds: [PieceKind] = []
    kinds.reserveCapacity(count)
    for value in try takePadded(count) {
      guard let kind = PieceKind(rawValue: value) else {
        throw malformed("piece \(kinds.count)", "the kind \(value) is not known")
      }
      kinds.append(kind)
    }
    return kinds
  }

  @_lifetime(self: copy self)
  private mutating func merges(_ count: Int) throws(TokenizerError) -> [Merge] {
    let start = try advance(8 * count)
    var merges: [Merge] = []
    merges.reserveCapacity(count)
    for index in 0..<count {
      let word = UInt64(
        littleEndian: unsafe bytes.unsafeLoadUnaligned(fromByteOffset: start + 8 * index, as: UInt64.self))
      guard word >> 61 == 0, index > 0 || word >> 60 == 0 else {
        throw malformed("merge \(index)", "reserved bits are set")
      }
      let mask: UInt64 = 1 << 20 - 1
      merges.append(
        Merge(
          left: UInt32(word & mask), right: UInt32(word >> 20 & mask), result: UInt32(word >> 40 & mask),
          sharesRank: word >> 60 & 1 == 1))
    }
    return merges
  }
}
