/// ROUGE-L in the two forms that the benchmarks use. They differ, and neither is the other's approximation.
public enum Rouge {
  /// The summary level of the package `rouge` 1.0.1, as LongBench calls it: sentences end at full stops, words are
  /// split at spaces, and words count once however often they occur.
  ///
  /// The original runs out of stack at sentences of about a thousand words, which LongBench counts as 0; here they are
  /// scored.
  /// - Returns: 0 when a text has no sentence.
  public static func summaryLevel(_ prediction: String, _ reference: String) -> Double {
    let candidates = sentences(prediction)
    let references = sentences(reference)
    guard !candidates.isEmpty, !references.isEmpty else { return 0 }
    var union: Set<[Unicode.Scalar]> = []
    for reference in references {
      for candidate in candidates {
        for (index, _) in commonSubsequence(reference, candidate, prefersFirst: false) {
          union.insert(reference[index])
        }
      }
    }
    let precision = Double(union.count) / Double(Set(candidates.joined()).count)
    let recall = Double(union.count) / Double(Set(references.joined()).count)
    return 2 * (precision * recall / (precision + recall + 1e-8))
  }

  /// A sentence of blanks alone is one of an empty word.
  private static func sentences(_ text: String) -> [[[Unicode.Scalar]]] {
    text.unicodeScalars.split(separator: ".").map { sentence in
      let words = TextRules.words(String(sentence))
      return words.isEmpty ? [[]] : words
    }
  }

  /// `rougeLsum` of the package `rouge-score` 0.1.2 without stemmer, as InfiniteBench calls it: lines are sentences,
  /// words are runs of ASCII letters and digits in lower case, and a word scores as often as both texts have it.
  public static func lineLevel(_ prediction: String, _ reference: String) -> Double {
    let candidates = lines(prediction)
    let references = lines(reference)
    let candidateCount = candidates.reduce(0) { $0 + $1.count }
    let referenceCount = references.reduce(0) { $0 + $1.count }
    guard candidateCount > 0, referenceCount > 0 else { return 0 }
    var candidateWords: [[Unicode.Scalar]: Int] = [:]
    var referenceWords: [[Unicode.Scalar]: Int] = [:]
    for word in candidates.joined() { candidateWords[word, default: 0] += 1 }
    for word in references.joined() { referenceWords[word, default: 0] += 1 }
    var hits = 0
    for reference in references {
      var union: Set<Int> = []
      for candidate in candidates {
        for (index, _) in commonSubsequence(reference, candidate, prefersFirst: true) { union.insert(index) }
      }
      for index in union {
        let word = reference[index]
        guard candidateWords[word, default: 0] > 0, referenceWords[word, default: 0] > 0 else { continue }
        hits += 1
        candidateWords[word, default: 0] -= 1
        referenceWords[word, default: 0] -= 1
      }
    }
    let recall = Double(hits) / Double(referenceCount)
    let precision = Double(hits) / Double(candidateCount)
    return precision + recall > 0 ? 2 * precision * recall / (precision + recall) : 0
  }

  private static func lines(_ text: String) -> [[[Unicode.Scalar]]] {
    text.unicodeScalars.split(separator: "\n").map { line in
      TextRules.runs(String(line).lowercased()) { $0.isASCII && TextRules.isAlphanumeric($0) }
    }
  }

  /// One of the longest common subsequences, last pair first. Which one decides the score where words repeat.
  /// - Parameter prefersFirst: whether, of equal ways back, the one that shortens the first sequence is taken.
  private static func commonSubsequence(
    _ x: [[Unicode.Scalar]], _ y: [[Unicode.Scalar]], prefersFirst: Bool
  ) -> [(Int, Int)] {
    let width = y.count + 1
    var lengths = [Int32](repeating: 0, count: (x.count + 1) * width)
    for i in x.indices {
      for j in y.indices {
        lengths[(i + 1) * width + j + 1] =
          x[i] == y[j]
          ? lengths[i * width + j] + 1 : max(lengths[i * width + j + 1], lengths[(i + 1) * width + j])
      }
    }
    var pairs: [(Int, Int)] = []
    var (i, j) = (x.count, y.count)
    while i > 0, j > 0 {
      if x[i - 1] == y[j - 1] {
        pairs.append((i - 1, j - 1))
        i -= 1
        j -= 1
        continue
      }
      let above = lengths[(i - 1) * width + j]
      let left = lengths[i * width + j - 1]
      if prefersFirst ? left <= above : above > left { i -= 1 } else { j -= 1 }
    }
    return pairs
  }
}
