import Glibc

/// Cuts Chinese into words, as jieba 0.42 does: of all ways to cut a stretch into words of a dictionary, the most probable
/// one; in what it leaves single, a hidden Markov model finds words that the dictionary lacks. Without a dictionary every
/// character is a word of its own.
///
/// Source: the package `jieba`, whose files can be given.
public struct WordSegmenter: Sendable {
  /// Words and their prefixes, which have a frequency of 0.
  private let frequencies: [[Unicode.Scalar]: Int]
  private let total: Int
  private let boundaries: WordBoundaryModel?

  public var hasDictionary: Bool { !frequencies.isEmpty }
  /// Whether words are found that the dictionary lacks, as LongBench's program does.
  public var hasBoundaryModel: Bool { boundaries != nil }

  /// No dictionary.
  public static let characters = WordSegmenter()

  private init() {
    frequencies = [:]
    total = 1
    boundaries = nil
  }

  /// The texts of jieba's `finalseg/prob_start.py`, `prob_trans.py` and `prob_emit.py`.
  public struct BoundaryProbabilities: Sendable {
    public var start: String
    public var transitions: String
    public var emissions: String

    public init(start: String, transitions: String, emissions: String) {
      self.start = start
      self.transitions = transitions
      self.emissions = emissions
    }
  }

  /// - Parameters:
  ///   - dictionary: lines of a word, its frequency and, perhaps, more, with spaces between.
  ///   - boundaries: the hidden Markov model; nil leaves single characters single.
  /// - Throws: `SampleFault` naming the line or the file.
  public init(dictionary: String, boundaries: BoundaryProbabilities? = nil) throws(SampleFault) {
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
    var model: WordBoundaryModel?
    if let boundaries {
      model = try WordBoundaryModel(
        start: boundaries.start, transitions: boundaries.transitions, emissions: boundaries.emissions)
    }
    self.boundaries = model
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

  private static func isChinese(_ scalar: Unicode.Scalar) -> Bool { (0x4E00...0x9FD5).contains(scalar.value) }

  private static func isInStretch(_ scalar: Unicode.Scalar) -> Bool {
    isChinese(scalar) || isLetterOrDigit(scalar) || "+#&._%-".unicodeScalars.contains(scalar)
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
    var singles = 0
    var start = 0
    while start < stretch.count {
      let end = routes[start].end
      if end == start + 1 {
        singles += 1
      } else {
        words += joined(stretch[start - singles..<start])
        singles = 0
        words.append(TextRules.string(stretch[start..<end]))
      }
      start = end
    }
    return words + joined(stretch[(stretch.count - singles)...])
  }

  /// Characters that the dictionary leaves single, joined: letters and digits that follow one another, and what the model
  /// of boundaries takes for words.
  private func joined(_ singles: ArraySlice<Unicode.Scalar>) -> [String] {
    guard let boundaries else {
      return Self.runs(singles) { Self.isLetterOrDigit($0) && Self.isLetterOrDigit($1) }.map(TextRules.string)
    }
    if singles.count < 2 || frequencies[Array(singles), default: 0] > 0 { return singles.map { String($0) } }
    return Self.runs(singles) { Self.isChinese($0) == Self.isChinese($1) }.flatMap { run in
      run.first.map(Self.isChinese) == true ? boundaries.words(run) : Self.numbersApart(run)
    }
  }

  /// What is not Chinese: letters and digits, with a fraction and a percent sign, apart from marks.
  private static func numbersApart(_ run: ArraySlice<Unicode.Scalar>) -> [String] {
    var words: [String] = []
    var rest = run
    while let first = rest.first {
      var length = rest.prefix { isLetterOrDigit($0) == isLetterOrDigit(first) }.count
      if isLetterOrDigit(first) {
        let after = rest.dropFirst(length)
        let fraction = after.dropFirst().prefix { ("0"..."9").contains($0) }.count
        if after.first == ".", fraction > 0 { length += 1 + fraction }
        if rest.dropFirst(length).first == "%" { length += 1 }
      }
      words.append(TextRules.string(rest.prefix(length)))
      rest = rest.dropFirst(length)
    }
    return words
  }

  /// Cut where two neighbours do not belong together.
  private static func runs(
    _ scalars: ArraySlice<Unicode.Scalar>, _ belong: (Unicode.Scalar, Unicode.Scalar) -> Bool
  ) -> [ArraySlice<Unicode.Scalar>] {
    var runs: [ArraySlice<Unicode.Scalar>] = []
    var start = scalars.startIndex
    for index in scalars.indices.dropFirst() where !belong(scalars[index - 1], scalars[index]) {
      runs.append(scalars[start..<index])
      start = index
    }
    return scalars.isEmpty ? [] : runs + [scalars[start...]]
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
