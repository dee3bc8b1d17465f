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
  /// Files that no generation knows, and segments that none knew until a writer took them in. They stay until the store
  /// is repaired.
  public var unknownFiles = 0
  /// Files that would have been written anew, and for which a store that has a limit has no room. They stay.
  public var filesWithoutRoom = 0
  /// How much more room would do for one of them, at most.
  public var missingByteCount = 0

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
  /// keeps its segment, a segment that cannot be opened stays named, and files that no generation knows stay. A store that
  /// has a limit keeps it all the while: as many segments are written anew at once as there is room for, and the old ones
  /// removed before the next.
  /// - Throws: `Refusal`; then the store is as it was or already free of garbage.
  public mutating func collectGarbage(_ scope: CollectionScope = .wasteful) throws(Refusal) -> GarbageReport {
    try commit()
    return try step { (writer) throws(Refusal) in
      var report = GarbageReport()
      // They may be in the way of what is written.
      if writer.byteLimit > 0 { report.freedByteCount = try writer.removeObsoleteFiles() }
      let live = try LiveChunks(writer)
      report.unreadableSegments = live.unreadableCount
      var rewritten: [Rewriting] = []
      var dropped: [Rewriting] = []
      for (index, file) in writer.segments.files.enumerated() {
        guard let segment = live.segments[index], !writer.foundSegments.contains(file.reference.digest.tag),
          live.isWorthRewriting(index, scope, writer.effectiveSegmentByteLimit)
        else { continue }
        let entries = segment.inFileOrder(live.entries(of: index))
        var work = Rewriting(file: file, segment: segment, entries: entries)
        var damaged = 0
        for number in entries {
          guard let record = try? StoredRecord(in: segment, at: number), record.isWhole else {
            damaged += 1
            continue
          }
          work.byteCount = CheckedSize.sum(work.byteCount, Self.copyByteCount(of: record)) ?? .max
        }
        report.damagedChunks += damaged
        guard damaged == 0 else { continue }
        if entries.isEmpty { dropped.append(work) } else { rewritten.append(work) }
      }
      // One small segment alone would only be written again.
      if rewritten.count == 1, rewritten[0].isWhollyNeeded { rewritten = [] }
      // What frees most for what it takes first, so that there is room for the others.
      if writer.byteLimit > 0 { rewritten.sort { $0.byteCount < $1.byteCount } }
      rewritten = dropped + rewritten
      var isLast = false
      while !isLast {
        let batch = writer.nextBatch(of: &rewritten)
        isLast = rewritten.isEmpty || batch.isEmpty
        try writer.rewrite(batch, scope, isLast: isLast, &report)
      }
      report.filesWithoutRoom += rewritten.count
      if let next = rewritten.first {
        report.missingByteCount = max(report.missingByteCount, writer.missingByteCount(for: next))
      }
      report.unknownFiles =
        try StoreCreation.unknownFiles(writer.path, writer.manifest).count + writer.foundSegments.count
      return report
    }
  }

  /// A segment that is written anew, or dropped.
  private struct Rewriting {
    let file: SegmentFile
    let segment: Segment
    /// What is needed of it, in the order of the file.
    let entries: [Int]
    /// The most that the copies take.
    var byteCount = 0

    var isWhollyNeeded: Bool { entries.count == segment.index.count }
    /// The most that catalog and manifest say of it and of its chunks, wherever they lie then.
    var entryByteCount: Int { 59 * segment.index.count + 128 }
    /// The most that it takes to write it anew.
    var neededByteCount: Int { CheckedSize.sum(byteCount, entryByteCount) ?? .max }
  }

  /// What is written anew at once: all, or as much as there is room for.
  private func nextBatch(of rest: inout [Rewriting]) -> [Rewriting] {
    guard byteLimit > 0 else {
      defer { rest = [] }
      return rest
    }
    var batch: [Rewriting] = []
    var byteCount = 0
    // One after the other where there is too much already.
    while let next = rest.first, room != nil || batch.isEmpty {
      let sum = CheckedSize.sum(byteCount, next.neededByteCount) ?? .max
      guard isRoomForRewriting(sum) else { break }
      byteCount = sum
      batch.append(next)
      rest.removeFirst()
    }
    guard batch.count == 1, batch[0].isWhollyNeeded else { return batch }
    // Alone it would only be written again.
    if !rest.isEmpty { rest.insert(batch[0], at: 0) }
    return []
  }

  /// Whether segments and tables of so many bytes can be written beside all that is there.
  private func isRoomForRewriting(_ byteCount: Int) -> Bool {
    guard let room else { return true }
    return rewritingByteCount(byteCount) <= room.byteCount
  }

  /// The pages above those that have the entries, and what each file has besides.
  private func rewritingByteCount(_ byteCount: Int) -> Int {
    [byteCount, byteCount / 2, segmentFrameByteCount, 2048, manifestByteCount].reduce(0) {
      CheckedSize.sum($0, $1) ?? .max
    }
  }

  private func missingByteCount(for work: Rewriting) -> Int {
    max(rewritingByteCount(work.neededByteCount) - (room?.byteCount ?? 0), 1)
  }

  /// Writes segments anew or drops them, in a generation of its own, and removes the old ones.
  /// - Parameter isLast: whether no other batch follows: then all of the catalog is written anew, if there is room.
  private mutating func rewrite(
    _ batch: [Rewriting], _ scope: CollectionScope, isLast: Bool, _ report: inout GarbageReport
  ) throws(Refusal) {
    for work in batch {
      for number in work.entries { try copy(try StoredRecord(in: work.segment, at: number)) }
      if work.entries.isEmpty { report.droppedSegments += 1 } else { report.rewrittenSegments += 1 }
      report.removedChunks += work.segment.index.count - work.entries.count
      replaced.append(ObsoleteFile(digest: work.file.reference.digest, kind: .segment))
    }
    try finishSegment()
    let tags = Set(batch.map(\.file.reference.digest.tag))
    if !tags.isEmpty || scope != .wasteful && catalog.levels.count > 1 {
      segments.remove { tags.contains($0.reference.digest.tag) }
      // A table of all levels has no more than they have together.
      let levels = catalog.references.reduce(0) { CheckedSize.sum($0, $1.byteCount) ?? .max }
      let needed = CheckedSize.sum(levels, rewritingByteCount(pendingByteCount)) ?? .max
      if isLast, needed <= room?.byteCount ?? .max {
        try publishGeneration { tags.contains($0.segment) }
      } else {
        // The places of what is gone are taken back one by one.
        for work in batch { try forgetPlaces(in: work) }
        if !tags.isEmpty { try publishGeneration() }
        if isLast, scope != .wasteful {
          report.filesWithoutRoom += 1
          report.missingByteCount = max(report.missingByteCount, needed - (room?.byteCount ?? 0))
        }
      }
    }
    report.freedByteCount += try removeObsoleteFiles()
  }

  /// Takes back the places of those chunks of a segment that are not needed.
  private mutating func forgetPlaces(in work: Rewriting) throws(Refusal) {
    for number in 0..<work.segment.index.count {
      let key = work.segment.index.key(at: number)
      guard try place(of: key)?.segment == work.file.reference.digest.tag else { continue }
      setPending(CatalogKey.chunk(key), .removed)
    }
  }

  /// Segments that are merged by the way have no more bytes together; larger ones wait for `compact`.
  private static var mergeByteLimit: Int { 1 << 26 }
  /// So many segments of one size are one of the next.
  private static var fanOut: Int { 8 }

  private static func tier(_ byteCount: Int) -> Int { SizeTier.of(byteCount, from: 1 << 16, times: fanOut) }

  /// Writes segments of one size as one when there are many.
  mutating func mergeSmallSegments() throws(Refusal) {
    let files = segments.files.filter { !foundSegments.contains($0.reference.digest.tag) }
    let groups = Dictionary(grouping: files) { Self.tier($0.reference.byteCount) }
    for (_, files) in groups.sorted(by: { $0.key < $1.key }) where files.count >= Self.fanOut {
      let byteCount = files.reduce(0) { CheckedSize.sum($0, $1.reference.byteCount) ?? .max }
      guard byteCount <= min(Self.mergeByteLimit, effectiveSegmentByteLimit), let entries = try wholeEntries(of: files),
        try hasRoomToCopy(entries, of: files)
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

  private func hasRoomToCopy(_ entries: [[Int]], of files: [SegmentFile]) throws(Refusal) -> Bool {
    guard byteLimit > 0 else { return true }
    var byteCount = segmentFrameByteCount
    for (file, numbers) in zip(files, entries) {
      let segment = try file.segment()
      for number in numbers {
        let copy = Self.copyByteCount(of: try StoredRecord(in: segment, at: number))
        byteCount = CheckedSize.sum(byteCount, copy + 2 * 59) ?? .max
      }
    }
    return room == nil ? false : hasRoom(for: byteCount)
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
  func inFileOrder(_ entries: [Int]) -> [Int] {
    entries.map { ($0, index.entry(at: $0).byteOffset) }.sorted { $0.1 < $1.1 }.map(\.0)
  }
}

/// Which chunks documents need, by where they lie: a bit for each.
private struct LiveChunks {
  private let bits: [[UInt64]]
  /// Nil for one that cannot be opened, of which nobody asks.
  let segments: [Segment?]
  /// Bytes of the records that are needed, and of all, for each segment.
  private let byteCounts: [(live: Int, all: Int, file: Int)]
  let unreadableCount: Int

  init(_ writer: borrowing TreeStoreWriter) throws(Refusal) {
    let files = writer.segments
    let segments = files.files.map { try? $0.segment() }
    var bits = segments.map { [UInt64](repeating: 0, count: (($0?.index.count ?? 0) + 63) / 64) }
    var byteCounts = zip(files.files, segments).map { file, segment in
      (live: 0, all: segment?.records.count ?? 0, file: file.reference.byteCount)
    }
    try writer.catalog.forEachChunk(
      store: writer.path, frame: writer.configuration.frameKey
    ) { (key, place, isNeeded) throws(Refusal) in
      guard isNeeded, let index = files.index(of: place.segment), let segment = segments[index] else { return }
      // What a segment really has of it would be removed.
      guard place.entry < segment.index.count else {
        throw Refusal(
          .malformedTable, file: writer.path, structure: "chunk \(key.short)", "its place is in no segment's index")
      }
      bits[index][place.entry / 64] |= 1 << UInt64(place.entry % 64)
      byteCounts[index].live += place.byteCount
    }
    self.segments = segments
    self.bits = bits
    self.byteCounts = byteCounts
    unreadableCount = segments.count { $0 == nil }
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
