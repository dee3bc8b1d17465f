extension Tokenizer {
  /// Reads a SentencePiece model of the BPE type, such as LLaMA-2's `tokenizer.model`.
  ///
  /// Encoding is that of sentencepiece 0.2.3. Of the normalization rules only the identity is known.
  /// - Parameter configuration: may name more special tokens, and say when text gets a space in front.
  /// - Throws: `TokenizerError`, see Formats/tokenizer.md.
  public init(sentencePiece model: [UInt8], configuration: TokenizerConfiguration? = nil) throws(TokenizerError) {
    guard model.count <= TokenizerLimits.modelByteCount else {
      throw TokenizerError(.tooLarge, "file", "\(model.count) bytes exceed \(TokenizerLimits.modelByteCount)")
    }
    let parsed = try SentencePieceModel(model.span)
    var definition = try parsed.definition()
    var notes: [String] = []
    try configuration?.apply(to: &definition, &notes)
    if configuration?.addsPrefixSpace == false {
      definition.prefixRule = .never
      if !parsed.removesExtraSpaces { definition.flags.remove(.dropsLeadingSpace) }
    } else if configuration?.legacy == false, definition.prefixRule == .everyStretch {
      // The legacy behaviour is a space after every special token.
      definition.prefixRule = .start
    }
    try self.init(definition)
    importNotes = notes
  }
}

/// A piece of a SentencePiece model, from wherever it was kept.
public struct SentencePiece: Sendable, Hashable {
  /// The numbers are SentencePiece's, which GGUF files have, too.
  public enum Kind: Int, Sendable {
    case normal = 1
    case unknown = 2
    case control = 3
    case userDefined = 4
    case unused = 5
    case byte = 6
  }

  /// As it is spelled, in UTF-8: with U+2581 for spaces, `<0x2A>` for a byte.
  public var text: [UInt8]
  /// Higher goes first. Special pieces have any.
  public var score: Float
  public var kind: Kind

  public init(text: [UInt8], score: Float, kind: Kind) {
    self.text = text
    self.score = score
    self.kind = kind
  }
}

extension Tokenizer {
  /// Makes a tokenizer of SentencePiece's BPE type from its pieces, in the order of their ids.
  /// - Parameters:
  ///   - addsDummyPrefix: every stretch of text between special tokens gets a space in front.
  ///   - removesExtraSpaces: runs of spaces become one, and none is left at the ends.
  ///   - beginOfText: the token in front of every text, if there is one; any piece can be it.
  ///   - endOfText: the tokens that end what a model generates.
  /// - Throws: `TokenizerError`, see Formats/tokenizer.md.
  public init(
    sentencePieces pieces: [SentencePiece], addsDummyPrefix: Bool = true, removesExtraSpaces: Bool = false,
    beginOfText: Int32?, endOfText: [Int32]
  ) throws(TokenizerError) {
    guard pieces.count <= TokenizerLimits.symbolCount else {
      throw TokenizerError(.tooLarge, "pieces", "there are more than \(TokenizerLimits.symbolCount)")
    }
    var model = SentencePieceModel(pieces)
    model.addsDummyPrefix = addsDummyPrefix
    model.removesExtraSpaces = removesExtraSpaces
    for (index, piece) in pieces.enumerated() where !piece.score.isFinite {
      throw TokenizerError(.badScore, "piece \(index)", "its score is \(piece.score)")
    }
    var definition = try model.definition()
    definition.beginOfText = beginOfText
    definition.endOfText = endOfText
    try self.init(definition)
  }
}

/// The fields of sentencepiece_model.proto that encoding and decoding depend on, with the proto's numbers.
struct SentencePieceModel {
  /// Where a piece is in the file.
  var pieces: [(text: Range<Int>, score: Float, type: UInt64)] = []
  var modelType: UInt64 = 1
  var byteFallback = false
  var treatsSpaceAsSuffix = false
  var unknownSurface = Array(" \u{2047} ".utf8)
  var beginPiece = Array("<s>".utf8)
  var endPiece = Array("</s>".utf8)
  var addsDummyPrefix = true
  var removesExtraSpaces = true
  var escapesSpaces = true
  private let bytes: [UInt8]

