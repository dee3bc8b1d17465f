/// Reads a regular expression in the syntax of Oniguruma, as far as pre-tokenizers need it.
///
/// Source: the document RE of Oniguruma 6.9, syntax ONIG_SYNTAX_ONIGURUMA, which the package `tokenizers` uses. What is
/// not known here (backreferences, calls, conditionals, absent operators, text segments) is refused by name.
struct PatternParser {
  private(set) var sets: [ScalarSet] = []
  private let scalars: [UInt32]
  private var offset = 0
  private var depth = 0
  private var options = Options()

  private struct Options {
    var ignoresCase = false
    var dotIsAny = false
    var isExtended = false
  }

  init(_ pattern: String) { scalars = pattern.unicodeScalars.map(\.value) }

  mutating func parse() throws(PatternError) -> PatternNode {
    let node = try alternatives()
    guard offset == scalars.count else { throw PatternError("a parenthesis that was not opened", offset) }
    return node
  }

  // MARK: Characters

  private func peek(_ distance: Int = 0) -> UInt32? {
    offset + distance < scalars.count ? scalars[offset + distance] : nil
  }

  private func isNext(_ text: String) -> Bool {
    let wanted = text.unicodeScalars.map(\.value)
    return offset + wanted.count <= scalars.count
      && scalars[offset..<offset + wanted.count].elementsEqual(wanted)
  }

  private mutating func take(_ text: String) -> Bool {
    guard isNext(text) else { return false }
    offset += text.unicodeScalars.count
    return true
  }

  private func unknown(_ what: String) -> PatternError { PatternError("\(what), which is not known here", offset) }

  // MARK: Structure

  private mutating func alternatives() throws(PatternError) -> PatternNode {
    depth += 1
    defer { depth -= 1 }
    guard depth <= PatternLimits.depth else { throw PatternError("groups nest too deep", offset) }
    let outer = options
    defer { options = outer }
    var found = [try sequence()]
    while take("|") { found.append(try sequence()) }
    return found.count == 1 ? found[0] : .alternatives(found)
  }

  private mutating func sequence() throws(PatternError) -> PatternNode {
    var parts: [PatternNode] = []
    while let next = peek(), next != 0x7C, next != 0x29 {
      if options.isExtended {
        if next == 0x20 || (0x09...0x0D).contains(next) {
          offset += 1
          continue
        }
        if next == 0x23 {
          while let scalar = peek(), scalar != 0x0A {
            _ = scalar
            offset += 1
          }
          continue
        }
      }
      if isNext("(?#") {
        while let scalar = peek(), scalar != 0x29 {
          _ = scalar
          offset += 1
        }
        guard take(")") else { throw PatternError("a comment without end", offset) }
        continue
      }
      guard var atom = try atom() else { continue }
      while let repeated = try quantified(atom) { atom = repeated }
      parts.append(atom)
    }
    if options.ignoresCase { try refuseLigatures(parts) }
    return parts.count == 1 ? parts[0] : parts.isEmpty ? .empty : .sequence(parts)
  }

  /// Nil for options that hold from here on, whose rest is in `parts` of the caller.
  private mutating func atom() throws(PatternError) -> PatternNode? {
    let scalar = scalars[offset]
    offset += 1
    switch scalar {
    case 0x28: return try group()
    case 0x5B:
      return try .set(index(of: characterClass()))
    case 0x2E:
      var set = ScalarSet().inverted
      if !options.dotIsAny { set = ScalarSet([0x0A...0x0A]).inverted }
      return .set(index(of: set))
    case 0x5E: return .anchor(.lineStart)
    case 0x24: return .anchor(.lineEnd)
    case 0x5C: return try escape()
    case 0x2A, 0x2B, 0x3F: throw PatternError("a quantifier without anything before it", offset - 1)
    default: return literal(scalar)
    }
  }

  private mutating func literal(_ scalar: UInt32) -> PatternNode {
    guard options.ignoresCase else { return .scalar(scalar) }
    let variants = CaseVariants.of(scalar)
    guard variants.count > 1 else { return .scalar(scalar) }
    return .set(index(of: ScalarSet(variants.map { $0...$0 })))
  }

  /// Under `(?i)`, some pairs of letters also match one character; Oniguruma does that, and nothing here does.
  private func refuseLigatures(_ parts: [PatternNode]) throws(PatternError) {
    func lower(_ node: PatternNode) -> UInt32? {
      switch node {
      case .scalar(let scalar): scalar
      case .set(let index): (0x61...0x7A).first { sets[index].contains($0) && sets[index].contains($0 - 32) }
      default: nil
      }
    }
    let pairs: [(UInt32, UInt32)] = [(0x73, 0x73), (0x66, 0x66), (0x66, 0x69), (0x66, 0x6C), (0x73, 0x74)]
    for (first, second) in zip(parts, parts.dropFirst()) {
      if let first = lower(first), let second = lower(second), pairs.contains(where: { $0 == (first, second) }) {
        throw unknown("ss, ff, fi, fl or st in any case")
      }
    }
  }

