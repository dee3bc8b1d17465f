internal import FileAccess

/// A segment that can be opened, whether a generation names it or not, and what is wrong with it.
struct SurveyedSegment {
  let segment: Segment
  let reference: SegmentReference
  let isNamed: Bool
  let damaged: Set<Int>
  /// Whether its whole records are written anew and the file is put into quarantine.
  let isReplaced: Bool
}

/// A level of the catalog.
struct SurveyedTable {
  let reference: TableReference
  /// Nil when it cannot be opened.
  let table: CatalogTable?
  let isDamaged: Bool
}

/// Walks over the entries of segments' indices together, in ascending order of key.
struct SegmentMerge {
  private let segments: [Segment]
  /// A heap: the next entry of each segment.
  private var heap: [(key: ChunkKey, segment: Int, entry: Int)] = []

  init(_ segments: [Segment]) {
    self.segments = segments
    for number in segments.indices { push(number, entry: 0) }
  }

  private mutating func push(_ segment: Int, entry: Int) {
    guard entry < segments[segment].index.count else { return }
    heap.append((segments[segment].index.key(at: entry), segment, entry))
    var child = heap.count - 1
    while child > 0, heap[child].key < heap[(child - 1) / 2].key {
      heap.swapAt(child, (child - 1) / 2)
      child = (child - 1) / 2
    }
  }

  private mutating func pop() -> (key: ChunkKey, segment: Int, entry: Int)? {
    guard let first = heap.first else { return nil }
    let last = heap.removeLast()
    if !heap.isEmpty {
      heap[0] = last
      var parent = 0
      while true {
        var least = parent
        for child in [2 * parent + 1, 2 * parent + 2] where child < heap.count && heap[child].key < heap[least].key {
          least = child
        }
        guard least != parent else { break }
        heap.swapAt(parent, least)
        parent = least
      }
    }
    push(first.segment, entry: first.entry + 1)
    return first
  }

  /// The next chunk, and every place where it lies.
  mutating func next() -> (key: ChunkKey, places: [(segment: Int, entry: Int)])? {
    guard let first = pop() else { return nil }
    var places = [(segment: first.segment, entry: first.entry)]
    while heap.first?.key == first.key, let other = pop() { places.append((other.segment, other.entry)) }
    return (first.key, places)
  }
}
