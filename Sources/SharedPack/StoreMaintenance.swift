public import FileAccess
public import TreeStore

// Maintenance of a store, which needs no model. `TreeStore` lists what is in one.
extension DocumentStore {
  /// Removes documents from a store: all that are named or, if one of them is missing, none. Their chunks keep their
  /// space until ``collectGarbage(in:all:)``.
  ///
  /// Readers that have the store open continue to see the documents.
  /// - Throws: `Refusal` `missing-document`, `busy` when another process writes, and those of damaged stores.
  public static func removeDocuments(named names: [String], from path: String) throws(Refusal) {
    var writer = try TreeStoreWriter(opening: path, creating: nil)
    for name in names { try writer.removeDocument(named: name) }
    try writer.commit()
  }

  /// Frees the space of chunks that no document of a store uses.
  ///
  /// Readers that have the store open keep what they have mapped, and its space stays taken until they release it. What
  /// cannot be read stays as it is.
  /// - Parameters:
  ///   - path: of the store's directory.
  ///   - all: also where more than half of a file is used, so that nothing of a removed text is left.
  /// - Throws: `Refusal` `busy` when another process writes, `no-space`, and those of damaged stores.
  public static func collectGarbage(in path: String, all: Bool = false) throws(Refusal) -> GarbageReport {
    var writer = try TreeStoreWriter(opening: path, creating: nil)
    return try writer.collectGarbage(all: all)
  }
}

extension TreeStore {
  /// A document of the store.
  /// - Throws: `Refusal` `missing-document`.
  package func requireDocument(named name: String) throws(Refusal) -> StoredDocument {
    guard let document = document(named: name) else {
      throw Refusal(.missingDocument, file: path, structure: "document \"\(name)\"", "is not in the store")
    }
    return document
  }
}
