/// A statement that is hidden, the question about it, the words that the answer follows, and the answer.
struct HiddenFact {
  var statement: String
  var question: String
  var lead: String
  var answer: String
  /// What makes an answer right; nil: its first number or word is `answer`.
  var rule: AnswerRule?
  /// The text before the answer, in a statement that may have the answer's words elsewhere.
  var mark = ""

  /// Source: `Tools/train/tasks.py`.
  static let templates: [HiddenFact] = [
    HiddenFact(
      statement: "The special magic number for {key} is: {value}.",
      question: "What is the special magic number for {key}?", lead: "The special magic number for {key} is:",
      answer: "{value}"),
    HiddenFact(
      statement: "The number of {key} is {value}.", question: "What is the number of {key}?",
      lead: "The number of {key} is", answer: "{value}"),
    HiddenFact(
      statement: "Remember that {key} has the number {value}.", question: "Which number has {key}?",
      lead: "{key} has the number", answer: "{value}"),
    HiddenFact(
      statement: "{name} keeps the {key} under the number {value}.", question: "Under which number is the {key} kept?",
      lead: "The {key} is kept under the number", answer: "{value}"),
    HiddenFact(
      statement: "The secret word of {name} is {word}.", question: "What is the secret word of {name}?",
      lead: "The secret word of {name} is", answer: "{word}"),
    HiddenFact(
      statement: "{name} left the {key} with the {word}.", question: "With what did {name} leave the {key}?",
      lead: "{name} left the {key} with the", answer: "{word}"),
  ]

  /// Source: `Tools/train/tasks.py`.
  static let passkeys: [HiddenFact] = [
    HiddenFact(
      statement: "The pass key is {value}. Remember it. {value} is the pass key.", question: "What is the pass key?",
      lead: "The pass key is", answer: "{value}"),
    HiddenFact(
      statement: "The pass key is {value}. Remember it.", question: "What is the pass key?", lead: "The pass key is",
      answer: "{value}"),
  ]

  /// Source: the repository gkamradt/LLMTest_NeedleInAHaystack. It is scored by another model; here by words.
  static let publishedNeedle = HiddenFact(
    statement: "The best thing to do in San Francisco is eat a sandwich and sit in Dolores Park on a sunny day.",
    question: "What is the best thing to do in San Francisco?", lead: "The best thing to do in San Francisco is",
    answer: "eat a sandwich and sit in Dolores Park on a sunny day",
    rule: .words(["sandwich", "Dolores Park", "sunny day"]))

  /// Source: as `publishedNeedle`.
  static let publishedNeedles = ["Figs", "Prosciutto", "Goat cheese"].map { ingredient in
    HiddenFact(
      statement: "\(ingredient) is one of the secret ingredients needed to build the perfect pizza.",
      question: "What are the secret ingredients needed to build the perfect pizza?",
      lead: "The secret ingredients are",
      answer: ingredient, rule: .words(["figs", "prosciutto", "goat cheese"]))
  }

  func filled(_ values: [String: String]) -> HiddenFact {
    func fill(_ text: String) -> String {
      values.reduce(text) { text, value in
        text.split(separator: "{\(value.key)}", omittingEmptySubsequences: false).joined(separator: value.value)
      }
    }
    return HiddenFact(
      statement: fill(statement), question: fill(question), lead: fill(lead), answer: fill(answer), rule: rule,
      mark: mark)
  }

  var answerRule: AnswerRule {
    rule ?? (answer.unicodeScalars.allSatisfy(\.isDigit) ? .number(answer) : .word(answer))
  }
}
