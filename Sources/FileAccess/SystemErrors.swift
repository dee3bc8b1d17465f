import Glibc

/// Turns errno into a refusal once, at the system call that failed.
enum SystemError {
  static func refusal(_ call: String, path: String, code: Int32 = errno) -> Refusal {
    let reason = unsafe String(cString: strerror(code))
    return Refusal(name(code), file: path, "\(call): \(reason)")
  }

  private static func name(_ code: Int32) -> Refusal.Name {
    switch code {
    case ENOENT: .missingFile
    case ENOTDIR: .notADirectory
    case EISDIR, ELOOP: .notARegularFile
    case EACCES, EPERM, EROFS: .permissionDenied
    case EEXIST, ENOTEMPTY: .alreadyExists
    case ENOSPC, EDQUOT, EFBIG: .noSpace
    case EWOULDBLOCK: .busy
    default: .inputOutput
    }
  }
}

/// Repeats a call that a signal interrupted.
func retrying(_ call: () -> Int) -> Int {
  while true {
    let result = call()
    if result >= 0 || errno != EINTR { return result }
  }
}

/// A file descriptor that closes itself.
struct Descriptor: ~Copyable, Sendable {
  let number: Int32

  /// - Throws: `Refusal` named after errno.
  init(opening path: String, flags: Int32, mode: mode_t = 0) throws(Refusal) {
    number = Int32(retrying { unsafe Int(Glibc.open(path, flags | O_CLOEXEC, mode)) })
    guard number >= 0 else { throw SystemError.refusal("open", path: path) }
  }

  deinit { _ = close(number) }

  /// The length of a regular file, in bytes.
  /// - Throws: `Refusal` `not-a-regular-file`.
  func regularFileByteCount(path: String) throws(Refusal) -> Int {
    var status = stat()
    guard unsafe fstat(number, &status) == 0 else { throw SystemError.refusal("fstat", path: path) }
    guard status.st_mode & S_IFMT == S_IFREG else {
      throw Refusal(.notARegularFile, file: path, "is not a regular file")
    }
    return Int(status.st_size)
  }
}
