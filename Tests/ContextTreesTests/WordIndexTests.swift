import SeededRandom
import Testing

@testable import ContextTrees

/// An index in memory.
private struct MemoryIndex: WordIndexStorage {
  struct Malformed: Error { let fault: String }

  let content: [UInt8]

  var bytes: RawSpan { @_lifetime(borrow self) get { unsafe content.span.bytes } }

  func check(_ range: Range<Int>) throws(Malformed) {
    guard range.lowerBound >= 0, range.upperBound <= content.count else {
      Issue.record("reads \(range) of \(content.count) bytes")
      throw Malformed(fault: "out of bounds")
    }
  }

  func malformed(_ fault: String) -> Malformed { Malformed(fault: fault) }
}

private typealias Index = WordIndex<MemoryIndex>

@Suite struct WordIndexTests {
  /// Texts of words whose frequencies are very different, some of them empty.
  private static func texts(_ count: Int, seed: UInt64) -> [WordCounts] {
    var random = SplitMix64(state: seed)
    return (0..<count).map { number in
      let words = (0..<(number % 17 == 3 ? 0 : 20 + random.next(below: 30))).map { _ in
        // Squared twice, so that small numbers are common.
        let share = Double(random.next(below: 1000)) / 1000
        return "w\(Int(share * share * share * share * 400))"
      }
      return WordCounts(of: words.joined(separator: " "))
    }
  }

  private static func bytes(_ texts: [WordCounts?], numbers: [UInt32]? = nil) -> [UInt8] {
    var builder = WordIndexBuilder()
    for text in texts { builder.append(text) }
    var bytes: [UInt8] = []
    builder.write(numbers: numbers) { bytes += $0 }
    return bytes
  }

  private static func index(_ texts: [WordCounts?], numbers: [UInt32]? = nil) throws -> Index {
    try Index(MemoryIndex(content: bytes(texts, numbers: numbers)))
  }

  private static let questions = [
    "w0 w1 w2 w3", "w399 w17 w0 w250", "w5", "w5 w5 w300", "nothing", "", "w0 w380 w381 w382 w383 w1 w2 w90",
  ]

  /// The same floats, and of equal scores the first ones.
  @Test func scoresAreThoseOfTheWords() throws {
    let texts = Self.texts(700, seed: 1)
    let parts = try [0..<300, 300..<301, 301..<700].map { try Self.index(Array(texts[$0])) }
    let starts = [0, 300, 301]
    for threadCount in [1, 3] {
      let search = try WordIndexSearch(parts, threadCount: threadCount)
      for question in Self.questions {
        let scores = WordSearch(texts).scores(question)
        let expected = scores.indices.filter { scores[$0] > 0 }.sorted { (scores[$0], $1) > (scores[$1], $0) }.prefix(
          50)
        let found = try search.best(question, count: 50)
        #expect(found.map { starts[$0.index] + $0.chunk } == Array(expected))
        #expect(found.map(\.score) == expected.map { scores[$0] })
        let choice = WordSearch(texts).choice(question, atMost: 5).filter { $0.score > 0 }
        let chosen = try search.choice(question, atMost: 5)
        #expect(chosen.map { starts[$0.index] + $0.chunk } == choice.map(\.text))
        #expect(chosen.map(\.score) == choice.map(\.score))
      }
    }
  }

  /// Chunks are searched as if there were no others.
  @Test func subsetsAreSearchedAlone() throws {
    let texts = Self.texts(500, seed: 2)
    let parts = try [0..<200, 200..<500].map { try Self.index(Array(texts[$0])) }
    var subsets = [ChunkSet(chunkLimit: 200), ChunkSet(chunkLimit: 300)]
    let wanted = (0..<500).filter { $0 % 7 == 1 }
    for text in wanted { subsets[text < 200 ? 0 : 1].insert(text < 200 ? text : text - 200) }
    let search = try WordIndexSearch(parts, subsets: subsets)
    for question in Self.questions {
      let scores = WordSearch(wanted.map { texts[$0] }).scores(question)
      let expected = scores.indices.filter { scores[$0] > 0 }.sorted { (scores[$0], $1) > (scores[$1], $0) }
      let found = try search.best(question, count: 500)
      #expect(found.map { $0.index * 200 + $0.chunk } == expected.map { wanted[$0] })
      #expect(found.map(\.score) == expected.map { scores[$0] })
    }
  }

  /// More chunks than are scored at a time, words that are in all of them, far apart, and very often in one.
  @Test func manyChunksAreScoredInWindows() throws {
    let often = Array(repeating: "often", count: 300).joined(separator: " ")
    let texts = (0..<40_000).map { number in
      var words = ["all", number % 9000 == 5 ? "rare" : "x"]
      if number == 39_999 { words.append("last") }
      if number == 7 { words.append(often) }
      return WordCounts(of: words.joined(separator: " "))
    }
    let index = try Self.index(texts)
    let search = try WordIndexSearch([index], threadCount: 2)
    #expect(try search.best("rare", count: 9).map(\.chunk) == [5, 9005, 18005, 27005, 36005])
    #expect(try search.best("last all", count: 1).map(\.chunk) == [39_999])
    #expect(try search.choice("rare last", atMost: 4).map(\.chunk) == [5, 39_999])
    let scores = WordSearch(texts).scores("all rare often")
    let found = try search.best("all rare often", count: 1000)
    #expect(found.count == 1000 && found.allSatisfy { $0.score == scores[$0.chunk] })
  }

