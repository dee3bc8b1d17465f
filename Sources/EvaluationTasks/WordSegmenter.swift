import Glibc

/// Cuts Chinese into words, as jieba 0.42 does without its hidden Markov model: of all ways to cut a stretch into words
/// of a dictionary, the most probable one. Without a dictionary every character is a word of its own.
///
/// LongBench cuts with the hidden Markov model, which joins characters to words that the dictionary lacks.
/// Source: the package `jieba`, whose dictionary (`dict.txt`) can be given.
public struct WordSegmenter: Sendable {
  /// Words and their prefixes, which have a frequency of 0.
  private let frequencies: [[Unicode.Scalar]: Int]
  private let total: Int
  public let hasDictionary: Bool

  /// No dictionary.
  public static let characters = WordSegmenter()

  private init() {
    frequencies = [:]
    total = 1
    hasDictionary = false
  }

  /// - Parameter dictionary: lines of a word, its frequency and, perhaps, more, with spaces between.
  /// - Throws: `SampleFault` naming the line.
  public init(dictionary: String) throws(SampleFault) {
    var frequencies: [[Unicode.Scalar]: Int] = [:]
    var total = 0
    for (number, line) in dictionary.unicodeScalars.split(separator: "\n", omittingEmptySubsequences: false)
      .enumerated()
    where !line.allSatisfy(TextRules.isSpace) {
      let fields = TextRules.words(String(line))
      guard fields.count >= 2, let frequency = Int(TextRules.string(fields[1])), (0...1 << 40).contains(frequency),
        fields[0].count <= 64
      else { throw SampleFault("line \(number + 1)", "is no word with a frequency") }
      frequencies[fields[0]] = frequency
      total += frequency
      for length in 1..<max(fields[0].count, 1) { frequencies[Array(fields[0][..<length]), default: 0] += 0 }
    }
    guard total > 0 else { throw SampleFault("", "has no words") }
    self.frequencies = frequencies
    self.total = total
    hasDictionary = true
  }

  /// All of a text, word by word; blanks and marks are words, too.
  public func words(_ text: String) -> [String] {
    var words: [String] = []
    var stretch: [Unicode.Scalar] = []
    func close() {
      if !stretch.isEmpty { words += cut(stretch) }
      stretch = []
    }
    let scalars = Array(text.unicodeScalars)
    for (index, scalar) in scalars.enumerated() {
      if Self.isInStretch(scalar) {
        stretch.append(scalar)
      } else {
        close()
        // A carriage return and its line feed are one blank.
        if scalar == "\n", index > 0, scalars[index - 1] == "\r" {
          words[words.count - 1] += "\n"
        } else {
          words.append(String(scalar))
        }
      }
    }
    close()
    return words
  }

  private static func isInStretch(_ scalar: Unicode.Scalar) -> Bool {
    (0x4E00...0x9FD5).contains(scalar.value) || isLetterOrDigit(scalar) || "+#&._%-".unicodeScalars.contains(scalar)
  }

  private static func isLetterOrDigit(_ scalar: Unicode.Scalar) -> Bool {
    scalar.isASCII && TextRules.isAlphanumeric(scalar)
  }

  private func cut(_ stretch: [Unicode.Scalar]) -> [String] {
    // From the end: the best probability of the rest, and where its first word ends. Of equals the longer word.
    var routes = [(probability: Double, end: Int)](repeating: (0, 0), count: stretch.count + 1)
    let logTotal = log(Double(total))
    for start in stretch.indices.reversed() {
      var best = (probability: -Double.infinity, end: start + 1)
      for end in wordEnds(from: start, in: stretch) {
        let frequency = frequencies[Array(stretch[start..<end])].flatMap { $0 > 0 ? $0 : nil } ?? 1
        let probability = log(Double(frequency)) - logTotal + routes[end].probability
        if probability >= best.probability { best = (probability, end) }
      }
      routes[start] = best
    }
    var words: [String] = []
    var joined = ""
    var start = 0
    while start < stretch.count {
      let end = routes[start].end
      if end == start + 1, Self.isLetterOrDigit(stretch[start]) {
        joined.unicodeScalars.append(stretch[start])
      } else {
        if !joined.isEmpty { words.append(joined) }
        joined = ""
        words.append(TextRules.string(stretch[start..<end]))
      }
      start = end
    }
    if !joined.isEmpty { words.append(joined) }
    return words
  }

  private func wordEnds(from start: Int, in stretch: [Unicode.Scalar]) -> [Int] {
    var ends: [Int] = []
    var end = start + 1
    while end <= stretch.count, let frequency = frequencies[Array(stretch[start..<end])] {
      if frequency > 0 { ends.append(end) }
      end += 1
    }
    return ends.isEmpty ? [start + 1] : ends
  }
}