  /// Of the BPE type, with bytes for characters without a piece if there are pieces for bytes.
  init(_ list: [SentencePiece]) {
    var bytes: [UInt8] = []
    modelType = 2
    for piece in list {
      let start = bytes.count
      bytes += piece.text
      pieces.append((start..<bytes.count, piece.score, UInt64(piece.kind.rawValue)))
      if piece.kind == .byte { byteFallback = true }
    }
    self.bytes = bytes
  }

  init(_ span: Span<UInt8>) throws(TokenizerError) {
    var bytes: [UInt8] = []
    bytes.reserveCapacity(span.count)
    for index in span.indices { bytes.append(span[index]) }
    self.bytes = bytes
    var reader = ProtobufReader(span, 0..<span.count, structure: "model")
    while let (field, value) = try reader.next() {
      switch (field, value) {
      case (1, .bytes(let range)): try readPiece(span, range)
      case (2, .bytes(let range)): try readTrainerSpec(span, range)
      case (3, .bytes(let range)): try readNormalizerSpec(span, range, structure: "normalizer")
      case (5, .bytes(let range)): try readNormalizerSpec(span, range, structure: "denormalizer")
      case (1...5, _) where field != 4: throw Self.mistyped(field, "model")
      default: continue
      }
    }
  }

  private static func mistyped(_ field: UInt64, _ structure: String) -> TokenizerError {
    TokenizerError(.malformed, structure, "field \(field) has the wrong wire type")
  }

  private mutating func readPiece(_ span: Span<UInt8>, _ range: Range<Int>) throws(TokenizerError) {
    let structure = "piece \(pieces.count)"
    guard pieces.count < TokenizerLimits.symbolCount else {
      throw TokenizerError(.tooLarge, "pieces", "there are more than \(TokenizerLimits.symbolCount)")
    }
    var piece = (text: 0..<0, score: Float(0), type: UInt64(1))
    var reader = ProtobufReader(span, range, structure: structure)
    while let (field, value) = try reader.next() {
      switch (field, value) {
      case (1, .bytes(let text)): piece.text = text
      case (2, .fixed32(let bits)): piece.score = Float(bitPattern: bits)
      case (3, .integer(let type)): piece.type = type
      case (1...3, _): throw Self.mistyped(field, structure)
      default: continue
      }
    }
    guard piece.score.isFinite else { throw TokenizerError(.badScore, structure, "its score is \(piece.score)") }
    pieces.append(piece)
  }

  private mutating func readTrainerSpec(_ span: Span<UInt8>, _ range: Range<Int>) throws(TokenizerError) {
    var reader = ProtobufReader(span, range, structure: "trainer")
    while let (field, value) = try reader.next() {
      switch (field, value) {
      case (3, .integer(let type)): modelType = type
      case (24, .integer(let flag)): treatsSpaceAsSuffix = flag != 0
      case (35, .integer(let flag)): byteFallback = flag != 0
      case (44, .bytes(let text)): unknownSurface = Array(bytes[text])
      case (46, .bytes(let text)): beginPiece = Array(bytes[text])
      case (47, .bytes(let text)): endPiece = Array(bytes[text])
      case (3, _), (24, _), (35, _), (44, _), (46, _), (47, _): throw Self.mistyped(field, "trainer")
      default: continue
      }
    }
  }

  private mutating func readNormalizerSpec(
    _ span: Span<UInt8>, _ range: Range<Int>, structure: String
  ) throws(TokenizerError) {
    var reader = ProtobufReader(span, range, structure: structure)
    while let (field, value) = try reader.next() {
      switch (field, value) {
      case (2, .bytes(let rules)):
        guard rules.isEmpty else {
          throw TokenizerError(.unsupported, structure, "it has a character map; only the identity is known")
        }
      case (3, .integer(let flag)): if structure == "normalizer" { addsDummyPrefix = flag != 0 }
      case (4, .integer(let flag)): if structure == "normalizer" { removesExtraSpaces = flag != 0 }
      case (5, .integer(let flag)): if structure == "normalizer" { escapesSpaces = flag != 0 }
      case (2...5, _): throw Self.mistyped(field, structure)
      default: continue
      }
    }
  }
}

