import ContextTrees
import Tokenization

/// Finds the chunks of documents that share rare words with a question, by BM25.
///
/// Words are runs of letters and digits in lower case, without a plural's or genitive's s; of scripts without spaces,
/// each character is one.
struct WordSearch {
  private var numbers: [String: Int32] = [:]
  private var chunks: [[Int32]] = []

  mutating func append(_ text: String) {
    chunks.append(
      Self.words(text).map { word in
        let number = numbers[word] ?? Int32(numbers.count)
        numbers[word] = number
        return number
      })
  }

  /// The score of each chunk, in their order; 0 where no word is shared.
  func scores(_ question: String) -> [Float] {
    let query = Self.words(question).compactMap { numbers[$0] }
    let parts = chunks.map { $0[...] }
    let scorer = BM25Scorer(parts: parts)
    return parts.map { scorer.score(of: $0, for: query) }
  }

  static func words(_ text: String) -> [String] {
    var words: [String] = []
    var word = ""
    func finish() {
      guard !word.isEmpty else { return }
      if word.utf8.count > 3, word.hasSuffix("s"), !word.hasSuffix("ss") { word.removeLast() }
      words.append(word)
      word = ""
    }
    for scalar in text.lowercased().unicodeScalars {
      if scalar.value >= 0x2E80, scalar.properties.isIdeographic || (0x3040...0x30FF).contains(scalar.value) {
        finish()
        words.append(String(scalar))
      } else if scalar.properties.isAlphabetic || scalar.properties.numericType != nil {
        word.unicodeScalars.append(scalar)
      } else {
        finish()
      }
    }
    finish()
    return words
  }
}
