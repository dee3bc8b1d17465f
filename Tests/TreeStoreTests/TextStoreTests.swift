import ContextTrees
import FileAccess
import NodeBlocks
import Testing

@testable import TreeStore

/// Stores of texts: chunks that were read behind others, with words and rows.
@Suite struct TextStoreTests {
  /// Chunks of at most 100 tokens.
  private func configuration(
    _ manner: ReadingManner, encoding: RowEncoding = .float32, opening: [Int32] = [7, 8, 9], after: String = "?",
    share: UInt8? = nil
  ) throws -> TreeStoreConfiguration {
    TreeStoreConfiguration(
      modelIdentity: try #require(Digest256(bytes: [UInt8](repeating: 7, count: 32))),
      text: TextForm(
        manner: manner, chunkSize: 100,
        layout: try #require(
          TextRowLayout(layerCount: 2, kvHeadCount: share == nil ? 1 : 2, headDim: 4, encoding: encoding)),
        frame: try #require(ReadingFrame(opening: opening, beforeQuestion: "\n\nQ: ", afterQuestion: after)),
        shares: share.flatMap { HeadShares([$0, 64, $0, 64]) }),
      rowNumerics: "exact")
  }

  /// A chunk with content that depends on its tokens.
  private func chunk(
    _ tokens: [Int32], behind: ChunkKey?, _ configuration: TreeStoreConfiguration, words: String = "a hen"
  ) throws -> EncodedText {
    let form = try #require(configuration.text)
    let (layout, counts) = form.rows(tokens: tokens.count, isFrame: behind == nil && form.manner == .deep)
    let seed = tokens.reduce(7) { $0 &* 31 &+ Int($1) }
    let rows = (0..<layout.byteCount(rowCounts: counts)).map { UInt8(truncatingIfNeeded: seed &+ $0 / 5) }
    return EncodedText(
      tokens: tokens, behind: behind, words: WordCounts(of: words),
      rows: counts.isEmpty ? nil : TextRows(BlockBytes(rows), layout: layout, rowCounts: counts))
  }

  private static func tokens(_ seed: Int32, _ count: Int) -> [Int32] { (0..<Int32(count)).map { seed * 1000 + $0 } }

  /// A store with one text of three chunks.
  private func store(
    _ manner: ReadingManner, _ compression: Compression = .none, encoding: RowEncoding = .float32, share: UInt8? = nil
  ) throws -> (Workplace, [EncodedText]) {
    let workplace = try Workplace()
    let configuration = try configuration(manner, encoding: encoding, share: share)
    var writer = try TreeStoreWriter(
      opening: workplace.store, creating: configuration, segmentByteLimit: 1 << 30, salt: 3)
    var texts: [EncodedText] = []
    var keys: [ChunkKey] = []
    if let frameKey = configuration.frameKey {
      let frame = try chunk([7, 8, 9], behind: nil, configuration, words: "")
      #expect(try writer.add(frame, compression: compression) == frameKey)
    }
    for (number, count) in [100, 100, 40].enumerated() {
      let text = try chunk(
        Self.tokens(Int32(number), count), behind: manner == .deep ? configuration.frameKey : keys.last,
        configuration, words: "the hen of number \(number), hen")
      keys.append(try writer.add(text, compression: compression))
      texts.append(text)
    }
    let frameTokens = manner == .exact ? 3 : 0
    try writer.addDocument(
      name: "a", textDigest: Digest256(of: [1]), textByteCount: 1, tokenCount: 240 - frameTokens,
      chunks: DocumentChunks(keys: keys),
      replacing: false)
    try writer.commit()
    return (workplace, texts)
  }

  @Test(arguments: ReadingManner.allCases, Compression.allCases)
  func whatWasWrittenIsRead(_ manner: ReadingManner, _ compression: Compression) throws {
    let kinds: [(RowEncoding, UInt8?)] =
      RowEncoding.ofCaches.map { ($0, nil) } + (manner == .deep ? [(.int4, nil), (.int4, 21)] : [])
    for (encoding, share) in kinds {
      let (workplace, texts) = try store(manner, compression, encoding: encoding, share: share)
      let store = try TreeStore(opening: workplace.store)
      #expect(store.configuration == (try configuration(manner, encoding: encoding, share: share)))
      if let frameKey = store.configuration.frameKey {
        // Of the frame everything is kept.
        let frame = try #require(try store.text(frameKey)?.rows())
        #expect(frame.rowCount == 3 && frame.layout.encoding == (encoding == .int4 ? .float16 : encoding))
      }
      let document = try #require(try store.document(named: "a"))
      #expect(document.chunkCount == 3)
      for (key, text) in zip(try store.chunks(of: document).keys, texts) {
        let stored = try #require(try store.text(key))
        #expect(stored.tokens == text.tokens && stored.behind == text.behind)
        #expect(try stored.words() == text.words)
        let rows = try stored.rows()
        let (bytes, expected) = (rows.map { $0.storage.bytes.array }, text.rows.map { $0.storage.bytes.array })
        #expect(bytes == expected)
        #expect(rows?.rowCount == text.rows?.rowCount)
        // 21 of 64 of 100 and of 40 tokens, in sixteens; and all.
        if share != nil {
          #expect(rows?.rowCounts == (text.tokens.count == 100 ? [32, 100, 32, 100] : [16, 40, 16, 40]))
        }
        #expect(try store.chunk(key) == nil)
      }
      // Of 40 tokens that are read exactly, none make a whole block.
      #expect((texts[2].rows == nil) == (manner == .exact))
      try store.verify()
    }
  }

  /// The frame is part of a store's identity, and so is what was in view.
  @Test func keysDependOnTheFrameAndOnWhatWasInView() throws {
    let deep = try configuration(.deep)
    let key = deep.chunkKey(tokens: [1, 2], behind: nil)
    #expect(key != deep.chunkKey(tokens: [1, 2], behind: key))
    #expect(key != (try configuration(.exact)).chunkKey(tokens: [1, 2], behind: nil))
    #expect(key != (try configuration(.deep, opening: [7, 8])).chunkKey(tokens: [1, 2], behind: nil))
    #expect(key != (try configuration(.deep, after: "!")).chunkKey(tokens: [1, 2], behind: nil))
    let workplace = try Workplace()
    _ = try TreeStoreWriter(opening: workplace.store, creating: deep)
    for other in [try configuration(.exact), try configuration(.deep, after: "!"), try Fixture.configuration()] {
      #expect(
        refusal { () throws(Refusal) in _ = try TreeStoreWriter(opening: workplace.store, creating: other) }
          == "configuration-mismatch")
    }
  }

  @Test func theFrameStaysWhenGarbageIsCollected() throws {
    let (workplace, _) = try store(.deep)
    let frameKey = try #require(try configuration(.deep).frameKey)
    var writer = try TreeStoreWriter(opening: workplace.store, creating: nil)
    #expect(try writer.collectGarbage() == GarbageReport())
    try writer.removeDocument(named: "a")
    #expect(try writer.collectGarbage().removedChunks == 3)
    let store = try TreeStore(opening: workplace.store)
    #expect(try store.text(frameKey)?.rows()?.rowCount == 3)
    #expect(try store.statistics().uniqueChunks == 1)
    try store.verify()
  }

  @Test func chunksOfAnotherFormAreRefused() throws {
    let workplace = try Workplace()
    let configuration = try configuration(.exact)
    var writer = try TreeStoreWriter(opening: workplace.store, creating: configuration)
    let good = try chunk(Self.tokens(1, 100), behind: nil, configuration)
    let deep = try chunk(Self.tokens(1, 100), behind: nil, self.configuration(.deep))
    let half = try chunk(Self.tokens(1, 100), behind: nil, self.configuration(.exact, encoding: .float16))
    for text in [
      EncodedText(tokens: [], behind: nil, words: .none, rows: nil),
      EncodedText(tokens: Self.tokens(1, 101), behind: nil, words: .none, rows: good.rows),
      EncodedText(tokens: good.tokens, behind: nil, words: .none, rows: nil),
      EncodedText(tokens: good.tokens, behind: nil, words: .none, rows: deep.rows),
      EncodedText(tokens: good.tokens, behind: nil, words: .none, rows: half.rows),
    ] {
      do {
        _ = try writer.add(text, compression: .none)
        Issue.record("a chunk of \(text.tokens.count) tokens was taken")
      } catch {
        #expect(error.name == .invalidChunk)
      }
    }
    let tree = try Fixture.configuration()
    do {
      _ = try writer.add(Fixture.chunk(Fixture.tokens(1), tree), compression: .none)
      Issue.record("a tree was taken")
    } catch {
      #expect(error.name == .invalidChunk)
    }
    _ = try writer.add(good, compression: .none)
    try writer.commit()
    try TreeStore(opening: workplace.store).verify()
  }

  /// A bit of every byte of every file: found when the store is opened or verified.
  @Test(arguments: ReadingManner.allCases)
  func noFlippedBitIsMissed(_ manner: ReadingManner) throws {
    let (workplace, _) = try store(manner)
    for path in try workplace.files() {
      let bytes = try Surgery.read(path)
      for offset in bytes.indices {
        var damaged = bytes
        damaged[offset] ^= 1 << UInt8(offset % 8)
        try Surgery.write(damaged, to: path)
        let name = refusal { () throws(Refusal) in try TreeStore(opening: workplace.store).verify { _, _ in } }
        if name == nil { Issue.record("byte \(offset) of \(path)") }
      }
      try Surgery.write(bytes, to: path)
    }
    try TreeStore(opening: workplace.store).verify()
  }

  /// Words that a reader would search wrongly.
  @Test func wordsAscend() {
    #expect(WordCounts(hashes: [1, 2], counts: [1, 1]) != nil)
    #expect(WordCounts(hashes: [2, 1], counts: [1, 1]) == nil)
    #expect(WordCounts(hashes: [1, 1], counts: [1, 1]) == nil)
    #expect(WordCounts(hashes: [1], counts: [0]) == nil)
    #expect(WordCounts(hashes: [1], counts: []) == nil)
  }
}
