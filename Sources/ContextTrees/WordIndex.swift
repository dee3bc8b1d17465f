/// Where a word index lies: bytes that may be damaged, and how that is said.
package protocol WordIndexStorage: Sendable {
  associatedtype Failure: Error
  /// All of the index. The same at every call.
  var bytes: RawSpan { @_lifetime(borrow self) get }
  /// Called before any byte of a range is used, often for the same ones.
  /// - Throws: when one of them is damaged.
  func check(_ range: Range<Int>) throws(Failure)
  /// What is thrown when the bytes are not those of a word index.
  func malformed(_ fault: String) -> Failure
}

/// The words of the chunks of one file, turned round: for each word, the chunks that have it.
///
/// Is searched where it lies; finding a word touches two places besides its chunks. Whatever the bytes are, reading them
/// ends with a result or is refused. Immutable and safe to use from any thread.
/// Format: `Formats/tree-store.md`, word indexes.
package struct WordIndex<Storage: WordIndexStorage>: Sendable {
  package let storage: Storage
  let layout: WordIndexLayout

  /// Opens an index: reads its last 64 bytes.
  /// - Throws: of the storage.
  package init(_ storage: Storage) throws(Storage.Failure) {
    self.storage = storage
    let byteCount = storage.bytes.byteCount
    guard byteCount >= WordIndexLayout.footerByteCount else {
      throw storage.malformed("has \(byteCount) bytes; a word index has at least \(WordIndexLayout.footerByteCount)")
    }
    try storage.check(byteCount - WordIndexLayout.footerByteCount..<byteCount)
    guard let layout = WordIndexLayout(storage.bytes) else { throw storage.malformed("the parts do not make an index") }
    self.layout = layout
  }

  /// Numbers of chunks are below it.
  package var chunkLimit: Int { layout.chunkLimit }
  /// Chunks that were added.
  package var chunkCount: Int { layout.chunkCount }
  /// Different words.
  package var wordCount: Int { layout.wordCount }
  /// Words with chunks that have them.
  package var postingCount: Int { layout.postingCount }
  package var byteCount: Int { layout.byteCount }

  /// Finds a word.
  /// - Returns: nil when no chunk has it.
  func entry(of hash: UInt32) throws(Storage.Failure) -> WordEntry? {
    let bucket = layout.bucket(of: hash)
    let place = layout.buckets.lowerBound + bucket * 8
    // The end of a bucket is the next one's start, or that of all words.
    let isLast = bucket == layout.bucketCount - 1
    try storage.check(place..<place + (isLast ? 8 : 16))
    let start = storage.bytes.integer(at: place, as: UInt64.self)
    let end = isLast ? UInt64(layout.words.upperBound) : storage.bytes.integer(at: place + 8, as: UInt64.self)
    guard start <= end, end <= UInt64(layout.words.upperBound) else {
      throw storage.malformed("bucket \(bucket) of the words lies outside of them")
    }
    var reader = WordReader(Int(start)..<Int(end))
    while let entry = try reader.next(self) {
      if entry.hash == hash { return entry }
      if entry.hash > hash { return nil }
    }
    return nil
  }

  /// The number of words in each chunk, plus 1; 0 for a number that no chunk has.
  func lengths(_ chunks: Range<Int>) throws(Storage.Failure) -> [UInt32] {
    let start = layout.lengths.lowerBound + chunks.lowerBound * 4
    try storage.check(start..<start + chunks.count * 4)
    let bytes = storage.bytes
    return chunks.indices.map { bytes.integer(at: start + ($0 - chunks.lowerBound) * 4, as: UInt32.self) }
  }

  /// Calls for each chunk that has a word.
  func postings(
    of entry: WordEntry, _ body: (_ chunks: Span<UInt32>, _ counts: Span<UInt32>) -> Void
  ) throws(Storage.Failure) {
    try storage.check(entry.range)
    var cursor = PostingCursor(entry.range, count: entry.chunkCount, chunkLimit: chunkLimit)
    var block = PostingBlock()
    while true {
      switch cursor.step(storage.bytes, in: 0..<chunkLimit, into: &block) {
      case .block:
        body(block.chunks.span.extracting(first: block.count), block.counts.span.extracting(first: block.count))
      case .end: return
      case .malformed: throw malformed(entry)
      }
    }
  }

  /// How often a chunk has a word; 0 when it does not.
  func count(of entry: WordEntry, in chunk: Int) throws(Storage.Failure) -> UInt32 {
    try storage.check(entry.range)
    var cursor = PostingCursor(entry.range, count: entry.chunkCount, chunkLimit: chunkLimit)
    var block = PostingBlock()
    switch cursor.step(storage.bytes, in: chunk..<chunk + 1, into: &block) {
    case .block:
      for index in 0..<block.count where block.chunks[index] == UInt32(chunk) { return block.counts[index] }
      return 0
    case .end: return 0
    case .malformed: throw malformed(entry)
    }
  }

  func malformed(_ entry: WordEntry) -> Storage.Failure {
    storage.malformed("the chunks of word \(String(entry.hash, radix: 16)) are none that a writer writes")
  }
}

