import Glibc

/// Reads a regular file piece by piece through a buffer of the caller's: nothing of it is mapped.
public struct SequentialFile: ~Copyable, Sendable {
  public let path: String
  public let byteCount: Int
  private let descriptor: Descriptor

  /// - Parameter followingLinks: false refuses a symbolic link as the last component.
  /// - Throws: `Refusal` `missing-file`, `not-a-regular-file`, `permission-denied` or `input-output`.
  public init(_ path: String, followingLinks: Bool = true) throws(Refusal) {
    let descriptor = try Descriptor(
      opening: path, flags: O_RDONLY | O_NONBLOCK | (followingLinks ? 0 : O_NOFOLLOW))
    byteCount = try descriptor.regularFileByteCount(path: path)
    self.path = path
    _ = posix_fadvise(descriptor.number, 0, 0, POSIX_FADV_SEQUENTIAL)
    self.descriptor = descriptor
  }

  /// Fills `buffer` from an offset.
  /// - Throws: `Refusal` `truncated` when the file ends before the buffer is full.
  public func read(at byteOffset: Int, into buffer: inout MutableRawSpan) throws(Refusal) {
    let wanted = buffer.byteCount
    let code: Int32? = unsafe buffer.withUnsafeMutableBytes { target in
      var done = 0
      while done < target.count {
        let rest = unsafe UnsafeMutableRawBufferPointer(rebasing: target[done...])
        let count = unsafe descriptor.read(into: rest, at: byteOffset + done, path: path)
        if count < 0 { return errno }
        if count == 0 { return nil }
        done += count
      }
      return 0
    }
    guard let code else {
      throw Refusal(.truncated, file: path, "ends before byte \(byteOffset + wanted)")
    }
    guard code == 0 else { throw SystemError.refusal("read", path: path, code: code) }
  }

  /// Starts to read a range into the cache without waiting for it.
  public func prefetch(_ range: Range<Int>) {
    _ = posix_fadvise(descriptor.number, off_t(range.lowerBound), off_t(range.count), POSIX_FADV_WILLNEED)
  }

  /// Drops cached pages that will not be read again.
  public func release(_ range: Range<Int>) {
    _ = posix_fadvise(descriptor.number, off_t(range.lowerBound), off_t(range.count), POSIX_FADV_DONTNEED)
  }

  /// A whole small file.
  /// - Throws: `Refusal` `too-large` when it exceeds `limit` bytes.
  public static func contents(_ path: String, limit: Int, followingLinks: Bool = true) throws(Refusal) -> [UInt8] {
    let file = try SequentialFile(path, followingLinks: followingLinks)
    guard file.byteCount <= limit else {
      throw Refusal(.tooLarge, file: path, "has \(file.byteCount) bytes; at most \(limit) are read")
    }
    var bytes = [UInt8](repeating: 0, count: file.byteCount)
    var span = bytes.mutableSpan
    var raw = unsafe span.mutableBytes
    try file.read(at: 0, into: &raw)
    return bytes
  }
}

extension Refusal.Name {
  public static let tooLarge = Refusal.Name("too-large", .badInput)
}
