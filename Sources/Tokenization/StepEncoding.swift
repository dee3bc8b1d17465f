extension Encoder {
  /// Encodes a text as the package `tokenizers` does: added tokens are found in the text as it is; what is between is
  /// normalized, stretch by stretch; others are found in that, and what is between is split into words.
  mutating func encode(_ text: [UInt8], _ steps: StepPlan, _ policy: SpecialTokenPolicy, continuing: Bool) {
    patternSteps = PatternLimits.steps(for: text.count)
    var start = 0
    for match in vocabulary.addedTokens(in: text.span, 0..<text.count, vocabulary.rawAdded, policy) {
      if start < match.range.lowerBound {
        encodeStretch(text, start..<match.range.lowerBound, steps, policy, continuing)
      }
      append(match.token)
      start = match.range.upperBound
    }
    if start < text.count { encodeStretch(text, start..<text.count, steps, policy, continuing) }
  }

  private mutating func encodeStretch(
    _ text: [UInt8], _ range: Range<Int>, _ steps: StepPlan, _ policy: SpecialTokenPolicy, _ continuing: Bool
  ) {
    guard steps.normalizes || !vocabulary.normalizedAdded.isEmpty else {
      var words = WordList(text, range, startsText: range.lowerBound == 0)
      return encode(&words, steps, continuing)
    }
    var normalized = NormalizedText(text[range], trackingSources: true)
    steps.normalize(&normalized, continuing: continuing, &patternSteps)
    let bytes = normalized.bytes
    let matches = vocabulary.addedTokens(
      in: bytes.span, 0..<bytes.count, vocabulary.normalizedAdded, normalized.translated(policy, end: range.upperBound))
    var start = 0
    func words(_ part: Range<Int>) -> WordList {
      WordList(bytes, part, startsText: normalized.sources.map { $0[part.lowerBound] == 0 } ?? false)
    }
    for match in matches {
      if start < match.range.lowerBound {
        var list = words(start..<match.range.lowerBound)
        encode(&list, steps, continuing)
      }
      append(match.token)
      start = match.range.upperBound
    }
    if start < bytes.count {
      var list = words(start..<bytes.count)
      encode(&list, steps, continuing)
    }
  }

  private mutating func encode(_ words: inout WordList, _ steps: StepPlan, _ continuing: Bool) {
    steps.split(&words, continuing: continuing, &patternSteps)
    switch vocabulary.definition.unit {
    case .bytes:
      if steps.mapsBytes {
        for word in words.words {
          var bytes: [UInt8] = []
          var offset = word.lowerBound
          while offset < word.upperBound {
            let scalar = UTF8Scan.scalar(at: offset, of: words.bytes.span)
            if let byte = ByteAlphabet.byte(scalar.value) { bytes.append(byte) }
            offset += scalar.byteCount
          }
          encodeWord(ofBytes: bytes.span, 0..<bytes.count)
        }
      } else {
        for word in words.words { encodeWord(ofBytes: words.bytes.span, word) }
      }
    case .characters:
      for word in words.words { encodeWord(ofCharacters: words.bytes.span, word) }
    }
  }

  private mutating func encodeWord(ofBytes text: Span<UInt8>, _ word: Range<Int>) {
    if appendWhole(text, word) { return }
    workspace.symbols.removeAll(keepingCapacity: true)
    var waitsUnknown = false
    for offset in word {
      let symbol = vocabulary.smallSymbols[Int(text[offset])]
      if symbol == Symbol.unknown { addUnknown(&waitsUnknown) } else { add(symbol, &waitsUnknown) }
    }
    finishWord(waitsUnknown)
  }

  private mutating func encodeWord(ofCharacters text: Span<UInt8>, _ word: Range<Int>) {
    if appendWhole(text, word) { return }
    workspace.symbols.removeAll(keepingCapacity: true)
    var waitsUnknown = false
    var offset = word.lowerBound
    while offset < word.upperBound {
      let scalar = UTF8Scan.scalar(at: offset, of: text)
      let symbol =
        scalar.value < 0x80
        ? vocabulary.smallSymbols[Int(scalar.value)] : vocabulary.characterSymbols[scalar.value] ?? Symbol.unknown
      if symbol != Symbol.unknown {
        add(symbol, &waitsUnknown)
      } else if !addBytes(text, offset..<offset + scalar.byteCount) {
        addUnknown(&waitsUnknown)
      }
      offset += scalar.byteCount
    }
    finishWord(waitsUnknown)
  }

  private mutating func appendWhole(_ text: Span<UInt8>, _ word: Range<Int>) -> Bool {
    guard flags.contains(.wholePieceFirst),
      let token = tables.words.find(word, of: text, in: vocabulary.definition.pieces)
    else { return false }
    tokens.append(Int32(token))
    return true
  }

  private mutating func add(_ symbol: UInt32, _ waitsUnknown: inout Bool) {
    flushUnknown(waitsUnknown)
    waitsUnknown = false
    workspace.symbols.append(symbol)
  }

  /// A character without a token, if all of its bytes have tokens. One that waits still waits, as in the reference.
  private mutating func addBytes(_ text: Span<UInt8>, _ bytes: Range<Int>) -> Bool {
    guard flags.contains(.byteFallback) else { return false }
    for offset in bytes where vocabulary.byteTokens[Int(text[offset])] < 0 { return false }
    for offset in bytes { workspace.symbols.append(UInt32(vocabulary.byteTokens[Int(text[offset])])) }
    return true
  }

  /// The unknown token is added when the next character is known not to be part of it.
  private mutating func addUnknown(_ waitsUnknown: inout Bool) {
    guard vocabulary.definition.unknownToken != nil else { return }
    if !flags.contains(.fusesUnknown) { flushUnknown(waitsUnknown) }
    waitsUnknown = true
  }

  private mutating func flushUnknown(_ waits: Bool) {
    guard waits, let token = vocabulary.definition.unknownToken else { return }
    workspace.symbols.append(UInt32(token))
  }

  private mutating func finishWord(_ waitsUnknown: Bool) {
    flushUnknown(waitsUnknown)
    workspace.run(tables.merges)
    for symbol in workspace.symbols { tokens.append(Int32(symbol)) }
  }
}

extension NormalizedText {
  /// The policy for the normalized text: a byte is a user's if any that it came from is.
  /// - Parameter end: of the stretch in the text.
  func translated(_ policy: SpecialTokenPolicy, end: Int) -> SpecialTokenPolicy {
    guard case .outside(let literals) = policy, let sources, !literals.isEmpty else { return policy }
    var translated: [Range<Int>] = []
    var first = 0
    // Where the source of a byte ends: where that of a later byte starts.
    var following = 0
    for index in sources.indices {
      while following < sources.count, sources[following] <= sources[index] { following += 1 }
      let next = following < sources.count ? sources[following] : end
      let source = sources[index]..<max(next, sources[index] + 1)
      while first < literals.count, literals[first].upperBound <= source.lowerBound { first += 1 }
      guard first < literals.count, literals[first].overlaps(source) else { continue }
      if let last = translated.last, last.upperBound == index {
        translated[translated.count - 1] = last.lowerBound..<index + 1
      } else {
        translated.append(index..<index + 1)
      }
    }
    return .outside(translated)
  }
}
