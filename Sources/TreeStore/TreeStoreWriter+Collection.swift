public import FileAccess

/// What `TreeStoreWriter.collectGarbage` did.
public struct GarbageReport: Sendable, Hashable {
  public var droppedSegments = 0
  public var rewrittenSegments = 0
  public var removedChunks = 0
  /// The length of the segment files that were removed.
  public var freedByteCount = 0
  /// Chunks that documents need and that cannot be read, in segments that would have been rewritten. They stay until their
  /// text is stored again.
  public var damagedChunks = 0
  /// Segments that cannot be opened. They stay.
  public var unreadableSegments = 0
  /// Files that no generation knows. They stay until the store is repaired.
  public var unknownFiles = 0

  public init() {}
}

/// How much of a store is written anew to free space.
public enum CollectionScope: Sendable, Hashable {
  /// Segments of which at least half is not needed.
  case wasteful
  /// Segments of which anything is not needed: then nothing is left of texts that were removed.
  case all
  /// As `all`, and segments that are small, so that the store has few files.
  case compact
}

extension TreeStoreWriter {
  /// Removes whatever no document needs, after committing pending changes: drops segments without needed chunks, writes
  /// others anew without the rest, and removes files that earlier generations named.
  ///
  /// Readers that are open keep what they have mapped. What cannot be read stays as it is: a needed chunk that is damaged
  /// keeps its segment, a segment that cannot be opened stays named, and files that no generation knows stay.
  /// - Throws: `Refusal`; then the store is as it was or already free of garbage.
  public mutating func collectGarbage(_ scope: CollectionScope = .wasteful) throws(Refusal) -> GarbageReport {
    try commit()
    return try step { (writer) throws(Refusal) in
      var report = GarbageReport()
      let live = try LiveChunks(writer)
      report.unreadableSegments = live.unreadableCount
      var rewritten: [(file: SegmentFile, entries: [Int])] = []
      var dropped: Set<UInt64> = []
      for (index, file) in writer.segments.files.enumerated() {
        guard let segment = try? file.segment(), live.isWorthRewriting(index, scope, writer.effectiveSegmentByteLimit)
        else {
          continue
        }
        let entries = segment.inFileOrder(live.entries(of: index))
        let damaged = entries.count { (try? StoredRecord(in: segment, at: $0))?.isWhole != true }
        report.damagedChunks += damaged
        guard damaged == 0 else { continue }
        report.removedChunks += segment.index.count - entries.count
        if entries.isEmpty {
          report.droppedSegments += 1
          dropped.insert(file.reference.digest.tag)
          writer.replaced.append(ObsoleteFile(digest: file.reference.digest, kind: .segment))
        } else {
          rewritten.append((file, entries))
        }
      }
      // One small segment alone would only be written again.
      if rewritten.count == 1, rewritten[0].entries.count == rewritten[0].file.reference.chunkCount { rewritten = [] }
      for (file, entries) in rewritten {
        let segment = try file.segment()
        for number in entries { try writer.copy(try StoredRecord(in: segment, at: number)) }
        report.rewrittenSegments += 1
        dropped.insert(file.reference.digest.tag)
        writer.replaced.append(ObsoleteFile(digest: file.reference.digest, kind: .segment))
      }
      try writer.finishSegment()
      if !dropped.isEmpty || scope != .wasteful && writer.catalog.levels.count > 1 {
        writer.segments.remove { dropped.contains($0.reference.digest.tag) }
        try writer.publishGeneration { dropped.contains($0.segment) }
      }
      report.freedByteCount = try writer.removeObsoleteFiles()
      report.unknownFiles = try StoreCreation.unknownFiles(writer.path, writer.manifest).count
      return report
    }
  }

  /// Segments that are merged by the way have no more bytes together; larger ones wait for `compact`.
  private static var mergeByteLimit: Int { 1 << 26 }
  /// So many segments of one size are one of the next.
  private static var fanOut: Int { 8 }

  private static func tier(_ byteCount: Int) -> Int { SizeTier.of(byteCount, from: 1 << 16, times: fanOut) }

