import Glibc

/// A file that appears under its name only when it is whole and durable.
///
/// It is written under a temporary name in the same directory, synchronized, renamed, and the directory synchronized.
/// Anything that ends before `publish()` leaves nothing behind (a killed process leaves the temporary file, whose name
/// starts with a dot and ends in `.partial`).
public struct PublishedFile: ~Copyable {
  public let path: String
  private let temporaryPath: String
  private let descriptor: Descriptor
  private var isPublished = false
  /// Bytes appended so far.
  public private(set) var byteCount = 0

  /// Creates the temporary file.
  /// - Parameter mode: permission bits of the finished file, subject to the umask.
  /// - Throws: `Refusal` `cannot-create` when the directory is missing or not writable.
  public init(creating path: String, mode: UInt32 = 0o644) throws(Refusal) {
    let (directory, name) = Directory.split(path)
    let unique = String(UInt64.random(in: .min ... .max), radix: 16)
    let temporaryPath = "\(directory)/.\(name).\(unique).partial"
    do {
      descriptor = try Descriptor(
        opening: temporaryPath, flags: O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, mode: mode_t(mode))
    } catch {
      // The call may have failed after it created the file, but not if the name was already taken.
      if error.name != .alreadyExists { Self.removeTemporary(temporaryPath) }
      throw Refusal(error.name == .noSpace ? .noSpace : .cannotCreate, file: path, error.fault)
    }
    self.path = path
    self.temporaryPath = temporaryPath
  }

  deinit {
    if !isPublished { Self.removeTemporary(temporaryPath) }
  }

  private static func removeTemporary(_ path: String) {
    _ = FileOperation.perform(.remove(path: path)) { unsafe Int(unlink(path)) }
  }

  /// Appends bytes after those appended before.
  public mutating func append(_ bytes: [UInt8]) throws(Refusal) {
    try unsafe write(bytes.span.bytes, at: byteCount)
    byteCount += bytes.count
  }

  /// Appends bytes after those appended before.
  public mutating func append(_ bytes: RawSpan) throws(Refusal) {
    try write(bytes, at: byteCount)
    byteCount += bytes.byteCount
  }

  /// Writes bytes at an offset, for writers that know their layout beforehand. Safe to call from several threads on
  /// disjoint ranges. Does not move the end of `append`.
  public func write(_ bytes: RawSpan, at byteOffset: Int) throws(Refusal) {
    let code: Int32 = unsafe bytes.withUnsafeBytes { buffer in
      var done = 0
      while done < buffer.count {
        let rest = unsafe UnsafeRawBufferPointer(rebasing: buffer[done...])
        let offset = byteOffset + done
        let count = unsafe FileOperation.transfer(
          .write(path: temporaryPath, byteOffset: offset, byteCount: rest.count), byteCount: rest.count,
          from: rest.baseAddress
        ) { unsafe pwrite(descriptor.number, rest.baseAddress, $0, off_t(offset)) }
        if count < 0 { return errno }
        // Otherwise this loop would never end.
        if count == 0 { return ENOSPC }
        done += count
      }
      return 0
    }
    guard code == 0 else { throw failure("write", code: code) }
  }

  /// Sets the length: the file grows with zeros.
  public func resize(to byteCount: Int) throws(Refusal) {
    let result = FileOperation.perform(.truncate(path: temporaryPath, byteCount: byteCount)) {
      Int(ftruncate(descriptor.number, off_t(byteCount)))
    }
    guard result == 0 else { throw failure("ftruncate", code: errno) }
  }

  /// Makes the file durable and visible under its name. An existing file of that name is replaced.
  /// - Throws: `Refusal`; then nothing has changed under the name, unless the rename reported a failure after it was
  ///   done, or only the last step, the directory's synchronization, failed.
  public mutating func publish() throws(Refusal) {
    try synchronize()
    try rename(to: path)
  }

  /// Makes the file durable and visible in its directory under a name that is known only now, such as the digest of
  /// its content. Never replaces a file, if the caller is the directory's only writer.
  /// - Throws: `Refusal` `already-exists` and others; then nothing has changed, with the exceptions of `publish()`.
  public mutating func publish(as name: String) throws(Refusal) {
    let directory = Directory.split(path).directory
    let target = "\(directory)/\(name)"
    try synchronize()
    guard Directory.exists(target) == nil else { throw SystemError.refusal("rename", path: target, code: EEXIST) }
    try rename(to: target)
  }

  private func synchronize() throws(Refusal) {
    try descriptor.synchronize(.synchronize(path: temporaryPath), path: path)
  }

  private mutating func rename(to target: String) throws(Refusal) {
    let temporaryPath = temporaryPath
    let result = FileOperation.perform(.rename(from: temporaryPath, to: target)) {
      unsafe Int(Glibc.rename(temporaryPath, target))
    }
    guard result == 0 else { throw failure("rename", code: errno) }
    isPublished = true
    try Directory.synchronize(Directory.split(target).directory)
  }

  private func failure(_ call: String, code: Int32) -> Refusal {
    SystemError.refusal(call, path: path, code: code)
  }
}
