/// The scores of InfiniteBench, answer by answer, with the original's rules to the letter.
///
/// Source: arXiv 2402.13718, appendix, and the program that computes its table.
enum InfiniteBenchScores {
  /// - Parameter labels: not empty; numbers where the task is about numbers; for options the text, then the letter.
  static func score(
    _ task: InfiniteBench.Task, _ prediction: String, _ labels: [InfiniteBench.LabelValue]
  ) -> Double {
    let first = labels[0]
    let texts = labels.map(\.text)
    switch task {
    case .passkey, .numberString: return isEqual(firstNumber(prediction), first.text)
    case .keyValue: return value(words(prediction).contains(Array(first.text.unicodeScalars)))
    case .dialogue:
      let names = words(TextRules.trimmed(prediction)).map { Array(TextRules.string($0).uppercased().unicodeScalars) }
      return value(names.contains(Array(first.text.unicodeScalars)))
    case .bookSummary: return texts.map { Rouge.lineLevel(prediction, $0) }.max() ?? 0
    case .bookQuestion:
      return texts.map { tokenF1(AnswerWords.english(prediction), AnswerWords.english($0)) }.max() ?? 0
    case .chineseBookQuestion:
      return texts.map { tokenF1(AnswerWords.chinese(prediction), AnswerWords.chinese($0)) }.max() ?? 0
    case .bookChoice: return value(choosesRight(prediction, texts))
    case .codeDebug: return value(findsFunction(prediction, name: texts[0], letter: texts[1]))
    case .codeRun: return value(lastInteger(prediction).map { isEqual($0, first) } ?? false)
    case .mathFind: return value(findsNumber(prediction, first))
    case .mathCalculation: return correctPrefix(prediction, labels)
    }
  }

  private static func value(_ isRight: Bool) -> Double { isRight ? 1 : 0 }

  private static func isEqual(_ number: [Unicode.Scalar], _ text: String) -> Double {
    value(number.elementsEqual(text.unicodeScalars))
  }

  private static func isEqual(_ integer: Int, _ label: InfiniteBench.LabelValue) -> Bool {
    switch label {
    case .integer(let value): integer == value
    case .number(let value): Double(integer) == value
    case .text: false
    }
  }

  private static func isDigit(_ scalar: Unicode.Scalar) -> Bool { ("0"..."9").contains(scalar) }

  /// The first run of digits; empty without one.
  private static func firstNumber(_ text: String) -> [Unicode.Scalar] { TextRules.runs(text, of: isDigit).first ?? [] }

  private static func words(_ prediction: String) -> [[Unicode.Scalar]] {
    TextRules.words(TextRules.blanking(Set("\n:\"'.,?!{}".unicodeScalars), in: prediction))
  }

  private static func lastInteger(_ prediction: String) -> Int? {
    let words = TextRules.words(TextRules.blanking(Set("\n.`'\":".unicodeScalars), in: prediction))
    // Underscores may stand between digits.
    guard let spelling = words.last.map(TextRules.string), !spelling.hasPrefix("_"), !spelling.hasSuffix("_"),
      !spelling.contains("__")
    else { return nil }
    return Int(spelling.filter { $0 != "_" })
  }

  /// The first number, with a fraction or without. One with a fraction is wrong where an integer is right.
  private static func findsNumber(_ prediction: String, _ label: InfiniteBench.LabelValue) -> Bool {
    guard let match = prediction.firstMatch(of: /[0-9]+\.[0-9]+|[0-9]+/) else { return false }
    let spelling = String(match.output)
    switch label {
    case .integer(let value): return Int(spelling) == value
    case .number(let value): return Double(spelling) == value
    case .text: return false
    }
  }

  /// The share of the right values before the first wrong one. Signs are not read.
  private static func correctPrefix(_ prediction: String, _ labels: [InfiniteBench.LabelValue]) -> Double {
    let numbers = TextRules.runs(prediction, of: isDigit).map { Int(TextRules.string($0)) }
    let correct = zip(labels, numbers).prefix { label, number in number.map { isEqual($0, label) } ?? false }.count
    return Double(correct) / Double(labels.count)
  }

  /// What follows the first of some phrases that an answer has, less the character after it; nil without any, empty
  /// where the answer ends with it.
  private static func after(_ phrases: [String], in scalars: [Unicode.Scalar]) -> [Unicode.Scalar]? {
    for phrase in phrases {
      guard let found = TextRules.range(of: phrase, in: scalars) else { continue }
      return Array(scalars[found.upperBound...].dropFirst())
    }
    return nil
  }

  /// The text with single spaces where there were several.
  private static func squeezed(_ text: String) -> [Unicode.Scalar] {
    var result: [Unicode.Scalar] = []
    for scalar in text.unicodeScalars where scalar != " " || result.last != " " { result.append(scalar) }
    return result
  }

  /// A first letter of A to D decides; else an answer that is the right text or letter; else what follows a phrase
  /// such as "answer is"; else the first word that is a part of "ABCD" (so "AB" decides, wrongly).
  private static func choosesRight(_ prediction: String, _ labels: [String]) -> Bool {
    let trimmed = TextRules.trimmed(prediction)
    let isLabel = { (text: [Unicode.Scalar]) in labels.contains { text.elementsEqual($0.unicodeScalars) } }
    guard let first = trimmed.unicodeScalars.first else { return false }
    if ("A"..."D").contains(first) { return isLabel([first]) }
    if isLabel(Array(trimmed.unicodeScalars)) { return true }
    let plain = squeezed(TextRules.blanking(Set("\n\"'.,?!{}".unicodeScalars), in: trimmed))
    if let rest = after(["answer is:", "answer:", "answer is", "option is"], in: plain) {
      return !rest.isEmpty && labels.contains { rest.starts(with: $0.unicodeScalars) }
    }
    let word = TextRules.words(TextRules.string(plain)).first { TextRules.contains("ABCD", TextRules.string($0)) }
    return word.map(isLabel) ?? false
  }

  /// The letter with a full stop or colon at the start; else letter or name after a phrase such as "answer is:".
  private static func findsFunction(_ prediction: String, name: String, letter: String) -> Bool {
    let trimmed = TextRules.trimmed(prediction)
    if [".", ":"].contains(where: { trimmed.unicodeScalars.starts(with: (letter + $0).unicodeScalars) }) {
      return true
    }
    var plain = TextRules.blanking(Set("\n`'\"-*".unicodeScalars), in: trimmed)
    for word in ["Option", "option"] {
      plain = plain.split(separator: word, omittingEmptySubsequences: false).joined(separator: " ")
    }
    guard let rest = after(["answer is:", "is:", "answer:", "correct option is:"], in: squeezed(plain)), !rest.isEmpty
    else { return false }
    return rest.starts(with: letter.unicodeScalars) || rest.starts(with: name.unicodeScalars)
  }
}
