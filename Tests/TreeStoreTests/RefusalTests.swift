import ContextTrees
import FileAccess
import NodeBlocks
import Testing

@testable import TreeStore

/// One case for each fault that `Formats/tree-store.md` names, behind correct digests.
@Suite struct RefusalTests {
  /// A store of one document with two chunks, 8 and 3 tokens.
  private func storeOfTwo(compression: Compression = .none) throws -> Workplace {
    let workplace = try Workplace()
    var writer = try TreeStoreWriter(
      opening: workplace.store, creating: try Fixture.configuration(), segmentByteLimit: 1 << 30, salt: 5)
    try writer.add(
      document: "doc", [Fixture.tokens(1), Fixture.tokens(2, count: 3)], compression: compression, compressible: true)
    try writer.commit()
    return workplace
  }

  /// What opening, verifying and reading a store ends with.
  private func outcome(_ workplace: Workplace) -> String? {
    refusal { () throws(Refusal) in try TreeStore(opening: workplace.store).verify { _, _ in } }
  }

  struct SegmentFault: Sendable, CustomStringConvertible {
    let description: String
    let name: String
    let signs: Bool
    let change: @Sendable (inout [UInt8]) -> Void

    init(
      _ description: String, _ name: String, signs: Bool = true, _ change: @escaping @Sendable (inout [UInt8]) -> Void
    ) {
      self.description = description
      self.name = name
      self.signs = signs
      self.change = change
    }
  }

  static let segmentFaults: [SegmentFault] = [
    SegmentFault("empty", "wrong-length", signs: false) { $0 = [] },
    SegmentFault("magic", "bad-magic") { $0[4] = 0x0A },
    SegmentFault("major version", "newer-version") { $0[8] = 3 },
    SegmentFault("minor version", "newer-version") { $0[10] = 1 },
    SegmentFault("reserved", "malformed-segment") { $0[12] = 1 },
    SegmentFault("feature 9", "unknown-feature") { $0[17] = 2 },
    SegmentFault("header padding", "malformed-segment") { $0[Surgery.parts($0).header - 1] = 1 },
    SegmentFault("chunk size 0", "malformed-configuration") { Surgery.put(UInt32(0), at: 64, in: &$0) },
    SegmentFault("depth 9", "malformed-configuration") { Surgery.put(UInt32(9), at: 68, in: &$0) },
    SegmentFault("leaf ratio 9", "malformed-configuration") { Surgery.put(UInt32(9), at: 72, in: &$0) },
    SegmentFault("layers 0", "malformed-configuration") { Surgery.put(UInt32(0), at: 76, in: &$0) },
    SegmentFault("heads 2^32-1", "malformed-configuration") { Surgery.put(UInt32.max, at: 80, in: &$0) },
    SegmentFault("head dim 1", "malformed-configuration") { Surgery.put(UInt32(1), at: 84, in: &$0) },
    SegmentFault("encoding 5", "malformed-configuration") { Surgery.put(UInt32(5), at: 88, in: &$0) },
    SegmentFault("int4 with head dim 257", "malformed-configuration") {
      Surgery.put(UInt32(257), at: 84, in: &$0)
      Surgery.put(UInt32(4), at: 88, in: &$0)
    },
    SegmentFault("encoding 257", "malformed-configuration") { Surgery.put(UInt32(257), at: 88, in: &$0) },
    SegmentFault("embedding 0", "malformed-configuration") { Surgery.put(UInt32(0), at: 92, in: &$0) },
    SegmentFault("numerics 257", "malformed-configuration", signs: false) {
      Surgery.put(UInt32(257), at: 96, in: &$0)
    },
    SegmentFault("numerics not printable", "malformed-configuration") { $0[100] = 0x7F },
    SegmentFault("footer magic", "bad-magic", signs: false) { $0[$0.count - 34] = 0 },
    SegmentFault("footer length", "wrong-length") { Surgery.put($0.count + 1, at: $0.count - 56, in: &$0) },
    SegmentFault("footer length 2^63", "truncated", signs: false) {
      Surgery.put(UInt64.max, at: $0.count - 56, in: &$0)
    },
    SegmentFault("footer zero", "non-zero-padding") { $0[$0.count - 48] = 1 },
    SegmentFault("index offset", "wrong-length", signs: false) {
      Surgery.put(Surgery.parts($0).index - 64, at: $0.count - 96, in: &$0)
    },
    SegmentFault("chunk count overflows", "wrong-length", signs: false) {
      Surgery.put(Int.max / 32, at: $0.count - 88, in: &$0)
    },
    SegmentFault("index unsigned", "digest-mismatch", signs: false) { $0[Surgery.parts($0).index] ^= 1 },
    SegmentFault("longer", "bad-magic", signs: false) { $0 += [UInt8](repeating: 0, count: 64) },
    SegmentFault("keys swapped", "malformed-segment") { bytes in
      let index = Surgery.parts(bytes).index
      let first = Array(bytes[index..<index + 64])
      bytes.replaceSubrange(index..<index + 64, with: bytes[index + 64..<index + 128])
      bytes.replaceSubrange(index + 64..<index + 128, with: first)
    },
    SegmentFault("record outside", "malformed-segment") {
      Surgery.put(Surgery.parts($0).index, at: Surgery.parts($0).index + 32, in: &$0)
    },
    SegmentFault("record in the header", "malformed-segment") {
      Surgery.put(0, at: Surgery.parts($0).index + 32, in: &$0)
    },
    SegmentFault("record offset 2^64-1", "malformed-segment") {
      Surgery.put(UInt64.max, at: Surgery.parts($0).index + 32, in: &$0)
    },
    SegmentFault("record unaligned", "malformed-segment") { $0[Surgery.parts($0).index + 32] ^= 1 },
    SegmentFault("record longer", "malformed-segment") { $0[Surgery.parts($0).index + 44] += 1 },
    SegmentFault("record shorter", "malformed-segment") { $0[Surgery.parts($0).index + 44] -= 1 },
    SegmentFault("0 tokens", "malformed-segment") {
      Surgery.put(UInt32(0), at: Surgery.parts($0).index + 40, in: &$0)
    },
    SegmentFault("9 tokens", "malformed-segment") {
      Surgery.put(UInt32(9), at: Surgery.parts($0).index + 40, in: &$0)
    },
    SegmentFault("head", "checksum-mismatch") { $0[Surgery.parts($0).header + 32] ^= 1 },
    SegmentFault("salt", "checksum-mismatch") { $0[24] ^= 1 },
    SegmentFault("same record twice", "checksum-mismatch") { bytes in
      // The second chunk's entry leads to the first one's record; the sum of the lengths stays.
      let index = Surgery.parts(bytes).index
      let (first, second) = (Surgery.integer(bytes, at: index + 32), Surgery.integer(bytes, at: index + 96))
      Surgery.put(max(first, second) == first ? second : first, at: index + 32, in: &bytes)
      Surgery.put(max(first, second) == first ? second : first, at: index + 96, in: &bytes)
    },
  ]

