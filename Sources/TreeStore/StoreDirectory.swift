internal import FileAccess

/// Who may read a store besides its owner.
public enum StoreSharing: Sendable, Hashable {
  /// Nobody: keys and values reveal the texts.
  case owner
  /// The group of the store's directory.
  case group
  /// Everybody.
  case everyone

  var directoryMode: UInt32 {
    switch self {
    case .owner: 0o700
    case .group: 0o750
    case .everyone: 0o755
    }
  }
}

/// A store's directory, and who may read what is written there.
struct StoreDirectory: Sendable {
  let path: String
  /// Of files: readable by whom the directory lets in, and changed by nobody.
  let fileMode: UInt32
  /// Of the directories inside.
  let directoryMode: UInt32

  /// - Precondition: the directory is there, else nobody else may read.
  init(_ path: String) {
    self.path = path
    let mode = Directory.mode(of: path) ?? 0o700
    // Who may enter the directory and list it may read what is in it.
    let group: UInt32 = mode & 0o050 == 0o050 ? 0o040 : 0
    let others: UInt32 = mode & 0o005 == 0o005 ? 0o004 : 0
    fileMode = 0o400 | group | others
    directoryMode = 0o700 | (group == 0 ? 0 : 0o050) | (others == 0 ? 0 : 0o005)
  }
}
