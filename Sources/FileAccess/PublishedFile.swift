import Glibc

/// A file that appears under its name only when it is whole and durable.
///
/// It is written without a name or under a temporary one in the same directory, synchronized, named, and the directory
/// synchronized. Anything that ends before `publish()` leaves nothing behind; only a killed process leaves a temporary
/// file, if it has a name.
public struct PublishedFile: ~Copyable {
  public let path: String
  private var file: TemporaryFile
  /// Bytes appended so far.
  public private(set) var byteCount = 0
  /// The last of them, which are not written yet: many small pieces take few calls.
  private var waiting: [UInt8] = []
  private static let waitingByteCount = 1 << 18

  /// Creates the temporary file.
  /// - Parameters:
  ///   - mode: permission bits of the finished file, subject to the umask.
  ///   - exactly: whether they are not.
  ///   - unnamed: whether the file shall have no name before it is published, if the file system can do that; if not,
  ///     `removeRemains(of:)` finds what a killed process left. Otherwise the caller's lock must tell whose files may
  ///     be removed.
  /// - Throws: `Refusal` `cannot-create` when the directory is missing or not writable.
  public init(
    creating path: String, mode: UInt32 = 0o644, exactly: Bool = false, unnamed: Bool = false
  ) throws(Refusal) {
    do {
      file = try TemporaryFile(beside: path, mode: mode_t(mode), exactly: exactly, unnamed: unnamed)
    } catch {
      throw Refusal(error.name == .noSpace ? .noSpace : .cannotCreate, file: path, error.fault)
    }
    self.path = path
  }

  /// Appends bytes after those appended before.
  public mutating func append(_ bytes: [UInt8]) throws(Refusal) { try unsafe append(bytes.span.bytes) }

  /// Appends bytes after those appended before.
  public mutating func append(_ bytes: RawSpan) throws(Refusal) {
    if waiting.count + bytes.byteCount > Self.waitingByteCount { try flush() }
    if bytes.byteCount >= Self.waitingByteCount {
      try write(bytes, at: byteCount)
    } else {
      unsafe bytes.withUnsafeBytes { unsafe waiting.append(contentsOf: $0) }
    }
    byteCount += bytes.byteCount
  }

  private mutating func flush() throws(Refusal) {
    guard !waiting.isEmpty else { return }
    try unsafe write(waiting.span.bytes, at: byteCount - waiting.count)
    waiting.removeAll(keepingCapacity: true)
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
          .write(path: file.path, byteOffset: offset, byteCount: rest.count), byteCount: rest.count,
          from: rest.baseAddress
        ) { unsafe pwrite(file.descriptor.number, rest.baseAddress, $0, off_t(offset)) }
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
    let result = FileOperation.perform(.truncate(path: file.path, byteCount: byteCount)) {
      Int(ftruncate(file.descriptor.number, off_t(byteCount)))
    }
    guard result == 0 else { throw failure("ftruncate", code: errno) }
  }

  /// Makes the file durable and visible under its name. An existing file of that name is replaced.
  /// - Throws: `Refusal`; then nothing has changed under the name, unless the rename reported a failure after it was
  ///   done, or only the last step, the directory's synchronization, failed.
  public mutating func publish() throws(Refusal) {
    try synchronize()
    try file.rename(to: path, replacing: true)
    try Directory.synchronize(Directory.split(path).directory)
  }

  /// Makes the file durable and visible in its directory under a name that is known only now, such as the digest of
  /// its content. Never replaces a file, if the caller is the directory's only writer.
  /// - Throws: `Refusal` `already-exists` and others; then nothing has changed, with the exceptions of `publish()`.
  public mutating func publish(as name: String) throws(Refusal) {
    let directory = Directory.split(path).directory
    try synchronize()
    try file.rename(to: "\(directory)/\(name)", replacing: false)
    try Directory.synchronize(directory)
  }

  private mutating func synchronize() throws(Refusal) {
    try flush()
    try file.descriptor.synchronize(.synchronize(path: file.path), path: path)
  }

  private func failure(_ call: String, code: Int32) -> Refusal {
    SystemError.refusal(call, path: path, code: code)
  }
}

// MARK: What is left

extension PublishedFile {
  /// A name for a file that is needed for a while only, beside another: `removeRemains(of:)` and `abandonAll(_:)` find
  /// it, until `removeTemporary(_:)` has removed it.
  public static func temporaryPath(beside path: String) -> String { TemporaryFile.reservedPath(beside: path) }

  /// Removes a file under a temporary name, if it is there.
  public static func removeTemporary(_ path: String) { TemporaryFile.remove(path) }

  /// Removes what killed processes left of files that were to have a name: temporary files that no process has locked.
  /// Frees space and changes no content, so a failure is left to the next caller.
  public static func removeRemains(of path: String) {
    let (directory, name) = Directory.split(path)
    for entry in (try? Directory.names(in: directory)) ?? [] where TemporaryFile.isTemporary(entry, for: name) {
      try? removeUnlocked("\(directory)/\(entry)")
    }
  }

  private static func removeUnlocked(_ path: String) throws(Refusal) {
    let file = try Descriptor(opening: path, flags: O_RDONLY | O_NOFOLLOW | O_NONBLOCK)
    _ = try file.regularFileByteCount(path: path)
    if try file.lock(path: path) { try Directory.removeFile(path) }
  }

  /// Removes the temporary files of this process and ends it, for a process that was told to end.
  /// - Parameter end: ends the process.
  public static func abandonAll(_ end: () -> Never) -> Never { TemporaryFile.removeAll(end) }
}
