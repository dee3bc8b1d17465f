extension Tokenizer {
  /// The tokens of a text.
  /// - Parameters:
  ///   - addingBeginOfText: starts with `beginOfTextToken`, if there is one.
  ///   - parsingSpecialTokens: the spellings of special tokens in the text become those tokens. Never set it for text
  ///     that someone else wrote. Otherwise `<s>` is a text like any other.
  public func encode(
    _ text: String, addingBeginOfText: Bool, parsingSpecialTokens: Bool = false
  ) -> [Int32] {
    encode(
      valid: Array(text.utf8), addingBeginOfText: addingBeginOfText, parsingSpecialTokens: parsingSpecialTokens,
      continuing: false)
  }

  /// The tokens of the bytes of a text. What is not UTF-8 counts as U+FFFD: with a vocabulary of characters one for
  /// each such byte, as SentencePiece does, with a vocabulary of bytes one for each broken character.
  public func encode(
    _ text: [UInt8], addingBeginOfText: Bool, parsingSpecialTokens: Bool = false
  ) -> [Int32] {
    encode(
      valid: repaired(text), addingBeginOfText: addingBeginOfText, parsingSpecialTokens: parsingSpecialTokens,
      continuing: false)
  }

  /// The tokens of text that continues other tokens: without the space that the start of a text gets.
  public func encodeContinuation(_ text: String, parsingSpecialTokens: Bool = false) -> [Int32] {
    encode(
      valid: Array(text.utf8), addingBeginOfText: false, parsingSpecialTokens: parsingSpecialTokens, continuing: true)
  }

  /// As `encodeContinuation(_:parsingSpecialTokens:)`, of bytes.
  public func encodeContinuation(_ text: [UInt8], parsingSpecialTokens: Bool = false) -> [Int32] {
    encode(
      valid: repaired(text), addingBeginOfText: false, parsingSpecialTokens: parsingSpecialTokens, continuing: true)
  }

  private func repaired(_ text: [UInt8]) -> [UInt8] {
    if String(validating: text, as: UTF8.self) != nil { return text }
    return UTF8Scan.repaired(text, vocabulary.invalidByteRule)
  }

  private func encode(
    valid text: [UInt8], addingBeginOfText: Bool, parsingSpecialTokens: Bool, continuing: Bool
  ) -> [Int32] {
    var encoder = Encoder(vocabulary)
    encoder.tokens.reserveCapacity(text.count / 3 + 2)
    if addingBeginOfText, let beginOfTextToken { encoder.append(beginOfTextToken) }
    encoder.encode(text, parsingSpecialTokens ? .everywhere : .nowhere, continuing: continuing)
    return encoder.tokens
  }

  /// The tokens of a rendered template.
  ///
  /// Special tokens are recognized only where no byte of the spelling lies in `literalRanges`: what users wrote stays
  /// text. Added tokens that are not special are recognized everywhere, as in any text. Nothing is put in front.
  /// Otherwise these are the ids that the reference gives for the whole text without special tokens around it.
  /// - Parameter literalRanges: of what users wrote, in bytes of UTF-8; ascending, and not overlapping.
  public func encode(_ text: String, withoutSpecialTokensIn literalRanges: [Range<Int>]) -> [Int32] {
    var encoder = Encoder(vocabulary)
    encoder.tokens.reserveCapacity(text.utf8.count / 3 + 2)
    encoder.encode(Array(text.utf8), .outside(literalRanges), continuing: false)
    return encoder.tokens
  }

  /// As `encode(_:withoutSpecialTokensIn:)`, of text that continues other tokens.
  public func encodeContinuation(_ text: String, withoutSpecialTokensIn literalRanges: [Range<Int>]) -> [Int32] {
    var encoder = Encoder(vocabulary)
    encoder.encode(Array(text.utf8), .outside(literalRanges), continuing: true)
    return encoder.tokens
  }
}

extension Vocabulary {
  var invalidByteRule: InvalidByteRule { definition.unit == .characters ? .everyByte : .maximalSubpart }
}

