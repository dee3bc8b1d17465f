/// The merges by the pair that they join, in one open-addressing table.
///
/// A slot is one word: left symbol (20 bits), right symbol (20), index of the merge (24); all ones is empty.
struct MergeTable: Sendable {
  /// Where no merge is.
  static let none = UInt32.max
  private static let emptySlot = UInt64.max
  private static let indexMask: UInt64 = 1 << 24 - 1

  private var slots: [UInt64]
  private let shift: Int
  /// The rank of each merge: lower goes first.
  let ranks: [UInt32]
  /// The symbol that each merge makes.
  let results: [UInt32]

  /// - Precondition: symbols are below 2^20, there are fewer than 2^24 - 1 merges.
  /// - Returns: nil when a pair has two merges.
  init?(_ merges: [Merge]) {
    var bits = 4
    // At most three quarters full.
    while 1 << bits < merges.count * 4 / 3 + 1 { bits += 1 }
    shift = 64 - bits
    let mask = 1 << bits - 1
    var slots = [UInt64](repeating: Self.emptySlot, count: 1 << bits)
    var ranks: [UInt32] = []
    var results: [UInt32] = []
    ranks.reserveCapacity(merges.count)
    results.reserveCapacity(merges.count)
    var rank: UInt32 = 0
    for (index, merge) in merges.enumerated() {
      if index > 0, !merge.sharesRank { rank += 1 }
      ranks.append(rank)
      results.append(merge.result)
      let pair = UInt64(merge.left) << 20 | UInt64(merge.right)
      var slot = Self.firstSlot(pair, shift)
      while slots[slot] != Self.emptySlot {
        if slots[slot] >> 24 == pair { return nil }
        slot = (slot + 1) & mask
      }
      slots[slot] = pair << 24 | UInt64(index)
    }
    self.slots = slots
    self.ranks = ranks
    self.results = results
  }

  var count: Int { ranks.count }

  @inline(__always)
  private static func firstSlot(_ pair: UInt64, _ shift: Int) -> Int {
    // Fibonacci hashing; the fold brings the left symbol's bits to where the multiplication mixes them most.
    Int(truncatingIfNeeded: ((pair ^ pair >> 20) &* 0x9E37_79B9_7F4A_7C15) >> UInt64(shift))
  }

  /// The merge of two neighbours, or `none`. Symbols from 2^20 on never merge.
  @inline(__always)
  func index(_ left: UInt32, _ right: UInt32) -> UInt32 {
    guard (left | right) >> 20 == 0 else { return Self.none }
    let pair = UInt64(left) << 20 | UInt64(right)
    var slot = Self.firstSlot(pair, shift)
    while true {
      let entry = slots[slot]
      if entry >> 24 == pair { return UInt32(truncatingIfNeeded: entry & Self.indexMask) }
      if entry == Self.emptySlot { return Self.none }
      slot = (slot + 1) & (slots.count - 1)
    }
  }
}
