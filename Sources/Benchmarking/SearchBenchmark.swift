public import CanonicalJSON
import ContextTrees
public import FileAccess
import LlamaRuntime
import SeededRandom
import Synchronization

/// How long it takes to find the chunks that have a question's words, among many that were made up: their words follow
/// Zipf's law, and so do those of the questions, but for half of them, which are rarer.
public struct SearchReport: Sendable {
  /// What is measured.
  public struct Options: Sendable {
    /// Chunks of all files.
    public var chunkCount = 1_000_000
    /// Files that they lie in.
    public var fileCount = 60
    /// Words of a chunk.
    public var wordsPerChunk = 64
    /// Different words.
    public var vocabularySize = 200_000
    /// Questions that are asked, each once for every way of asking.
    public var questionCount = 100
    /// Threads that search at the same time.
    public var threadCounts = [1, 2]

    public init() {}
  }

  /// The milliseconds that a question takes.
  public struct Result: Sendable {
    public let name: String
    public let threadCount: Int
    public let median: Double
    public let largest: Double
  }

  public let options: Options
  /// Of the indexes of all files.
  public let byteCount: Int
  /// Words of chunks, each counted once for a chunk.
  public let postingCount: Int
  /// Seconds that it took to make the indexes of words that had been counted.
  public let buildingSeconds: Double
  /// The first question, which also checks what it reads, in milliseconds.
  public let first: Double
  /// For each number of threads: the eight best chunks, and those that have the words together.
  public let results: [Result]

  public var json: JSONValue {
    .members([
      "chunks": .integer(options.chunkCount), "files": .integer(options.fileCount),
      "bytes": .integer(byteCount), "bytes_per_chunk": .number(Double(byteCount) / Double(options.chunkCount)),
      "postings": .integer(postingCount), "building_seconds": .number(buildingSeconds),
      "first_question_milliseconds": .number(first),
      "results": .array(
        results.map {
          .members([
            "name": .string($0.name), "threads": .integer($0.threadCount), "median_milliseconds": .number($0.median),
            "largest_milliseconds": .number($0.largest),
          ])
        }),
    ])
  }

  /// Makes the files in a temporary directory, and searches them where they are mapped.
  /// - Parameter progress: called with chunks made, of how many.
  /// - Throws: `Refusal` of the temporary directory.
  public static func measure(
    _ options: Options, progress: (_ done: Int, _ of: Int) -> Void = { _, _ in }
  ) throws(Refusal) -> SearchReport {
    let directory = try Directory.temporary("search")
    defer { try? Directory.removeTree(directory) }
    var words = ZipfWords(count: options.vocabularySize)
    var indexes: [WordIndex<MappedIndex>] = []
    var buildingSeconds = 0.0
    for file in 0..<options.fileCount {
      let range = file * options.chunkCount / options.fileCount..<(file + 1) * options.chunkCount / options.fileCount
      let chunks = range.map { _ in words.chunk(options.wordsPerChunk) }
      let start = ContinuousClock.now
      indexes.append(try WordIndex(MappedIndex(writing: chunks, to: "\(directory)/\(file)")))
      buildingSeconds += (ContinuousClock.now - start).seconds
      progress(range.upperBound, options.chunkCount)
    }
    let questions = (0..<options.questionCount).map { words.question(8 + $0 % 5) }
    func milliseconds(_ work: () throws(Refusal) -> Void) throws(Refusal) -> Double {
      let start = ContinuousClock.now
      try work()
      return (ContinuousClock.now - start).seconds * 1000
    }
    let first = try milliseconds { () throws(Refusal) in
      _ = try WordIndexSearch(indexes).best(questions.first ?? "", count: 8)
    }
    var results: [Result] = []
    for threadCount in options.threadCounts {
      var best: [Double] = []
      var choice: [Double] = []
      for question in questions {
        let search = try WordIndexSearch(indexes, threadCount: threadCount)
        best.append(try milliseconds { () throws(Refusal) in _ = try search.best(question, count: 8) })
        choice.append(try milliseconds { () throws(Refusal) in _ = try search.choice(question, atMost: 4) })
      }
      for (name, times) in [("best 8", best), ("choice of 4", choice)] {
        let spread = BenchmarkResult.Spread(times)
        results.append(
          Result(name: name, threadCount: threadCount, median: spread.median, largest: spread.largest))
      }
    }
    return SearchReport(
      options: options, byteCount: indexes.reduce(0) { $0 + $1.byteCount },
      postingCount: indexes.reduce(0) { $0 + $1.postingCount }, buildingSeconds: buildingSeconds, first: first,
      results: results)
  }
}