/// One text on its way to tokens.
struct Encoder {
  let vocabulary: Vocabulary
  let tables: EncodingTables
  let flags: TokenizerFlags
  var tokens: [Int32] = []
  var workspace = MergeWorkspace()
  /// The last token stands for characters without a token: the next such character adds none.
  private var endsUnknown = false
  /// What looking for patterns in the text may still cost.
  var patternSteps = 0

  init(_ vocabulary: Vocabulary) {
    self.vocabulary = vocabulary
    tables = vocabulary.encodingTables
    flags = vocabulary.definition.flags
  }

  mutating func append(_ token: Int32) {
    tokens.append(token)
    endsUnknown = false
  }

  /// Splits a text at the tokens that are matched in it and encodes the stretches between.
  mutating func encode(_ text: [UInt8], _ policy: SpecialTokenPolicy, continuing: Bool) {
    if let steps = vocabulary.steps { return encode(text, steps, policy, continuing: continuing) }
    let matched: PieceTrie
    if case .nowhere = policy {
      matched = flags.contains(.splitsAtUserDefined) ? vocabulary.userDefined : PieceTrie()
    } else {
      matched = vocabulary.special
    }
    var start = 0
    for match in vocabulary.addedTokens(in: text.span, 0..<text.count, matched, policy) {
      if start < match.range.lowerBound {
        encodeStretch(text, start..<match.range.lowerBound, continuing: continuing)
      }
      append(match.token)
      start = match.range.upperBound
    }
    encodeStretch(text, start..<text.count, continuing: continuing)
  }

  private mutating func encodeStretch(_ text: [UInt8], _ range: Range<Int>, continuing: Bool) {
    guard !range.isEmpty else { return }
    switch vocabulary.definition.unit {
    case .bytes:
      if !continuing, wantsPrefix([0x20], before: text[range], at: range.lowerBound) {
        let prefixed = [0x20] + text[range]
        encodeBytes(prefixed.span, 0..<prefixed.count)
      } else {
        encodeBytes(text.span, range)
      }
    case .characters:
      let mark: [UInt8] = flags.contains(.escapesSpaces) ? spaceMark : [0x20]
      var normalizer = Normalizer(vocabulary, mark)
      normalizer.run(text.span, range) { start in
        !continuing && wantsPrefix(mark, before: start, at: range.lowerBound)
      }
      encodeCharacters(normalizer.output.span, mark)
    }
  }

  private func wantsPrefix(_ mark: [UInt8], before text: ArraySlice<UInt8>, at offset: Int) -> Bool {
    switch vocabulary.definition.prefixRule {
    case .never: false
    case .everyStretch: true
    case .everyStretchUnlessPresent: !text.starts(with: mark)
    case .startUnlessPresent: offset == 0 && !text.starts(with: mark)
    case .start: offset == 0
    }
  }

  // MARK: Symbols that are bytes

  private mutating func encodeBytes(_ text: Span<UInt8>, _ range: Range<Int>) {
    var scanner = WordScanner(text, range, vocabulary.definition.pattern)
    let wholePieceFirst = flags.contains(.wholePieceFirst)
    while let word = scanner.next() {
      if wholePieceFirst, let token = tables.words.find(word, of: text, in: vocabulary.definition.pieces) {
        tokens.append(Int32(token))
        continue
      }
      workspace.symbols.removeAll(keepingCapacity: true)
      for offset in word { workspace.symbols.append(vocabulary.smallSymbols[Int(text[offset])]) }
      workspace.run(tables.merges)
      for symbol in workspace.symbols { tokens.append(Int32(symbol)) }
    }
  }

  // MARK: Symbols that are characters

