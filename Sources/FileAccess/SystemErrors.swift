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
    case EOPNOTSUPP, ENOLCK, ENOSYS: .notSupported
    default: .inputOutput
    }
  }
}

/// A file descriptor that closes itself.
struct Descriptor: ~Copyable, Sendable {
  let number: Int32

  /// - Parameter operation: as probes see it; nil for what the flags say.
  /// - Throws: `Refusal` named after errno.
  init(opening path: String, flags: Int32, mode: mode_t = 0, as operation: FileOperation? = nil) throws(Refusal) {
    let operation = operation ?? (flags & O_CREAT == 0 ? .open(path: path) : .create(path: path))
    func close(_ number: Int) { _ = Glibc.close(Int32(number)) }
    number = Int32(
      FileOperation.perform(operation, undo: close) { unsafe Int(Glibc.open(path, flags | O_CLOEXEC, mode)) })
    guard number >= 0 else { throw SystemError.refusal("open", path: path) }
  }

  deinit { _ = close(number) }

  /// Reads up to as many bytes as the buffer has.
  /// - Returns: their number, 0 at the end of the file, or -1, with errno set.
  @unsafe func read(into buffer: UnsafeMutableRawBufferPointer, at byteOffset: Int, path: String) -> Int {
    unsafe FileOperation.transfer(
      .read(path: path, byteOffset: byteOffset, byteCount: buffer.count), byteCount: buffer.count
    ) { unsafe pread(number, buffer.baseAddress, $0, off_t(byteOffset)) }
  }

  /// Makes the file or directory durable.
  func synchronize(_ operation: FileOperation, path: String) throws(Refusal) {
    guard FileOperation.perform(operation, { Int(fsync(number)) }) == 0 else {
      throw SystemError.refusal("fsync", path: path)
    }
  }

  /// Takes an exclusive lock on the file unless another descriptor has one; it ends with the descriptor.
  /// - Returns: whether it was taken.
  /// - Throws: `Refusal` `not-supported` and others, when another descriptor is not the reason.
  func lock(path: String) throws(Refusal) -> Bool {
    if FileOperation.perform(.lock(path: path), { Int(flock(number, LOCK_EX | LOCK_NB)) }) == 0 { return true }
    guard errno == EWOULDBLOCK else { throw SystemError.refusal("flock", path: path) }
    return false
  }

  /// Sets the permission bits.
  func setMode(_ mode: UInt32, path: String) throws(Refusal) {
    guard fchmod(number, mode_t(mode)) == 0 else { throw SystemError.refusal("fchmod", path: path) }
  }

  /// Whether a name leads to the file.
  var hasName: Bool {
    var status = stat()
    return unsafe fstat(number, &status) == 0 && status.st_nlink > 0
  }

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
