import Glibc
import Synchronization

/// A file that is being written beside the name that it will have, and is gone with its last user unless it got it.
///
/// It has no name at all where the file system can do that: then nothing is left even of a process that was killed.
/// Elsewhere it has a temporary name and a lock, by which others tell that its writer lives.
struct TemporaryFile: ~Copyable {
  /// Its name while it has a temporary one: `.NAME.DIGITS.partial`, with hexadecimal digits. Probes know it by this.
  let path: String
  let descriptor: Descriptor
  private var hasName: Bool

  /// - Parameters:
  ///   - exactly: whether the mode is not subject to the umask.
  ///   - unnamed: whether it shall have no name until it gets the one that it is written for, and a lock.
  init(beside target: String, mode: mode_t, exactly: Bool = false, unnamed: Bool) throws(Refusal) {
    for _ in 0..<7 {
      if let file = try Self.attempt(beside: target, mode: mode, unnamed: unnamed) {
        if exactly { try file.descriptor.setMode(UInt32(mode), path: file.path) }
        self = file
        return
      }
    }
    throw Refusal(.busy, file: target, "another process removes temporary files of this name")
  }

  private init(path: String, descriptor: consuming Descriptor, hasName: Bool) {
    self.path = path
    self.descriptor = descriptor
    self.hasName = hasName
  }

  /// - Returns: nil when another process took the file for a remainder, before the file was locked.
  private static func attempt(beside target: String, mode: mode_t, unnamed: Bool) throws(Refusal) -> TemporaryFile? {
    let path = path(beside: target)
    if unnamed, let descriptor = try openUnnamed(path, mode: mode) {
      _ = try lock(descriptor, path: path)
      return TemporaryFile(path: path, descriptor: descriptor, hasName: false)
    }
    let descriptor: Descriptor
    do {
      descriptor = try Descriptor(opening: path, flags: O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, mode: mode)
    } catch {
      // The call may have failed after it created the file, but not if the name was already taken.
      if error.name != .alreadyExists { remove(path) }
      throw error
    }
    names.withLock { _ = $0.insert(path) }
    let file = TemporaryFile(path: path, descriptor: descriptor, hasName: true)
    guard unnamed else { return file }
    guard try lock(file.descriptor, path: path), file.descriptor.hasName else { return nil }
    return file
  }

  /// On a file system without locks, no process takes a file for a remainder.
  private static func lock(_ descriptor: borrowing Descriptor, path: String) throws(Refusal) -> Bool {
    do {
      return try descriptor.lock(path: path)
    } catch {
      guard error.name == .notSupported else { throw error }
      return true
    }
  }

  /// - Returns: nil when the file system has no unnamed files, or they could not get a name later.
  private static func openUnnamed(_ path: String, mode: mode_t) throws(Refusal) -> Descriptor? {
    guard unsafe access(namesOfDescriptors, X_OK) == 0 else { return nil }
    do {
      return try Descriptor(
        opening: Directory.split(path).directory, flags: O_RDWR | unnamedFlag, mode: mode,
        as: .createUnnamed(path: path))
    } catch {
      // Kernels that do not know the flag take the directory for the file to open.
      guard error.name == .notSupported || error.name == .notARegularFile else { throw error }
      return nil
    }
  }

  private static let namesOfDescriptors = "/proc/self/fd"
  /// O_TMPFILE, a macro that Swift does not see.
  private static let unnamedFlag = O_DIRECTORY | 0o20_000_000

  deinit {
    if hasName { Self.remove(path) }
  }

  /// Gives the file its name.
  /// - Parameter replacing: whether a file may have it.
  /// - Throws: `Refusal` `already-exists` and others, for the target.
  mutating func rename(to target: String, replacing: Bool) throws(Refusal) {
    if !hasName {
      if link(to: target) == 0 { return }
      guard errno == EEXIST, replacing else { throw SystemError.refusal("linkat", path: target) }
      // Only a name can replace a name. The call may fail after its work.
      hasName = true
      Self.names.withLock { [path] in _ = $0.insert(path) }
      guard link(to: path) == 0 else { throw SystemError.refusal("linkat", path: target) }
    } else if !replacing, try Directory.kind(of: target) != nil {
      throw SystemError.refusal("rename", path: target, code: EEXIST)
    }
    let path = path
    let result = FileOperation.perform(.rename(from: path, to: target)) { unsafe Int(Glibc.rename(path, target)) }
    guard result == 0 else { throw SystemError.refusal("rename", path: target) }
    hasName = false
    Self.names.withLock { _ = $0.remove(path) }
  }

  private borrowing func link(to target: String) -> Int {
    let open = "\(Self.namesOfDescriptors)/\(descriptor.number)"
    return FileOperation.perform(.link(from: path, to: target)) {
      unsafe Int(linkat(AT_FDCWD, open, AT_FDCWD, target, AT_SYMLINK_FOLLOW))
    }
  }

  // MARK: Names

  /// A fresh temporary name for a file that will have another.
  static func path(beside target: String) -> String {
    let (directory, name) = Directory.split(target)
    return "\(directory)/.\(name).\(String(UInt64.random(in: .min ... .max), radix: 16)).partial"
  }

  /// Whether a name is a temporary one for a file of another name, or for a temporary file of that.
  static func isTemporary(_ name: some StringProtocol, for target: String) -> Bool {
    guard name.hasPrefix("."), name.hasSuffix(".partial") else { return false }
    let inner = name.dropFirst().dropLast(".partial".count)
    guard let dot = inner.lastIndex(of: ".") else { return false }
    let (base, mark) = (inner[..<dot], inner[dot...].dropFirst())
    // What calibration read had this mark, up to version 0.1.0.
    guard mark == "calibration" || (1...16).contains(mark.utf8.count) && mark.allSatisfy(\.isHexDigit) else {
      return false
    }
    return base == target || isTemporary(base, for: target)
  }

  /// The temporary names that this process has given.
  private static let names = Mutex<Set<String>>([])

  /// Such a name that counts as given.
  static func reservedPath(beside target: String) -> String {
    let path = path(beside: target)
    names.withLock { _ = $0.insert(path) }
    return path
  }

  static func remove(_ path: String) {
    names.withLock { _ = $0.remove(path) }
    _ = FileOperation.perform(.remove(path: path)) { unsafe Int(unlink(path)) }
  }

  /// Removes the files with temporary names that this process has.
  /// - Parameter end: ends the process; threads that give or remove names wait for it.
  static func removeAll(_ end: () -> Never) -> Never {
    names.withLock { names in
      for path in names { unsafe _ = unlink(path) }
      end()
    }
  }
}