  private mutating func group() throws(PatternError) -> PatternNode {
    func closed(_ node: PatternNode) throws(PatternError) -> PatternNode {
      guard take(")") else { throw PatternError("a group without end", offset) }
      return node
    }
    guard take("?") else {
      // Nobody asks what a group captured.
      return try closed(try alternatives())
    }
    if take(":") { return try closed(try alternatives()) }
    if take("=") { return try closed(.ahead(try alternatives(), isNegative: false)) }
    if take("!") { return try closed(.ahead(try alternatives(), isNegative: true)) }
    if take(">") { return try closed(.atomic(try alternatives())) }
    if take("<=") { return try closed(try behind(isNegative: false)) }
    if take("<!") { return try closed(try behind(isNegative: true)) }
    if take("<") || take("P<") {
      while let scalar = peek(), scalar != 0x3E {
        _ = scalar
        offset += 1
      }
      guard take(">") else { throw PatternError("a name without end", offset) }
      return try closed(try alternatives())
    }
    let outer = options
    var isOn = true
    while let scalar = peek() {
      offset += 1
      switch scalar {
      case 0x2D: isOn = false
      case 0x69: options.ignoresCase = isOn
      case 0x6D: options.dotIsAny = isOn
      case 0x78: options.isExtended = isOn
      case 0x3A:
        let node = try alternatives()
        options = outer
        return try closed(node)
      case 0x29:
        // They hold to the end of the group, alternatives included.
        let node = try alternatives()
        options = outer
        return node
      default: throw unknown("a group that starts with (?" + (Unicode.Scalar(scalar).map { String($0) } ?? ""))
      }
    }
    throw PatternError("a group without end", offset)
  }

  private mutating func behind(isNegative: Bool) throws(PatternError) -> PatternNode {
    let node = try alternatives()
    let parts: [PatternNode]
    if case .alternatives(let several) = node { parts = several } else { parts = [node] }
    guard parts.allSatisfy({ $0.length != nil }) else { throw unknown("a look behind of no fixed length") }
    return .behind(node, isNegative: isNegative)
  }

  /// The repetition of what was read, if a quantifier follows.
  private mutating func quantified(_ node: PatternNode) throws(PatternError) -> PatternNode? {
    var lower = 0
    var upper: Int?
    var isInterval = false
    switch peek() {
    case 0x2A: offset += 1
    case 0x2B:
      lower = 1
      offset += 1
    case 0x3F:
      upper = 1
      offset += 1
    case 0x7B:
      guard let interval = try interval() else { return nil }
      (lower, upper) = interval
      isInterval = true
    default: return nil
    }
    var greed = PatternNode.Greed.greedy
    if peek() == 0x3F {
      // {n}? is an optional {n}.
      guard !isInterval || lower != upper else { throw unknown("{n}?") }
      greed = .lazy
      offset += 1
    } else if peek() == 0x2B, !isInterval {
      greed = .possessive
      offset += 1
    }
    if case .anchor = node { throw unknown("a repeated anchor") }
    guard !node.canBeEmpty || upper == 1 else { throw unknown("a repetition of what may be empty") }
    return .repeated(node, lower: lower, upper: upper, greed)
  }

  /// {n}, {n,}, {n,m} or {,m}; nil when the brace is a character like any other.
  private mutating func interval() throws(PatternError) -> (Int, Int?)? {
    let start = offset
    offset += 1
    func number() -> Int? {
      var value: Int?
      while let scalar = peek(), (0x30...0x39).contains(scalar) {
        value = min((value ?? 0) * 10 + Int(scalar - 0x30), 1 << 20)
        offset += 1
      }
      return value
    }
    let first = number()
    var second = first
    if take(",") {
      second = number()
      guard first != nil || second != nil else {
        offset = start
        return nil
      }
    }
    guard first != nil || second != nil, take("}") else {
      offset = start
      return nil
    }
    guard max(first ?? 0, second ?? 0) <= PatternLimits.repetition else {
      throw PatternError("more than \(PatternLimits.repetition) repetitions", start)
    }
    guard second.map({ (first ?? 0) <= $0 }) ?? true else { throw unknown("{n,m} with n above m") }
    return (first ?? 0, second)
  }

