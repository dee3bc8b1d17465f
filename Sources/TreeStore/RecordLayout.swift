internal import ContextTrees
internal import FileAccess

/// What a block's checksum covers besides the block's bytes: where the block belongs.
/// Format: `Formats/tree-store.md`, checksums.
struct BlockLocation {
  enum Kind: UInt32 {
    case head = 1
    /// The embeddings of a tree, the words of a text.
    case search = 2
    case rows = 3
    /// A block of a segment's word index, of no chunk.
    case wordIndex = 4
  }

  let salt: UInt64
  let key: ChunkKey
  let kind: Kind
  /// The node's number, or the block's of a word index; 0 for the other kinds.
  var node = 0

  func checksum(of bytes: RawSpan) -> BlockChecksum {
    var writer = ByteWriter()
    writer.integer(salt)
    key.write(into: &writer)
    writer.integer(kind.rawValue)
    writer.integer(UInt32(node))
    let location = writer.bytes
    return BlockChecksum(of: bytes, seed: unsafe BlockChecksum(of: location.span.bytes, seed: 0).low)
  }
}

/// One block's entry in a record's head.
struct NodeEntry: Equatable {
  static let byteCount = 32

  /// As stored: after compression.
  let byteCount: Int
  let compression: Compression
  /// Whether the padding was left out.
  let isDense: Bool
  let checksum: BlockChecksum

  /// The code of a dense block among those of compressions.
  static let denseCode: UInt64 = 3

  /// Whether the block is read where it lies.
  var isMapped: Bool { compression == .none && !isDense }
}

/// Where the parts of a chunk's record lie in its segment.
/// Format: `Formats/tree-store.md`, chunk records.
struct RecordLayout {
  static let alignment = 64
  /// Parts of this size that are read where they lie start on a page of their own, so that reading one reads nothing
  /// else.
  static let pageThreshold = 16384
  static let pageByteCount = 4096

  static let fixedHeadByteCount = 64

  let head: Range<Int>
  /// The embeddings or words.
  let search: Range<Int>
  let blocks: [Range<Int>]
  /// The record's end, after padding.
  let end: Int

  /// Bytes of the head: fixed fields, an entry for each block, the key of the chunk in view, token ids.
  /// - Parameter linked: whether the chunk is one of a text.
  static func headByteCount(blocks: Int, tokens: Int, linked: Bool) -> Int {
    fixedHeadByteCount + blocks * NodeEntry.byteCount + (linked ? 32 : 0) + tokens * 4
  }

  /// - Parameters:
  ///   - byteOffset: the record's offset in the segment, a multiple of 64.
  ///   - blocks: bytes stored of each block, and whether it is read where it lies.
  /// - Returns: nil when a size does not fit.
  init?(at byteOffset: Int, headByteCount: Int, searchByteCount: Int, blocks stored: [(byteCount: Int, isMapped: Bool)])
  {
    func part(after end: Int, byteCount: Int, isMapped: Bool = true) -> Range<Int>? {
      let alignment = isMapped && byteCount >= Self.pageThreshold ? Self.pageByteCount : Self.alignment
      guard let start = CheckedSize.aligned(end, to: alignment), let end = CheckedSize.sum(start, byteCount) else {
        return nil
      }
      return start..<end
    }
    guard let headEnd = CheckedSize.sum(byteOffset, headByteCount),
      let search = part(after: headEnd, byteCount: searchByteCount)
    else { return nil }
    var blocks: [Range<Int>] = []
    for (byteCount, isMapped) in stored {
      guard let block = part(after: (blocks.last ?? search).upperBound, byteCount: byteCount, isMapped: isMapped)
      else { return nil }
      blocks.append(block)
    }
    guard let end = CheckedSize.aligned((blocks.last ?? search).upperBound, to: Self.alignment) else { return nil }
    head = byteOffset..<headEnd
    self.search = search
    self.blocks = blocks
    self.end = end
  }

  /// The parts in order; there is padding between them and after the last one.
  var parts: [Range<Int>] { [head, search] + blocks }
}
