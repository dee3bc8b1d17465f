/// What of an answer is compared: words without case, punctuation and articles, or Chinese characters without
/// punctuation.
///
/// Source: P. Rajpurkar et al., SQuAD, arXiv 1606.05250 (the evaluation script); its Chinese form is LongBench's.
enum AnswerWords {
  private static let articles = Set(["a", "an", "the"].map { Array($0.unicodeScalars) })
  private static let chinesePunctuation = TextRules.asciiPunctuation.union(
    """
    ！？｡。＂＃＄％＆＇（）＊＋，－／：；＜＝＞＠［＼］＾＿｀｛｜｝～｟｠｢｣､、〃》「」『』【】〔〕〖〗〘〙〚〛〜〝〞〟〰〾〿–—‘’‛“”„‟…‧﹏.
    """.unicodeScalars)

  /// The words of an answer in English.
  static func english(_ text: String) -> [[Unicode.Scalar]] {
    let plain = text.lowercased().unicodeScalars.filter { !TextRules.asciiPunctuation.contains($0) }
    // Articles go where they stand between characters that are no part of a word, even without spaces.
    var kept: [Unicode.Scalar] = []
    var word: [Unicode.Scalar] = []
    func close() {
      kept += articles.contains(word) ? [" "] : word
      word = []
    }
    for scalar in plain {
      if TextRules.isAlphanumeric(scalar) {
        word.append(scalar)
      } else {
        close()
        kept.append(scalar)
      }
    }
    close()
    return TextRules.words(TextRules.string(kept))
  }

  /// A Chinese text in lower case without punctuation and spaces.
  static func chinese(_ text: String) -> [Unicode.Scalar] {
    text.lowercased().unicodeScalars.filter { !chinesePunctuation.contains($0) && !TextRules.isSpace($0) }
  }
}

/// The harmonic mean of precision and recall over tokens that both have, each as often as in the one with fewer.
public func tokenF1<Token: Hashable>(_ prediction: [Token], _ reference: [Token]) -> Double {
  var counts: [Token: Int] = [:]
  for token in reference { counts[token, default: 0] += 1 }
  var common = 0
  for token in prediction {
    guard let count = counts[token], count > 0 else { continue }
    counts[token] = count - 1
    common += 1
  }
  guard common > 0 else { return 0 }
  let precision = Double(common) / Double(prediction.count)
  let recall = Double(common) / Double(reference.count)
  return 2 * precision * recall / (precision + recall)
}
