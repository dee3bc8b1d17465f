import SeededRandom
public import Tokenization

/// A text with an invented fact in it, and a question about the fact in plain words.
public struct FactSample: Sendable {
  /// Tokens of the text; of two for a question about two.
  public var texts: [[Int32]]
  public var question: String
  /// All must stand in a right answer.
  public var values: [String]
  /// Where the statements stand in their texts.
  public var statementRanges: [Range<Int>]

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

  /// A kind of fact: `{name}` and `{value}` are filled in.
  private struct Kind {
    let statement: String
    /// Behind the first statement of a fact that changes.
    let change: String
    let question: String
    /// No two share a word.
    let values: [String]
  }

  private static let numbers = [
    "17", "23", "38", "41", "56", "64", "79", "82", "93", "108", "127", "145", "159", "166", "204", "238", "271", "316",
    "347", "389", "412", "455", "498", "523", "567", "612", "634", "671", "708", "752", "796", "823", "869", "914",
    "951",
  ]
  private static let kinds = [
    Kind(
      statement: "By the way, {name}'s lucky number is {value}, as everybody in the village knew.",
      change: "Since that day {name}'s lucky number is {value}.", question: "What is {name}'s lucky number?",
      values: numbers),
    Kind(
      statement: "It should be said that the dog of {name} was called {value}.",
      change: "Later {name} gave the dog another name: it was now called {value}.",
      question: "What is the dog of {name} called?",
      values: ["Barnaby", "Pepper", "Trixie", "Wolfram", "Nugget", "Captain", "Dulcie", "Rufus", "Marbles", "Tansy"]),
    Kind(
      statement: "Nobody had forgotten that {name} was born in {value}.",
      change: "The parish book was mended later: {name} was born in {value}.",
      question: "In which place was {name} born?",
      values: [
        "Lisbon", "Aberdeen", "Trieste", "Bergen", "Smyrna", "Dresden", "Calcutta", "Quebec", "Palermo", "Tunis",
        "Galway", "Utrecht",
      ]),
    Kind(
      statement: "In those years {name} played the {value} every evening after supper.",
      change: "In the end {name} sold the instrument, and played the {value} instead.",
      question: "Which instrument did {name} play?",
      values: ["oboe", "cello", "harp", "flute", "bassoon", "mandolin", "trumpet", "accordion", "zither", "viola"]),
    Kind(
      statement: "The front door of {name}'s house had been painted {value} that spring.",
      change: "In autumn the front door of {name}'s house was painted anew, and was {value} from then on.",
      question: "What colour is the front door of {name}'s house?",
      values: ["turquoise", "crimson", "ochre", "violet", "orange", "silver", "magenta", "emerald", "ivory", "indigo"]),
    Kind(
      statement: "People said that {name} was afraid of nothing but {value}.",
      change: "All that had changed: {name} was now afraid of nothing but {value}.",
      question: "What was {name} afraid of?",
      values: ["owls", "thunder", "mirrors", "spiders", "bridges", "clocks", "geese", "needles", "moths", "ladders"]),
    Kind(
      statement: "For every breakfast {name} asked for {value}, and for nothing else.",
      change: "In the new house {name} asked for {value} for every breakfast.",
      question: "What did {name} ask for at breakfast?",
      values: ["kippers", "porridge", "figs", "oysters", "radishes", "muffins", "herring", "walnuts", "cherries"]),
    Kind(
      statement: "The key of the cellar was kept by {name} inside a {value}.",
      change: "After the burglary {name} kept the key of the cellar inside a {value}.",
      question: "Inside what did {name} keep the key of the cellar?",
      values: ["teapot", "violin", "boot", "birdcage", "drum", "globe", "cushion", "lantern", "helmet", "barometer"]),
  ]
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
    var random = SplitMix64(seed: seed, name: "facts/\(question.rawValue)/\(length)/\(number)")
    var kinds = Self.kinds.indices.shuffled(using: &random)
    var surnames = Self.surnames.shuffled(using: &random)
    func next() -> (kind: Kind, name: String, values: [String]) {
      let kind = Self.kinds[kinds.removeLast()]
      let name = "\(Self.titles[random.next(below: Self.titles.count)]) \(surnames.removeLast())"
      return (kind, name, kind.values.shuffled(using: &random))
    }
    func fill(_ text: String, _ name: String, _ value: String) -> String {
      text.split(separator: "{name}", omittingEmptySubsequences: false).joined(separator: name)
        .split(separator: "{value}", omittingEmptySubsequences: false).joined(separator: value)
    }
    let fact = next()
    let asked = fill(fact.kind.question, fact.name, "")
    let statement = fill(fact.kind.statement, fact.name, fact.values[0])
    switch question {
    case .one:
      let (text, ranges) = try hiding([statement], length: length, &random)
      return FactSample(
        texts: [text], question: "\(asked) Answer in a few words.", values: [fact.values[0]], statementRanges: ranges)
    case .absent:
      // Another person's fact of the kind is there.
      let other = fill(fact.kind.statement, "\(Self.titles[0]) \(surnames.removeLast())", fact.values[0])
      let (text, ranges) = try hiding([other], length: length, &random)
      return FactSample(
        texts: [text], question: "\(asked) Answer in a few words.", values: [fact.values[0]], statementRanges: ranges)
    case .changed:
      let change = fill(fact.kind.change, fact.name, fact.values[1])
      let (text, ranges) = try hiding([statement, change], length: length, &random)
      return FactSample(
        texts: [text], question: "\(asked) Answer in a few words.", values: [fact.values[1]], statementRanges: ranges)
    case .two:
      let second = next()
      let (first, firstRanges) = try hiding([statement], length: length / 2, &random)
      let (other, otherRanges) = try hiding(
        [fill(second.kind.statement, second.name, second.values[0])], length: length - length / 2, &random)
      let both = "\(asked) And \(lowercasingFirst(fill(second.kind.question, second.name, ""))) Answer in a few words."
      return FactSample(
        texts: [first, other], question: both, values: [fact.values[0], second.values[0]],
        statementRanges: firstRanges + otherRanges)
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
