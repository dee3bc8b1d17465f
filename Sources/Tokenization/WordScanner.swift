/// Splits a text into words by one of the known patterns, in one pass and without a regular expression.
///
/// Every byte of the text is in exactly one word. The comments name the alternatives of the patterns, which are tried
/// in their order, leftmost first.
struct WordScanner: ~Escapable {
  private let text: Span<UInt8>
  private let end: Int
  private let isLlama3: Bool
  private let classes: [UInt8]
  private var offset: Int

  /// - Parameter text: valid UTF-8.
  @_lifetime(copy text)
  init(_ text: Span<UInt8>, _ range: Range<Int>, _ pattern: WordPattern) {
    self.text = text
    offset = range.lowerBound
    end = range.upperBound
    isLlama3 = pattern == .llama3
    classes = ScalarClass.table
  }

  @_lifetime(self: copy self)
  mutating func next() -> Range<Int>? {
    guard offset < end else { return nil }
    let start = offset
    offset = isLlama3 ? llama3End(start) : gpt2End(start)
    return start..<offset
  }

  /// The class of the scalar at an offset and where it ends.
  @inline(__always)
  private func scalar(_ offset: Int) -> (kind: UInt8, end: Int) {
    let byte = text[offset]
    if byte < 0x80 { return (classes[Int(byte)], offset + 1) }
    let scalar = UTF8Scan.scalar(at: offset, of: text)
    let kind = Int(scalar.value) < classes.count ? classes[Int(scalar.value)] : ScalarClass.other
    return (kind, offset + scalar.byteCount)
  }

  /// Where a run of one class ends.
  @inline(__always)
  private func run(of kind: UInt8, from start: Int) -> Int {
    var position = start
    while position < end {
      let next = scalar(position)
      guard next.kind == kind else { break }
      position = next.end
    }
    return position
  }

  private func llama3End(_ start: Int) -> Int {
    // (?i:'s|'t|'re|'ve|'m|'ll|'d)
    if text[start] == UInt8(ascii: "'"), let end = contractionEnd(start, ignoringCase: true) { return end }
    let first = scalar(start)
    // [^\r\n\p{L}\p{N}]?\p{L}+
    if first.kind == ScalarClass.letter { return run(of: ScalarClass.letter, from: first.end) }
    if first.kind == ScalarClass.other || first.kind == ScalarClass.space, first.end < end {
      let second = scalar(first.end)
      if second.kind == ScalarClass.letter { return run(of: ScalarClass.letter, from: second.end) }
    }
    // \p{N}{1,3}
    if first.kind == ScalarClass.number {
      var position = first.end
      for _ in 0..<2 where position < end {
        let next = scalar(position)
        guard next.kind == ScalarClass.number else { break }
        position = next.end
      }
      return position
    }
    // ` ?[^\s\p{L}\p{N}]+[\r\n]*`
    if let others = othersEnd(start, first) { return run(of: ScalarClass.newline, from: others) }
    return spacesEnd(start, endingAtNewlines: true)
  }

  private func gpt2End(_ start: Int) -> Int {
    // 's|'t|'re|'ve|'m|'ll|'d
    if text[start] == UInt8(ascii: "'"), let end = contractionEnd(start, ignoringCase: false) { return end }
    let first = scalar(start)
    // ` ?\p{L}+| ?\p{N}+`
    for kind in [ScalarClass.letter, ScalarClass.number] {
      if first.kind == kind { return run(of: kind, from: first.end) }
      if text[start] == 0x20, first.end < end {
        let second = scalar(first.end)
        if second.kind == kind { return run(of: kind, from: second.end) }
      }
    }
    // ` ?[^\s\p{L}\p{N}]+`
    if let others = othersEnd(start, first) { return others }
    return spacesEnd(start, endingAtNewlines: false)
  }

  private func othersEnd(_ start: Int, _ first: (kind: UInt8, end: Int)) -> Int? {
    if first.kind == ScalarClass.other { return run(of: ScalarClass.other, from: first.end) }
    guard text[start] == 0x20, first.end < end, scalar(first.end).kind == ScalarClass.other else { return nil }
    return run(of: ScalarClass.other, from: first.end)
  }

  /// `\s*[\r\n]+` if asked for, then `\s+(?!\S)|\s+`.
  private func spacesEnd(_ start: Int, endingAtNewlines: Bool) -> Int {
    var position = start
    var lastNewlineEnd: Int?
    var lastStart = start
    while position < end {
      let next = scalar(position)
      guard next.kind == ScalarClass.space || next.kind == ScalarClass.newline else { break }
      lastStart = position
      position = next.end
      if next.kind == ScalarClass.newline { lastNewlineEnd = position }
    }
    if endingAtNewlines, let lastNewlineEnd { return lastNewlineEnd }
    // The last space goes to the word after it, unless it is the only one.
    return position == end || lastStart == start ? position : lastStart
  }

  private func contractionEnd(_ start: Int, ignoringCase: Bool) -> Int? {
    guard start + 1 < end else { return nil }
    let caseBit: UInt8 = ignoringCase ? 0x20 : 0
    let first = text[start + 1] | caseBit
    switch first {
    case UInt8(ascii: "s"), UInt8(ascii: "t"), UInt8(ascii: "m"), UInt8(ascii: "d"): return start + 2
    default: break
    }
    guard start + 2 < end else { return nil }
    let second = text[start + 2] | caseBit
    switch (first, second) {
    case (UInt8(ascii: "r"), UInt8(ascii: "e")), (UInt8(ascii: "v"), UInt8(ascii: "e")),
      (UInt8(ascii: "l"), UInt8(ascii: "l")):
      return start + 3
    // U+017F, the long s, is an s in another case.
    case (0xC5 | caseBit, 0xBF) where ignoringCase && text[start + 1] == 0xC5: return start + 3
    default: return nil
    }
  }
}
