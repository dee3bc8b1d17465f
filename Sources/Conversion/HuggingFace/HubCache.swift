public import FileAccess

/// A model's folder in Hugging Face's cache, `models--ORGANISATION--NAME`: its `snapshots` hold links to `blobs`, and
/// `refs` names a snapshot for each branch.
enum HubCache {
  /// The snapshot of the main branch.
  /// - Returns: nil for any other directory.
  /// - Throws: `Refusal` `malformed-hub-cache` or `missing-file`.
  static func snapshot(of directory: String) throws(Refusal) -> String? {
    guard try Directory.kind(of: "\(directory)/config.json") == nil,
      try Directory.kind(of: "\(directory)/snapshots") == .directory
    else { return nil }
    let reference = "\(directory)/refs/main"
    guard try Directory.kind(of: reference) != nil else {
      let snapshots = try Directory.names(in: "\(directory)/snapshots")
      guard snapshots.count == 1 else {
        throw Refusal(
          .malformedHubCache, file: directory,
          "has no refs/main and \(snapshots.count) snapshots: name one of them")
      }
      return "\(directory)/snapshots/\(snapshots[0])"
    }
    let text = try SequentialFile.contents(reference, limit: 256).filter { !(0x09...0x0D ~= $0 || $0 == 0x20) }
    // The name of a commit leads to no other place.
    guard !text.isEmpty, text.allSatisfy({ 48...57 ~= $0 || 97...122 ~= $0 }) else {
      throw Refusal(.malformedHubCache, file: reference, "does not name a snapshot")
    }
    let snapshot = "\(directory)/snapshots/\(String(decoding: text, as: UTF8.self))"
    guard try Directory.kind(of: snapshot) == .directory else {
      throw Refusal(.missingFile, file: snapshot, "is named by refs/main and is not there")
    }
    return snapshot
  }
}

extension Refusal.Name {
  /// A folder of Hugging Face's cache that does not tell what to take.
  public static let malformedHubCache = Refusal.Name("malformed-hub-cache", .badInput)
}
