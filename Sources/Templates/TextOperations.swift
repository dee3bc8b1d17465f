/// Searching, cutting and changing texts, as Python's methods do. Marks go along.
extension Text {
  /// The first place where `part`, which has no marks, is found.
  func firstRange(of part: [UInt32], in range: Range<Int>, _ meter: Meter) throws(TemplateError) -> Range<Int>? {
    guard part.count <= range.count else { return nil }
    guard let first = part.first else { return range.lowerBound..<range.lowerBound }
    var start = range.lowerBound
    let last = range.upperBound - part.count
    var work = 0
    while start <= last {
      if units[start] & ~TemplateString.mark == first {
        var length = 1
        while length < part.count, units[start + length] & ~TemplateString.mark == part[length] { length += 1 }
        if length == part.count {
          try meter.step(work + start - range.lowerBound)
          return start..<start + part.count
        }
        work += length
        if work > 0x10000 {
          try meter.step(work)
          work = 0
        }
      }
      start += 1
    }
    try meter.step(work + range.count)
    return nil
  }

  func lastRange(of part: [UInt32], in range: Range<Int>, _ meter: Meter) throws(TemplateError) -> Range<Int>? {
    guard part.count <= range.count else { return nil }
    var start = range.upperBound - part.count
    while start >= range.lowerBound {
      var length = 0
      while length < part.count, units[start + length] & ~TemplateString.mark == part[length] { length += 1 }
      if length == part.count { return start..<start + part.count }
      if length > 32 { try meter.step(length) }
      if start & 0xFFF == 0 { try meter.step(0x1000) }
      start -= 1
    }
    return nil
  }

  func matches(_ part: [UInt32], at start: Int) -> Bool {
    guard start >= 0, part.count <= units.count - start else { return false }
    return part.indices.allSatisfy { units[start + $0] & ~TemplateString.mark == part[$0] }
  }

  /// The text without scalars at its ends that are among `characters` or, without these, white space.
  func stripped(_ characters: [UInt32]?, start: Bool = true, end: Bool = true) -> ArraySlice<UInt32> {
    var set: Set<UInt32>?
    if let characters { set = Set(characters) }
    func isStripped(_ unit: UInt32) -> Bool {
      set.map { $0.contains(unit & ~TemplateString.mark) } ?? isSpace(unit)
    }
    var slice = units[...]
    if start { slice = slice.drop(while: isStripped) }
    if end { while let last = slice.last, isStripped(last) { slice.removeLast() } }
    return slice
  }

  /// The lines, without their ends.
  func lines(keepingEnds: Bool = false) -> [ArraySlice<UInt32>] {
    var lines: [ArraySlice<UInt32>] = []
    var start = 0
    var index = 0
    while index < units.count {
      guard isLineEnd(units[index]) else {
        index += 1
        continue
      }
      var next = index + 1
      let isPair = units[index] & ~TemplateString.mark == 0x0D && next < units.count
      if isPair, units[next] & ~TemplateString.mark == 0x0A { next += 1 }
      lines.append(units[start..<(keepingEnds ? next : index)])
      (start, index) = (next, next)
    }
    if start < units.count { lines.append(units[start...]) }
    return lines
  }

  /// The parts between white space.
  func words(limit: Int) -> [ArraySlice<UInt32>] {
    var words: [ArraySlice<UInt32>] = []
    var rest = units[...].drop(while: isSpace)
    while !rest.isEmpty {
      if limit >= 0, words.count == limit {
        words.append(rest)
        break
      }
      let word = rest.prefix { !isSpace($0) }
      words.append(word)
      rest = rest[word.endIndex...].drop(while: isSpace)
    }
    return words
  }

  /// The same, from the end if there are more than `limit`.
  func lastWords(limit: Int) -> [ArraySlice<UInt32>] {
    guard limit >= 0 else { return words(limit: -1) }
    var words: [ArraySlice<UInt32>] = []
    var rest = units[...]
    func trim(_ slice: inout ArraySlice<UInt32>) {
      while let last = slice.last, isSpace(last) { slice.removeLast() }
    }
    trim(&rest)
    while !rest.isEmpty {
      if words.count == limit {
        words.append(rest)
        break
      }
      var start = rest.endIndex
      while start > rest.startIndex, !isSpace(rest[start - 1]) { start -= 1 }
      words.append(rest[start...])
      rest = rest[..<start]
      trim(&rest)
    }
    return words.reversed()
  }

  // MARK: Upper and lower case

  private func mapped(_ mapping: (UInt32, Int) -> String?) -> [UInt32] {
    var result: [UInt32] = []
    result.reserveCapacity(units.count)
    for (index, unit) in units.enumerated() {
      let mark = unit & TemplateString.mark
      let scalar = unit & ~TemplateString.mark
      if let text = mapping(scalar, index) {
        for mapped in text.unicodeScalars { result.append(mapped.value | mark) }
      } else {
        result.append(unit)
      }
    }
    return result
  }

  private static func upper(_ scalar: UInt32) -> String? {
    if scalar < 0x80 { return (0x61...0x7A).contains(scalar) ? makeString([scalar - 0x20]) : nil }
    return properties(scalar).uppercaseMapping
  }

  private func lower(_ scalar: UInt32, _ index: Int) -> String? {
    if scalar < 0x80 { return (0x41...0x5A).contains(scalar) ? makeString([scalar + 0x20]) : nil }
    if scalar == 0x3A3 { return isFinalSigma(index) ? "ς" : "σ" }
    return properties(scalar).lowercaseMapping
  }

  /// Whether a capital sigma ends a word: a cased letter before it and none after it, what is case-ignorable aside.
  private func isFinalSigma(_ index: Int) -> Bool {
    let before = units[..<index].last { !properties($0).isCaseIgnorable }
    guard let before, properties(before).isCased else { return false }
    let after = units[(index + 1)...].first { !properties($0).isCaseIgnorable }
    return after.map { !properties($0).isCased } ?? true
  }

  var uppercased: [UInt32] { mapped { scalar, _ in Self.upper(scalar) } }

  var lowercased: [UInt32] { mapped { self.lower($0, $1) } }

  private static func title(_ scalar: UInt32) -> String? {
    scalar < 0x80 ? upper(scalar) : properties(scalar).titlecaseMapping
  }

  var capitalized: [UInt32] { mapped { $1 == 0 ? Self.title($0) : self.lower($0, $1) } }

  /// Python's `title`: what follows something without case begins a word.
  var titled: [UInt32] {
    var isInWord = false
    return mapped { scalar, index in
      defer { isInWord = properties(scalar).isCased }
      return isInWord ? self.lower(scalar, index) : Self.title(scalar)
    }
  }

  var swapped: [UInt32] {
    mapped { scalar, index in
      let properties = properties(scalar)
      return properties.isUppercase ? self.lower(scalar, index) : properties.isLowercase ? Self.upper(scalar) : nil
    }
  }

  var isLower: Bool { hasCase { $0.isLowercase } }

  var isUpper: Bool { hasCase { $0.isUppercase } }

  /// Whether something has case, and everything that has it has this one.
  private func hasCase(_ wanted: (Unicode.Scalar.Properties) -> Bool) -> Bool {
    var found = false
    for unit in units {
      let properties = properties(unit)
      if wanted(properties) {
        found = true
      } else if properties.isUppercase || properties.isLowercase || properties.generalCategory == .titlecaseLetter {
        return false
      }
    }
    return found
  }
}
