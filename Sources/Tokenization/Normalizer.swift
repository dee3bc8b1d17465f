/// Prepares a text for merging characters: spaces become the space mark, one may come in front, extra ones go.
///
/// It follows SentencePiece's normalizer with the identity rule.
struct Normalizer {
  private let vocabulary: Vocabulary
  private let mark: [UInt8]
  private(set) var output: [UInt8] = []

  init(_ vocabulary: Vocabulary, _ mark: [UInt8]) {
    self.vocabulary = vocabulary
    self.mark = mark
  }

  /// - Parameter wantsPrefix: whether the text, with its spaces replaced, gets a space in front.
  mutating func run(_ text: Span<UInt8>, _ range: Range<Int>, wantsPrefix: (ArraySlice<UInt8>) -> Bool) {
    output.reserveCapacity(range.count + range.count / 2 + mark.count)
    if vocabulary.definition.flags.contains(.removesExtraSpaces) {
      removeExtraSpaces(text, range, wantsPrefix)
    } else {
      // The rules that look at the text look at its first character only.
      var head: [UInt8] = []
      for offset in range.prefix(mark.count) {
        if text[offset] == 0x20 { head.append(contentsOf: mark) } else { head.append(text[offset]) }
      }
      if wantsPrefix(head[...]) { output.append(contentsOf: mark) }
      for offset in range { append(text[offset]) }
    }
  }

  @inline(__always)
  private mutating func append(_ byte: UInt8) {
    if byte == 0x20 { output.append(contentsOf: mark) } else { output.append(byte) }
  }

  private mutating func removeExtraSpaces(
    _ text: Span<UInt8>, _ range: Range<Int>, _ wantsPrefix: (ArraySlice<UInt8>) -> Bool
  ) {
    var offset = range.lowerBound
    while offset < range.upperBound, unitByteCount(text, offset, range.upperBound) == 1, text[offset] == 0x20 {
      offset += 1
    }
    guard offset < range.upperBound else { return }
    if wantsPrefix([]) { output.append(contentsOf: mark) }
    var endsWithSpace = true
    while offset < range.upperBound {
      let end = offset + unitByteCount(text, offset, range.upperBound)
      while endsWithSpace, offset < end, text[offset] == 0x20 { offset += 1 }
      // A unit of nothing but spaces leaves this as it was.
      if offset < end { endsWithSpace = text[end - 1] == 0x20 }
      while offset < end {
        append(text[offset])
        offset += 1
      }
    }
    while output.count >= mark.count, output.suffix(mark.count).elementsEqual(mark) {
      output.removeLast(mark.count)
    }
  }

  /// A user-defined piece is one unit, and its inner spaces stay.
  private func unitByteCount(_ text: Span<UInt8>, _ offset: Int, _ end: Int) -> Int {
    if !vocabulary.userDefined.isEmpty,
      let match = vocabulary.userDefined.longestMatch(at: offset, of: text, end: end)
    {
      return match.byteCount
    }
    return UTF8Scan.scalar(at: offset, of: text).byteCount
  }
}