  @Test(arguments: segmentFaults.indices) func segments(number: Int) throws {
    let fault = Self.segmentFaults[number]
    let workplace = try storeOfTwo()
    let path = try #require(try workplace.segments().first)
    var bytes = try Surgery.read(path)
    fault.change(&bytes)
    if fault.signs { Surgery.sign(segment: &bytes) }
    let copy = "\(workplace.path)/copy.seg"
    try Surgery.write(bytes, to: copy)
    let found = refusal { () throws(Refusal) in _ = try Segment.inspect(copy) }
    #expect(found == fault.name, "\(fault)")
  }

  /// Changes the first record of the index and signs everything, so that only the record's own checks are left.
  private func record(
    _ compression: Compression = .none, signingHead: Bool = true,
    _ change: (inout [UInt8], _ record: Int, _ tokens: Int) -> Void
  ) throws -> String? {
    let workplace = try storeOfTwo(compression: compression)
    var bytes = try Surgery.read(try #require(try workplace.segments().first))
    let index = Surgery.parts(bytes).index
    let (record, tokens) = (Surgery.integer(bytes, at: index + 32), Int(bytes[index + 40]))
    change(&bytes, record, tokens)
    if signingHead {
      Surgery.sign(head: 0, headByteCount: 64 + (tokens == 8 ? 6 : 5) * 32 + tokens * 4, segment: &bytes)
    }
    try Surgery.install(segment: bytes, in: workplace)
    return outcome(workplace)
  }

  @Test func records() throws {
    #expect(try record { _, _, _ in } == nil)
    #expect(try record { bytes, start, _ in bytes[start] ^= 1 } == "malformed-record")
    #expect(try record { bytes, start, _ in bytes[start + 32] ^= 1 } == "malformed-record")
    #expect(try record { bytes, start, _ in bytes[start + 36] ^= 1 } == "malformed-record")
    #expect(try record { bytes, start, _ in bytes[start + 40] ^= 1 } == "malformed-record")
    // Node 0: its length, an unknown compression, zstd of the same length, lengths that overflow.
    #expect(try record { bytes, start, _ in bytes[start + 64] ^= 64 } == "malformed-record")
    #expect(try record { bytes, start, _ in bytes[start + 72] = 3 } == "malformed-record")
    #expect(try record { bytes, start, _ in bytes[start + 73] = 1 } == "malformed-record")
    #expect(try record { bytes, start, _ in bytes[start + 72] = 2 } == "malformed-record")
    #expect(try record { bytes, start, _ in Surgery.put(0, at: start + 64, in: &bytes) } == "malformed-record")
    #expect(try record { bytes, start, _ in Surgery.put(Int.max, at: start + 64, in: &bytes) } == "malformed-record")
    #expect(try record { bytes, start, _ in Surgery.put(UInt64.max, at: start + 64, in: &bytes) } == "truncated")
    // A shorter frame: what is left of it is not padding.
    #expect(
      try record(.zstd) { bytes, start, _ in Surgery.put(1, at: start + 64, in: &bytes) } == "non-zero-padding")
    // Tokens that are not the key's.
    #expect(
      try record { bytes, start, tokens in bytes[start + 64 + (tokens == 8 ? 6 : 5) * 32] ^= 1 } == "malformed-record")
    // The embeddings and their checksum, and the blocks and theirs.
    #expect(try record { bytes, start, _ in bytes[start + 48] ^= 1 } == "checksum-mismatch")
    #expect(try record { bytes, start, _ in bytes[start + 80] ^= 1 } == "checksum-mismatch")
    #expect(try record { bytes, start, tokens in bytes[start + (tokens == 8 ? 320 : 256)] ^= 1 } == "checksum-mismatch")
    // Padding after the head.
    #expect(
      try record { bytes, start, tokens in bytes[start + (tokens == 8 ? 319 : 255)] = 1 } == "non-zero-padding")
    // The footer's sums.
    #expect(
      try record { bytes, _, _ in
        bytes[bytes.count - 80] ^= 1
        Surgery.sign(segment: &bytes)
      } == "malformed-segment")
  }

  /// A frame that claims more, or holds less, than the geometry says is refused, whatever its checksum.
  @Test(arguments: [Compression.lz4, .zstd]) func frames(compression: Compression) throws {
    let workplace = try Workplace()
    let configuration = try Fixture.configuration(headDim: 64)
    let tree = ContextTree(shape: configuration.shape, tokenCount: 8)
    try publish(
      Fixture.tokens(1), embeddings: [Float](repeating: 0, count: 18),
      blocks: tree.nodes.map { node in
        let byteCount = configuration.layout.byteCount(rows: node.rowCount)
        // A bomb: a thousand times the block, in fewer bytes than the block has.
        let frame = compression.compress([UInt8](repeating: 0, count: node.number == 3 ? byteCount * 40 : byteCount))
        return StoredBlock(stored: BlockBytes(frame), compression: compression)
      }, configuration, in: workplace)
    #expect(outcome(workplace) == "malformed-frame")
  }

  @Test func notFiniteEmbedding() throws {
    let workplace = try Workplace()
    let configuration = try Fixture.configuration()
    let chunk = Fixture.chunk(Fixture.tokens(1), configuration)
    try publish(
      chunk.tokens, embeddings: [.infinity] + chunk.embeddings.dropFirst(),
      blocks: chunk.blocks.map { StoredBlock($0.storage, compression: .none) }, configuration, in: workplace)
    #expect(outcome(workplace) == "malformed-record")
  }
}

/// Commits a segment that the writer would refuse to write.
private func publish(
  _ tokens: [Int32], embeddings: [Float], blocks: [StoredBlock], _ configuration: TreeStoreConfiguration,
  in workplace: Workplace
) throws {
  _ = try TreeStoreWriter(opening: workplace.store, creating: configuration)
  var writer = try SegmentWriter(in: StoreDirectory(workplace.store), configuration, salt: 1)
  try unsafe writer.append(
    configuration.chunkKey(tokens: tokens), behind: nil, tokens: tokens, search: embeddings.span.bytes, blocks: blocks)
  let reference = try writer.publish().reference
  try Surgery.edit(manifestOf: workplace) { $0.segments = [reference] }
}
