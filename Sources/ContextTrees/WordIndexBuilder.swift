/// Collects the words of the chunks of one file, and writes their index.
/// Format: `Formats/tree-store.md`, word indexes.
package struct WordIndexBuilder: Sendable {
  private struct Entry {
    /// Hash and chunk.
    let key: UInt64
    let count: UInt32
  }

  private var entries: [Entry] = []
  /// The number of words of each chunk, plus 1; 0 for a number that no chunk has.
  private var lengths: [UInt32] = []

  package init() {}

  /// Chunks so far: the number that the next one has.
  package var chunkCount: Int { lengths.count }

  /// Adds the next chunk.
  /// - Parameter words: nil for one that is not to be found, such as a frame, which is not counted either.
  package mutating func append(_ words: WordCounts?) {
    precondition(lengths.count < Int(UInt32.max), "a file has fewer chunks")
    guard let words else { return lengths.append(0) }
    let chunk = UInt64(lengths.count)
    for (hash, count) in zip(words.hashes, words.counts) {
      entries.append(Entry(key: UInt64(hash) << 32 | chunk, count: count))
    }
    lengths.append(UInt32(clamping: words.total) &+ (words.total < Int(UInt32.max) ? 1 : 0))
  }

  /// Writes the index from its first byte to its last.
  /// - Parameters:
  ///   - numbers: what each chunk is to be numbered, in the order in which they were added: each number once, all below
  ///     the number of chunks. Nil leaves them as they are.
  ///   - append: takes the next bytes.
  /// - Throws: what `append` throws.
  package consuming func write<Failure: Error>(
    numbers: [UInt32]? = nil, append: ([UInt8]) throws(Failure) -> Void
  ) throws(Failure) {
    if let numbers {
      precondition(numbers.count == lengths.count, "each chunk has a number")
      var renumbered = [UInt32](repeating: 0, count: lengths.count)
      for (old, new) in numbers.enumerated() { renumbered[Int(new)] = lengths[old] }
      lengths = renumbered
      for index in entries.indices {
        let entry = entries[index]
        let chunk = numbers[Int(entry.key & 0xFFFF_FFFF)]
        entries[index] = Entry(key: entry.key & ~0xFFFF_FFFF | UInt64(chunk), count: entry.count)
      }
    }
    entries.sort { $0.key < $1.key }
    var writer = WordIndexWriter()
    var postings: [WordPosting] = []
    var start = 0
    while start < entries.count {
      let hash = UInt32(entries[start].key >> 32)
      postings.removeAll(keepingCapacity: true)
      while start < entries.count, UInt32(entries[start].key >> 32) == hash {
        postings.append(
          WordPosting(chunk: UInt32(truncatingIfNeeded: entries[start].key), count: entries[start].count))
        start += 1
      }
      try writer.write(hash, postings[...], append: append)
    }
    try writer.finish(lengths: lengths, append: append)
  }
}

/// Writes an index word by word. What stays in memory is a word's chunks and twelve bytes for each word.
private struct WordIndexWriter {
  private static let pieceByteCount = 1 << 16

  private var piece: [UInt8] = []
  private var byteCount = 0
  private var starts: [(hash: UInt32, byteOffset: Int)] = []
  private var postingCount = 0
  private var blocks: [UInt8] = []

  /// Writes a word.
  /// - Parameters:
  ///   - hash: above that of the word before.
  ///   - postings: of ascending chunks, not empty.
  mutating func write<Failure: Error>(
    _ hash: UInt32, _ postings: ArraySlice<WordPosting>, append: ([UInt8]) throws(Failure) -> Void
  ) throws(Failure) {
    starts.append((hash, byteCount + piece.count))
    postingCount += postings.count
    blocks.removeAll(keepingCapacity: true)
    WordPosting.encode(postings, into: &blocks)
    piece.append(hash, byteCount: 4)
    piece.appendVarint(UInt64(postings.count))
    piece.appendVarint(UInt64(blocks.count))
    piece += blocks
    if piece.count >= Self.pieceByteCount { try flush(append) }
  }

