/// The metrics of LongBench, answer by answer.
///
/// Source: arXiv 2308.14508, section 4, and the program that computes its table.
enum LongBenchMetrics {
  /// - Parameters:
  ///   - classes: the names of all classes, for classification.
  ///   - words: how Chinese is cut into words.
  static func score(
    _ metric: LongBench.Metric, _ prediction: String, _ answer: String, classes: [String], words: WordSegmenter
  ) -> Double {
    switch metric {
    case .questionF1: tokenF1(AnswerWords.english(prediction), AnswerWords.english(answer))
    case .chineseF1: tokenF1(chineseWords(prediction, words), chineseWords(answer, words))
    case .rouge: Rouge.summaryLevel(prediction, answer)
    case .chineseRouge:
      Rouge.summaryLevel(
        words.words(prediction).joined(separator: " "), words.words(answer).joined(separator: " "))
    case .classification: classification(prediction, answer, classes: classes)
    case .retrieval, .chineseRetrieval:
      paragraph(answer, metric).map { shareOfNumbers(prediction, equal: $0) } ?? 0
    case .count: shareOfNumbers(prediction, equal: Array(answer.unicodeScalars))
    case .code: Double(SequenceSimilarity.percent(firstCodeLine(prediction), answer)) / 100
    }
  }

  /// The first line that is not empty.
  static func firstLine(_ text: String) -> String {
    text.unicodeScalars.drop { $0 == "\n" }.split(separator: "\n", maxSplits: 1).first.map { String($0) } ?? ""
  }

  private static func chineseWords(_ text: String, _ words: WordSegmenter) -> [[Unicode.Scalar]] {
    words.words(text).map(AnswerWords.chinese).filter { !$0.isEmpty }
  }

  /// The share of the class names in an answer that is the right one's. Names that are part of the right one's do not
  /// count, unless they follow another such name: the original removes them from the list that it walks along.
  private static func classification(_ prediction: String, _ answer: String, classes: [String]) -> Double {
    var found = classes.filter { TextRules.contains(prediction, $0) }
    var index = 0
    while index < found.count {
      let name = found[index]
      if TextRules.contains(answer, name), name != answer, let first = found.firstIndex(of: name) {
        found.remove(at: first)
      }
      index += 1
    }
    return found.contains(answer) ? 1 / Double(found.count) : 0
  }

  /// The number of the paragraph that an answer names.
  static func paragraph(_ answer: String, _ metric: LongBench.Metric) -> [Unicode.Scalar]? {
    let scalars = Array(answer.unicodeScalars)
    let mark = metric == .retrieval ? "Paragraph " : "段落"
    var start = 0
    while let found = TextRules.range(of: mark, in: Array(scalars[start...])) {
      let digits = scalars[(start + found.upperBound)...].prefix(while: TextRules.isDigit)
      if !digits.isEmpty { return Array(digits) }
      start += found.upperBound
    }
    return nil
  }

  private static func shareOfNumbers(_ prediction: String, equal number: [Unicode.Scalar]) -> Double {
    let numbers = TextRules.runs(prediction, of: TextRules.isDigit)
    return numbers.isEmpty ? 0 : Double(numbers.count { $0 == number }) / Double(numbers.count)
  }

  /// The first line without a mark of comments or of formatting; empty when every line has one.
  private static func firstCodeLine(_ prediction: String) -> String {
    let lines = prediction.unicodeScalars.drop { $0 == "\n" }
      .split(separator: "\n", omittingEmptySubsequences: false).map { String($0) }
    return lines.first { line in !["`", "#", "//"].contains { TextRules.contains(line, $0) } } ?? ""
  }
}
