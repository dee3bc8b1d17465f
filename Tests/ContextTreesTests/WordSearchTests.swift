import Testing

@testable import ContextTrees

@Suite struct WordSearchTests {
  @Test(arguments: [
    ("The Hens' eggs", "the hen egg"), ("İstanbul 1864", "i̇stanbul 1864"), ("Straße, glass", "straße glass"),
    ("gas", "gas"), ("王さん", "王 さ ん"), ("", ""), ("a_b-c", "a b c"),
  ])
  func wordsAreFolded(_ text: String, _ words: String) {
    #expect(WordCounts.hashes(of: text) == words.split(separator: " ").map { Self.hash(String($0)) })
  }

  /// FNV-1a, whose published value for "foobar" is 0xbf9cf968.
  private static func hash(_ word: String) -> UInt32 {
    word.utf8.reduce(0x811C_9DC5) { ($0 ^ UInt32($1)) &* 0x0100_0193 }
  }

  @Test func hashesArePublishedOnes() { #expect(WordCounts.hashes(of: "foobar") == [0xBF9C_F968]) }

  /// The same scores as over the words themselves.
  @Test func scoresAreThoseOfBM25() {
    let texts = [
      "the hen ate corn", "a fox ate the hen and the egg", "an owl hid in the barn, the old barn", "egg egg",
    ]
    let question = "Which fox ate eggs in the barn, the barn?"
    var numbers: [UInt32: Int32] = [:]
    func tokens(_ text: String) -> [Int32] {
      WordCounts.hashes(of: text).map { hash in
        let number = numbers[hash] ?? Int32(numbers.count)
        numbers[hash] = number
        return number
      }
    }
    let parts = texts.map { tokens($0)[...] }
    let scorer = BM25Scorer(parts: parts)
    let expected = parts.map { scorer.score(of: $0, for: tokens(question)) }
    #expect(WordSearch(texts.map(WordCounts.init(of:))).scores(question) == expected)
    #expect(WordSearch([]).scores(question) == [])
  }

  private static let texts = [
    "the hen ate corn", "rain rain", "the hen of the widow was called Pecky", "a goat", "snow",
    "the goat was born in Ely",
    "the widow had a goat",
  ]

  private func choice(_ question: String, atMost count: Int = 4) -> [Int] {
    WordSearch(Self.texts.map(WordCounts.init(of:))).choice(question, atMost: count).map(\.text)
  }

  /// A question about one thing has one text, a question about two has two, and the better one comes first.
  @Test func chosenTextsHaveTheWordsTogether() {
    #expect(choice("What was the hen of the widow called?") == [2])
    #expect(choice("What was the hen of the widow called, and where was the goat born?") == [2, 5])
    #expect(choice("What was the hen of the widow called, and where was the goat born?", atMost: 1) == [2])
    #expect(choice("Where was the goat born?", atMost: 0) == [])
    // The first of equals; and one text even where no word is shared.
    #expect(choice("rain or snow").first == 1)
    #expect(choice("zebra") == [0])
    #expect(WordSearch([]).choice("goat", atMost: 3).isEmpty)
  }

  @Test func chosenTextsKeepTheirScores() {
    let search = WordSearch(Self.texts.map(WordCounts.init(of:)))
    let question = "What was the hen of the widow called, and where was the goat born?"
    let scores = search.scores(question)
    let chosen = search.choice(question, atMost: 7, share: 0.01)
    #expect(chosen.count > 1 && chosen.allSatisfy { $0.score == scores[$0.text] })
    #expect(chosen.first?.score == scores.max())
    #expect(Set(chosen.map(\.text)).count == chosen.count)
  }
}
