import ContextTrees
import FileAccess
import NodeBlocks
import Testing

@testable import TreeStore

/// Where the parts of a whole segment lie, to sign it again when they have been changed; and all that reads one.
struct SegmentParts {
  struct Record {
    let entry: Int
    let key: ChunkKey
    let layout: RecordLayout
    let nodes: [Int]
  }

  let salt: UInt64
  let header: Int
  let records: [Record]
  /// The word index without its checksums.
  let words: Range<Int>?
  let checksums: Range<Int>
  let index: Int

  init(_ segment: Segment) throws {
    salt = segment.salt
    header = segment.records.lowerBound
    records = try (0..<segment.index.count).map { entry in
      let record = try StoredRecord(in: segment, at: entry)
      let forms = segment.configuration.blocks(
        tokens: record.tokens.count, isFrame: record.key == segment.frameKey)
      return Record(entry: entry, key: record.key, layout: record.layout, nodes: forms.map(\.number))
    }
    index = segment.index.byteOffset
    words = segment.words.map { $0.start..<$0.start + $0.bytes.byteCount }
    checksums = segment.words?.checksums ?? index..<index
  }

  func random(_ random: inout some RandomNumberGenerator, byteCount: Int) -> Range<Int> {
    guard let record = records.randomElement(using: &random) else { return 0..<byteCount }
    switch Int.random(in: 0..<8, using: &random) {
    case 0: return 0..<header
    case 1: return index..<byteCount - Segment.footerByteCount
    case 2: return byteCount - Segment.footerByteCount..<byteCount - 32
    case 3: return record.layout.head
    case 4: return record.layout.search
    case 5: return record.layout.blocks.randomElement(using: &random) ?? record.layout.head
    default: return words ?? record.layout.head
    }
  }

  /// Makes every checksum right, and the digest.
  func sign(_ bytes: inout [UInt8]) {
    func checksum(_ range: Range<Int>, _ key: ChunkKey, _ kind: BlockLocation.Kind, _ node: Int = 0) -> BlockChecksum {
      let part = Array(bytes[range])
      return unsafe BlockLocation(salt: salt, key: key, kind: kind, node: node).checksum(of: part.span.bytes)
    }
    for record in records {
      let head = record.layout.head
      Surgery.put(checksum(record.layout.search, record.key, .search), at: head.lowerBound + 48, in: &bytes)
      for (number, block) in record.layout.blocks.enumerated() {
        Surgery.put(
          checksum(block, record.key, .rows, record.nodes[number]), at: head.lowerBound + 64 + 32 * number + 16,
          in: &bytes)
      }
      Surgery.put(checksum(head, record.key, .head), at: index + 64 * record.entry + 48, in: &bytes)
    }
    if let words {
      let zeros = [UInt8](repeating: 0, count: 32)
      let none = unsafe ChunkKey(zeros.span.bytes, at: 0)
      for (number, start) in stride(from: words.lowerBound, to: words.upperBound, by: SegmentWords.blockByteCount)
        .enumerated()
      {
        let block = start..<min(start + SegmentWords.blockByteCount, words.upperBound)
        Surgery.put(checksum(block, none, .wordIndex, number), at: checksums.lowerBound + 16 * number, in: &bytes)
      }
    }
    var hasher = Hasher256()
    for range in [0..<header, checksums, index..<bytes.count - 32] { hasher.update(Array(bytes[range])) }
    bytes.replaceSubrange((bytes.count - 32)..., with: hasher.finalize().bytes)
  }

  /// Everything that reads a segment, each for itself.
  static func read(_ path: String) -> [String] {
    let outcomes = [
      refusal { () throws(Refusal) in
        let inspection = try Segment.inspect(path)
        _ = (inspection.text, inspection.json)
      },
      refusal { () throws(Refusal) in _ = try Segment.verify(path) { _, _ in } },
      refusal { () throws(Refusal) in
        let segment = try Segment(opening: try MappedFile(path))
        _ = segment.examine(digest: Digest256(of: [])) { _ in }
      },
      refusal { () throws(Refusal) in
        let segment = try Segment(opening: try MappedFile(path))
        for entry in 0..<segment.index.count {
          guard let record = try? StoredRecord(in: segment, at: entry) else { continue }
          if let form = segment.configuration.text {
            let text = StoredText(record, form)
            _ = try? text.words()
            _ = try? text.rows()
          }
          _ = try? record.search()
          for number in record.entries.indices { _ = try? record.block(number) }
        }
      },
      refusal { () throws(Refusal) in
        let segment = try Segment(opening: try MappedFile(path))
        guard let words = segment.words else { return }
        let search = try WordIndexSearch([try WordIndex(words)], subsets: nil, threadCount: 1)
        _ = try search.choice("where is the hen of number 3?", atMost: 3)
      },
    ]
    return outcomes.map { $0 ?? "none" }
  }