  /// Writes segments of one size as one when there are many.
  mutating func mergeSmallSegments() throws(Refusal) {
    let groups = Dictionary(grouping: segments.files) { Self.tier($0.reference.byteCount) }
    for (_, files) in groups.sorted(by: { $0.key < $1.key }) where files.count >= Self.fanOut {
      let byteCount = files.reduce(0) { CheckedSize.sum($0, $1.reference.byteCount) ?? .max }
      guard byteCount <= min(Self.mergeByteLimit, effectiveSegmentByteLimit),
        byteLimit == 0 || hasRoom(for: byteCount), let entries = try wholeEntries(of: files)
      else {
        continue
      }
      for (file, numbers) in zip(files, entries) {
        let segment = try file.segment()
        for number in numbers { try copy(try StoredRecord(in: segment, at: number)) }
      }
      try finishSegment()
      let merged = Set(files.map(\.reference.digest.tag))
      segments.remove { merged.contains($0.reference.digest.tag) }
      replaced += files.map { ObsoleteFile(digest: $0.reference.digest, kind: .segment) }
      return
    }
  }

  /// The entries of segments that are the chunks' places, for each segment.
  /// - Returns: nil when one of them cannot be read: then its segment stays.
  private func wholeEntries(of files: [SegmentFile]) throws(Refusal) -> [[Int]]? {
    var result: [[Int]] = []
    for file in files {
      guard let segment = try? file.segment() else { return nil }
      var entries: [Int] = []
      for number in 0..<segment.index.count {
        guard let place = try place(of: segment.index.key(at: number)),
          place.segment == file.reference.digest.tag, place.entry == number
        else { continue }
        guard let record = try? StoredRecord(in: segment, at: number), record.isWhole else { return nil }
        entries.append(number)
      }
      result.append(segment.inFileOrder(entries))
    }
    return result
  }
}

extension Segment {
  /// Sorts entries by where their records lie: the chunks of a text stay together.
  fileprivate func inFileOrder(_ entries: [Int]) -> [Int] {
    entries.map { ($0, index.entry(at: $0).byteOffset) }.sorted { $0.1 < $1.1 }.map(\.0)
  }
}

/// Which chunks documents need, by where they lie: a bit for each.
private struct LiveChunks {
  private var bits: [[UInt64]]
  /// Bytes of the records that are needed, and of all, for each segment.
  private var byteCounts: [(live: Int, all: Int, file: Int)] = []
  private(set) var unreadableCount = 0

  init(_ writer: borrowing TreeStoreWriter) throws(Refusal) {
    let segments = writer.segments
    bits = []
    for file in segments.files {
      // Of a segment that cannot be opened nobody asks.
      let segment = try? file.segment()
      unreadableCount += segment == nil ? 1 : 0
      bits.append([UInt64](repeating: 0, count: ((segment?.index.count ?? 0) + 63) / 64))
      byteCounts.append((0, segment?.records.count ?? 0, file.reference.byteCount))
    }
    let chunkCounts = segments.files.map { (try? $0.segment())?.index.count ?? 0 }
    var (bits, byteCounts) = (bits, byteCounts)
    try writer.catalog.forEachChunk(
      store: writer.path, frame: writer.configuration.frameKey
    ) { (key, place, isNeeded) throws(Refusal) in
      guard isNeeded, let index = segments.index(of: place.segment), !bits[index].isEmpty else { return }
      // What a segment really has of it would be removed.
      guard place.entry < chunkCounts[index] else {
        throw Refusal(
          .malformedTable, file: writer.path, structure: "chunk \(key.short)", "its place is in no segment's index")
      }
      bits[index][place.entry / 64] |= 1 << UInt64(place.entry % 64)
      byteCounts[index].live += place.byteCount
    }
    self.bits = bits
    self.byteCounts = byteCounts
  }

  func isWorthRewriting(_ segment: Int, _ scope: CollectionScope, _ segmentByteLimit: Int) -> Bool {
    let (live, all, file) = byteCounts[segment]
    return switch scope {
    case .wasteful: live * 2 <= all
    case .all: live < all
    case .compact: live < all || file < segmentByteLimit / 2
    }
  }

  /// In ascending order.
  func entries(of segment: Int) -> [Int] {
    var result: [Int] = []
    for (word, bits) in bits[segment].enumerated() {
      var rest = bits
      while rest != 0 {
        result.append(word * 64 + rest.trailingZeroBitCount)
        rest &= rest - 1
      }
    }
    return result
  }
}
