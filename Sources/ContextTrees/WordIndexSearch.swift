import Dispatch
import Synchronization

/// A chunk that an index has found.
package struct IndexedChunk: Sendable, Hashable {
  /// Of the index in the search.
  package let index: Int
  /// The chunk's number in the index.
  package let chunk: Int
  /// As `WordSearch` gives it to the same chunk among the same ones.
  package let score: Float
  /// The question's words that it has, if it was chosen for them.
  package let words: [WordMatch]
}

/// Some chunks of an index.
package struct ChunkSet: Sendable {
  private var bits: [UInt64]

  /// None of the chunks below a limit.
  package init(chunkLimit: Int) { bits = [UInt64](repeating: 0, count: (chunkLimit + 63) / 64) }

  package mutating func insert(_ chunk: Int) { bits[chunk / 64] |= 1 << UInt64(chunk % 64) }

  package func contains(_ chunk: Int) -> Bool { bits[chunk / 64] >> UInt64(chunk % 64) & 1 == 1 }

  /// Whether one of some chunks, numbered from an offset on, is in it.
  func hasAny(in chunks: ClosedRange<Int>, offset: Int) -> Bool {
    let first = max(chunks.lowerBound - offset, 0)
    let last = min(chunks.upperBound - offset, bits.count * 64 - 1)
    guard first <= last else { return false }
    for word in first / 64...last / 64 {
      var bits = bits[word]
      if word == first / 64 { bits &= UInt64.max << UInt64(first % 64) }
      if word == last / 64 { bits &= UInt64.max >> UInt64(63 - last % 64) }
      if bits != 0 { return true }
    }
    return false
  }
}

