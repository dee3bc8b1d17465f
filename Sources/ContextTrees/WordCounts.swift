/// How often each word stands in a text, for searching it by words.
///
/// Words are runs of letters and digits in lower case, without a plural's or genitive's s; of scripts without spaces,
/// each character is one. A word is kept as its FNV-1a hash of 32 bits, so that texts are searched without a dictionary.
/// Format: `Formats/tree-store.md`, words.
public struct WordCounts: Sendable, Hashable {
  /// Of the words, ascending.
  public let hashes: [UInt32]
  /// How often each stands there.
  public let counts: [UInt32]

  /// The words of a text.
  public init(of text: String) {
    let sorted = Self.hashes(of: text).sorted()
    var hashes: [UInt32] = []
    var counts: [UInt32] = []
    for hash in sorted {
      if hashes.last == hash {
        counts[counts.count - 1] += 1
      } else {
        hashes.append(hash)
        counts.append(1)
      }
    }
    self.hashes = hashes
    self.counts = counts
  }

  /// Words that were counted before.
  /// - Returns: nil unless the hashes ascend strictly, each with a count.
  public init?(hashes: [UInt32], counts: [UInt32]) {
    guard hashes.count == counts.count, !counts.contains(0),
      zip(hashes, hashes.dropFirst()).allSatisfy({ $0 < $1 })
    else { return nil }
    self.hashes = hashes
    self.counts = counts
  }

  /// No words.
  public static let none = WordCounts(of: "")

  /// Words of the text.
  var total: Int { counts.reduce(0) { $0 + Int($1) } }

  /// Finds some words of many texts' worth of searches: one look at the arrays for all of them.
  /// - Parameters:
  ///   - wanted: hashes.
  ///   - body: called with the number of each wanted hash that is there, and how often it stands there.
  func find(_ wanted: [UInt32], _ body: (_ number: Int, _ count: UInt32) -> Void) {
    let hashes = hashes.span
    for (number, hash) in wanted.enumerated() {
      var low = 0
      var high = hashes.count
      while low < high {
        let middle = (low + high) / 2
        if hashes[middle] < hash { low = middle + 1 } else { high = middle }
      }
      if low < hashes.count, hashes[low] == hash { body(number, counts[low]) }
    }
  }

  /// The words of a text, in their order.
  static func hashes(of text: String) -> [UInt32] {
    var hashes: [UInt32] = []
    forEachWord(of: text) { hashes.append(hash($0)) }
    return hashes
  }

  /// The different words of a text, in the order in which they come first, as they are compared.
  static func words(of text: String) -> [(hash: UInt32, text: String)] {
    var seen: Set<UInt32> = []
    var words: [(hash: UInt32, text: String)] = []
    forEachWord(of: text) { word in
      let hash = hash(word)
      if seen.insert(hash).inserted { words.append((hash, String(decoding: word, as: UTF8.self))) }
    }
    return words
  }

  private static func hash(_ word: [UInt8]) -> UInt32 {
    word.reduce(0x811C_9DC5) { ($0 ^ UInt32($1)) &* 0x0100_0193 }
  }

  private static func forEachWord(of text: String, _ body: (_ word: [UInt8]) -> Void) {
    var word: [UInt8] = []
    func finish() {
      guard !word.isEmpty else { return }
      if word.count > 3, word.last == UInt8(ascii: "s"), word[word.count - 2] != UInt8(ascii: "s") { word.removeLast() }
      body(word)
      word.removeAll(keepingCapacity: true)
    }
    for scalar in text.unicodeScalars {
      switch scalar.value {
      case 0x30...0x39, 0x61...0x7A: word.append(UInt8(scalar.value))
      case 0x41...0x5A: word.append(UInt8(scalar.value) + 0x20)
      case ..<0x80: finish()
      default:
        let properties = scalar.properties
        if scalar.value >= 0x2E80, properties.isIdeographic || (0x3040...0x30FF).contains(scalar.value) {
          finish()
          word.append(contentsOf: String(scalar).utf8)
          finish()
        } else if properties.isAlphabetic || properties.numericType != nil {
          word.append(contentsOf: properties.lowercaseMapping.utf8)
        } else {
          finish()
        }
      }
    }
    finish()
  }
}