  private mutating func encodeCharacters(_ text: Span<UInt8>, _ mark: [UInt8]) {
    let matchesUserDefined = !vocabulary.userDefined.isEmpty && !flags.contains(.splitsAtUserDefined)
    // Unused pieces are split as they were made anywhere in the text, so the text stays in one.
    let breaksWords = vocabulary.isBrokenBySpaces && !vocabulary.hasUnused
    let splitsAtSpaces = flags.contains(.splitsAtSpaces)
    let space: UInt32 = mark.count == 1 ? 0x20 : 0x2581
    let spaceSymbol =
      mark.count == 1 ? vocabulary.smallSymbols[0x20] : vocabulary.characterSymbols[0x2581] ?? Symbol.unknown
    var endsWithSpace = true
    var offset = 0
    workspace.symbols.removeAll(keepingCapacity: true)
    while offset < text.count {
      if matchesUserDefined, let match = vocabulary.userDefined.longestMatch(at: offset, of: text, end: text.count) {
        appendBarrier(Symbol.frozen | UInt32(match.token))
        offset += match.byteCount
        endsWithSpace = false
        continue
      }
      let scalar = UTF8Scan.scalar(at: offset, of: text)
      offset += scalar.byteCount
      if scalar.value == space {
        if splitsAtSpaces || breaksWords && !endsWithSpace { flush() }
        endsWithSpace = true
      } else {
        endsWithSpace = false
      }
      let symbol =
        scalar.value == space
        ? spaceSymbol
        : scalar.value < 0x80
          ? vocabulary.smallSymbols[Int(scalar.value)]
          : vocabulary.characterSymbols[scalar.value] ?? Symbol.unknown
      if symbol == Symbol.unknown {
        appendBarrier(symbol | scalar.value)
      } else {
        workspace.symbols.append(symbol)
      }
    }
    flush()
    workspace.forgetSplits()
  }

  /// No merge goes past such a symbol.
  private mutating func appendBarrier(_ symbol: UInt32) {
    if vocabulary.hasUnused {
      workspace.symbols.append(symbol)
    } else {
      flush()
      emit(symbol)
    }
  }

  private mutating func flush() {
    guard !workspace.symbols.isEmpty else { return }
    if vocabulary.hasUnused {
      let kinds = vocabulary.definition.kinds
      workspace.run(tables.merges) { kinds[Int($0)] == .unused }
    } else {
      workspace.run(tables.merges)
    }
    for symbol in workspace.symbols { emit(symbol) }
    workspace.symbols.removeAll(keepingCapacity: true)
  }

  private mutating func emit(_ symbol: UInt32) {
    let pieceCount = vocabulary.definition.kinds.count
    if Int(symbol) < pieceCount {
      if vocabulary.definition.kinds[Int(symbol)] == .unused { return emitParts(of: symbol) }
      append(Int32(symbol))
    } else if symbol & Symbol.unknown != 0 {
      emitUnknown(symbol & Symbol.payload)
    } else if symbol & Symbol.frozen != 0 {
      append(Int32(symbol & Symbol.payload))
    } else {
      emitUnknown(vocabulary.definition.extraCharacters[Int(symbol) - pieceCount])
    }
  }

  /// An unused piece becomes what it was last made of, and so on down.
  private mutating func emitParts(of symbol: UInt32) {
    let kinds = vocabulary.definition.kinds
    var waiting = [symbol]
    while let symbol = waiting.popLast() {
      if Int(symbol) < kinds.count, kinds[Int(symbol)] == .unused {
        if let index = workspace.splits[symbol] {
          let merge = vocabulary.definition.merges[Int(index)]
          waiting.append(merge.right)
          waiting.append(merge.left)
        } else {
          append(Int32(symbol))
        }
      } else {
        emit(symbol)
      }
    }
  }

  private mutating func emitUnknown(_ scalar: UInt32) {
    if flags.contains(.byteFallback) {
      for byte in UTF8.encode(Unicode.Scalar(scalar) ?? "\u{FFFD}") ?? UTF8.encodedReplacementCharacter {
        append(vocabulary.byteTokens[Int(byte)])
      }
    } else if !endsUnknown, let unknownToken = vocabulary.definition.unknownToken {
      append(unknownToken)
      endsUnknown = true
    }
  }
}