/// Scores the chunks of several files for a question by their indexes, as `WordSearch` does by their words.
///
/// How rare a word is follows from all indexes together: first their figures are added up, then each is scored for itself,
/// a window of chunks after the other, so that sums stay in a core's cache. Of words so common that all of them together
/// cannot bring a chunk among the best ones, only those blocks are read in which a chunk with another word may be.
/// Source: H. Turtle and J. Flood, Query Evaluation: Strategies and Optimizations, 1995 (max-score), for windows.
package struct WordIndexSearch<Storage: WordIndexStorage>: Sendable {
  /// A word of a question: what it weighs, and where it is in each index.
  private struct Term: Sendable {
    let word: String
    let weight: Double
    let entries: [WordEntry?]
  }

  /// Chunks of a window: sums of so many stay in a core's cache.
  private static var windowSize: Int { 1 << 14 }

  private let indexes: [WordIndex<Storage>]
  private let subsets: [ChunkSet]?
  /// Chunks that are not to be found.
  private var leftOut: [Int: Set<Int>] = [:]
  private let threadCount: Int
  private let chunkCount: Int
  private let meanCount: Double

  /// - Parameters:
  ///   - indexes: of all files.
  ///   - subsets: the chunks of each that are searched, as if there were no others; nil for all.
  ///   - threadCount: that score at the same time, at most.
  /// - Throws: when an index is damaged.
  package init(
    _ indexes: [WordIndex<Storage>], subsets: [ChunkSet]? = nil, threadCount: Int = 1
  ) throws(Storage.Failure) {
    precondition(subsets == nil || subsets?.count == indexes.count, "each index has a subset")
    self.indexes = indexes
    self.subsets = subsets
    self.threadCount = max(threadCount, 1)
    var chunkCount = 0
    var lengthSum = 0
    for (number, index) in indexes.enumerated() {
      guard let subset = subsets?[number] else {
        chunkCount += index.chunkCount
        // Below 2^62; a sum that a damaged file claims only has to be no trap.
        lengthSum &+= index.layout.lengthSum
        continue
      }
      for (chunk, length) in try index.lengths(0..<index.chunkLimit).enumerated()
      where length > 0 && subset.contains(chunk) {
        chunkCount += 1
        lengthSum &+= Int(length) - 1
      }
    }
    self.chunkCount = chunkCount
    meanCount = max(Double(lengthSum) / max(Double(chunkCount), 1), 1)
  }

  /// Finds a chunk no more; words stay as rare as they were with it.
  package mutating func leaveOut(_ chunk: IndexedChunk) {
    leftOut[chunk.index, default: []].insert(chunk.chunk)
  }

  /// The chunks with the highest scores above 0, best first; of equals those of an earlier index or a smaller number.
  /// - Parameter count: chunks, at most.
  /// - Throws: when what is needed of an index is damaged.
  package func best(_ question: String, count: Int) throws(Storage.Failure) -> [IndexedChunk] {
    try best(terms(question), count: count).map {
      IndexedChunk(index: $0.index, chunk: $0.chunk, score: Float($0.score), words: [])
    }
  }

  /// Chunks that have a question's words together, as ``WordSearch/choice(_:atMost:share:)`` chooses them; none when none
  /// has any of the words.
  /// - Throws: when what is needed of an index is damaged.
  package func choice(
    _ question: String, atMost count: Int, share: Double = 0.35
  ) throws(Storage.Failure) -> [IndexedChunk] {
    let all = try terms(question)
    var terms = all
    var chosen: [IndexedChunk] = []
    while chosen.count < count, !terms.isEmpty {
      let least = chosen.first.map { share * Double($0.score) } ?? 0
      guard let best = try best(terms, count: 1, least: least).first else { break }
      let (score, words) = try score(best.index, best.chunk, all)
      chosen.append(IndexedChunk(index: best.index, chunk: best.chunk, score: Float(score), words: words))
      var left: [Term] = []
      for term in terms {
        let entry = term.entries[best.index]
        if let entry, try indexes[best.index].count(of: entry, in: best.chunk) > 0 { continue }
        left.append(term)
      }
      // A chunk is only found by words that it has, so that there are fewer now.
      terms = left
    }
    return chosen
  }

  /// The words of a question, once each, in their order, so that sums are the same in every run.
  private func terms(_ question: String) throws(Storage.Failure) -> [Term] {
    var terms: [Term] = []
    for (hash, word) in WordCounts.words(of: question) {
      var entries: [WordEntry?] = []
      var frequency = 0
      for (number, index) in indexes.enumerated() {
        let entry = try index.entry(of: hash)
        entries.append(entry)
        guard let entry else { continue }
        guard let subset = subsets?[number] else {
          frequency += entry.chunkCount
          continue
        }
        try index.postings(of: entry) { chunks, _ in
          for position in chunks.indices where subset.contains(Int(chunks[position])) { frequency += 1 }
        }
      }
      guard frequency > 0 else { continue }
      terms.append(
        Term(word: word, weight: BM25.weight(frequency: Double(frequency), of: Double(chunkCount)), entries: entries))
    }
    return terms
  }

  /// The score of one chunk, and the words that give it.
  private func score(
    _ number: Int, _ chunk: Int, _ terms: [Term]
  ) throws(Storage.Failure) -> (score: Double, words: [WordMatch]) {
    let index = indexes[number]
    let length = try index.lengths(chunk..<chunk + 1)[0]
    let damping = BM25.damping(count: Int(max(length, 1)) - 1, mean: meanCount)
    var sum = 0.0
    var words: [WordMatch] = []
    for term in terms {
      guard let entry = term.entries[number] else { continue }
      let count = try index.count(of: entry, in: chunk)
      guard count > 0 else { continue }
      let score = BM25.score(weight: term.weight, count: Double(count), damping: damping)
      sum += score
      words.append(WordMatch(word: term.word, count: Int(count), score: Float(score)))
    }
    return (sum, words)
  }

  /// The parts of the indexes that have a word, each small enough.
  private func windows(of terms: [Term]) -> [(index: Int, chunks: Range<Int>)] {
    var windows: [(index: Int, chunks: Range<Int>)] = []
    for (number, index) in indexes.enumerated() where terms.contains(where: { $0.entries[number] != nil }) {
      let windowCount = (index.chunkLimit + Self.windowSize - 1) / Self.windowSize
      for window in 0..<windowCount {
        windows.append(
          (number, window * index.chunkLimit / windowCount..<(window + 1) * index.chunkLimit / windowCount))
      }
    }
    return windows
  }

  /// - Parameter least: what a chunk must score.
  private func best(_ terms: [Term], count: Int, least: Double = 0) throws(Storage.Failure) -> [Found] {
    guard count > 0 else { return [] }
    let windows = windows(of: terms)
    let results = Mutex<(next: Int, found: [Found], failure: Storage.Failure?)>((0, [], nil))
    let threadCount = min(threadCount, windows.count)
    @Sendable func work() {
      var scores = WindowScores()
      var found: [Found] = []
      do throws(Storage.Failure) {
        while let number = results.withLock({ state -> Int? in
          guard state.next < windows.count, state.failure == nil else { return nil }
          state.next += 1
          return state.next - 1
        }) {
          try score(
            windows[number].index, windows[number].chunks, terms, &scores, count: count, least: least, into: &found)
        }
      } catch {
        results.withLock { $0.failure = error }
      }
      results.withLock { $0.found += found }
    }
    if threadCount > 1 {
      DispatchQueue.concurrentPerform(iterations: threadCount) { _ in work() }
    } else if threadCount == 1 {
      work()
    }
    let (_, found, failure) = results.withLock { $0 }
    if let failure { throw failure }
    return Array(found.sorted { $0.isBetter(than: $1) }.prefix(count))
  }

  /// Scores the chunks of a window and keeps the best ones.
  /// - Parameter found: best first, of all windows so far.
  private func score(
    _ number: Int, _ window: Range<Int>, _ terms: [Term], _ scores: inout WindowScores, count: Int,
    least: Double, into found: inout [Found]
  ) throws(Storage.Failure) {
    let index = indexes[number]
    let terms = terms.filter { $0.entries[number] != nil }
    let worst = found.count < count ? least : found[count - 1].score
    // The most common words, as long as they cannot bring a chunk so far. The margin is for rounding.
    var common: Set<Int> = []
    var bound = 0.0
    for term in terms.indices.sorted(by: { terms[$0].weight < terms[$1].weight }) {
      bound += BM25.limit(weight: terms[term].weight)
      guard bound * (1 + 1e-9) < worst else { break }
      common.insert(term)
    }
    guard common.count < terms.count else { return }
    let lengths = index.layout.lengths.lowerBound
    try index.storage.check(lengths + window.lowerBound * 4..<lengths + window.upperBound * 4)
    scores.start(window, lengths: lengths, mean: meanCount)
    if !common.isEmpty {
      for (position, term) in terms.enumerated() where !common.contains(position) {
        guard let entry = term.entries[number] else { continue }
        try index.storage.check(entry.range)
        guard scores.mark(entry, index.chunkLimit, index.storage.bytes) else { throw index.malformed(entry) }
      }
    }
    for (position, term) in terms.enumerated() {
      guard let entry = term.entries[number] else { continue }
      try index.storage.check(entry.range)
      guard
        scores.add(term.weight, entry, index.chunkLimit, index.storage.bytes, onlyMarked: common.contains(position))
      else { throw index.malformed(entry) }
    }
    scores.select(
      count, of: number, among: subsets?[number], without: leftOut[number], atLeast: least, index.storage.bytes,
      into: &found)
  }
}