  // MARK: Escapes

  private mutating func escape() throws(PatternError) -> PatternNode {
    guard let scalar = peek() else { throw PatternError("a backslash at the end", offset) }
    if let set = try setEscape() { return .set(index(of: set)) }
    switch scalar {
    case 0x41:
      offset += 1
      return .anchor(.textStart)
    case 0x7A:
      offset += 1
      return .anchor(.textEnd)
    case 0x5A:
      offset += 1
      return .anchor(.textEndOrLastNewline)
    case 0x62:
      offset += 1
      return .anchor(.wordBoundary)
    case 0x42:
      offset += 1
      return .anchor(.noWordBoundary)
    case 0x52:
      offset += 1
      let breaks = index(of: ScalarSet([0x0A...0x0D, 0x85...0x85, 0x2028...0x2029]))
      return .atomic(.alternatives([.sequence([.scalar(0x0D), .scalar(0x0A)]), .set(breaks)]))
    case 0x31...0x39: throw unknown("a backreference")
    default: return literal(try scalarEscape())
    }
  }

  /// `\p{…}`, `\d` and such; nil when the escape is another one.
  private mutating func setEscape() throws(PatternError) -> ScalarSet? {
    guard let scalar = peek() else { return nil }
    var set: ScalarSet
    switch scalar {
    case 0x64, 0x44: set = NamedScalarSets.digit
    case 0x73, 0x53: set = NamedScalarSets.space
    case 0x77, 0x57: set = NamedScalarSets.word
    case 0x68, 0x48: set = NamedScalarSets.hexDigit
    case 0x70, 0x50:
      offset += 1
      guard take("{") else { throw PatternError("\\p without {", offset) }
      let isInverted = take("^")
      var name = ""
      while let next = peek(), next != 0x7D {
        name.unicodeScalars.append(Unicode.Scalar(next) ?? "?")
        offset += 1
      }
      guard take("}") else { throw PatternError("\\p without }", offset) }
      guard let named = NamedScalarSets.named(name) else { throw unknown("\\p{\(name)}") }
      return isInverted != (scalar == 0x50) ? named.inverted : named
    default: return nil
    }
    offset += 1
    if scalar < 0x60 { set.invert() }
    return set
  }

  private mutating func scalarEscape() throws(PatternError) -> UInt32 {
    guard let scalar = peek() else { throw PatternError("a backslash at the end", offset) }
    offset += 1
    switch scalar {
    case 0x74: return 0x09
    case 0x6E: return 0x0A
    case 0x72: return 0x0D
    case 0x66: return 0x0C
    case 0x76: return 0x0B
    case 0x61: return 0x07
    case 0x65: return 0x1B
    case 0x75: return try hexadecimal(count: 4)
    case 0x78:
      if take("{") {
        var digits = 0
        while let next = peek(digits), next != 0x7D {
          _ = next
          digits += 1
        }
        let value = try hexadecimal(count: digits)
        guard take("}") else { throw PatternError("\\x{ without }", offset) }
        return value
      }
      let value = try hexadecimal(count: 2)
      guard value < 0x80 else { throw unknown("a byte that is no character") }
      return value
    case 0x30:
      guard peek().map({ !(0x30...0x37).contains($0) }) ?? true else { throw unknown("an octal number") }
      return 0
    case 0x41...0x5A, 0x61...0x7A, 0x31...0x39:
      throw unknown("\\" + (Unicode.Scalar(scalar).map { String($0) } ?? ""))
    default: return scalar
    }
  }

  private mutating func hexadecimal(count: Int) throws(PatternError) -> UInt32 {
    guard (1...8).contains(count) else { throw PatternError("a number of \(count) digits", offset) }
    var value: UInt32 = 0
    for _ in 0..<count {
      guard let scalar = peek(), value < 1 << 24,
        let digit = Unicode.Scalar(scalar).flatMap({ Character($0).hexDigitValue }), scalar < 0x80
      else { throw PatternError("a digit is missing", offset) }
      value = value << 4 | UInt32(digit)
      offset += 1
    }
    guard Unicode.Scalar(value) != nil else { throw PatternError("a number that is no character", offset) }
    return value
  }

  // MARK: Classes

