import Glibc

/// Allocated memory, aligned to 64 bytes as kernels read them.
///
/// Safe to hand to any thread; no two threads may write a byte at a time, or one write while another reads it.
@safe public final class AlignedMemory: @unchecked Sendable {
  public let byteCount: Int
  /// Valid as long as this object lives.
  @unsafe public let base: UnsafeMutableRawPointer

  public static let alignment = 64

  private static let hugePageByteCount = 1 << 21

  /// - Parameters:
  ///   - isZeroed: whether all bytes are set to zero. Otherwise nothing is promised about them, and the system hands out
  ///     pages as they are first written.
  ///   - prefersHugePages: whether 8 MiB and more are aligned to huge pages, which take fewer faults and address
  ///     translations. Not for memory of which small, scattered parts are used: each takes a whole page of 2 MiB.
  public init(byteCount: Int, isZeroed: Bool = false, prefersHugePages: Bool = false) {
    precondition(byteCount >= 0)
    let isHuge = prefersHugePages && byteCount >= 4 * Self.hugePageByteCount
    self.byteCount = byteCount
    unsafe base = .allocate(
      byteCount: max(byteCount, Self.alignment), alignment: isHuge ? Self.hugePageByteCount : Self.alignment)
    // A hint: a system without huge pages uses others.
    if isHuge { unsafe _ = madvise(base, byteCount, MADV_HUGEPAGE) }
    if isZeroed { unsafe base.initializeMemory(as: UInt8.self, repeating: 0, count: byteCount) }
  }

  deinit { unsafe base.deallocate() }

  /// All bytes, for reading and writing. Valid as long as this object lives.
  @unsafe public var unsafeBytes: UnsafeMutableRawBufferPointer {
    unsafe UnsafeMutableRawBufferPointer(start: base, count: byteCount)
  }
}