/// A chunk that was scored, with what compares it: the first of equals is the one in an earlier index, or with a smaller
/// number.
private struct Found: Sendable {
  let index: Int
  let chunk: Int
  let score: Double

  func isBetter(than other: Found) -> Bool {
    score != other.score ? score > other.score : (index, chunk) < (other.index, other.chunk)
  }
}

/// The scores of the chunks of a window, as far as they have been added up. Not generic, so that it is fast.
private struct WindowScores: Sendable {
  private var sums: [Double] = []
  private var window = 0..<0
  private var block = PostingBlock()
  /// By their place in the window.
  private var marked = ChunkSet(chunkLimit: 0)
  /// Where the lengths of all chunks begin in the index.
  private var lengths = 0
  /// For each of the shorter lengths what it takes from scores, of texts of a mean length.
  private var dampings: [Double] = []
  private var mean = 0.0

  /// Starts a window.
  /// - Parameters:
  ///   - lengths: where the lengths of all chunks begin in the index.
  ///   - mean: of the lengths of all indexes; always the same.
  mutating func start(_ window: Range<Int>, lengths: Int, mean: Double) {
    self.window = window
    self.lengths = lengths
    self.mean = mean
    marked = ChunkSet(chunkLimit: window.count)
    if sums.count == window.count {
      var sums = sums.mutableSpan
      for position in 0..<sums.count { sums[position] = 0 }
    } else {
      sums = [Double](repeating: 0, count: window.count)
    }
    // As they are stored: one more than the words.
    if dampings.isEmpty { dampings = (0..<1024).map { BM25.damping(count: max($0, 1) - 1, mean: mean) } }
  }

