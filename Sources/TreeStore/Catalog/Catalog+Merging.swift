internal import FileAccess

// A new level takes in those before it that are of its size, so that there are few, and each entry is written again only
// as often as its level has grown.
extension Catalog {
  /// Levels that are merged by the way have no more bytes together; larger ones wait for `compact`.
  private static let mergeByteLimit = 1 << 26
  /// So many levels of one size are one of the next.
  private static let fanOut = 4

  private static func tier(_ byteCount: Int) -> Int { SizeTier.of(byteCount, from: 1 << 14, times: fanOut) }

  /// How many of the newest levels a new one takes in.
  private func mergedCount(newByteCount: Int, room: FileRoom?) -> Int {
    // The pages of the changes, and those above them; what is merged has its own.
    let left = (room?.byteCount ?? .max) - newByteCount / 2 - 2 * CatalogPage.byteCount
    var total = newByteCount
    var count = 0
    while count < levels.count {
      let tier = Self.tier(total)
      let run = levels[count...].prefix { $0.table != nil && Self.tier($0.reference.byteCount) <= tier }
      let sum = run.reduce(total) { CheckedSize.sum($0, $1.reference.byteCount) ?? .max }
      guard run.count >= Self.fanOut - 1, sum <= min(Self.mergeByteLimit, left) else { break }
      count += run.count
      total = sum
    }
    return count
  }

  /// Writes a level of changes and of the levels that it takes in.
  /// - Parameters:
  ///   - changes: in ascending order of key.
  ///   - room: what the new file may have.
  /// - Returns: what a manifest says of it, and how many levels it replaces.
  func write(
    _ changes: [CatalogEntry], in store: StoreDirectory, _ configuration: TreeStoreConfiguration, salt: UInt64,
    generation: Int, room: FileRoom? = nil
  ) throws(Refusal) -> (TableReference, mergedCount: Int) {
    let byteCount = changes.reduce(0) { $0 + 6 + $1.key.count + ($1.value.bytes?.count ?? 0) }
    let count = mergedCount(newByteCount: byteCount, room: room)
    if count > 0 {
      do throws(Refusal) {
        return (
          try write(
            changes, mergingNewest: count, in: store, configuration, salt: salt, generation: generation,
            room: room, leavingOut: { _ in false }), count
        )
      } catch {
        // What is damaged stays where it is, and fails those who need it.
        guard error.name == .checksumMismatch || error.name == .malformedTable || error.name == .storeFull else {
          throw error
        }
      }
    }
    return (
      try write(
        changes, mergingNewest: 0, in: store, configuration, salt: salt, generation: generation, room: room,
        leavingOut: { _ in false }), 0
    )
  }

  /// Writes a level of changes and of the newest levels.
  /// - Parameter isLeftOut: whether a chunk's place is not kept.
  func write(
    _ changes: [CatalogEntry], mergingNewest count: Int, in directory: StoreDirectory,
    _ configuration: TreeStoreConfiguration, salt: UInt64, generation: Int, room: FileRoom?,
    leavingOut isLeftOut: (ChunkPlace) -> Bool
  ) throws(Refusal) -> TableReference {
    var table = try CatalogTableWriter(in: directory, configuration, salt: salt, room: room)
    // Below the oldest level nothing has to be hidden.
    let isWhole = count == levels.count
    func isKept(_ entry: CatalogEntry) throws(Refusal) -> Bool {
      guard let value = entry.value.bytes else { return !isWhole }
      guard entry.key.starts(with: CatalogKey.chunks) else { return true }
      return !isLeftOut(try ChunkPlace(value, file: directory.path))
    }
    var scan = try scan(prefix: [], newest: count)
    try table.append(changes, over: { () throws(Refusal) in try scan.nextEntry() }, keeping: isKept)
    let first = count == 0 ? generation : levels[count - 1].reference.generations.lowerBound
    return try table.publish(first...generation)
  }
}
