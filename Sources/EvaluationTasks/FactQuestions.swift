import SeededRandom
public import Tokenization

/// A text with an invented fact in it, and a question about the fact in plain words.
public struct FactSample: Sendable {
  /// Tokens of the text; of two for a question about two.
  public var texts: [[Int32]]
  public var question: String
  /// All must stand in a right answer.
  public var values: [String]
  /// Where the statements stand: the first and the last in the first and the last text.
  public var statementRanges: [Range<Int>]
  /// The first fact's, for tables.
  public var kind: String

  /// The number of the text in which a statement stands.
  public func text(ofStatement number: Int) -> Int { min(number, texts.count - 1) }

  /// Whether an answer has every value, letter case aside.
  public func isRight(_ answer: String) -> Bool {
    let answer = FactSample.folded(answer)
    return values.allSatisfy { value in
      let value = FactSample.folded(value)
      // As whole words: 12 is not in 612.
      return answer.indices.contains { start in
        answer[start...].starts(with: value) && (start == 0 || !answer[start - 1].isAlphanumeric)
          && (start + value.count == answer.count || !answer[start + value.count].isAlphanumeric)
      }
    }
  }

  private static func folded(_ text: String) -> [Unicode.Scalar] { Array(text.lowercased().unicodeScalars) }
}

/// What a sample of `FactSampleMaker` asks for.
public enum FactQuestion: String, Sendable, CaseIterable {
  /// One fact in one text.
  case one
  /// A fact in each of two texts, one question about both.
  case two
  /// The same samples, with the second text before the first.
  case swapped
  /// A fact that is stated, and later changed: the second value is right.
  case changed
  /// A fact that is not there: none of the values of its kind may be the answer.
  case absent
}

/// Makes samples of facts in novels for models that follow instructions. A sample is a function of the seed and the
/// arguments.
///
/// A sentence with an invented name and an invented value is put after the end of a sentence, at a random place of an
/// excerpt of a given number of tokens.
public struct FactSampleMaker: Sendable {
  private let tokenizer: Tokenizer
  private let haystack: Haystack
  private let seed: UInt64

  public init(tokenizer: Tokenizer, haystack: Haystack, seed: UInt64) {
    self.tokenizer = tokenizer
    self.haystack = haystack
    self.seed = seed
  }

  private static let titles = ["Captain", "Miss", "Doctor", "Colonel", "Mrs.", "Professor", "Father", "Lady"]
  private static let surnames = [
    "Ellis", "Thorncastle", "Vane", "Pemberly", "Okoro", "Quill", "Harrowgate", "Lindqvist", "Marchbanks", "Ferreira",
    "Tolliver", "Ashdown", "Novak", "Brambleby", "Sorensen", "Drinkwater", "Castellan", "Whitlock", "Rasmussen", "Ives",
  ]

  /// - Parameters:
  ///   - length: tokens of all texts together.
  ///   - number: the sample's, among those of the same kind.
  /// - Throws: `SampleFault` when the texts are too short.
  public func sample(_ question: FactQuestion, length: Int, number: Int) throws(SampleFault) -> FactSample {
    // Both orders of two texts have the same samples.
    let name = question == .swapped ? FactQuestion.two.rawValue : question.rawValue
    var random = SplitMix64(seed: seed, name: "facts/\(name)/\(length)/\(number)")
    var kinds = FactKind.all.shuffled(using: &random)
    var surnames = Self.surnames.shuffled(using: &random)
    func next() -> Fact {
      let kind = kinds.removeLast()
      let name = "\(Self.titles[random.next(below: Self.titles.count)]) \(surnames.removeLast())"
      return Fact(kind: kind, name: name, values: kind.values.shuffled(using: &random))
    }
    let fact = next()
    func sample(_ statements: [String], right: String) throws(SampleFault) -> FactSample {
      let (text, ranges) = try hiding(statements, length: length, &random)
      return FactSample(
        texts: [text], question: "\(fact.question) Answer in a few words.", values: [right], statementRanges: ranges,
        kind: fact.kind.label)
    }
    switch question {
    case .one: return try sample([fact.statement], right: fact.values[0])
    case .absent:
      // Another person's fact of the kind is there.
      let other = Fact(kind: fact.kind, name: "\(Self.titles[0]) \(surnames.removeLast())", values: fact.values)
      return try sample([other.statement], right: fact.values[0])
    case .changed: return try sample([fact.statement, fact.change], right: fact.values[1])
    case .two, .swapped:
      let second = next()
      let one = try hiding([fact.statement], length: length / 2, &random)
      let other = try hiding([second.statement], length: length - length / 2, &random)
      let parts = question == .two ? [one, other] : [other, one]
      return FactSample(
        texts: parts.map(\.text),
        question: "\(fact.question) And \(lowercasingFirst(second.question)) Answer in a few words.",
        values: [fact.values[0], second.values[0]], statementRanges: parts.flatMap(\.ranges), kind: fact.kind.label)
    }
  }

  private func lowercasingFirst(_ text: String) -> String { text.prefix(1).lowercased() + text.dropFirst() }

  /// A stretch of a text with statements after ends of its sentences, in their order.
  private func hiding(
    _ statements: [String], length: Int, _ random: inout SplitMix64
  ) throws(SampleFault) -> (text: [Int32], ranges: [Range<Int>]) {
    let encoded = statements.map { tokenizer.encodeContinuation(" " + $0) }
    let space = length - encoded.reduce(0) { $0 + $1.count }
    guard space > 0 else { throw SampleFault("context", "\(length) tokens are too few for the fact") }
    let text = haystack.stretch(space, &random)
    let places = statements.map { _ in sentenceEnd(text, random.next(below: space + 1)) }.sorted()
    var result: [Int32] = []
    var ranges: [Range<Int>] = []
    var done = 0
    for (place, tokens) in zip(places, encoded) {
      result += text[done..<place]
      ranges.append(result.count..<result.count + tokens.count)
      result += tokens
      done = place
    }
    return (result + text[done...], ranges)
  }

  /// The first place from a token on, around the end if need be, that follows a full stop.
  private func sentenceEnd(_ text: [Int32], _ start: Int) -> Int {
    for offset in 0..<text.count {
      let place = (start + offset) % text.count
      guard place > 0 else { continue }
      if tokenizer.decode(text[place - 1..<place]).last == "." { return place }
    }
    return start
  }
}