/// Words whose frequencies are those of a language: the n-th is 1/n times as frequent as the first.
private struct ZipfWords {
  private let hashes: [UInt32]
  /// The share of all words up to each.
  private let shares: [Double]
  private var random = SplitMix64(name: "search")

  init(count: Int) {
    hashes = (0..<count).map { WordCounts(of: Self.word($0)).hashes[0] }
    var sum = 0.0
    shares = (1...count).map {
      sum += 1 / Double($0)
      return sum
    }
  }

  private static func word(_ number: Int) -> String { "w\(number)" }

  private mutating func next() -> Int {
    let share = Double(random.next() >> 11) * 0x1p-53 * (shares.last ?? 0)
    var (low, high) = (0, shares.count - 1)
    while low < high {
      let middle = (low + high) / 2
      if shares[middle] < share { low = middle + 1 } else { high = middle }
    }
    return low
  }

  mutating func chunk(_ count: Int) -> WordCounts {
    var hashes: [UInt32] = []
    var counts: [UInt32] = []
    for hash in (0..<count).map({ _ in self.hashes[next()] }).sorted() {
      if hashes.last == hash {
        counts[counts.count - 1] += 1
      } else {
        hashes.append(hash)
        counts.append(1)
      }
    }
    return WordCounts(hashes: hashes, counts: counts) ?? .none
  }

  /// Half of the words by their frequency, mostly those that are everywhere; of the others those of two numbers of which
  /// one is twice the other are equally many.
  mutating func question(_ count: Int) -> String {
    (0..<count).map { position in
      guard position % 2 == 1 else { return Self.word(next()) }
      let bits = random.next(below: max(Int.bitWidth - shares.count.leadingZeroBitCount - 1, 1))
      return Self.word(min((1 << bits) + random.next(below: 1 << bits), shares.count - 1))
    }.joined(separator: " ")
  }
}

/// An index in a mapped file, each block of which is checked when it is first used.
private final class MappedIndex: WordIndexStorage {
  private static let blockByteCount = 1 << 14

  private let file: MappedFile
  private let checksums: [BlockChecksum]
  private let verified: Mutex<[UInt64]>

  init(writing chunks: [WordCounts], to path: String) throws(Refusal) {
    var builder = WordIndexBuilder()
    for chunk in chunks { builder.append(chunk) }
    var output = try PublishedFile(creating: path, mode: 0o600)
    var pending: [UInt8] = []
    var checksums: [BlockChecksum] = []
    try builder.write { (bytes) throws(Refusal) in
      try output.append(bytes)
      pending += bytes
      while pending.count >= Self.blockByteCount {
        checksums.append(Self.checksum(Array(pending[..<Self.blockByteCount])))
        pending.removeFirst(Self.blockByteCount)
      }
    }
    checksums.append(Self.checksum(pending))
    self.checksums = checksums
    try output.publish()
    file = try MappedFile(path)
    verified = Mutex([UInt64](repeating: 0, count: checksums.count / 64 + 1))
  }

  private static func checksum(_ bytes: [UInt8]) -> BlockChecksum {
    unsafe BlockChecksum(of: bytes.span.bytes, seed: 0)
  }

  var bytes: RawSpan {
    @_lifetime(borrow self) get {
      let span = unsafe RawSpan(_unsafeBytes: file.unsafeBytes)
      return unsafe _overrideLifetime(span, borrowing: self)
    }
  }

  func check(_ range: Range<Int>) throws(Refusal) {
    guard !range.isEmpty else { return }
    let file = file
    for block in range.lowerBound / Self.blockByteCount...(range.upperBound - 1) / Self.blockByteCount {
      let bit = UInt64(1) << UInt64(block % 64)
      if verified.withLock({ $0[block / 64] & bit != 0 }) { continue }
      let start = block * Self.blockByteCount
      let end = min(start + Self.blockByteCount, file.byteCount)
      let checksum = BlockChecksum(of: file.bytes.extracting(start..<end), seed: 0)
      guard checksum == checksums[start / Self.blockByteCount] else {
        throw malformed("is damaged")
      }
      verified.withLock { $0[start / Self.blockByteCount / 64] |= bit }
    }
  }

  func malformed(_ fault: String) -> Refusal { Refusal(.inputOutput, file: file.path, fault) }
}
