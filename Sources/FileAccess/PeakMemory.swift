import Glibc

/// The most memory that this process has had resident: mapped pages that it touched count.
public enum PeakMemory {
  /// Starts anew from what is resident now.
  /// - Returns: false where the system does not allow it; the peak is then that since the start of the process.
  public static func reset() -> Bool {
    guard let file = try? Descriptor(opening: "/proc/self/clear_refs", flags: O_WRONLY) else { return false }
    // 5 resets the peak; Documentation/filesystems/proc.rst of Linux.
    return unsafe write(file.number, "5", 1) == 1
  }

  /// - Returns: nil where the system does not tell.
  public static var byteCount: Int? {
    guard let file = try? Descriptor(opening: "/proc/self/status", flags: O_RDONLY) else { return nil }
    var bytes = [UInt8](repeating: 0, count: 1 << 14)
    let count = unsafe bytes.withUnsafeMutableBytes { unsafe read(file.number, $0.baseAddress, $0.count) }
    guard count > 0 else { return nil }
    let lines = String(decoding: bytes[..<count], as: UTF8.self).split(separator: "\n")
    // VmHWM:      1234 kB
    let words = lines.first { $0.hasPrefix("VmHWM:") }?.split { $0 == " " || $0 == "\t" }
    return words.flatMap { $0.count > 1 ? Int($0[1]) : nil }.map { $0 * 1024 }
  }
}
