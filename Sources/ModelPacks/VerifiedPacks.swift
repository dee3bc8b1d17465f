import FileAccess
import Glibc

/// Which packs this user's processes have verified, so that none is verified twice: a small file for each in the user's
/// cache directory, which may be removed at any time. A file that has changed since is not among them.
package struct VerifiedPacks: Sendable {
  /// Of the files; nil where there is none to be had, and nothing is remembered.
  private let directory: String?
  /// How long ago a file must have changed so that the next change can be told from it.
  private let settledSeconds: Int

  /// Those of the user: in `$XDG_CACHE_HOME/sharedpack` or `~/.cache/sharedpack`.
  package static var ofUser: VerifiedPacks {
    func value(_ name: String) -> String? {
      guard let value = unsafe getenv(name) else { return nil }
      let path = unsafe String(cString: value)
      // The specification of these directories leaves others out.
      return path.hasPrefix("/") ? path : nil
    }
    return VerifiedPacks(
      in: (value("XDG_CACHE_HOME") ?? value("HOME").map { "\($0)/.cache" }).map { "\($0)/sharedpack" })
  }

  /// - Parameters:
  ///   - directory: which need not exist, nor the one that it is in.
  ///   - settledSeconds: how long ago a file must have changed.
  package init(in directory: String?, settledSeconds: Int = 2) {
    self.directory = directory
    self.settledSeconds = settledSeconds
  }

  /// Whether a pack was verified in this state.
  func contains(_ identity: Digest256, _ state: FileState) -> Bool {
    guard let path = path(identity, state), let directory, Directory.isPrivate(directory) else { return false }
    // Not for a test's probe: nothing depends on these calls.
    return FileOperation.withProbe(nil) {
      (try? SequentialFile.contents(path, limit: 4096, followingLinks: false)) == Self.entry(identity, state)
    }
  }

  /// Remembers that a pack was verified in this state, if it can.
  func insert(_ identity: Digest256, _ state: FileState) {
    guard let path = path(identity, state), let directory, state.isSettled(seconds: settledSeconds) else { return }
    FileOperation.withProbe(nil) {
      do throws(Refusal) {
        let parent = Directory.split(directory).directory
        if Directory.exists(parent) == nil { try Directory.create(parent, mode: 0o700) }
        try Directory.create(directory, mode: 0o700)
        guard Directory.isPrivate(directory) else { return }
        var file = try PublishedFile(creating: path, mode: 0o600, unnamed: true)
        try file.append(Self.entry(identity, state))
        try file.publish()
      } catch {
        // It will be verified again.
      }
    }
  }

  /// The same for all states of a file, so that old ones do not pile up.
  private func path(_ identity: Digest256, _ state: FileState) -> String? {
    directory.map { "\($0)/\(Digest256(of: Array("\(identity) \(state.device) \(state.inode)".utf8))).verified" }
  }

  private static func entry(_ identity: Digest256, _ state: FileState) -> [UInt8] {
    Array(
      """
      sharedpack verified 1
      identity \(identity)
      device \(state.device)
      inode \(state.inode)
      bytes \(state.byteCount)
      modified \(state.modified)
      changed \(state.changed)

      """.utf8)
  }
}
