public import FileAccess
package import TreeStore

extension TreeStore {
  /// The document that a name means: the whole name or, if only one document has it, the end of one, from a slash on:
  /// `emma.txt` finds `novels/emma.txt`.
  /// - Throws: `Refusal` `missing-document`, `ambiguous-document` when several names end so.
  package func requireDocument(named name: String) throws(Refusal) -> StoredDocument {
    if let document = try document(named: name) { return document }
    let end = Array("/\(name)".utf8)
    var candidates: [StoredDocument] = []
    try forEachDocument { (document) throws(Refusal) in
      if document.name.utf8.suffix(end.count).elementsEqual(end) { candidates.append(document) }
    }
    guard let first = candidates.first else {
      throw Refusal(.missingDocument, file: path, structure: "document \"\(name)\"", "is not in the store")
    }
    guard candidates.count == 1 else {
      let shown = candidates.prefix(4).map(\.name).joined(separator: ", ")
      let rest = candidates.count > 4 ? " and \(candidates.count - 4) more" : ""
      throw Refusal(
        .ambiguousDocument, file: path, structure: "document \"\(name)\"",
        "is the end of several names: \(shown)\(rest)")
    }
    return first
  }
}

extension Refusal.Name {
  /// Several documents have names that end like the one that was asked for.
  public static let ambiguousDocument = Refusal.Name("ambiguous-document", .badInput)
}
