/// Looks for the matches of a pattern in a text, by trying one way after another.
///
/// The first way in the order of the pattern counts, leftmost first, as in Perl and Oniguruma. A pattern that needs
/// more steps than the caller allows finds nothing more, so that no text and no pattern can hang it.
struct PatternMatcher: ~Escapable {
  private let program: PatternProgram
  private let text: Span<UInt8>
  /// The text that is looked at; the rest is not there.
  private let range: Range<Int>
  private(set) var remainingSteps: Int
  private var stack: [Way] = []

  /// A way that can still be tried.
  private struct Way {
    var instruction: Int32
    var position: Int
    /// A run gives scalars back down to here; `Int.max` when the way is no run.
    var lowest: Int
  }

  /// - Parameter text: valid UTF-8.
  @_lifetime(copy text)
  init(_ program: PatternProgram, _ text: Span<UInt8>, _ range: Range<Int>, steps: Int) {
    self.program = program
    self.text = text
    self.range = range
    remainingSteps = steps
  }

  /// Adds all matches. An empty one counts unless it is where the match before ends.
  @_lifetime(self: copy self)
  mutating func appendMatches(to matches: inout [Range<Int>]) {
    var offset = range.lowerBound
    var lastEnd = -1
    while let match = firstMatch(from: offset) {
      if !match.isEmpty || match.lowerBound != lastEnd {
        matches.append(match)
        lastEnd = match.upperBound
      }
      offset = match.upperBound
      if match.isEmpty {
        guard offset < range.upperBound else { return }
        offset += UTF8Scan.scalar(at: offset, of: text).byteCount
      }
    }
  }

  @_lifetime(self: copy self)
  private mutating func firstMatch(from start: Int) -> Range<Int>? {
    var position = start
    while position <= range.upperBound, remainingSteps > 0 {
      if let first = program.firstBytes {
        while position < range.upperBound, !isIn(first, text[position]) { position += 1 }
        if position == range.upperBound { return nil }
      }
      stack.removeAll(keepingCapacity: true)
      if let end = match(0, position) { return position..<end }
      if position == range.upperBound { return nil }
      position += UTF8Scan.scalar(at: position, of: text).byteCount
    }
    return nil
  }

  @inline(__always)
  private func isIn(_ byteSet: Int32, _ byte: UInt8) -> Bool {
    program.byteSets[Int(byteSet) + Int(byte >> 6)] >> UInt64(byte & 63) & 1 != 0
  }

  @inline(__always)
  private func isIn(set: Int32, _ scalar: UInt32) -> Bool {
    program.setWords[Int(set) * ScalarSet.wordCount + Int(scalar >> 6)] >> UInt64(scalar & 63) & 1 != 0
  }

