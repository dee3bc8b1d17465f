/// A pattern as instructions for `PatternMatcher`.
struct PatternProgram: Sendable {
  enum Operation: UInt8 {
    /// The scalar `a`, below 0x80.
    case byte
    /// The scalar `a`.
    case scalar
    /// A scalar of the set `a`.
    case set
    /// From `b` to `c` scalars of the set `a`, as many as there are; gives some back unless `isPossessive`.
    case run
    /// Goes on after it; when that fails, at `a`. Goes to `a` at once when the next byte is not in the byte set `b`.
    case branch
    /// Goes on at `a`; when that fails, after it.
    case branchLate
    case jump
    case anchor
    /// The part up to `a` matches here, or does not if `b` is 1. Goes on at `a`.
    case ahead
    /// The part up to `a` matches `c` scalars before, up to here; or does not if `b` is 1.
    case behind
    /// The part up to `a` matches here, and is not tried again. Goes on at `a`, after what it matched.
    case atomic
    /// The pattern, or a part, has matched.
    case accept
  }

  struct Instruction: Sendable {
    var operation: Operation
    var isPossessive = false
    var a: Int32 = 0
    var b: Int32 = 0
    var c: Int32 = 0
  }

  private(set) var instructions: [Instruction] = []
  /// The bits of all sets, one after another.
  private(set) var setWords: [UInt64] = []
  /// Four words each, a bit for each byte.
  private(set) var byteSets: [UInt64] = []
  /// What a match can start with; nil when it can be empty.
  private(set) var firstBytes: Int32?

  private var sets: [ScalarSet] = []

  /// - Throws: `PatternError` for what is malformed, not known, or too large.
  init(_ pattern: String) throws(PatternError) {
    var parser = PatternParser(pattern)
    let node = try parser.parse()
    sets = parser.sets
    // `\b` needs the word characters.
    sets.append(NamedScalarSets.word)
    guard sets.count <= PatternLimits.setCount else { throw PatternError("more than 64 sets of characters", 0) }
    for set in sets { setWords += set.words }
    try compile(node)
    try emit(Instruction(operation: .accept))
    let first = firstSet(node)
    if !first.canBeEmpty { firstBytes = index(of: first.bytes) }
    sets = []
  }

  /// The index of the set of word characters.
  var wordSet: Int { setWords.count / ScalarSet.wordCount - 1 }

  @discardableResult
  private mutating func emit(_ instruction: Instruction) throws(PatternError) -> Int {
    guard instructions.count < PatternLimits.instructionCount else {
      throw PatternError("it is too large", 0)
    }
    instructions.append(instruction)
    return instructions.count - 1
  }

  private var end: Int32 { Int32(instructions.count) }

  private mutating func compile(_ node: PatternNode) throws(PatternError) {
    switch node {
    case .empty: break
    case .scalar(let scalar):
      try emit(Instruction(operation: scalar < 0x80 ? .byte : .scalar, a: Int32(scalar)))
    case .set(let index): try emit(Instruction(operation: .set, a: Int32(index)))
    case .sequence(let parts): for part in parts { try compile(part) }
    case .alternatives(let parts):
      var jumps: [Int] = []
      for part in parts.dropLast() {
        let branch = try emit(Instruction(operation: .branch, b: branchBytes(part)))
        try compile(part)
        jumps.append(try emit(Instruction(operation: .jump)))
        instructions[branch].a = end
      }
      if let last = parts.last { try compile(last) }
      for jump in jumps { instructions[jump].a = end }
    case .repeated(let part, let lower, let upper, let greed): try compile(part, lower, upper, greed)
    case .anchor(let anchor): try emit(Instruction(operation: .anchor, a: Int32(anchor.rawValue)))
    case .ahead(let part, let isNegative):
      try compileInner(part, Instruction(operation: .ahead, b: isNegative ? 1 : 0))
    case .behind(let part, let isNegative): try compileBehind(part, isNegative)
    case .atomic(let part): try compileInner(part, Instruction(operation: .atomic))
    }
  }

  private mutating func compileInner(_ part: PatternNode, _ instruction: Instruction) throws(PatternError) {
    let start = try emit(instruction)
    try compile(part)
    try emit(Instruction(operation: .accept))
    instructions[start].a = end
  }

