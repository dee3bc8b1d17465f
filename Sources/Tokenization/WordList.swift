/// A stretch of text and the words that it is split into so far.
struct WordList {
  private(set) var bytes: [UInt8]
  private(set) var words: [Range<Int>]
  /// Whether the stretch is the start of the text.
  let startsText: Bool
  private var next: [Range<Int>] = []
  private var parts: [(range: Range<Int>, isMatch: Bool)] = []

  init(_ bytes: [UInt8], _ range: Range<Int>, startsText: Bool) {
    self.bytes = bytes
    words = range.isEmpty ? [] : [range]
    self.startsText = startsText
  }

  mutating func apply(
    _ step: SplitStep, _ matcher: TextMatcher?, _ continuing: Bool, mapsBytes: Bool, _ steps: inout Int
  ) {
    switch step {
    case .words(let pattern): scan(pattern)
    case .split(_, let behaviour, let inverts):
      guard let matcher else { return }
      split(behaviour, inverts: inverts) { text, range, matches in
        matcher.appendMatches(in: text, range, to: &matches, &steps)
      }
    case .digits(let individual):
      splitAtScalars(individual ? .isolated : .contiguous) { UnicodeTables.isDigit($0) }
    case .punctuation(let behaviour): splitAtScalars(behaviour) { UnicodeTables.isPunctuation($0) }
    case .whitespaceSplit: splitAtScalars(.removed) { ScalarClass.isSpace($0) }
    case .whitespace: splitAtWhitespace()
    case .metaspace(let rule, let splits):
      let startsText = startsText
      rewrite(prefix: spaceMark, replacingSpaces: true) { text, word in
        guard !continuing else { return false }
        let hasMark = text[word].starts(with: spaceMark) || text[word.lowerBound] == 0x20
        switch rule {
        case .everyStretchUnlessPresent: return !hasMark
        case .startUnlessPresent: return !hasMark && startsText && word.lowerBound == 0
        case .never, .everyStretch, .start: return false
        }
      }
      if splits {
        split(.mergedWithNext, inverts: false) { text, range, matches in
          var offset = range.lowerBound
          while offset + spaceMark.count <= range.upperBound {
            if text[offset] == spaceMark[0], text[offset + 1] == spaceMark[1], text[offset + 2] == spaceMark[2] {
              matches.append(offset..<offset + spaceMark.count)
              offset += spaceMark.count
            } else {
              offset += 1
            }
          }
        }
      }
    case .byteLevel(let addsPrefixSpace, let splitsWords):
      if addsPrefixSpace, !continuing {
        rewrite(prefix: [0x20], replacingSpaces: false) { text, word in text[word.lowerBound] != 0x20 }
      }
      if splitsWords { scan(.gpt2) }
      if mapsBytes { mapBytes() }
    }
  }

  private mutating func scan(_ pattern: WordPattern) {
    next.removeAll(keepingCapacity: true)
    let bytes = bytes
    for word in words {
      var scanner = WordScanner(bytes.span, word, pattern)
      while let part = scanner.next() { next.append(part) }
    }
    swap(&words, &next)
  }

  private mutating func splitAtScalars(_ behaviour: SplitBehaviour, _ isMatch: (UInt32) -> Bool) {
    split(behaviour, inverts: false) { text, range, matches in
      var offset = range.lowerBound
      while offset < range.upperBound {
        let scalar = UTF8Scan.scalar(at: offset, of: text)
        if isMatch(scalar.value) { matches.append(offset..<offset + scalar.byteCount) }
        offset += scalar.byteCount
      }
    }
  }

  private mutating func splitAtWhitespace() {
    func kind(_ scalar: UInt32) -> Int {
      UnicodeTables.isWordOfRust(scalar) ? 1 : ScalarClass.isSpace(scalar) ? 0 : 2
    }
    next.removeAll(keepingCapacity: true)
    let bytes = bytes
    let text = bytes.span
    for word in words {
      var start = word.lowerBound
      var offset = start
      var last = 0
      while offset < word.upperBound {
        let scalar = UTF8Scan.scalar(at: offset, of: text)
        let current = kind(scalar.value)
        if current != last {
          if last != 0 { next.append(start..<offset) }
          start = offset
          last = current
        }
        offset += scalar.byteCount
      }
      if last != 0 { next.append(start..<word.upperBound) }
    }
    swap(&words, &next)
  }

