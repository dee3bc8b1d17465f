/// Where the spellings of special tokens in a text become those tokens. Other added tokens are found everywhere.
enum SpecialTokenPolicy {
  case nowhere
  case everywhere
  /// Where no byte of the spelling lies in these ranges, which ascend.
  case outside([Range<Int>])
}

/// An added token that was found, with the white space that it takes.
struct AddedTokenMatch {
  var token: Int32
  var range: Range<Int>
}

extension Vocabulary {
  /// The added tokens of a part of a text, in the order in which they stand there: the leftmost first, and of those
  /// that start at one place the longest.
  /// - Parameters:
  ///   - trie: what is looked for.
  ///   - policy: its ranges count bytes of `text`.
  func addedTokens(
    in text: Span<UInt8>, _ range: Range<Int>, _ trie: PieceTrie, _ policy: SpecialTokenPolicy
  ) -> [AddedTokenMatch] {
    guard !trie.isEmpty else { return [] }
    var matches: [AddedTokenMatch] = []
    var offset = range.lowerBound
    // Where the last match ends, with the white space that it takes: a match that strips goes back no further.
    var taken = range.lowerBound
    var literals = LiteralRanges(policy)
    // The white space that was last taken after a token.
    var strippedFrom = Int.max
    var strippedTo = 0
    while offset < range.upperBound {
      guard
        let match = trie.longestMatch(
          at: offset, of: text, end: range.upperBound,
          where: { token, count in
            definition.kinds[Int(token)] == .userDefined || literals.allow(offset..<offset + count)
          })
      else {
        offset += 1
        continue
      }
      var found = offset..<offset + match.byteCount
      offset = found.upperBound
      // As in the reference, nothing is looked for within the spelling of a special token that stays text.
      if case .nowhere = policy, definition.kinds[Int(match.token)] != .userDefined { continue }
      if hasTokenOptions, let options = definition.options[match.token] {
        if options.contains(.singleWord), touchesWord(text, found, range) { continue }
        if options.contains(.stripsLeft) {
          let start = startOfSpaces(before: found.lowerBound, in: text, min(taken, found.lowerBound))
          found = start..<found.upperBound
        }
        if options.contains(.stripsRight) {
          // Spaces that a token took can be tokens, too: then they are not looked through again.
          let isWithin = strippedFrom <= found.upperBound && found.upperBound <= strippedTo
          let end = isWithin ? strippedTo : endOfSpaces(from: found.upperBound, in: text, range.upperBound)
          if !isWithin { (strippedFrom, strippedTo) = (found.upperBound, end) }
          found = found.lowerBound..<end
        }
      }
      matches.append(AddedTokenMatch(token: match.token, range: found))
      taken = found.upperBound
    }
    return matches
  }

  private func touchesWord(_ text: Span<UInt8>, _ match: Range<Int>, _ range: Range<Int>) -> Bool {
    if match.upperBound < range.upperBound,
      UnicodeTables.isWordOfRust(UTF8Scan.scalar(at: match.upperBound, of: text).value)
    {
      return true
    }
    guard match.lowerBound > range.lowerBound else { return false }
    let before = UTF8Scan.start(before: match.lowerBound, of: text)
    return UnicodeTables.isWordOfRust(UTF8Scan.scalar(at: before, of: text).value)
  }

  private func startOfSpaces(before end: Int, in text: Span<UInt8>, _ lowest: Int) -> Int {
    var start = end
    while start > lowest {
      let previous = UTF8Scan.start(before: start, of: text)
      guard ScalarClass.isSpace(UTF8Scan.scalar(at: previous, of: text).value) else { break }
      start = previous
    }
    return start
  }

  private func endOfSpaces(from start: Int, in text: Span<UInt8>, _ highest: Int) -> Int {
    var end = start
    while end < highest {
      let scalar = UTF8Scan.scalar(at: end, of: text)
      guard ScalarClass.isSpace(scalar.value) else { break }
      end += scalar.byteCount
    }
    return end
  }
}

/// Answers for ascending spellings whether a special token may be there.
private struct LiteralRanges {
  private let ranges: [Range<Int>]
  /// The first range that does not end before the spelling.
  private var index = 0

  init(_ policy: SpecialTokenPolicy) {
    switch policy {
    case .nowhere, .everywhere: ranges = []
    case .outside(let literals): ranges = literals
    }
  }

  mutating func allow(_ spelling: Range<Int>) -> Bool {
    while index < ranges.count, ranges[index].upperBound <= spelling.lowerBound { index += 1 }
    var next = index
    // A range without bytes holds no byte of a spelling.
    while next < ranges.count, ranges[next].lowerBound < spelling.upperBound {
      if !ranges[next].isEmpty { return false }
      next += 1
    }
    return true
  }
}
