/// What a pattern says, as a tree.
indirect enum PatternNode {
  enum Greed { case greedy, lazy, possessive }

  enum Anchor: UInt8 {
    case textStart, textEnd, textEndOrLastNewline, lineStart, lineEnd, wordBoundary, noWordBoundary
  }

  case empty
  case scalar(UInt32)
  /// An index into the sets of the pattern.
  case set(Int)
  case sequence([PatternNode])
  /// Tried in order.
  case alternatives([PatternNode])
  /// - upper: nil for no limit.
  case repeated(PatternNode, lower: Int, upper: Int?, Greed)
  case anchor(Anchor)
  case ahead(PatternNode, isNegative: Bool)
  case behind(PatternNode, isNegative: Bool)
  /// Does not try again what matched.
  case atomic(PatternNode)

  /// Whether it can match without a scalar.
  var canBeEmpty: Bool {
    switch self {
    case .empty, .anchor, .ahead, .behind: true
    case .scalar, .set: false
    case .sequence(let parts): parts.allSatisfy(\.canBeEmpty)
    case .alternatives(let parts): parts.contains(where: \.canBeEmpty)
    case .repeated(let part, let lower, _, _): lower == 0 || part.canBeEmpty
    case .atomic(let part): part.canBeEmpty
    }
  }

  /// How many scalars it matches, if that is always the same number.
  var length: Int? {
    switch self {
    case .empty, .anchor, .ahead, .behind: return 0
    case .scalar, .set: return 1
    case .sequence(let parts):
      var sum = 0
      for part in parts {
        guard let length = part.length, sum < 1 << 16 else { return nil }
        sum += length
      }
      return sum
    case .alternatives(let parts):
      let lengths = parts.map(\.length)
      return lengths.allSatisfy { $0 == lengths[0] } ? lengths[0] : nil
    case .repeated(let part, let lower, let upper, _):
      guard lower == upper, let length = part.length, lower < 1 << 16 else { return nil }
      return length * lower
    case .atomic(let part): return part.length
    }
  }
}
