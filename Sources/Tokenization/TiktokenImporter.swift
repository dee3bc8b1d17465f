extension Tokenizer {
  /// Reads ranks in tiktoken's format, as LLaMA-3's `tokenizer.model` has them: on each line a piece in base64, a
  /// space and its rank. The ranks are the token ids, from 0 without gaps; LLaMA-3's 256 special tokens follow.
  /// - Parameter configuration: may give the special tokens other names, as LLaMA-3.1 does, and add more.
  /// - Throws: `TokenizerError`, see Formats/tokenizer.md.
  public init(tiktoken ranks: [UInt8], configuration: TokenizerConfiguration? = nil) throws(TokenizerError) {
    guard ranks.count <= TokenizerLimits.modelByteCount else {
      throw TokenizerError(.tooLarge, "file", "\(ranks.count) bytes exceed \(TokenizerLimits.modelByteCount)")
    }
    var definition = TokenizerDefinition(unit: .bytes, pattern: .llama3)
    definition.flags = .wholePieceFirst
    for piece in try TiktokenRanks.pieces(ranks) { definition.append(piece, .normal) }
    try definition.deriveMerges(scores: definition.kinds.indices.map { -Float($0) })
    let firstSpecial = Int32(definition.pieces.count)
    for name in TiktokenRanks.specialNames { definition.append(name.utf8, .control) }
    var notes: [String] = []
    try configuration?.apply(to: &definition, renamingFrom: firstSpecial, &notes)
    if configuration?.putsBeginInFront != false { definition.adoptUsualBegin() }
    definition.adoptUsualEnds()
    try self.init(definition)
    importNotes = notes
  }

  /// Reads a `tokenizer.model`, whichever of the two formats it has.
  /// - Throws: `TokenizerError`, see Formats/tokenizer.md.
  public init(model: [UInt8], configuration: TokenizerConfiguration? = nil) throws(TokenizerError) {
    // A protocol buffer with pieces starts with the byte 0x0A, and no line of ranks does.
    if model.first == 0x0A {
      try self.init(sentencePiece: model, configuration: configuration)
    } else {
      try self.init(tiktoken: model, configuration: configuration)
    }
  }
}

enum TiktokenRanks {
  /// The special tokens of LLaMA-3.0, in the order of their ids.
  static var specialNames: [String] {
    ["<|begin_of_text|>", "<|end_of_text|>"] + (0..<4).map { "<|reserved_special_token_\($0)|>" }
      + ["<|start_header_id|>", "<|end_header_id|>", "<|reserved_special_token_4|>", "<|eot_id|>"]
      + (5..<251).map { "<|reserved_special_token_\($0)|>" }
  }

  static func pieces(_ text: [UInt8]) throws(TokenizerError) -> [[UInt8]] {
    var pieces: [[UInt8]] = []
    var start = 0
    var lineNumber = 0
    while start < text.count {
      var end = start
      while end < text.count, text[end] != 0x0A { end += 1 }
      lineNumber += 1
      let structure = "line \(lineNumber)"
      var line = text[start..<end]
      start = end + 1
      if line.last == 0x0D { line.removeLast() }
      if line.isEmpty { continue }
      guard let space = line.firstIndex(of: 0x20) else {
        throw TokenizerError(.malformed, structure, "no space between piece and rank")
      }
      guard let rank = number(line[(space + 1)...]) else {
        throw TokenizerError(.malformed, structure, "the rank is not a number")
      }
      guard rank == pieces.count else {
        throw TokenizerError(.malformed, structure, "the rank is \(rank), not \(pieces.count)")
      }
      guard line[..<space].count <= TokenizerLimits.pieceByteCount * 4 / 3 + 4 else {
        throw TokenizerError(.tooLarge, structure, "a piece of more than \(TokenizerLimits.pieceByteCount) bytes")
      }
      guard let piece = base64(line[..<space]), !piece.isEmpty else {
        throw TokenizerError(.malformed, structure, "the piece is not base64")
      }
      guard pieces.count < TokenizerLimits.symbolCount - 256 else {
        throw TokenizerError(.tooLarge, structure, "there are too many pieces")
      }
      pieces.append(piece)
    }
    return pieces
  }

  private static func number(_ digits: ArraySlice<UInt8>) -> Int? {
    guard (1...8).contains(digits.count) else { return nil }
    var value = 0
    for digit in digits {
      guard (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(digit) else { return nil }
      value = value * 10 + Int(digit - UInt8(ascii: "0"))
    }
    return value
  }

  /// Source: RFC 4648, section 4. Padding is required and unused bits are zero, so that one piece has one spelling.
  private static func base64(_ text: ArraySlice<UInt8>) -> [UInt8]? {
    guard text.count % 4 == 0 else { return nil }
    let padding = text.reversed().prefix { $0 == UInt8(ascii: "=") }.count
    guard padding <= 2 else { return nil }
    var bytes: [UInt8] = []
    var bits: UInt32 = 0
    var bitCount = 0
    for character in text.dropLast(padding) {
      let digit: UInt8
      switch character {
      case UInt8(ascii: "A")...UInt8(ascii: "Z"): digit = character - UInt8(ascii: "A")
      case UInt8(ascii: "a")...UInt8(ascii: "z"): digit = character - UInt8(ascii: "a") + 26
      case UInt8(ascii: "0")...UInt8(ascii: "9"): digit = character - UInt8(ascii: "0") + 52
      case UInt8(ascii: "+"): digit = 62
      case UInt8(ascii: "/"): digit = 63
      default: return nil
      }
      bits = bits << 6 | UInt32(digit)
      bitCount += 6
      if bitCount >= 8 {
        bitCount -= 8
        bytes.append(UInt8(truncatingIfNeeded: bits >> UInt32(bitCount)))
        bits &= 1 << UInt32(bitCount) - 1
      }
    }
    return bits == 0 && bitCount < 6 ? bytes : nil
  }
}
