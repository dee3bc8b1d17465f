import Glibc

/// A call to the file system, as a `FileProbe` sees it.
public enum FileOperation: Sendable, Hashable {
  /// Opens a file or a directory.
  case open(path: String)
  /// Opens a file, which is created if it is missing.
  case create(path: String)
  /// Creates a file without a name, which operations know by this path.
  case createUnnamed(path: String)
  /// Gives a file without a name one that no file has.
  case link(from: String, to: String)
  case list(path: String)
  case read(path: String, byteOffset: Int, byteCount: Int)
  case map(path: String)
  case write(path: String, byteOffset: Int, byteCount: Int)
  /// Sets a file's length.
  case truncate(path: String, byteCount: Int)
  case synchronize(path: String)
  case synchronizeDirectory(path: String)
  case rename(from: String, to: String)
  case remove(path: String)
  case createDirectory(path: String)
  case removeDirectory(path: String)
  case lock(path: String)
}

/// What happens to a call to the file system instead of what would. Codes are those of errno.
public enum FileFault: Sendable, Hashable {
  /// The call is not made, and its caller sees it fail.
  case before(Int32)
  /// The call is made, and its caller sees it fail all the same.
  case after(Int32)
  /// A read or write stops after at most this many bytes, and its caller sees that it did.
  case short(Int)
}

/// Sees every call to the file system that this module makes on a task, and may make it fail: the seam for tests.
public protocol FileProbe: Sendable {
  /// Called before a call.
  /// - Returns: nil to let it be made.
  func fault(in operation: FileOperation) -> FileFault?

  /// Called after a call that succeeded, whatever its caller is shown.
  /// - Parameter written: the bytes that a write took, which may be fewer than were offered; else empty.
  func happened(_ operation: FileOperation, written: RawSpan)
}

extension FileOperation {
  /// The probe of the current task.
  @TaskLocal public static var probe: (any FileProbe)?

  /// Runs a body whose calls on the current task a probe sees; nil hides them from the one around it. Nothing but tests
  /// sets one.
  public static func withProbe<Value, Failure: Error>(
    _ probe: (any FileProbe)?, _ body: () throws(Failure) -> Value
  ) throws(Failure) -> Value {
    let result = $probe.withValue(probe) { () -> Result<Value, Failure> in
      do throws(Failure) {
        return .success(try body())
      } catch {
        return .failure(error)
      }
    }
    return try result.get()
  }

  /// Makes a call that returns 0 or more, or -1 and sets errno. One that a signal interrupted is made again.
  /// - Parameter undo: releases what the call returned, for a caller that is to see it fail.
  static func perform(
    _ operation: @autoclosure () -> FileOperation, undo: (Int) -> Void = { _ in }, _ call: () -> Int
  ) -> Int {
    unsafe transfer(operation(), byteCount: 0, undo: undo) { _ in call() }
  }

  /// Makes a call that reads or writes a number of bytes.
  /// - Parameters:
  ///   - source: the bytes to write; nil for a call that does not write.
  ///   - call: takes the number of bytes.
  /// - Returns: the number of bytes that were read or written, or -1, with errno set.
  @unsafe static func transfer(
    _ operation: @autoclosure () -> FileOperation, byteCount: Int, from source: UnsafeRawPointer? = nil,
    undo: (Int) -> Void = { _ in }, _ call: (_ byteCount: Int) -> Int
  ) -> Int {
    while true {
      let result =
        if let probe { unsafe probed(probe, operation(), byteCount, source, undo: undo, call) } else { call(byteCount) }
      if result >= 0 || errno != EINTR { return result }
    }
  }

  @unsafe private static func probed(
    _ probe: any FileProbe, _ operation: FileOperation, _ byteCount: Int, _ source: UnsafeRawPointer?,
    undo: (Int) -> Void, _ call: (Int) -> Int
  ) -> Int {
    let fault = probe.fault(in: operation)
    if case .before(let code) = fault {
      errno = code
      return -1
    }
    var limit = byteCount
    if case .short(let count) = fault { limit = min(limit, count) }
    let result = call(limit)
    guard result >= 0 else { return result }
    let code = errno
    let written = unsafe UnsafeRawBufferPointer(start: source, count: source == nil ? 0 : result)
    unsafe probe.happened(operation, written: RawSpan(_unsafeBytes: written))
    errno = code
    guard case .after(let code) = fault else { return result }
    undo(result)
    errno = code
    return -1
  }
}
