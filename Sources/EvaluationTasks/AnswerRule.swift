/// What makes an answer right.
public enum AnswerRule: Sendable, Equatable {
  /// Its first number is this one.
  case number(String)
  /// Its first word is this one.
  case word(String)
  /// It has these words, each of which counts the same; upper and lower case are the same.
  case words([String])
  /// It has one of these words.
  case anyWord([String])
  /// It continues with the right answer's tokens; those before the first wrong one count.
  case tokens

  /// Whether an answer is either right or wrong, and never partly right.
  public var isYesOrNo: Bool {
    switch self {
    case .number, .word, .anyWord: true
    case .words(let words): words.count == 1
    case .tokens: false
    }
  }

  /// The score of an answer, 0 to 1.
  /// - Parameters:
  ///   - tokens: the answer's.
  ///   - right: the right answer's.
  public func score(_ text: String, tokens: [Int32] = [], right: [Int32] = []) -> Double {
    func first(_ belongs: (Unicode.Scalar) -> Bool, is word: String) -> Double {
      let scalars = text.unicodeScalars
      return scalars.drop { !belongs($0) }.prefix(while: belongs).elementsEqual(word.unicodeScalars) ? 1 : 0
    }
    func found(_ words: [String]) -> Int {
      // Compares scalars, as strings with different scalars may be equal.
      let lower = text.lowercased().unicodeScalars
      return words.count { lower.contains($0.lowercased().unicodeScalars) }
    }
    switch self {
    case .number(let number): return first(\.isDigit, is: number)
    case .word(let word): return first(\.isAlphanumeric, is: word)
    case .words(let words): return Double(found(words)) / Double(words.count)
    case .anyWord(let words): return found(words) > 0 ? 1 : 0
    case .tokens: return Double(zip(tokens, right).prefix { $0 == $1 }.count) / Double(max(right.count, 1))
    }
  }
}

extension Unicode.Scalar {
  var isDigit: Bool { properties.generalCategory == .decimalNumber }

  var isAlphanumeric: Bool {
    switch properties.generalCategory {
    case .uppercaseLetter, .lowercaseLetter, .titlecaseLetter, .modifierLetter, .otherLetter: true
    default: properties.numericType != nil
    }
  }
}