extension SentencePieceModel {
  /// The types of pieces in the proto.
  private static func kind(_ type: UInt64) -> PieceKind? {
    switch type {
    case 1: .normal
    case 2: .unknown
    case 3: .control
    case 4: .userDefined
    case 5: .unused
    case 6: .byte
    default: nil
    }
  }

  func definition() throws(TokenizerError) -> TokenizerDefinition {
    guard modelType == 2 else {
      let name = [1: "unigram", 3: "word", 4: "char"][modelType] ?? "of type \(modelType)"
      throw TokenizerError(.unsupported, "trainer", "the model is \(name); only bpe is known")
    }
    guard !treatsSpaceAsSuffix else {
      throw TokenizerError(.unsupported, "trainer", "treat_whitespace_as_suffix")
    }
    var definition = TokenizerDefinition(unit: .characters)
    definition.prefixRule = addsDummyPrefix ? .everyStretch : .never
    if escapesSpaces { definition.flags.insert(.escapesSpaces) }
    if removesExtraSpaces { definition.flags.insert(.removesExtraSpaces) }
    if byteFallback { definition.flags.insert(.byteFallback) }
    if addsDummyPrefix || removesExtraSpaces { definition.flags.insert(.dropsLeadingSpace) }
    definition.unknownSurface = unknownSurface

    for (index, piece) in pieces.enumerated() {
      let structure = "piece \(index)"
      guard let kind = Self.kind(piece.type) else {
        throw TokenizerError(.malformed, structure, "it has the type \(piece.type)")
      }
      let text = bytes[piece.text]
      guard !text.isEmpty else { throw TokenizerError(.malformed, structure, "it is empty") }
      guard text.count <= TokenizerLimits.pieceByteCount else {
        throw TokenizerError(.tooLarge, structure, "it has \(text.count) bytes")
      }
      guard String(validating: text, as: UTF8.self) != nil else {
        throw TokenizerError(.malformed, structure, "it is not UTF-8")
      }
      switch kind {
      case .byte:
        guard byteFallback else { throw TokenizerError(.malformed, structure, "a byte piece without byte_fallback") }
        guard let byte = bytePieceValue(text) else {
          throw TokenizerError(.malformed, structure, "it does not spell a byte")
        }
        definition.append([byte], .byte)
      case .unknown:
        guard definition.unknownToken == nil else {
          throw TokenizerError(.duplicatePiece, structure, "a second unknown piece")
        }
        definition.unknownToken = Int32(index)
        definition.append(text, kind)
      default: definition.append(text, kind)
      }
      if kind == .control, text.elementsEqual(beginPiece) { definition.beginOfText = Int32(index) }
      if kind == .control, text.elementsEqual(endPiece) { definition.endOfText = [Int32(index)] }
    }
    guard definition.unknownToken != nil else {
      throw TokenizerError(.missingPiece, "unknown piece", "there is none")
    }
    try definition.deriveMerges(scores: pieces.map(\.score))
    return definition
  }
}

/// The byte that `<0x2A>` spells.
func bytePieceValue(_ text: some Collection<UInt8>) -> UInt8? {
  let text = Array(text)
  guard text.count == 6, text[..<3].elementsEqual("<0x".utf8), text[5] == UInt8(ascii: ">") else { return nil }
  var value: UInt8 = 0
  for digit in text[3..<5] {
    switch digit {
    case UInt8(ascii: "0")...UInt8(ascii: "9"): value = value << 4 | (digit - UInt8(ascii: "0"))
    case UInt8(ascii: "A")...UInt8(ascii: "F"): value = value << 4 | (digit - UInt8(ascii: "A") + 10)
    default: return nil
    }
  }
  return value
}
