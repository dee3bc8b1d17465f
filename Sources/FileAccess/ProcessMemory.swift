import Glibc

/// The memory that this process has, as the system counts it (proc_pid_status(5)).
public enum ProcessMemory {
  /// Bytes that only this process uses, not counting files.
  /// - Returns: nil where the system does not say.
  public static func privateByteCount() -> Int? { byteCount("RssAnon:") }

  /// The most bytes that were resident at once: pages of mapped files that were touched count.
  /// - Returns: nil where the system does not say.
  public static func peakByteCount() -> Int? { byteCount("VmHWM:") }

  /// Resets the peak to the current resident size.
  /// - Returns: false where the system does not allow it; the peak is then that since the start of the process.
  public static func resetPeak() -> Bool {
    guard let file = try? Descriptor(opening: "/proc/self/clear_refs", flags: O_WRONLY) else { return false }
    // 5 resets the peak; Documentation/filesystems/proc.rst of Linux.
    return unsafe write(file.number, "5", 1) == 1
  }

  private static func byteCount(_ key: String) -> Int? {
    SystemText.contents("/proc/self/status").flatMap { SystemText.number(of: key, in: $0) }.map { $0 * 1024 }
  }
}

/// The small files through which the kernel reports its figures.
enum SystemText {
  /// A file's text; its length is not known before it is read.
  /// - Returns: nil when it cannot be read.
  static func contents(_ path: String) -> String? {
    guard let descriptor = try? Descriptor(opening: path, flags: O_RDONLY) else { return nil }
    var bytes: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 1 << 14)
    while bytes.count < 1 << 20 {
      let count = unsafe buffer.withUnsafeMutableBytes { unsafe descriptor.read(into: $0, at: bytes.count, path: path) }
      guard count >= 0 else { return nil }
      if count == 0 { return String(decoding: bytes, as: UTF8.self) }
      bytes += buffer[..<count]
    }
    return nil
  }

  /// The number after a key that starts a line.
  static func number(of key: String, in text: String) -> Int? {
    for line in text.split(separator: "\n") {
      let words = line.split { $0 == " " || $0 == "\t" }
      if words.count >= 2, words[0] == key { return Int(words[1]) }
    }
    return nil
  }
}