/// A word of an index.
struct WordEntry: Sendable {
  let hash: UInt32
  /// Chunks that have it; at least 1.
  let chunkCount: Int
  /// Of its blocks.
  let range: Range<Int>
}

/// Reads words in their order.
struct WordReader {
  private var offset: Int
  private let end: Int
  private var previous: UInt32?

  init(_ range: Range<Int>) {
    offset = range.lowerBound
    end = range.upperBound
  }

  /// - Returns: nil after the last word.
  mutating func next<Storage>(_ index: WordIndex<Storage>) throws(Storage.Failure) -> WordEntry? {
    guard offset < end else { return nil }
    try index.storage.check(offset..<min(offset + 24, end))
    let bytes = index.storage.bytes
    var position = offset + 4
    guard position <= end, let count = bytes.varint(at: &position, below: end),
      let byteCount = bytes.varint(at: &position, below: end),
      count > 0, count <= UInt64(index.chunkLimit), byteCount <= UInt64(end - position)
    else { throw index.storage.malformed("the word at byte \(offset) is none that a writer writes") }
    let hash = bytes.integer(at: offset, as: UInt32.self)
    if let previous, hash <= previous { throw index.storage.malformed("the words do not ascend at byte \(offset)") }
    previous = hash
    let range = position..<position + Int(byteCount)
    offset = range.upperBound
    return WordEntry(hash: hash, chunkCount: Int(count), range: range)
  }
}

/// The parts of an index, by its footer.
struct WordIndexLayout: Sendable {
  static let footerByteCount = 64
  static let magic: [UInt8] = [0x89, 0x57, 0x49, 0x58, 0x0D, 0x0A, 0x1A, 0x0A]
  /// Words that share an entry of the table, about.
  static let wordsPerBucket = 8

  let words: Range<Int>
  let lengths: Range<Int>
  let buckets: Range<Int>
  let bucketBits: Int
  let byteCount: Int
  let wordCount: Int
  let postingCount: Int
  /// Words of all chunks, each as often as it stands there.
  let lengthSum: Int
  let chunkLimit: Int
  let chunkCount: Int

  var bucketCount: Int { 1 << bucketBits }

  func bucket(of hash: UInt32) -> Int { Int(UInt64(hash) >> UInt64(32 - bucketBits)) }

  /// The bits of a hash that choose a bucket.
  static func bucketBits(wordCount: Int) -> Int {
    var bits = 0
    while bits < 28, 1 << bits < wordCount / wordsPerBucket { bits += 1 }
    return bits
  }

  /// - Parameter bytes: of an index, no fewer than a footer's.
  /// - Returns: nil when the parts do not make an index.
  init?(_ bytes: RawSpan) {
    byteCount = bytes.byteCount
    let footer = byteCount - Self.footerByteCount
    for (index, byte) in Self.magic.enumerated() where bytes.integer(at: footer + index, as: UInt8.self) != byte {
      return nil
    }
    let fields = (1...4).map { bytes.integer(at: footer + $0 * 8, as: UInt64.self) }
    chunkLimit = Int(bytes.integer(at: footer + 40, as: UInt32.self))
    chunkCount = Int(bytes.integer(at: footer + 44, as: UInt32.self))
    bucketBits = Int(bytes.integer(at: footer + 48, as: UInt32.self))
    guard fields.allSatisfy({ $0 < 1 << 62 }), bytes.integer(at: footer + 52, as: UInt32.self) == 0,
      bytes.integer(at: footer + 56, as: UInt64.self) == 0
    else { return nil }
    let wordsEnd = Int(fields[0])
    wordCount = Int(fields[1])
    postingCount = Int(fields[2])
    lengthSum = Int(fields[3])
    guard wordsEnd <= footer, bucketBits == Self.bucketBits(wordCount: wordCount), chunkCount <= chunkLimit else {
      return nil
    }
    // All terms are below 2^62, so that sums do not overflow.
    words = 0..<wordsEnd
    let lengthsStart = (wordsEnd + 7) / 8 * 8
    lengths = lengthsStart..<lengthsStart + chunkLimit * 4
    let bucketsStart = (lengths.upperBound + 7) / 8 * 8
    buckets = bucketsStart..<bucketsStart + 8 << bucketBits
    guard buckets.upperBound == footer else { return nil }
  }
}

extension RawSpan {
  /// A little-endian number.
  func integer<Value: FixedWidthInteger & BitwiseCopyable>(at byteOffset: Int, as type: Value.Type) -> Value {
    unsafe Value(littleEndian: unsafeLoadUnaligned(fromByteOffset: byteOffset, as: Value.self))
  }
}