  /// After the opening bracket.
  /// - Parameter isInner: a class within a class, whose characters have no variants of their own.
  private mutating func characterClass(isInner: Bool = false) throws(PatternError) -> ScalarSet {
    depth += 1
    defer { depth -= 1 }
    guard depth <= PatternLimits.depth else { throw PatternError("classes nest too deep", offset) }
    let isNegative = take("^")
    var result: ScalarSet?
    var current = ScalarSet()
    var isFirst = true
    while true {
      guard let next = peek() else { throw PatternError("a class without end", offset) }
      if next == 0x5D, !isFirst {
        offset += 1
        break
      }
      isFirst = false
      if take("&&") {
        if result == nil { result = current } else { result?.formIntersection(current) }
        current = ScalarSet()
        continue
      }
      try classItem(&current)
    }
    if result == nil { result = current } else { result?.formIntersection(current) }
    var set = result ?? current
    if options.ignoresCase, !isInner {
      for variant in CaseVariants.all(of: set) { set.insert(variant...variant) }
    }
    if isNegative { set.invert() }
    return set
  }

  private mutating func classItem(_ set: inout ScalarSet) throws(PatternError) {
    if take("[:") {
      let isInverted = take("^")
      var name = ""
      while let next = peek(), (0x61...0x7A).contains(next) {
        name.unicodeScalars.append(Unicode.Scalar(next) ?? "?")
        offset += 1
      }
      guard take(":]"), let named = NamedScalarSets.named(name) else { throw unknown("[:\(name):]") }
      set.formUnion(isInverted ? named.inverted : named)
      return
    }
    if take("[") {
      set.formUnion(try characterClass(isInner: true))
      return
    }
    if peek() == 0x5C, peek(1) != nil {
      offset += 1
      if let named = try setEscape() {
        set.formUnion(named)
        return
      }
      offset -= 1
    }
    let first = try classScalar()
    guard peek() == 0x2D, let after = peek(1), after != 0x5D else { return set.insert(first...first) }
    // A hyphen before a set is a hyphen.
    let hyphen = offset
    offset += 1
    if peek() == 0x5B || isNext("&&") {
      offset = hyphen
      return set.insert(first...first)
    }
    if peek() == 0x5C {
      offset += 1
      if try setEscape() != nil { throw unknown("a range that ends with a set") }
      offset -= 1
    }
    let last = try classScalar()
    guard first <= last else { throw PatternError("a range that ends before it starts", offset) }
    set.insert(first...last)
  }

  private mutating func classScalar() throws(PatternError) -> UInt32 {
    guard let scalar = peek() else { throw PatternError("a class without end", offset) }
    offset += 1
    guard scalar == 0x5C else { return scalar }
    if take("b") { return 0x08 }
    return try scalarEscape()
  }

  private mutating func index(of set: ScalarSet) -> Int {
    if let known = sets.firstIndex(of: set) { return known }
    sets.append(set)
    return sets.count - 1
  }
}

/// Why a pattern cannot be used.
struct PatternError: Error {
  var fault: String
  /// In scalars of the pattern.
  var offset: Int

  init(_ fault: String, _ offset: Int) {
    self.fault = fault
    self.offset = offset
  }
}

enum PatternLimits {
  /// Groups and classes within each other.
  static let depth = 50
  static let repetition = 1000
  static let instructionCount = 1 << 13
  /// Sets of scalars, of 136 KiB each.
  static let setCount = 64
  /// Ways that wait to be tried.
  static let stackCount = 1 << 21
  /// What looking for matches in a text of so many bytes may cost. Patterns that need more find no further match.
  static func steps(for byteCount: Int) -> Int { 1 << 23 + 512 * byteCount }
}

/// Scalars that differ in case only.
enum CaseVariants {
  private static let orbits: [UInt32: [UInt32]] = {
    var groups: [UInt32: Set<UInt32>] = [:]
    func join(_ first: UInt32, _ second: UInt32) {
      let all = (groups[first] ?? [first]).union(groups[second] ?? [second])
      for scalar in all { groups[scalar] = all }
    }
    for (scalar, lower) in UnicodeTables.lowercaseMappings where lower.count == 1 { join(scalar, lower[0]) }
    let lowercase = ScalarSet(table: UnicodeData.propertyLowercase)
    for value in UInt32(0)..<0x1E944 where lowercase.contains(value) {
      guard let scalar = Unicode.Scalar(value) else { continue }
      let upper = scalar.properties.uppercaseMapping.unicodeScalars
      if upper.count == 1, let upper = upper.first, upper != scalar { join(value, upper.value) }
    }
    return groups.mapValues { $0.sorted() }
  }()

  /// The scalar itself and its variants.
  static func of(_ scalar: UInt32) -> [UInt32] { orbits[scalar] ?? [scalar] }

  /// The variants of all scalars of a set.
  static func all(of set: ScalarSet) -> [UInt32] {
    orbits.filter { set.contains($0.key) }.flatMap(\.value)
  }
}