  private mutating func flush<Failure: Error>(_ append: ([UInt8]) throws(Failure) -> Void) throws(Failure) {
    try append(piece)
    byteCount += piece.count
    piece.removeAll(keepingCapacity: true)
  }

  private mutating func pad() {
    while (byteCount + piece.count) % 8 != 0 { piece.append(0) }
  }

  /// - Parameter lengths: the number of words of each chunk, plus 1; 0 for a number that no chunk has.
  mutating func finish<Failure: Error>(
    lengths: [UInt32], append: ([UInt8]) throws(Failure) -> Void
  ) throws(Failure) {
    let wordsEnd = byteCount + piece.count
    pad()
    for length in lengths {
      piece.append(length, byteCount: 4)
      if piece.count >= Self.pieceByteCount { try flush(append) }
    }
    pad()
    let bits = WordIndexLayout.bucketBits(wordCount: starts.count)
    var next = 0
    for bucket in 0..<1 << bits {
      while next < starts.count, Int(UInt64(starts[next].hash) >> UInt64(32 - bits)) < bucket { next += 1 }
      piece.append(next < starts.count ? starts[next].byteOffset : wordsEnd, byteCount: 8)
      if piece.count >= Self.pieceByteCount { try flush(append) }
    }
    piece += WordIndexLayout.magic
    let lengthSum = lengths.reduce(0) { $0 + max(Int($1) - 1, 0) }
    for number in [wordsEnd, starts.count, postingCount, lengthSum] { piece.append(number, byteCount: 8) }
    for number in [lengths.count, lengths.count { $0 > 0 }, bits] { piece.append(number, byteCount: 4) }
    piece.append(0, byteCount: 12)
    try flush(append)
  }
}

extension WordIndex {
  /// Writes the index of the chunks of several files: the same bytes as if it were made of their words.
  /// - Parameters:
  ///   - parts: indexes, each with the new number of each of its chunks; `UInt32.max` leaves a chunk out. No two chunks
  ///     get the same number.
  ///   - chunkLimit: new numbers are below it.
  ///   - append: takes the next bytes.
  /// - Throws: of an index that is damaged, and what `append` throws.
  package static func merge(
    _ parts: [(index: WordIndex, numbers: [UInt32])], chunkLimit: Int,
    append: ([UInt8]) throws(Storage.Failure) -> Void
  ) throws(Storage.Failure) {
    var lengths = [UInt32](repeating: 0, count: chunkLimit)
    for part in parts {
      precondition(part.numbers.count == part.index.chunkLimit, "each chunk has a number or none")
      for (old, length) in try part.index.lengths(0..<part.index.chunkLimit).enumerated() {
        let new = part.numbers[old]
        guard new != .max, length > 0 else { continue }
        precondition(lengths[Int(new)] == 0, "no two chunks get the same number")
        lengths[Int(new)] = length
      }
    }
    var readers = parts.map { WordReader($0.index.layout.words) }
    var heads: [WordEntry?] = []
    for number in parts.indices { heads.append(try readers[number].next(parts[number].index)) }
    var writer = WordIndexWriter()
    var postings: [WordPosting] = []
    while let hash = heads.lazy.compactMap({ $0?.hash }).min() {
      postings.removeAll(keepingCapacity: true)
      for (number, part) in parts.enumerated() {
        guard let entry = heads[number], entry.hash == hash else { continue }
        heads[number] = try readers[number].next(part.index)
        var isMalformed = false
        try part.index.postings(of: entry) { chunks, counts in
          for index in chunks.indices {
            let new = part.numbers[Int(chunks[index])]
            guard new != .max else { continue }
            if lengths[Int(new)] == 0 || counts[index] == 0 { isMalformed = true }
            postings.append(WordPosting(chunk: new, count: counts[index]))
          }
        }
        if isMalformed { throw part.index.malformed(entry) }
      }
      guard !postings.isEmpty else { continue }
      postings.sort { $0.chunk < $1.chunk }
      try writer.write(hash, postings[...], append: append)
    }
    try writer.finish(lengths: lengths, append: append)
  }
}