  /// Alternatives of different lengths are looked for one after another.
  private mutating func compileBehind(_ part: PatternNode, _ isNegative: Bool) throws(PatternError) {
    let parts: [PatternNode]
    if case .alternatives(let several) = part { parts = several } else { parts = [part] }
    var jumps: [Int] = []
    for (index, part) in parts.enumerated() {
      let isLast = index == parts.count - 1
      var branch: Int?
      if !isNegative, !isLast { branch = try emit(Instruction(operation: .branch, b: -1)) }
      try compileInner(
        part, Instruction(operation: .behind, b: isNegative ? 1 : 0, c: Int32(part.length ?? 0)))
      if let branch {
        jumps.append(try emit(Instruction(operation: .jump)))
        instructions[branch].a = end
      }
    }
    for jump in jumps { instructions[jump].a = end }
  }

  private mutating func compile(
    _ part: PatternNode, _ lower: Int, _ upper: Int?, _ greed: PatternNode.Greed
  ) throws(PatternError) {
    var single: Int32?
    if case .set(let index) = part { single = Int32(index) }
    if let single, greed != .lazy {
      try emit(
        Instruction(
          operation: .run, isPossessive: greed == .possessive, a: single, b: Int32(lower),
          c: Int32(upper ?? Int(Int32.max))))
      return
    }
    if greed == .possessive {
      return try compileInner(.repeated(part, lower: lower, upper: upper, .greedy), Instruction(operation: .atomic))
    }
    for _ in 0..<lower { try compile(part) }
    let operation = greed == .lazy ? Operation.branchLate : .branch
    guard let upper else {
      // L: branch to the end; the part; jump to L.
      let start = try emit(Instruction(operation: operation, b: branchBytes(part)))
      try compile(part)
      try emit(Instruction(operation: .jump, a: Int32(start)))
      instructions[start].a = end
      return
    }
    var branches: [Int] = []
    for _ in lower..<upper {
      branches.append(try emit(Instruction(operation: operation, b: branchBytes(part))))
      try compile(part)
    }
    for branch in branches { instructions[branch].a = end }
  }

  // MARK: First bytes

  private struct FirstSet {
    var bytes = [UInt64](repeating: 0, count: 4)
    var canBeEmpty = false

    mutating func insert(_ byte: Int) { bytes[byte >> 6] |= 1 << UInt64(byte & 63) }

    mutating func formUnion(_ other: FirstSet) {
      for index in bytes.indices { bytes[index] |= other.bytes[index] }
    }
  }

  private mutating func branchBytes(_ node: PatternNode) -> Int32 {
    let first = firstSet(node)
    return first.canBeEmpty ? -1 : index(of: first.bytes)
  }

  private mutating func index(of bytes: [UInt64]) -> Int32 {
    for index in stride(from: 0, to: byteSets.count, by: 4) where byteSets[index..<index + 4].elementsEqual(bytes) {
      return Int32(index)
    }
    byteSets += bytes
    return Int32(byteSets.count - 4)
  }

  /// What a match of a node can start with.
  private func firstSet(_ node: PatternNode) -> FirstSet {
    var first = FirstSet()
    switch node {
    case .empty, .anchor, .ahead, .behind: first.canBeEmpty = true
    case .scalar(let scalar):
      first.insert(Unicode.Scalar(scalar).flatMap { UTF8.encode($0)?.first }.map { Int($0) } ?? 0)
    case .set(let index):
      first.bytes[0] = sets[index].words[0]
      first.bytes[1] = sets[index].words[1]
      if sets[index].reachesPastASCII { for byte in 0xC2...0xF4 { first.insert(byte) } }
    case .sequence(let parts):
      first.canBeEmpty = true
      for part in parts where first.canBeEmpty {
        let next = firstSet(part)
        first.formUnion(next)
        first.canBeEmpty = next.canBeEmpty
      }
    case .alternatives(let parts):
      for part in parts {
        let next = firstSet(part)
        first.formUnion(next)
        first.canBeEmpty = first.canBeEmpty || next.canBeEmpty
      }
    case .repeated(let part, let lower, let upper, _):
      if upper == 0 {
        first.canBeEmpty = true
      } else {
        first = firstSet(part)
        if lower == 0 { first.canBeEmpty = true }
      }
    case .atomic(let part): first = firstSet(part)
    }
    return first
  }
}