  @Test func emptyIndexesAreSearched() throws {
    let cases: [(texts: [WordCounts?], chunkCount: Int)] = [([], 0), ([nil], 0), ([WordCounts.none], 1)]
    for (texts, chunkCount) in cases {
      let index = try Self.index(texts)
      #expect(index.chunkCount == chunkCount)
      #expect(index.wordCount == 0)
      #expect(try WordIndexSearch([index]).best("word", count: 3) == [])
    }
    let none: [Index] = []
    #expect(try WordIndexSearch(none).choice("word", atMost: 3) == [])
  }

  /// A chunk that was left out is not found, and not counted.
  @Test func leftOutChunksAreNotCounted() throws {
    let texts = Self.texts(60, seed: 3)
    var withOthers: [WordCounts?] = texts
    for place in [30, 30, 0] { withOthers.insert(nil, at: place) }
    let index = try Self.index(withOthers)
    #expect(index.chunkCount == 60 && index.chunkLimit == 63)
    let scores = WordSearch(texts).scores(Self.questions[0])
    for found in try WordIndexSearch([index]).best(Self.questions[0], count: 63) {
      #expect(found.score == scores[found.chunk - (found.chunk > 31 ? 3 : 1)])
    }
  }

  @Test func mergingMakesTheIndexOfAllWords() throws {
    let texts = Self.texts(400, seed: 4)
    let ranges = [0..<90, 90..<91, 91..<400]
    // Every fifth chunk goes, and the others come in another order.
    let kept = (0..<400).filter { $0 % 5 != 2 }
    var random = SplitMix64(state: 5)
    let order = kept.shuffled(using: &random)
    var numbers = [UInt32](repeating: .max, count: 400)
    for (new, old) in order.enumerated() { numbers[old] = UInt32(new) }
    var merged: [UInt8] = []
    var parts: [(index: Index, numbers: [UInt32])] = []
    for range in ranges { parts.append((try Self.index(Array(texts[range])), Array(numbers[range]))) }
    try Index.merge(parts, chunkLimit: kept.count) { merged += $0 }
    let expected = Self.bytes(order.map { texts[$0] })
    #expect(merged == expected)
    // As does another order of adding.
    let sorted = Self.bytes(kept.map { texts[$0] }, numbers: kept.map { numbers[$0] })
    #expect(sorted == expected)
  }

  /// Numbers of all widths come back: of differences and of counts.
  @Test func wideNumbersComeBack() throws {
    var random = SplitMix64(state: 6)
    for (limit, countLimit) in [(200, 1), (70_000, 255), (4_000_000_000, 4_000_000_000)] {
      for count in [1, 2, 127, 128, 129, 300] {
        let chunks = Set((0..<count).map { _ in UInt32(random.next(below: limit)) }).sorted()
        let postings = chunks.map {
          WordPosting(chunk: $0, count: UInt32(1 + random.next(below: countLimit)))
        }
        var bytes: [UInt8] = []
        WordPosting.encode(postings[...], into: &bytes)
        var cursor = PostingCursor(0..<bytes.count, count: postings.count, chunkLimit: limit)
        var block = PostingBlock()
        var read: [WordPosting] = []
        while unsafe cursor.step(bytes.span.bytes, in: 0..<limit, into: &block) == .block {
          for index in 0..<block.count {
            read.append(WordPosting(chunk: block.chunks[index], count: block.counts[index]))
          }
        }
        let isEqual = read == postings
        #expect(isEqual, "\(limit), \(count)")
        let last = unsafe cursor.step(bytes.span.bytes, in: 0..<limit, into: &block)
        #expect(last == .end)
      }
    }
  }

  /// Any bytes are read within their bounds, or refused: no trap. Most changes hit what is looked at.
  @Test func changedBytesAreReadOrRefused() throws {
    let original = Self.bytes(Self.texts(12, seed: 7))
    var random = SplitMix64(state: 8)
    var refused = 0
    for round in 0..<200_000 {
      var bytes = original
      for _ in 0...random.next(below: 3) {
        let place = round % 2 == 0 ? bytes.count - 1 - random.next(below: 64 + 8) : random.next(below: bytes.count)
        switch random.next(below: 4) {
        case 0: bytes[place] = UInt8(truncatingIfNeeded: random.next())
        case 1: bytes[place] ^= 1 << UInt8(random.next(below: 8))
        case 2: bytes[place] = [0, 0x7F, 0x80, 0xFF][random.next(below: 4)]
        default: bytes.removeSubrange(place..<min(place + 1 + random.next(below: 9), bytes.count))
        }
      }
      do {
        let index = try Index(MemoryIndex(content: bytes))
        guard index.chunkLimit <= 1 << 20 else { continue }
        _ = try WordIndexSearch([index]).choice("w0 w1 w2 w60 w399", atMost: 3)
        if round % 16 == 0 {
          try Index.merge([(index, (0..<UInt32(index.chunkLimit)).map(\.self))], chunkLimit: index.chunkLimit) { _ in }
        }
      } catch { refused += 1 }
    }
    #expect(refused > 80_000)
  }
}
