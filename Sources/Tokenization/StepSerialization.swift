/// A step as it is serialized: a kind, a parameter and two byte strings.
///
/// Format: Formats/tokenizer.md, "Steps".
struct StepRecord: Equatable {
  var kind: UInt32
  var parameter: UInt32 = 0
  var first: [UInt8] = []
  var second: [UInt8] = []

  /// Without its byte strings.
  static let headerByteCount = 16
}

extension TextPattern {
  fileprivate var isExpression: Bool {
    if case .expression = self { true } else { false }
  }

  fileprivate var bytes: [UInt8] {
    switch self {
    case .literal(let bytes), .expression(let bytes): bytes
    }
  }

  fileprivate init(_ bytes: [UInt8], isExpression: Bool) {
    self = isExpression ? .expression(bytes) : .literal(bytes)
  }
}

extension NormalizerStep {
  var record: StepRecord {
    switch self {
    case .form(let form): StepRecord(kind: 1, parameter: form.rawValue)
    case .lowercase: StepRecord(kind: 2)
    case .prepend(let text): StepRecord(kind: 3, first: text)
    case .replace(let pattern, let text):
      StepRecord(kind: 4, parameter: pattern.isExpression ? 1 : 0, first: pattern.bytes, second: text)
    case .strip(let left, let right): StepRecord(kind: 5, parameter: (left ? 1 : 0) | (right ? 2 : 0))
    }
  }

  /// Nil when it is none, or says more than a step of its kind can.
  init?(_ record: StepRecord) {
    switch record.kind {
    case 1:
      guard let form = UnicodeForm(rawValue: record.parameter) else { return nil }
      self = .form(form)
    case 2: self = .lowercase
    case 3: self = .prepend(record.first)
    case 4: self = .replace(TextPattern(record.first, isExpression: record.parameter == 1), with: record.second)
    case 5: self = .strip(left: record.parameter & 1 != 0, right: record.parameter & 2 != 0)
    default: return nil
    }
    guard self.record == record else { return nil }
  }
}

extension SplitStep {
  var record: StepRecord {
    switch self {
    case .words(let pattern): StepRecord(kind: 1, parameter: pattern.rawValue)
    case .split(let pattern, let behaviour, let inverts):
      StepRecord(
        kind: 2,
        parameter: behaviour.rawValue | (inverts ? 1 << 8 : 0) | (pattern.isExpression ? 1 << 9 : 0),
        first: pattern.bytes)
    case .digits(let individual): StepRecord(kind: 3, parameter: individual ? 1 : 0)
    case .punctuation(let behaviour): StepRecord(kind: 4, parameter: behaviour.rawValue)
    case .whitespace: StepRecord(kind: 5)
    case .whitespaceSplit: StepRecord(kind: 6)
    case .metaspace(let rule, let splits): StepRecord(kind: 7, parameter: rule.rawValue | (splits ? 1 << 8 : 0))
    case .byteLevel(let addsPrefixSpace, let splitsWords):
      StepRecord(kind: 8, parameter: (addsPrefixSpace ? 1 : 0) | (splitsWords ? 2 : 0))
    }
  }

  /// Nil when it is none, or says more than a step of its kind can.
  init?(_ record: StepRecord) {
    let low = record.parameter & 0xFF
    let high = record.parameter >> 8
    switch record.kind {
    case 1:
      guard let pattern = WordPattern(rawValue: record.parameter), pattern != .none else { return nil }
      self = .words(pattern)
    case 2:
      guard let behaviour = SplitBehaviour(rawValue: low) else { return nil }
      self = .split(
        TextPattern(record.first, isExpression: high & 2 != 0), behaviour, inverts: high & 1 != 0)
    case 3: self = .digits(individual: record.parameter == 1)
    case 4:
      guard let behaviour = SplitBehaviour(rawValue: record.parameter) else { return nil }
      self = .punctuation(behaviour)
    case 5: self = .whitespace
    case 6: self = .whitespaceSplit
    case 7:
      guard let rule = PrefixRule(rawValue: low), rule != .everyStretch, rule != .start else { return nil }
      self = .metaspace(rule, splits: high & 1 != 0)
    case 8: self = .byteLevel(addsPrefixSpace: low & 1 != 0, splitsWords: low & 2 != 0)
    default: return nil
    }
    guard self.record == record else { return nil }
  }
}
