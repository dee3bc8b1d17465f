/// A stretch of text on its way through normalizers.
struct NormalizedText {
  private(set) var bytes: [UInt8]
  /// For each byte, where the scalar that it came from starts; if that is asked for.
  private(set) var sources: [Int]?

  init(_ text: ArraySlice<UInt8>, trackingSources: Bool) {
    bytes = Array(text)
    if trackingSources { sources = Array(text.indices) }
  }

  mutating func apply(_ step: NormalizerStep, _ matcher: TextMatcher?, _ steps: inout Int) {
    switch step {
    case .prepend(let prefix):
      guard !bytes.isEmpty, Self.pay(for: prefix.count, &steps) else { return }
      bytes = prefix + bytes
      if let known = sources { sources = Array(repeating: known[0], count: prefix.count) + known }
    case .strip(let left, let right):
      let range = withoutSpaces(left, right)
      bytes = Array(bytes[range])
      sources = sources.map { Array($0[range]) }
    case .replace(_, let text):
      guard let matcher else { return }
      var matches: [Range<Int>] = []
      matcher.appendMatches(in: bytes.span, bytes.indices, to: &matches, &steps)
      guard Self.pay(for: matches.count * text.count, &steps) else { return }
      replace(matches, with: text)
    case .lowercase: map(UnicodeTables.lowercaseMappings)
    case .form(let form): normalize(form)
    }
  }

  /// Takes the cost of adding bytes from the steps that are left, so that no list of replacements makes a text huge.
  /// What cannot be paid for is not done.
  private static func pay(for byteCount: Int, _ steps: inout Int) -> Bool {
    let cost = byteCount * 16
    guard cost <= steps else { return false }
    steps -= cost
    return true
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

  /// Appends scalars to what becomes of the text.
  private struct Output {
    var bytes: [UInt8] = []
    var sources: [Int]?

    mutating func append(_ scalar: UInt32, _ source: Int) {
      let start = bytes.count
      for byte in UTF8.encode(Unicode.Scalar(scalar) ?? "\u{FFFD}") ?? UTF8.encodedReplacementCharacter {
        bytes.append(byte)
      }
      if sources != nil { sources?.append(contentsOf: repeatElement(source, count: bytes.count - start)) }
    }
  }

  private func makeOutput() -> Output {
    var output = Output(sources: sources.map { _ in [] })
    output.bytes.reserveCapacity(bytes.count + 8)
    return output
  }

  private mutating func take(_ output: Output) {
    bytes = output.bytes
    sources = output.sources
  }

  private mutating func map(_ mappings: [UInt32: [UInt32]]) {
    var output = makeOutput()
    var offset = 0
    let text = bytes
    while offset < text.count {
      let scalar = UTF8Scan.scalar(at: offset, of: text.span)
      let source = sources?[offset] ?? 0
      // No other scalar of ASCII has another case.
      if scalar.value < 0x80 {
        output.append((0x41...0x5A).contains(scalar.value) ? scalar.value + 32 : scalar.value, source)
      } else if let mapped = mappings[scalar.value] {
        for value in mapped { output.append(value, source) }
      } else {
        output.append(scalar.value, source)
      }
      offset += scalar.byteCount
    }
    take(output)
  }

  /// Source: Unicode Standard Annex 15, Unicode Normalization Forms.
  private mutating func normalize(_ form: UnicodeForm) {
    let text = bytes
    // ASCII is as it is in all forms.
    if text.allSatisfy({ $0 < 0x80 }) { return }
    let tables = NormalizationTables.shared
    let isCompatible = form == .nfkc || form == .nfkd
    let composes = form == .nfc || form == .nfkc
    var output = makeOutput()
    // From a starter up to the next one: scalars, their classes and where they came from.
    var run: [NormalizationTables.Element] = []
    func flush() {
      tables.order(&run)
      if composes { tables.compose(&run) }
      // What belongs together is of one source, so that sources ascend.
      let source = run.map(\.source).min() ?? 0
      for index in run.indices { run[index].source = source }
    }
    var offset = 0
    while offset < text.count {
      let scalar = UTF8Scan.scalar(at: offset, of: text.span)
      let source = sources?[offset] ?? 0
      offset += scalar.byteCount
      tables.forEachPart(of: scalar.value, isCompatible) { part in
        let element = NormalizationTables.Element(scalar: part, source: source, tables)
        if element.combiningClass == 0, !run.isEmpty, !composes || !tables.composesWithBefore(part) {
          flush()
          for element in run { output.append(element.scalar, element.source) }
          run.removeAll(keepingCapacity: true)
        }
        run.append(element)
      }
    }
    flush()
    for element in run { output.append(element.scalar, element.source) }
    take(output)
  }
}