/// A word of a question that a text has.
public struct WordMatch: Sendable, Hashable {
  /// In the form in which words are compared: in lower case, without a plural's s.
  public let word: String
  /// How often the text has it.
  public let count: Int
  /// What it gives to the text's score.
  public let score: Float
}

/// Scores texts by the words that they share with a question: the rarer a word is among the texts, the more it counts.
///
/// Okapi BM25 with k1 1.5 and b 0.75, as for trees.
public struct WordSearch: Sendable {
  private let texts: [WordCounts]
  private let meanCount: Double

  /// - Parameter texts: that are compared with each other.
  public init(_ texts: [WordCounts]) {
    self.texts = texts
    meanCount = max(Double(texts.reduce(0) { $0 + $1.total }) / max(Double(texts.count), 1), 1)
  }

  /// A word of a question, the texts that have it, and what it gives to their scores.
  private struct Part {
    let word: String
    let texts: [(text: Int, count: Double, score: Double)]

    /// What it gives to a text that has it.
    func match(_ text: Int) -> WordMatch? {
      texts.first { $0.text == text }.map { WordMatch(word: word, count: Int($0.count), score: Float($0.score)) }
    }
  }

  /// The score of each text, in their order: greater is better, and 0 means that it shares no word with the question.
  public func scores(_ question: String) -> [Float] {
    sums(parts(question)).map { Float($0) }
  }

  private func sums(_ parts: [Part]) -> [Double] {
    var sums = [Double](repeating: 0, count: texts.count)
    for part in parts { for found in part.texts { sums[found.text] += found.score } }
    return sums
  }

  /// Texts that have a question's words together: the one with the highest score, then again and again the one that scores
  /// highest for the words that none before has, as long as that is a share of the first one's score.
  ///
  /// So a question about one thing reads one text, however many it may read, and a question about two things two.
  /// - Parameters:
  ///   - count: texts, at most.
  ///   - share: of the best score, above 0.
  /// - Returns: the texts as they were chosen, with their scores for the whole question, and its words that they have;
  ///   the first of equals. At least one, unless there are no texts or none may be chosen.
  public func choice(
    _ question: String, atMost count: Int, share: Double = 0.35
  ) -> [(text: Int, score: Float, words: [WordMatch])] {
    let all = parts(question)
    var parts = all
    let scores = sums(parts).map { Float($0) }
    var chosen: [(text: Int, score: Float, words: [WordMatch])] = []
    while chosen.count < min(count, texts.count) {
      let gains = sums(parts)
      guard let best = gains.indices.max(by: { (gains[$0], $1) < (gains[$1], $0) }) else { break }
      if let first = chosen.first, gains[best] <= 0 || gains[best] < share * Double(first.score) { break }
      chosen.append((best, scores[best], all.compactMap { $0.match(best) }))
      parts.removeAll { $0.match(best) != nil }
    }
    return chosen
  }

  /// For each word of a question, once, in its order, so that sums are the same in every run: the texts that have it, and
  /// what it gives to their scores.
  private func parts(_ question: String) -> [Part] {
    let dampings = texts.map { BM25.damping(count: $0.total, mean: meanCount) }
    let words = WordCounts.words(of: question)
    let wanted = words.map(\.hash)
    var found = wanted.map { _ in [(text: Int, count: Double)]() }
    for (index, text) in texts.enumerated() {
      text.find(wanted) { found[$0].append((index, Double($1))) }
    }
    return zip(words, found).map { word, counts in
      let weight = BM25.weight(frequency: Double(counts.count), of: Double(texts.count))
      return Part(
        word: word.text,
        texts: counts.map { ($0, $1, BM25.score(weight: weight, count: $1, damping: dampings[$0])) })
    }
  }
}
