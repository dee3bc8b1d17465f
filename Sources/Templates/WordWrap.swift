/// The filter `wordwrap`, as Python's module textwrap breaks lines.
extension Evaluator {
  func wrap(_ value: Value, _ arguments: Arguments) throws(TemplateError) -> Value {
    let values = try arguments.bound(
      "wordwrap", ["width", "break_long_words", "wrapstring", "break_on_hyphens"])
    let width = try values[0].map { (value) throws(TemplateError) in try integer(value) } ?? 79
    if case .undefined(let missing) = value { throw missing.error }
    guard case .text(let text) = value else {
      throw .operation("'\(value.typeName)' object has no attribute 'splitlines'")
    }
    guard width > 0 else { throw .operation("invalid width \(width) (must be > 0)") }
    var separator: [UInt32] = [0x0A]
    if let given = values[2], !isNone(given) { separator = try requiredText(given, "wordwrap").units }
    let wrapper = LineWrapper(
      width: width, breaksLongWords: values[1]?.isTrue ?? true, breaksOnHyphens: values[3]?.isTrue ?? true)
    var builder = TextBuilder(meter)
    for (index, line) in text.lines().enumerated() {
      if index > 0 { try builder.append(separator) }
      try meter.step(line.count * 8)
      for (index, part) in wrapper.wrap(Array(line)).enumerated() {
        if index > 0 { try builder.append(separator) }
        try builder.append(part)
      }
    }
    return try builder.value()
  }
}

private struct LineWrapper {
  let width: Int
  let breaksLongWords: Bool
  let breaksOnHyphens: Bool

  func wrap(_ line: [UInt32]) -> [[UInt32]] {
    var chunks: [ArraySlice<UInt32>] = Array(chunks(of: line).reversed())
    var lines: [[UInt32]] = []
    while !chunks.isEmpty {
      var current: [ArraySlice<UInt32>] = []
      var length = 0
      if !lines.isEmpty, isBlank(chunks[chunks.count - 1]) { chunks.removeLast() }
      while let chunk = chunks.last, length + chunk.count <= width {
        current.append(chunk)
        length += chunk.count
        chunks.removeLast()
      }
      if let chunk = chunks.last, chunk.count > width { breakWord(&chunks, &current, space: width - length) }
      if let last = current.last, isBlank(last) { current.removeLast() }
      if !current.isEmpty { lines.append(Array(current.joined())) }
    }
    return lines
  }

  private func isBlank(_ chunk: ArraySlice<UInt32>) -> Bool { chunk.allSatisfy(isSpace) }

  private func breakWord(
    _ chunks: inout [ArraySlice<UInt32>], _ current: inout [ArraySlice<UInt32>], space: Int
  ) {
    let chunk = chunks.removeLast()
    guard breaksLongWords else {
      if current.isEmpty { current.append(chunk) } else { chunks.append(chunk) }
      return
    }
    var end = chunk.startIndex + space
    if breaksOnHyphens, let hyphen = chunk[..<end].lastIndex(where: { plain($0) == 0x2D }),
      hyphen > chunk.startIndex, chunk[..<hyphen].contains(where: { plain($0) != 0x2D })
    {
      end = hyphen + 1
    }
    current.append(chunk[..<end])
    if end < chunk.endIndex { chunks.append(chunk[end...]) }
  }

  private func plain(_ unit: UInt32) -> UInt32 { unit & ~TemplateString.mark }

  /// Where lines may be broken: around white space and, if it is wanted, after hyphens in words and around dashes.
  private func chunks(of line: [UInt32]) -> [ArraySlice<UInt32>] {
    func isWhite(_ unit: UInt32) -> Bool { [0x09, 0x0A, 0x0B, 0x0C, 0x0D, 0x20].contains(plain(unit)) }
    func isLetter(_ index: Int) -> Bool {
      line.indices.contains(index) && isNameScalar(line[index]) && !isDecimal(line[index])
    }
    func isWordPart(_ index: Int) -> Bool {
      line.indices.contains(index)
        && (isNameScalar(line[index]) || [0x21, 0x22, 0x27, 0x26, 0x2E, 0x2C, 0x3F].contains(plain(line[index])))
    }
    func isHyphen(_ index: Int) -> Bool { line.indices.contains(index) && plain(line[index]) == 0x2D }
    /// The end of a dash that starts here, two hyphens or more before a word.
    func dashEnd(_ index: Int) -> Int? {
      guard isHyphen(index), isHyphen(index + 1), isWordPart(index - 1) else { return nil }
      var end = index
      while isHyphen(end) { end += 1 }
      return line.indices.contains(end) && isNameScalar(line[end]) ? end : nil
    }
    func breaksAfterHyphen(_ index: Int) -> Bool {
      guard isHyphen(index) else { return false }
      let isAfterWord =
        isLetter(index - 2) && isLetter(index - 1)
        || isLetter(index - 3) && isHyphen(index - 2) && isWordPart(index - 1)
      return isAfterWord && isLetter(index + 1) && (isLetter(index + 2) || isHyphen(index + 2) && isLetter(index + 3))
    }
    var chunks: [ArraySlice<UInt32>] = []
    var start = 0
    while start < line.count {
      var end = start + 1
      if isWhite(line[start]) {
        while end < line.count, isWhite(line[end]) { end += 1 }
      } else if breaksOnHyphens, let dash = dashEnd(start) {
        end = dash
      } else {
        while end < line.count, !isWhite(line[end]) {
          if breaksOnHyphens, breaksAfterHyphen(end) {
            end += 1
            break
          }
          if breaksOnHyphens, dashEnd(end) != nil { break }
          end += 1
        }
      }
      chunks.append(line[start..<end])
      start = end
    }
    return chunks
  }
}
