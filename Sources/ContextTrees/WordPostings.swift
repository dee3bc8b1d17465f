// Which chunks have a word, and how often: blocks of up to 128 chunks, each of which can be passed over unread.
// Format: `Formats/tree-store.md`, word indexes.

/// A chunk that has a word.
struct WordPosting: Sendable, Hashable {
  var chunk: UInt32
  var count: UInt32
}

/// Up to 128 chunks that have a word, taken apart.
struct PostingBlock: Sendable {
  static let limit = 128

  private(set) var count = 0
  /// Ascending; the first `count` are those of the block.
  private(set) var chunks = [UInt32](repeating: 0, count: limit)
  private(set) var counts = [UInt32](repeating: 0, count: limit)

  /// Takes a block apart.
  /// - Parameters:
  ///   - first: the chunk after the last of the block before.
  ///   - last: the last chunk of this one, at most 2^32 - 1.
  ///   - byteOffset: of the differences, whose bytes and those of the counts are there.
  /// - Returns: false when the differences go past the last chunk.
  fileprivate mutating func read(
    _ bytes: RawSpan, at byteOffset: Int, _ header: PostingBlockHeader, count: Int, first: UInt64, last: UInt64
  ) -> Bool {
    self.count = count
    var chunks = chunks.mutableSpan
    // 127 differences of 32 bits cannot overflow 64.
    var next = first
    switch header.differenceByteCount {
    case 1:
      for index in 0..<count - 1 {
        next += UInt64(unsafe bytes.unsafeLoad(fromUncheckedByteOffset: byteOffset + index, as: UInt8.self))
        chunks[index] = UInt32(truncatingIfNeeded: next)
        next += 1
      }
    case 2:
      for index in 0..<count - 1 {
        next += UInt64(
          unsafe UInt16(
            littleEndian: bytes.unsafeLoadUnaligned(
              fromUncheckedByteOffset: byteOffset + index * 2, as: UInt16.self)))
        chunks[index] = UInt32(truncatingIfNeeded: next)
        next += 1
      }
    default:
      for index in 0..<count - 1 {
        next += UInt64(
          unsafe UInt32(
            littleEndian: bytes.unsafeLoadUnaligned(
              fromUncheckedByteOffset: byteOffset + index * 4, as: UInt32.self)))
        chunks[index] = UInt32(truncatingIfNeeded: next)
        next += 1
      }
    }
    chunks[count - 1] = UInt32(truncatingIfNeeded: last)
    var counts = counts.mutableSpan
    let start = byteOffset + (count - 1) * header.differenceByteCount
    switch header.countByteCount {
    case 0: for index in 0..<count { counts[index] = 1 }
    case 1:
      for index in 0..<count {
        counts[index] = UInt32(unsafe bytes.unsafeLoad(fromUncheckedByteOffset: start + index, as: UInt8.self))
      }
    default:
      for index in 0..<count {
        counts[index] =
          unsafe UInt32(
            littleEndian: bytes.unsafeLoadUnaligned(fromUncheckedByteOffset: start + index * 4, as: UInt32.self))
      }
    }
    return next <= last
  }
}

/// How a block is written.
private struct PostingBlockHeader {
  let differenceByteCount: Int
  let countByteCount: Int

  /// - Returns: nil when a writer writes no such byte.
  init?(byte: UInt8) {
    switch byte & 3 {
    case 0: differenceByteCount = 1
    case 1: differenceByteCount = 2
    case 2: differenceByteCount = 4
    default: return nil
    }
    switch byte >> 2 {
    case 0: countByteCount = 0
    case 1: countByteCount = 1
    case 2: countByteCount = 4
    default: return nil
    }
  }

  init(_ differences: some Collection<UInt32>, _ counts: some Collection<UInt32>) {
    let difference = differences.max() ?? 0
    differenceByteCount = difference < 1 << 8 ? 1 : difference < 1 << 16 ? 2 : 4
    countByteCount = counts.allSatisfy { $0 == 1 } ? 0 : counts.allSatisfy { $0 < 1 << 8 } ? 1 : 4
  }

  var byte: UInt8 {
    let low: UInt8 = differenceByteCount == 1 ? 0 : differenceByteCount == 2 ? 1 : 2
    let high: UInt8 = countByteCount == 0 ? 0 : countByteCount == 1 ? 1 : 2
    return high << 2 | low
  }

  func byteCount(of count: Int) -> Int { (count - 1) * differenceByteCount + count * countByteCount }
}

/// Reads the chunks of one word, block by block.
struct PostingCursor: Sendable {
  /// What a cursor found.
  enum Step { case block, end, malformed }