  /// All that can be read of each record, past what cannot.
  static func contents(_ segment: Segment) throws -> [ChunkKey: [UInt8]] {
    let damaged = segment.examine(digest: Digest256(of: [])) { _ in }.damaged
    var result: [ChunkKey: [UInt8]] = [:]
    for entry in 0..<segment.index.count where damaged[entry] == nil {
      let record = try StoredRecord(in: segment, at: entry)
      var bytes = array(try record.search(), of: segment.file)
      for number in record.entries.indices { bytes += array(try record.block(number)) }
      result[record.key] = bytes
    }
    return result
  }

  private static func array(_ range: Range<Int>, of file: MappedFile) -> [UInt8] { file.bytes.extracting(range).array }

  private static func array(_ block: BlockBytes) -> [UInt8] { block.bytes.array }

  /// A store with one segment, and the segment's bytes.
  static func example(
    _ compression: Compression, ofTexts isText: Bool, chunks: Int = 4
  ) throws -> (Workplace, bytes: [UInt8], Segment) {
    let workplace = try Workplace.inMemory()
    try addSegment(to: workplace.store, compression, ofTexts: isText, chunks: chunks)
    let file = try #require(try workplace.segments().first)
    return (workplace, try Surgery.read(file), try Segment(opening: try MappedFile(file)))
  }

  private static func addSegment(
    to path: String, _ compression: Compression, ofTexts isText: Bool, chunks: Int
  ) throws {
    guard !isText else { return try addTexts(to: path, compression, chunks: chunks) }
    var writer = try TreeStoreWriter(
      opening: path, creating: try Fixture.configuration(chunkSize: 32, headDim: 8), segmentByteLimit: 1 << 30,
      salt: 5)
    for number in 0..<chunks {
      let tokens = Fixture.tokens(number, count: 20 + number)
      try writer.add(document: "d\(number)", [tokens], compression: compression, compressible: true)
    }
    try writer.commit()
  }

  private static func addTexts(to path: String, _ compression: Compression, chunks: Int) throws {
    let form = TextForm(
      manner: .deep, chunkSize: 100,
      layout: try #require(TextRowLayout(layerCount: 2, kvHeadCount: 1, headDim: 4, encoding: .int8)),
      frame: try #require(ReadingFrame(opening: [7, 8, 9], beforeQuestion: "\n\nQ: ", afterQuestion: "?")), shares: nil)
    let configuration = TreeStoreConfiguration(
      modelIdentity: try #require(Digest256(bytes: [UInt8](repeating: 7, count: 32))), text: form,
      rowNumerics: "exact")
    func chunk(_ tokens: [Int32], behind: ChunkKey?, words: String) -> EncodedText {
      let (layout, counts) = form.rows(tokens: tokens.count, isFrame: behind == nil)
      let rows = (0..<layout.byteCount(rowCounts: counts)).map { UInt8(truncatingIfNeeded: $0 / 5) }
      return EncodedText(
        tokens: tokens, behind: behind, words: WordCounts(of: words),
        rows: counts.isEmpty ? nil : TextRows(BlockBytes(rows), layout: layout, rowCounts: counts))
    }
    var writer = try TreeStoreWriter(opening: path, creating: configuration, segmentByteLimit: 1 << 30, salt: 3)
    _ = try writer.add(chunk([7, 8, 9], behind: nil, words: ""), compression: compression)
    for number in 0..<chunks {
      let tokens = (0..<Int32(20 + number)).map { Int32(number) * 1000 + $0 }
      let key = try writer.add(
        chunk(tokens, behind: configuration.frameKey, words: "the hen of number \(number), hen, and a fox"),
        compression: compression)
      try writer.addDocument(
        name: "d\(number)", textDigest: Digest256(of: [UInt8(number)]), textByteCount: 9, tokenCount: tokens.count,
        chunks: DocumentChunks(keys: [key]), replacing: false)
    }
    try writer.commit()
  }
}
