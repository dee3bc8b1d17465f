import Glibc

/// Which file is open, and when it was last changed: equal as long as nobody has written to it, given it another owner,
/// mode or name, or put another file in its place.
public struct FileState: Sendable, Hashable {
  public let device: UInt64
  public let inode: UInt64
  public let byteCount: Int
  /// When the contents were last written, in nanoseconds since 1970.
  public let modified: Int
  /// When the contents or what is known about the file last changed, which no program can set, in nanoseconds since 1970.
  public let changed: Int

  init?(descriptor: Int32) {
    var status = stat()
    guard unsafe fstat(descriptor, &status) == 0 else { return nil }
    func nanoseconds(_ time: timespec) -> Int { time.tv_sec &* 1_000_000_000 &+ time.tv_nsec }
    device = UInt64(status.st_dev)
    inode = UInt64(status.st_ino)
    byteCount = Int(status.st_size)
    modified = nanoseconds(status.st_mtim)
    changed = nanoseconds(status.st_ctim)
  }

  /// Whether a later change must have got another time than the last one, as file systems keep times in steps of up to
  /// two seconds.
  public func isSettled(seconds: Int = 2) -> Bool {
    var now = timespec()
    guard unsafe clock_gettime(CLOCK_REALTIME, &now) == 0 else { return false }
    return now.tv_sec - max(modified, changed) / 1_000_000_000 > seconds
  }
}

extension MappedFile {
  /// The state of the file now; nil unless the file was kept open.
  public var state: FileState? {
    switch descriptor {
    case .some(let descriptor): FileState(descriptor: descriptor.number)
    case .none: nil
    }
  }
}

extension Directory {
  /// Whether a directory is there, and only this user can write to it.
  public static func isPrivate(_ path: String) -> Bool {
    var status = stat()
    return unsafe lstat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFDIR && status.st_uid == geteuid()
      && status.st_mode & 0o022 == 0
  }
}