  /// Marks the chunks that have a word.
  /// - Returns: false when the word's chunks are none that a writer writes.
  mutating func mark(_ entry: WordEntry, _ chunkLimit: Int, _ bytes: RawSpan) -> Bool {
    var cursor = PostingCursor(entry.range, count: entry.chunkCount, chunkLimit: chunkLimit)
    while true {
      switch cursor.step(bytes, in: window, into: &block) {
      case .end: return true
      case .malformed: return false
      case .block:
        for position in 0..<block.count {
          let chunk = Int(block.chunks[position]) - window.lowerBound
          if chunk >= 0, chunk < window.count { marked.insert(chunk) }
        }
      }
    }
  }

  /// Adds what a word gives to the chunks that have it.
  /// - Parameter onlyMarked: whether blocks without a marked chunk are left out.
  /// - Returns: false when the word's chunks are none that a writer writes.
  mutating func add(
    _ weight: Double, _ entry: WordEntry, _ chunkLimit: Int, _ bytes: RawSpan, onlyMarked: Bool
  ) -> Bool {
    var cursor = PostingCursor(entry.range, count: entry.chunkCount, chunkLimit: chunkLimit)
    let candidates = onlyMarked ? marked : nil
    while true {
      switch cursor.step(bytes, in: window, among: candidates, into: &block) {
      case .end: return true
      case .malformed: return false
      case .block: Self.add(weight, block, from: window.lowerBound, bytes, lengths, dampings, mean, to: &sums)
      }
    }
  }

  private static func add(
    _ weight: Double, _ block: borrowing PostingBlock, from first: Int, _ bytes: RawSpan, _ lengths: Int,
    _ dampings: [Double], _ mean: Double, to sums: inout [Double]
  ) {
    var sums = sums.mutableSpan
    let dampings = dampings.span
    let chunks = block.chunks.span
    let counts = block.counts.span
    for position in 0..<block.count {
      // Of a block that starts before the window or ends behind it, only those within.
      let number = Int(chunks[position])
      let chunk = number - first
      guard chunk >= 0, chunk < sums.count else { continue }
      let length = Int(bytes.integer(at: lengths + number * 4, as: UInt32.self))
      let damping =
        length < dampings.count ? dampings[length] : BM25.damping(count: length - 1, mean: mean)
      sums[chunk] += BM25.score(weight: weight, count: Double(counts[position]), damping: damping)
    }
  }

  /// Keeps the best chunks.
  /// - Parameters:
  ///   - count: chunks that are kept, at most.
  ///   - index: the number of the index.
  ///   - subset: the chunks that may be found; nil for all.
  ///   - leftOut: those of them that may not be found.
  ///   - least: what a chunk must score.
  ///   - found: best first, of all windows so far.
  func select(
    _ count: Int, of index: Int, among subset: ChunkSet?, without leftOut: Set<Int>?, atLeast least: Double,
    _ bytes: RawSpan,
    into found: inout [Found]
  ) {
    var worst = found.count < count ? least : found[count - 1].score
    let sums = sums.span
    for position in 0..<sums.count {
      let sum = sums[position]
      guard sum >= worst, sum > 0 else { continue }
      let chunk = window.lowerBound + position
      guard bytes.integer(at: lengths + chunk * 4, as: UInt32.self) > 0, subset?.contains(chunk) ?? true,
        leftOut?.contains(chunk) != true
      else { continue }
      let new = Found(index: index, chunk: chunk, score: sum)
      var (low, high) = (0, found.count)
      while low < high {
        let middle = (low + high) / 2
        if new.isBetter(than: found[middle]) { high = middle } else { low = middle + 1 }
      }
      guard low < count else { continue }
      found.insert(new, at: low)
      if found.count > count { found.removeLast() }
      if found.count == count { worst = max(worst, found[count - 1].score) }
    }
  }
}
