/// A stretch of text on its way through normalizers.
struct NormalizedText {
  private(set) var bytes: [UInt8]
  /// For each byte, where the scalar that it came from starts; if that is asked for.
  private(set) var sources: [Int]?

  init(_ text: ArraySlice<UInt8>, trackingSources: Bool) {
    bytes = Array(text)
    if trackingSources { sources = Array(text.indices) }
  }

  mutating func apply(_ step: NormalizerStep, _ matcher: TextMatcher?) {
    switch step {
    case .prepend(let prefix):
      guard !bytes.isEmpty else { return }
      bytes = prefix + bytes
      if let known = sources { sources = Array(repeating: known[0], count: prefix.count) + known }
    case .strip(let left, let right):
      let range = withoutSpaces(left, right)
      bytes = Array(bytes[range])
      sources = sources.map { Array($0[range]) }
    case .replace(_, let text):
      guard let matcher else { return }
      var matches: [Range<Int>] = []
      matcher.appendMatches(in: bytes.span, bytes.indices, to: &matches)
      replace(matches, with: text)
    case .lowercase, .form: break
    }
  }

  private func withoutSpaces(_ left: Bool, _ right: Bool) -> Range<Int> {
    var range = bytes.indices
    let text = bytes.span
    while left, !range.isEmpty {
      let scalar = UTF8Scan.scalar(at: range.lowerBound, of: text)
      guard ScalarClass.isSpace(scalar.value) else { break }
      range = range.lowerBound + scalar.byteCount..<range.upperBound
    }
    while right, !range.isEmpty {
      let start = UTF8Scan.start(before: range.upperBound, of: text)
      guard ScalarClass.isSpace(UTF8Scan.scalar(at: start, of: text).value) else { break }
      range = range.lowerBound..<start
    }
    return range
  }

  private mutating func replace(_ matches: [Range<Int>], with text: [UInt8]) {
    guard !matches.isEmpty else { return }
    var output: [UInt8] = []
    output.reserveCapacity(bytes.count)
    var origins: [Int]? = sources.map { _ in [] }
    var end = 0
    for match in matches {
      output.append(contentsOf: bytes[end..<match.lowerBound])
      output.append(contentsOf: text)
      if let known = sources {
        origins?.append(contentsOf: known[end..<match.lowerBound])
        origins?.append(
          contentsOf: repeatElement(match.lowerBound < known.count ? known[match.lowerBound] : 0, count: text.count))
      }
      end = match.upperBound
    }
    output.append(contentsOf: bytes[end...])
    if let known = sources { origins?.append(contentsOf: known[end...]) }
    bytes = output
    sources = origins
  }
}