  /// Splits every word at the matches in it.
  private mutating func split(
    _ behaviour: SplitBehaviour, inverts: Bool,
    _ appendMatches: (Span<UInt8>, Range<Int>, inout [Range<Int>]) -> Void
  ) {
    next.removeAll(keepingCapacity: true)
    let bytes = bytes
    var matches: [Range<Int>] = []
    for word in words {
      matches.removeAll(keepingCapacity: true)
      appendMatches(bytes.span, word, &matches)
      parts.removeAll(keepingCapacity: true)
      var end = word.lowerBound
      for match in matches {
        if end != match.lowerBound { parts.append((end..<match.lowerBound, inverts)) }
        parts.append((match, !inverts))
        end = match.upperBound
      }
      if end != word.upperBound { parts.append((end..<word.upperBound, inverts)) }
      appendParts(behaviour)
    }
    swap(&words, &next)
  }

  private mutating func appendParts(_ behaviour: SplitBehaviour) {
    let first = next.count
    var previous = false
    switch behaviour {
    case .removed: for part in parts where !part.isMatch { append(part.range) }
    case .isolated: for part in parts { append(part.range) }
    case .contiguous:
      for part in parts {
        if part.isMatch == previous, next.count > first {
          next[next.count - 1] = next[next.count - 1].lowerBound..<part.range.upperBound
        } else {
          next.append(part.range)
        }
        previous = part.isMatch
      }
    case .mergedWithPrevious:
      for part in parts {
        if part.isMatch, !previous, next.count > first {
          next[next.count - 1] = next[next.count - 1].lowerBound..<part.range.upperBound
        } else {
          next.append(part.range)
        }
        previous = part.isMatch
      }
    case .mergedWithNext:
      for part in parts.reversed() {
        if part.isMatch, !previous, next.count > first {
          next[next.count - 1] = part.range.lowerBound..<next[next.count - 1].upperBound
        } else {
          next.append(part.range)
        }
        previous = part.isMatch
      }
      next[first...].reverse()
    }
    // A match may be empty, and no word is.
    if behaviour != .removed, behaviour != .isolated {
      var kept = first
      for index in first..<next.count where !next[index].isEmpty {
        next[kept] = next[index]
        kept += 1
      }
      next.removeLast(next.count - kept)
    }
  }

  private mutating func append(_ range: Range<Int>) {
    if !range.isEmpty { next.append(range) }
  }

  /// Copies the words, some with something in front, and with spaces replaced by the prefix if asked for.
  private mutating func rewrite(
    prefix: [UInt8], replacingSpaces: Bool, wantsPrefix: (borrowing [UInt8], Range<Int>) -> Bool
  ) {
    var output: [UInt8] = []
    output.reserveCapacity(bytes.count + bytes.count / 4 + prefix.count)
    for index in words.indices {
      let word = words[index]
      let start = output.count
      if wantsPrefix(bytes, word) { output.append(contentsOf: prefix) }
      if replacingSpaces {
        for offset in word {
          if bytes[offset] == 0x20 { output.append(contentsOf: prefix) } else { output.append(bytes[offset]) }
        }
      } else {
        output.append(contentsOf: bytes[word])
      }
      words[index] = start..<output.count
    }
    bytes = output
  }

  private mutating func mapBytes() {
    var output: [UInt8] = []
    output.reserveCapacity(bytes.count * 3 / 2)
    for index in words.indices {
      let start = output.count
      for offset in words[index] { output.append(contentsOf: ByteAlphabet.spelling(bytes[offset])) }
      words[index] = start..<output.count
    }
    bytes = output
  }
}
