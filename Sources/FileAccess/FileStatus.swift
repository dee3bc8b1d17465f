import Glibc

/// What a path leads to: the kind of file, and which one it is, whatever its names are.
public struct FileStatus: Sendable, Hashable {
  /// The kind of a file.
  public enum Kind: Sendable, Hashable {
    case regularFile, directory, pipe, socket, device
  }

  public let kind: Kind
  private let device: UInt64
  private let inode: UInt64

  /// Follows symbolic links.
  /// - Returns: nil when the path leads nowhere.
  public init?(_ path: String) {
    var status = stat()
    guard unsafe stat(path, &status) == 0 else { return nil }
    switch status.st_mode & S_IFMT {
    case S_IFREG: kind = .regularFile
    case S_IFDIR: kind = .directory
    case S_IFIFO: kind = .pipe
    case S_IFSOCK: kind = .socket
    default: kind = .device
    }
    device = UInt64(status.st_dev)
    inode = UInt64(status.st_ino)
  }

  /// The name of the file that a symbolic link leads to; a path that is no link as it is.
  /// - Returns: nil for a link that leads nowhere.
  public static func followingLink(_ path: String) -> String? {
    var status = stat()
    guard unsafe lstat(path, &status) == 0, status.st_mode & S_IFMT == S_IFLNK else { return path }
    guard let resolved = unsafe realpath(path, nil) else { return nil }
    defer { unsafe free(resolved) }
    return unsafe String(cString: resolved)
  }
}
