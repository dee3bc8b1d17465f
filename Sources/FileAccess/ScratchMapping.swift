import Glibc

/// Memory that the system may write to a file instead of keeping it: for what is large and seldom read.
///
/// The file has no name and is gone with this object, or with the process. Its space is taken at once, so that writing to
/// the memory cannot fail.
@safe public final class ScratchMapping: @unchecked Sendable {
  public let byteCount: Int
  /// Valid as long as this object lives.
  @unsafe public let base: UnsafeMutableRawPointer

  /// Zeros.
  /// - Parameters:
  ///   - byteCount: not 0.
  ///   - directory: where the file is; nil for `TMPDIR` or `/tmp`.
  /// - Throws: `Refusal` `no-space`, `input-output` and others of the file system.
  public init(byteCount: Int, in directory: String? = nil) throws(Refusal) {
    precondition(byteCount > 0)
    let directory = directory ?? Directory.ofTemporaryFiles
    let path = "\(directory)/sharedpack-rows"
    let file = try TemporaryFile(beside: path, mode: 0o600, unnamed: true)
    let code = posix_fallocate(file.descriptor.number, 0, off_t(byteCount))
    guard code == 0 else { throw SystemError.refusal("posix_fallocate", path: path, code: code) }
    let address = unsafe mmap(nil, byteCount, PROT_READ | PROT_WRITE, MAP_SHARED, file.descriptor.number, 0)
    guard let address = unsafe address, unsafe address != MAP_FAILED else {
      throw SystemError.refusal("mmap", path: path)
    }
    self.byteCount = byteCount
    unsafe base = address
  }

  deinit { unsafe _ = munmap(base, byteCount) }
}