  /// Where the part of the program from an instruction on matches up to; nil when it does not match.
  @_lifetime(self: copy self)
  private mutating func match(_ first: Int, _ start: Int) -> Int? {
    let bottom = stack.count
    defer { if stack.count > bottom { stack.removeLast(stack.count - bottom) } }
    let end = range.upperBound
    var pc = first
    var position = start
    var steps = 0
    defer { remainingSteps -= steps }
    while true {
      steps += 1
      if steps > remainingSteps || stack.count > PatternLimits.stackCount {
        remainingSteps = 0
        steps = 0
        return nil
      }
      let instruction = program.instructions[pc]
      var succeeds = false
      switch instruction.operation {
      case .byte:
        if position < end, text[position] == UInt8(truncatingIfNeeded: instruction.a) {
          position += 1
          succeeds = true
        }
      case .scalar:
        if position < end {
          let scalar = UTF8Scan.scalar(at: position, of: text)
          if scalar.value == UInt32(bitPattern: instruction.a) {
            position += scalar.byteCount
            succeeds = true
          }
        }
      case .set:
        if position < end {
          let scalar = UTF8Scan.scalar(at: position, of: text)
          if isIn(set: instruction.a, scalar.value) {
            position += scalar.byteCount
            succeeds = true
          }
        }
      case .run:
        let upper = Int(instruction.c)
        let lower = Int(instruction.b)
        var count = 0
        var lowest = position
        while position < end, count < upper {
          let scalar = UTF8Scan.scalar(at: position, of: text)
          guard isIn(set: instruction.a, scalar.value) else { break }
          position += scalar.byteCount
          count += 1
          if count == lower { lowest = position }
        }
        steps += count >> 2
        if count >= lower {
          succeeds = true
          if count > lower, !instruction.isPossessive {
            stack.append(Way(instruction: Int32(pc + 1), position: position, lowest: lowest))
          }
        }
      case .branch:
        if instruction.b >= 0, position == end || !isIn(instruction.b, text[position]) {
          pc = Int(instruction.a)
          continue
        }
        stack.append(Way(instruction: instruction.a, position: position, lowest: Int.max))
        succeeds = true
      case .branchLate:
        stack.append(Way(instruction: Int32(pc + 1), position: position, lowest: Int.max))
        pc = Int(instruction.a)
        continue
      case .jump:
        pc = Int(instruction.a)
        continue
      case .anchor:
        succeeds =
          PatternNode.Anchor(rawValue: UInt8(truncatingIfNeeded: instruction.a)).map {
            holds($0, position)
          } ?? false
      case .ahead:
        let isFound = inner(pc + 1, position, &steps) != nil
        if isFound != (instruction.b == 1) {
          pc = Int(instruction.a)
          continue
        }
      case .behind:
        var isFound = false
        steps += Int(instruction.c)
        if let before = self.start(of: Int(instruction.c), before: position) {
          isFound = inner(pc + 1, before, &steps) == position
        }
        if isFound != (instruction.b == 1) {
          pc = Int(instruction.a)
          continue
        }
      case .atomic:
        if let matched = inner(pc + 1, position, &steps) {
          position = matched
          pc = Int(instruction.a)
          continue
        }
      case .accept: return position
      }
      if succeeds {
        pc += 1
        continue
      }
      // The last way that was not tried.
      guard stack.count > bottom else { return nil }
      let last = stack.count - 1
      pc = Int(stack[last].instruction)
      if stack[last].lowest == Int.max {
        position = stack[last].position
        stack.removeLast()
      } else {
        position = UTF8Scan.start(before: stack[last].position, of: text)
        if position > stack[last].lowest {
          stack[last].position = position
        } else {
          stack.removeLast()
        }
      }
    }
  }

  /// Matches a part of the pattern, whose steps count for the whole.
  @_lifetime(self: copy self)
  private mutating func inner(_ first: Int, _ position: Int, _ steps: inout Int) -> Int? {
    remainingSteps -= steps
    steps = 0
    return match(first, position)
  }

  /// Where the scalars before a position start; nil when there are too few.
  private func start(of count: Int, before position: Int) -> Int? {
    var start = position
    for _ in 0..<count {
      guard start > range.lowerBound else { return nil }
      start = UTF8Scan.start(before: start, of: text)
    }
    return start
  }

  private func holds(_ anchor: PatternNode.Anchor, _ position: Int) -> Bool {
    let isEnd = position == range.upperBound
    let isStart = position == range.lowerBound
    switch anchor {
    case .textStart: return isStart
    case .textEnd: return isEnd
    case .textEndOrLastNewline:
      return isEnd || position + 1 == range.upperBound && text[position] == 0x0A
    case .lineStart: return isStart || !isEnd && text[position - 1] == 0x0A
    case .lineEnd: return isEnd ? isStart || text[position - 1] != 0x0A : text[position] == 0x0A
    case .wordBoundary: return isWord(before: position) != isWord(at: position)
    case .noWordBoundary: return isWord(before: position) == isWord(at: position)
    }
  }

  private func isWord(at position: Int) -> Bool {
    position < range.upperBound
      && isIn(set: Int32(program.wordSet), UTF8Scan.scalar(at: position, of: text).value)
  }

  private func isWord(before position: Int) -> Bool {
    position > range.lowerBound && isWord(at: UTF8Scan.start(before: position, of: text))
  }
}
