/// Joins the symbols of one word, lowest rank first and leftmost among equals.
///
/// Source: Sennrich et al. 2016, Neural Machine Translation of Rare Words with Subword Units, section 3.2.
struct MergeWorkspace {
  /// The symbols of the word; after `run`, those that are left.
  var symbols: [UInt32] = []
  /// For each unused piece that was considered, the merge that last made it.
  private(set) var splits: [UInt32: UInt32] = [:]

  /// The merge of each symbol with the next one.
  private var pending: [UInt32] = []
  private var next: [Int32] = []
  private var previous: [Int32] = []
  private var heap: [Candidate] = []

  /// Longer words go through the heap, so that time stays within n log n.
  static let shortWordSymbolCount = 24

  private struct Candidate {
    /// Rank, then position.
    var key: UInt64
    var merge: UInt32
  }

  mutating func run(_ table: MergeTable, recordingSplitsOf isUnused: ((UInt32) -> Bool)? = nil) {
    guard symbols.count > 1 else { return }
    if symbols.count <= Self.shortWordSymbolCount {
      runShort(table, isUnused)
    } else {
      runLong(table, isUnused)
    }
  }

  @inline(__always)
  private mutating func merge(
    _ left: UInt32, _ right: UInt32, _ table: MergeTable, _ isUnused: ((UInt32) -> Bool)?
  ) -> UInt32 {
    let index = table.index(left, right)
    if let isUnused, index != MergeTable.none, isUnused(table.results[Int(index)]) {
      splits[table.results[Int(index)]] = index
    }
    return index
  }

  /// Looks through all neighbours for each merge: quadratic, and the fastest for words.
  mutating func runShort(_ table: MergeTable, _ isUnused: ((UInt32) -> Bool)?) {
    pending.removeAll(keepingCapacity: true)
    for index in 1..<symbols.count {
      pending.append(merge(symbols[index - 1], symbols[index], table, isUnused))
    }
    while true {
      var best = -1
      var bestRank = UInt32.max
      for index in pending.indices where pending[index] != MergeTable.none {
        let rank = table.ranks[Int(pending[index])]
        if rank < bestRank { (best, bestRank) = (index, rank) }
      }
      guard best >= 0 else { return }
      symbols[best] = table.results[Int(pending[best])]
      symbols.remove(at: best + 1)
      pending.remove(at: best)
      if best > 0 { pending[best - 1] = merge(symbols[best - 1], symbols[best], table, isUnused) }
      if best < pending.count { pending[best] = merge(symbols[best], symbols[best + 1], table, isUnused) }
    }
  }

  /// Takes merges from a heap. A candidate whose pair has changed since is passed over.
  mutating func runLong(_ table: MergeTable, _ isUnused: ((UInt32) -> Bool)?) {
    let count = symbols.count
    precondition(count < Int32.max, "a word has fewer than 2^31 symbols")
    pending = [UInt32](repeating: MergeTable.none, count: count)
    next = (0..<Int32(count)).map { $0 + 1 }
    previous = (0..<Int32(count)).map { $0 - 1 }
    heap.removeAll(keepingCapacity: true)
    for index in 0..<count - 1 { consider(index, index + 1, table, isUnused) }
    while let candidate = popCandidate() {
      let left = Int(candidate.key & 0xFFFF_FFFF)
      guard pending[left] == candidate.merge else { continue }
      let right = Int(next[left])
      symbols[left] = table.results[Int(candidate.merge)]
      next[left] = next[right]
      pending[right] = MergeTable.none
      pending[left] = MergeTable.none
      if Int(next[right]) < count { previous[Int(next[right])] = Int32(left) }
      if previous[left] >= 0 { consider(Int(previous[left]), left, table, isUnused) }
      if Int(next[left]) < count { consider(left, Int(next[left]), table, isUnused) }
    }
    var kept = 0
    var index = 0
    while index < count {
      symbols[kept] = symbols[index]
      kept += 1
      index = Int(next[index])
    }
    symbols.removeLast(count - kept)
  }

  private mutating func consider(
    _ left: Int, _ right: Int, _ table: MergeTable, _ isUnused: ((UInt32) -> Bool)?
  ) {
    let index = merge(symbols[left], symbols[right], table, isUnused)
    pending[left] = index
    guard index != MergeTable.none else { return }
    pushCandidate(Candidate(key: UInt64(table.ranks[Int(index)]) << 32 | UInt64(left), merge: index))
  }

  private mutating func pushCandidate(_ candidate: Candidate) {
    var hole = heap.count
    heap.append(candidate)
    while hole > 0 {
      let parent = (hole - 1) / 2
      guard candidate.key < heap[parent].key else { break }
      heap[hole] = heap[parent]
      hole = parent
    }
    heap[hole] = candidate
  }

  private mutating func popCandidate() -> Candidate? {
    guard let first = heap.first else { return nil }
    let last = heap.removeLast()
    guard !heap.isEmpty else { return first }
    var hole = 0
    while true {
      var child = 2 * hole + 1
      guard child < heap.count else { break }
      if child + 1 < heap.count, heap[child + 1].key < heap[child].key { child += 1 }
      guard heap[child].key < last.key else { break }
      heap[hole] = heap[child]
      hole = child
    }
    heap[hole] = last
    return first
  }

  mutating func forgetSplits() { splits.removeAll() }
}