  private var offset: Int
  private let end: Int
  private var left: Int
  /// The first chunk that the next block can have.
  private var next: UInt64 = 0
  private let chunkLimit: UInt64

  /// - Parameters:
  ///   - range: of the word's blocks.
  ///   - count: chunks of the word.
  ///   - chunkLimit: all chunks are below it.
  init(_ range: Range<Int>, count: Int, chunkLimit: Int) {
    offset = range.lowerBound
    end = range.upperBound
    left = count
    self.chunkLimit = UInt64(chunkLimit)
  }

  /// Takes the next block apart.
  /// - Parameters:
  ///   - bytes: of the index, which hold the cursor's range.
  ///   - chunks: blocks that end before them are passed over, and those that cannot have one of them are not looked for.
  ///   - candidates: blocks that cannot have one of them are passed over; nil for all of `chunks`.
  mutating func step(
    _ bytes: RawSpan, in chunks: Range<Int>, among candidates: ChunkSet? = nil,
    into block: inout PostingBlock
  ) -> Step {
    while left > 0, next < UInt64(chunks.upperBound) {
      var position = offset
      guard position < end,
        let header = PostingBlockHeader(byte: bytes.integer(at: position, as: UInt8.self))
      else { return .malformed }
      position += 1
      guard let span = bytes.varint(at: &position, below: end) else { return .malformed }
      let count = min(left, PostingBlock.limit)
      let (last, isTooLarge) = next.addingReportingOverflow(span)
      let byteCount = header.byteCount(of: count)
      guard !isTooLarge, last < chunkLimit, end - position >= byteCount else { return .malformed }
      let first = next
      offset = position + byteCount
      left -= count
      next = last + 1
      guard last >= UInt64(chunks.lowerBound) else { continue }
      if let candidates, !candidates.hasAny(in: Int(first)...Int(last), offset: chunks.lowerBound) { continue }
      return block.read(bytes, at: position, header, count: count, first: first, last: last) ? .block : .malformed
    }
    return left > 0 || offset == end ? .end : .malformed
  }
}

extension WordPosting {
  /// Appends the blocks of a word.
  /// - Parameter postings: of ascending chunks, not empty.
  static func encode(_ postings: ArraySlice<WordPosting>, into bytes: inout [UInt8]) {
    var next: UInt32 = 0
    var rest = postings
    while let last = rest.prefix(PostingBlock.limit).last {
      let block = rest.prefix(PostingBlock.limit)
      rest = rest.dropFirst(block.count)
      bytes.appendVarint(UInt64(last.chunk - next))
      let spanByteCount = UInt64(last.chunk - next).varintByteCount
      var differences: [UInt32] = []
      for posting in block.dropLast() {
        differences.append(posting.chunk - next)
        next = posting.chunk + 1
      }
      next = last.chunk &+ 1
      let counts = block.map(\.count)
      let header = PostingBlockHeader(differences, counts)
      bytes.insert(header.byte, at: bytes.count - spanByteCount)
      for difference in differences { bytes.append(difference, byteCount: header.differenceByteCount) }
      for count in counts { bytes.append(count, byteCount: header.countByteCount) }
    }
  }
}

extension UInt64 {
  /// Bytes of seven bits each.
  fileprivate var varintByteCount: Int { Swift.max(1, (70 - leadingZeroBitCount) / 7) }
}

extension RawSpan {
  /// Reads a number in groups of seven bits, low ones first, and passes over it.
  /// - Parameter end: not past the bytes.
  /// - Returns: nil when it does not end before, or is not the shortest way to write a number below 2^63.
  func varint(at position: inout Int, below end: Int) -> UInt64? {
    var value: UInt64 = 0
    var shift: UInt64 = 0
    while position < end, shift < 63 {
      let byte = unsafe unsafeLoad(fromByteOffset: position, as: UInt8.self)
      position += 1
      value |= UInt64(byte & 0x7F) << shift
      if byte < 0x80 { return byte == 0 && shift > 0 ? nil : value }
      shift += 7
    }
    return nil
  }
}

extension [UInt8] {
  /// Appends a number in groups of seven bits, low ones first.
  mutating func appendVarint(_ value: UInt64) {
    var rest = value
    while rest >= 0x80 {
      append(UInt8(truncatingIfNeeded: rest) | 0x80)
      rest >>= 7
    }
    append(UInt8(truncatingIfNeeded: rest))
  }

  /// Appends the low bytes of a number.
  mutating func append(_ value: some FixedWidthInteger, byteCount: Int) {
    for index in 0..<byteCount { append(UInt8(truncatingIfNeeded: value >> (8 * index))) }
  }
}
