/// Finds pieces by their bytes: one open-addressing table of indices.
struct PieceIndex: Sendable {
  /// Half of the hash, which saves most looks at other pieces, then index + 1; 0 when empty.
  private var slots: [UInt64]
  private static let indexMask: UInt64 = 0xFFFF_FFFF
  private let shift: Int
  /// Random, so that nobody can make a file whose pieces collide in the table.
  private let multiplier = UInt64.random(in: .min ... .max) | 1
  /// The longest piece that is in the table.
  private(set) var longestByteCount = 0

  init(capacity: Int) {
    var bits = 4
    while 1 << bits < capacity * 4 / 3 + 1 { bits += 1 }
    shift = 64 - bits
    slots = [UInt64](repeating: 0, count: 1 << bits)
  }

  @inline(__always)
  private static func step(_ hash: UInt64, _ byte: UInt8) -> UInt64 {
    (hash &+ UInt64(byte) &+ 1) &* 0xD6E8_FEB8_6659_FD93
  }

  @inline(__always)
  private func mixed(_ hash: UInt64) -> UInt64 { (hash ^ hash >> 32) &* multiplier }

  /// - Precondition: fewer pieces than the capacity have been inserted.
  /// - Returns: false when equal bytes are there already.
  mutating func insert(_ index: Int, of pieces: PieceList) -> Bool {
    let range = pieces.range(index)
    let bytes = pieces.bytes.span
    let hash = mixed(Self.hash(bytes, range))
    var slot = Int(truncatingIfNeeded: hash >> UInt64(shift))
    while true {
      let entry = slots[slot]
      if entry == 0 { break }
      if (entry ^ hash << 32) & ~Self.indexMask == 0,
        Self.areEqual(pieces.range(Int(entry & Self.indexMask) - 1), of: bytes, range, of: bytes)
      {
        return false
      }
      slot = (slot + 1) & (slots.count - 1)
    }
    slots[slot] = hash << 32 | UInt64(index + 1)
    longestByteCount = max(longestByteCount, range.count)
    return true
  }

  /// The piece with the bytes of a range of a text.
  @inline(__always)
  func find(_ range: Range<Int>, of text: Span<UInt8>, in pieces: PieceList) -> UInt32? {
    guard range.count <= longestByteCount else { return nil }
    return find(hash: Self.hash(text, range), range, of: text, in: pieces)
  }

  func find(hash: UInt64, _ range: Range<Int>, of text: Span<UInt8>, in pieces: PieceList) -> UInt32? {
    let hash = mixed(hash)
    var slot = Int(truncatingIfNeeded: hash >> UInt64(shift))
    let bytes = pieces.bytes.span
    while true {
      let entry = slots[slot]
      if entry == 0 { return nil }
      if (entry ^ hash << 32) & ~Self.indexMask == 0 {
        let index = Int(entry & Self.indexMask) - 1
        if Self.areEqual(pieces.range(index), of: bytes, range, of: text) { return UInt32(index) }
      }
      slot = (slot + 1) & (slots.count - 1)
    }
  }

  @inline(__always)
  private static func hash(_ bytes: Span<UInt8>, _ range: Range<Int>) -> UInt64 {
    var hash: UInt64 = 0
    for offset in range { hash = step(hash, bytes[offset]) }
    return hash
  }

  @inline(__always)
  private static func areEqual(
    _ left: Range<Int>, of leftBytes: Span<UInt8>, _ right: Range<Int>, of rightBytes: Span<UInt8>
  ) -> Bool {
    guard left.count == right.count else { return false }
    for offset in 0..<left.count
    where leftBytes[left.lowerBound + offset] != rightBytes[right.lowerBound + offset] {
      return false
    }
    return true
  }

  /// The hashes of all the parts of one byte string, each in constant time: a piece of n bytes has n ways to be two
  /// others, and hashing each would take n² steps.
  struct PartHashes {
    private var prefixes: [UInt64] = [0]
    private var powers: [UInt64] = [1]

    init(_ bytes: Span<UInt8>, _ range: Range<Int>) {
      prefixes.reserveCapacity(range.count + 1)
      powers.reserveCapacity(range.count + 1)
      for offset in range {
        prefixes.append(PieceIndex.step(prefixes[prefixes.count - 1], bytes[offset]))
        powers.append(PieceIndex.step(powers[powers.count - 1] &- 1, 0))
      }
    }

    /// The hash of bytes counted from the start of the string.
    subscript(part: Range<Int>) -> UInt64 {
      prefixes[part.upperBound] &- prefixes[part.lowerBound] &* powers[part.count]
    }
  }
}
