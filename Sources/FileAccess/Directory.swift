import Glibc

/// Operations on directories and on the names in them.
public enum Directory {
  /// The directory part of a path (`.` when it has none) and the last component. A slash at the end does not count.
  public static func split(_ path: String) -> (directory: String, name: String) {
    var path = path[...]
    while path.count > 1, path.hasSuffix("/") { path.removeLast() }
    guard let slash = path.lastIndex(of: "/") else { return (".", String(path)) }
    let directory = String(path[..<slash])
    return (directory.isEmpty ? "/" : directory, String(path[path.index(after: slash)...]))
  }

  /// Creates a directory unless it exists. Its parent must exist.
  /// - Parameter exactly: whether the mode is not subject to the umask.
  public static func create(_ path: String, mode: UInt32 = 0o755, exactly: Bool = false) throws(Refusal) {
    if make(path, mode: mode) == 0 {
      guard unsafe !exactly || chmod(path, mode_t(mode)) == 0 else {
        throw SystemError.refusal("chmod", path: path)
      }
    } else {
      guard errno == EEXIST else {
        let refusal = SystemError.refusal("mkdir", path: path)
        throw Refusal(refusal.name == .noSpace ? .noSpace : .cannotCreate, file: path, refusal.fault)
      }
      guard exists(path) == .directory else {
        throw Refusal(.notADirectory, file: path, "exists and is not a directory")
      }
    }
  }

  private static func make(_ path: String, mode: UInt32) -> Int {
    FileOperation.perform(.createDirectory(path: path)) { unsafe Int(mkdir(path, mode_t(mode))) }
  }

  /// The names in a directory, sorted by their bytes, without `.` and `..`.
  public static func names(in path: String) throws(Refusal) -> [String] { try entries(in: path).map(\.name) }

  public enum Kind: Sendable { case file, directory, other }

  /// The kind of file that a path leads to, following symbolic links; nil when it leads nowhere.
  public static func exists(_ path: String) -> Kind? { (try? kind(of: path)) ?? nil }

  /// The same, for callers that have to tell nothing from what they may not see.
  /// - Throws: `Refusal` `not-a-directory` for a path through a file, `permission-denied`, `not-a-regular-file` for links
  ///   that go round in circles, or `input-output`.
  public static func kind(of path: String) throws(Refusal) -> Kind? {
    var status = stat()
    guard unsafe stat(path, &status) == 0 else {
      guard errno == ENOENT else { throw SystemError.refusal("stat", path: path) }
      return nil
    }
    switch status.st_mode & S_IFMT {
    case S_IFREG: return .file
    case S_IFDIR: return .directory
    default: return .other
    }
  }

  /// The permission bits of what a path leads to; nil when it leads nowhere.
  public static func mode(of path: String) -> UInt32? {
    var status = stat()
    return unsafe stat(path, &status) == 0 ? UInt32(status.st_mode) & 0o7777 : nil
  }

  /// The length of what a path leads to, in bytes; nil when it leads nowhere.
  public static func byteCount(of path: String) -> Int? {
    var status = stat()
    return unsafe stat(path, &status) == 0 ? Int(status.st_size) : nil
  }

  /// Makes the names in a directory durable.
  public static func synchronize(_ path: String) throws(Refusal) {
    let descriptor = try Descriptor(opening: path, flags: O_RDONLY | O_DIRECTORY)
    try descriptor.synchronize(.synchronizeDirectory(path: path), path: path)
  }

  /// Removes a file.
  public static func removeFile(_ path: String) throws(Refusal) {
    let result = FileOperation.perform(.remove(path: path)) { unsafe Int(unlink(path)) }
    guard result == 0 else { throw SystemError.refusal("unlink", path: path) }
  }

  /// Removes an empty directory.
  public static func remove(_ path: String) throws(Refusal) {
    let result = FileOperation.perform(.removeDirectory(path: path)) { unsafe Int(rmdir(path)) }
    guard result == 0 else { throw SystemError.refusal("rmdir", path: path) }
  }

  /// Where temporary files go: `TMPDIR`, or `/tmp`.
  static var ofTemporaryFiles: String { unsafe getenv("TMPDIR").map { unsafe String(cString: $0) } ?? "/tmp" }

  /// Creates an empty directory with a fresh name in the system's temporary directory.
  public static func temporary(_ prefix: String = "sharedpack") throws(Refusal) -> String {
    let path = "\(ofTemporaryFiles)/\(prefix)-\(String(UInt64.random(in: .min ... .max), radix: 16))"
    guard make(path, mode: 0o700) == 0 else { throw SystemError.refusal("mkdir", path: path) }
    return path
  }

  /// Removes a directory that this process made for itself, with all that is in it.
  public static func removeTree(_ path: String) throws(Refusal) {
    for name in try names(in: path) {
      let child = "\(path)/\(name)"
      var status = stat()
      guard unsafe lstat(child, &status) == 0 else { throw SystemError.refusal("lstat", path: child) }
      if status.st_mode & S_IFMT == S_IFDIR { try removeTree(child) } else { try removeFile(child) }
    }
    try remove(path)
  }
}

/// An exclusive lock that the kernel releases when its holder ends, however it ends.
public struct FileLock: ~Copyable, Sendable {
  private let descriptor: Descriptor

  /// Takes the lock on a file, which is created when it is missing and never deleted.
  /// - Throws: `Refusal` `busy` when another holder has it.
  public init(exclusive path: String) throws(Refusal) {
    let descriptor = try Descriptor(opening: path, flags: O_RDWR | O_CREAT | O_NOFOLLOW, mode: 0o600)
    guard try descriptor.lock(path: path) else {
      throw Refusal(.busy, file: path, "another process is writing; try again when it has finished")
    }
    self.descriptor = descriptor
  }

  // Not left to `close`: a child that was forked a moment ago holds a copy of the descriptor until it executes.
  deinit { _ = flock(descriptor.number, LOCK_UN) }
}
