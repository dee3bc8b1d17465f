package import ContextTrees
package import FileAccess

/// A chunk that a search of a store has found.
package struct FoundChunk: Sendable {
  package let key: ChunkKey
  package let score: Float
  /// The question's words that it has.
  package let words: [WordMatch]
}

extension TreeStore {
  /// Chunks that have a question's words together, by the word indexes of all segments: as `WordSearch` chooses them.
  ///
  /// How rare a word is follows from all chunks of the segments, also from those that no document has any more; only
  /// chunks of documents are found. Segments that cannot be opened are not searched.
  /// - Parameters:
  ///   - question: of the user.
  ///   - count: chunks, at most.
  ///   - keys: the chunks that are searched, as if there were no others; nil for all.
  ///   - threadCount: that search at the same time, at most.
  /// - Returns: the best chunk first, none when no chunk has any of the words, and how many segments were not searched.
  /// - Throws: `Refusal` `checksum-mismatch`, `malformed-segment` and others when what is needed of an index or of the
  ///   catalog is damaged.
  package func choice(
    _ question: String, atMost count: Int, among keys: [ChunkKey]? = nil, threadCount: Int
  ) throws(Refusal) -> (chunks: [FoundChunk], unreadableSegments: Int) {
    var searched: [(segment: Segment, tag: UInt64)] = []
    var indexes: [WordIndex<SegmentWords>] = []
    var numbers: [UInt64: Int] = [:]
    for file in segments.files {
      guard let segment = try? file.segment(), let words = segment.words else { continue }
      let index = try WordIndex(words)
      guard index.chunkLimit == segment.index.count else { throw words.malformed("is of other chunks") }
      numbers[file.reference.digest.tag] = indexes.count
      searched.append((segment, file.reference.digest.tag))
      indexes.append(index)
    }
    let unreadable = segments.files.count - searched.count
    var subsets: [ChunkSet]?
    if let keys {
      var sets = indexes.map { ChunkSet(chunkLimit: $0.chunkLimit) }
      for key in keys {
        guard let place = try catalog.place(of: key, store: path), let number = numbers[place.segment],
          place.entry < indexes[number].chunkLimit
        else { continue }
        sets[number].insert(place.entry)
      }
      subsets = sets
    }
    var search = try WordIndexSearch(indexes, subsets: subsets, threadCount: threadCount)
    while true {
      let found = try search.choice(question, atMost: count)
      var isWhole = true
      for chunk in found where try !isNeeded(searched[chunk.index], chunk.chunk) { isWhole = false }
      if isWhole {
        for file in searched { try file.segment.file.requireWhole() }
        return (
          found.map {
            FoundChunk(key: searched[$0.index].segment.index.key(at: $0.chunk), score: $0.score, words: $0.words)
          }, unreadable
        )
      }
      // There may be many of a text that was removed.
      for chunk in try found + search.best(question, count: 256)
      where try !isNeeded(searched[chunk.index], chunk.chunk) {
        search.leaveOut(chunk)
      }
    }
  }

  /// Whether the record at a place is the one that the catalog leads to, and a document has it.
  private func isNeeded(_ file: (segment: Segment, tag: UInt64), _ entry: Int) throws(Refusal) -> Bool {
    let key = file.segment.index.key(at: entry)
    guard let place = try catalog.place(of: key, store: path), place.segment == file.tag, place.entry == entry else {
      return false
    }
    return try needs(key)
  }
}
