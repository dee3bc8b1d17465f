import Glibc

// What is looked at and changed only when a store's directory is examined and repaired.
extension Directory {
  /// Who may do what with a file.
  public struct Access: Sendable, Hashable {
    /// The permission bits.
    public let mode: UInt32
    /// The number of the user that the file belongs to.
    public let owner: UInt32
  }

  /// The permission bits and the owner of what has a name, which may be a symbolic link; nil when nothing has it.
  public static func access(of path: String) -> Access? {
    var status = stat()
    guard unsafe lstat(path, &status) == 0 else { return nil }
    return Access(mode: UInt32(status.st_mode) & 0o7777, owner: status.st_uid)
  }

  /// Sets the permission bits of a file or a directory.
  public static func setMode(of path: String, _ mode: UInt32) throws(Refusal) {
    guard unsafe chmod(path, mode_t(mode)) == 0 else { throw SystemError.refusal("chmod", path: path) }
  }

  /// Gives a file one more name, which nothing must have.
  /// - Throws: `Refusal` `already-exists`, and `not-supported` or `input-output` for a file system that has no such names.
  public static func link(_ path: String, as other: String) throws(Refusal) {
    let result = FileOperation.perform(.link(from: path, to: other)) { unsafe Int(Glibc.link(path, other)) }
    guard result == 0 else { throw SystemError.refusal("link", path: other) }
  }
}

extension FileLock {
  /// Whether a process has the lock. Writes nothing, and tells nothing where the file cannot be read.
  public static func isHeld(_ path: String) -> Bool {
    let number = unsafe open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)
    guard number >= 0 else { return false }
    defer { close(number) }
    guard flock(number, LOCK_SH | LOCK_NB) != 0 else {
      _ = flock(number, LOCK_UN)
      return false
    }
    return errno == EWOULDBLOCK
  }
}
