/// The merges by the pair that they join, in one open-addressing table.
///
/// A slot is one word: left symbol (20 bits), right symbol (20), index of the merge (24); all ones is empty.
struct MergeTable: Sendable {
  /// Stands for no merge.
  static let none = UInt32.max
  private static let emptySlot = UInt64.max
  private static let indexMask: UInt64 = 1 << 24 - 1

  private var slots: [UInt64]
  private let shift: Int
  /// Random, so that nobody can make a file whose merges collide in the table.
  private let multiplier: UInt64
  /// The rank of each merge: lower goes first.
  let ranks: [UInt32]
  /// The symbol that each merge makes.
  let results: [UInt32]

  /// Of two merges of one pair the first counts.
  /// - Precondition: symbols are below 2^20, and there are fewer than 2^24 - 1 merges.
  init(_ merges: [Merge]) {
    var bits = 4
    // At most three quarters full.
    while 1 << bits < merges.count * 4 / 3 + 1 { bits += 1 }
    shift = 64 - bits
    multiplier = UInt64.random(in: .min ... .max) | 1
    let mask = 1 << bits - 1
    var slots = [UInt64](repeating: Self.emptySlot, count: 1 << bits)
    var rank: UInt32 = 0
    ranks = merges.indices.map { index in
      if index > 0, !merges[index].sharesRank { rank += 1 }
      return rank
    }
    results = merges.map(\.result)
    var table = slots.mutableSpan
    nextMerge: for index in merges.indices {
      let pair = UInt64(merges[index].left) << 20 | UInt64(merges[index].right)
      var slot = Self.firstSlot(pair, multiplier, shift)
      while table[slot] != Self.emptySlot {
        if table[slot] >> 24 == pair { continue nextMerge }
        slot = (slot + 1) & mask
      }
      table[slot] = pair << 24 | UInt64(index)
    }
    self.slots = slots
  }

  var count: Int { ranks.count }

  @inline(__always)
  private static func firstSlot(_ pair: UInt64, _ multiplier: UInt64, _ shift: Int) -> Int {
    // The high bits of the product depend on all bits of the pair.
    Int(truncatingIfNeeded: (pair &* multiplier) >> UInt64(shift))
  }

  /// The merge of two neighbours, or `none`. Symbols from 2^20 on never merge.
  @inline(__always)
  func index(_ left: UInt32, _ right: UInt32) -> UInt32 {
    guard (left | right) >> 20 == 0 else { return Self.none }
    let pair = UInt64(left) << 20 | UInt64(right)
    var slot = Self.firstSlot(pair, multiplier, shift)
    while true {
      let entry = slots[slot]
      if entry >> 24 == pair { return UInt32(truncatingIfNeeded: entry & Self.indexMask) }
      if entry == Self.emptySlot { return Self.none }
      slot = (slot + 1) & (slots.count - 1)
    }
  }
}
