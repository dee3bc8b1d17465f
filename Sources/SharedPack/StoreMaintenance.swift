public import FileAccess
public import TreeStore

// Maintenance of a store, which needs no model. `TreeStore` lists what is in one.
extension DocumentStore {
  /// Removes documents from a store: all that are named or, if one of them is missing, none. Their chunks keep their
  /// space until ``collectGarbage(in:_:)``.
  ///
  /// Readers that have the store open continue to see the documents.
  /// - Parameters:
  ///   - names: of the documents.
  ///   - path: of the store's directory.
  ///   - forgets: whether nothing is left of them in the store's files but what other documents share.
  /// - Throws: `Refusal` `missing-document`, `busy` when another process writes, and those of damaged stores.
  /// - Returns: chunks and files that were not written anew, because they cannot be read, no generation knew them or the
  ///   store's limit leaves no room: something may be in them.
  @discardableResult
  public static func removeDocuments(
    named names: [String], from path: String, forgetting forgets: Bool = false
  ) throws(Refusal) -> Int {
    var writer = try TreeStoreWriter(opening: path, creating: nil)
    for name in names { try writer.removeDocument(named: name) }
    try writer.commit()
    guard forgets else { return 0 }
    let report = try writer.collectGarbage(.all)
    return report.damagedChunks + report.unreadableSegments + report.unknownFiles + report.filesWithoutRoom
  }

  /// Says whether documents stay when documents make room for others: all that are named or, if one of them is missing,
  /// none.
  /// - Parameters:
  ///   - names: of the documents.
  ///   - isPinned: whether they stay.
  ///   - path: of the store's directory.
  /// - Throws: `Refusal` `missing-document`, `busy` when another process writes, and those of damaged stores.
  public static func pinDocuments(named names: [String], _ isPinned: Bool, in path: String) throws(Refusal) {
    var writer = try TreeStoreWriter(opening: path, creating: nil)
    for name in names { try writer.pinDocument(named: name, isPinned) }
    try writer.commit()
  }

  /// Frees the space of chunks that no document of a store uses.
  ///
  /// Readers that have the store open keep what they have mapped, and its space stays taken until they release it. What
  /// cannot be read stays as it is.
  /// - Parameters:
  ///   - path: of the store's directory.
  ///   - scope: how much is written anew.
  /// - Throws: `Refusal` `busy` when another process writes, `no-space`, and those of damaged stores.
  public static func collectGarbage(
    in path: String, _ scope: CollectionScope = .wasteful
  ) throws(Refusal) -> GarbageReport {
    var writer = try TreeStoreWriter(opening: path, creating: nil)
    return try writer.collectGarbage(scope)
  }
}
