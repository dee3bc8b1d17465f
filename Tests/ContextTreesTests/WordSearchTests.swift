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
}
