internal import CMappingFaults
import Glibc

/// A regular file mapped read-only and shared: every process that maps it uses the same physical pages.
///
/// Immutable and safe to use from any thread. The file should not shrink while it is mapped, and published files never do.
/// One that does all the same has zeros where its bytes were, if `MappingFaults` are handled, and whoever has read it asks
/// `requireWhole()` before what was read is used.
@safe public final class MappedFile: Sendable {
  /// As the caller named it.
  public let path: String
  public let byteCount: Int
  private let address: UInt
  /// Kept open because the system drops cached pages through a descriptor only, not through the mapping.
  let descriptor: Descriptor?
  /// What `CMappingFaults` knows the mapping by; 0 for none.
  private let watch: UInt

  /// Maps a whole file.
  /// - Parameter keepsOpen: whether the file stays open as well, as `Advice.drop` needs it to.
  /// - Throws: `Refusal` `missing-file`, `not-a-regular-file`, `permission-denied` or `input-output`.
  public init(_ path: String, keepsOpen: Bool = false) throws(Refusal) {
    // Non-blocking, so that a FIFO in place of the file is refused, not waited for.
    let descriptor = try Descriptor(opening: path, flags: O_RDONLY | O_NONBLOCK)
    let byteCount = try descriptor.regularFileByteCount(path: path)
    self.path = path
    self.byteCount = byteCount
    guard byteCount > 0 else {
      address = 0
      watch = 0
      self.descriptor = nil
      return
    }
    // MAP_FAILED is the address of all ones, which is -1; no other one is negative.
    func unmap(_ address: Int) { unsafe _ = munmap(UnsafeMutableRawPointer(bitPattern: address), byteCount) }
    let mapping = FileOperation.perform(.map(path: path), undo: unmap) {
      unsafe Int(bitPattern: mmap(nil, byteCount, PROT_READ, MAP_SHARED, descriptor.number, 0))
    }
    address = UInt(bitPattern: mapping)
    guard mapping != -1 else {
      watch = 0
      throw SystemError.refusal("mmap", path: path)
    }
    MappingFaults.prepare()
    watch = unsafe UInt(
      bitPattern: sp_mapping_watch(UnsafeRawPointer(bitPattern: mapping), byteCount, path))
    self.descriptor = keepsOpen ? consume descriptor : nil
  }

  deinit {
    if let watch = unsafe OpaquePointer(bitPattern: watch) { unsafe sp_mapping_forget(watch) }
    if byteCount > 0, address != .max { unsafe _ = munmap(UnsafeMutableRawPointer(bitPattern: address), byteCount) }
  }

  /// The file's bytes.
  public var bytes: RawSpan {
    @_lifetime(borrow self) get {
      let span = unsafe RawSpan(_unsafeBytes: unsafeBytes)
      return unsafe _overrideLifetime(span, borrowing: self)
    }
  }

  /// The file's bytes for the kernels. Valid as long as this object lives.
  @unsafe public var unsafeBytes: UnsafeRawBufferPointer {
    unsafe UnsafeRawBufferPointer(start: UnsafeRawPointer(bitPattern: address), count: byteCount)
  }

  /// Whether all bytes that have been read were the file's. Costs little: ask after each piece of work.
  public var isWhole: Bool {
    guard let watch = unsafe OpaquePointer(bitPattern: watch) else { return true }
    return unsafe sp_mapping_is_whole(watch)
  }

  /// Ensures that all bytes that have been read were the file's: before what was read or computed from them is used.
  /// - Throws: `Refusal` `file-changed` when the file was cut short or could not be read.
  public func requireWhole() throws(Refusal) {
    if !isWhole { throw MappingFaults.refusal(path) }
  }

  /// Advice to the kernel about a range of pages.
  public enum Advice: Sendable {
    /// Read them ahead.
    case willNeed
    /// Read and map them before the call returns.
    case populate
    /// Release them: they are read again from the file when touched.
    case release
    /// Release them, and let the system forget them unless another process has them mapped.
    case drop
    /// Read and map them as huge pages where the system can.
    case hugePages
  }

  /// Advises the kernel on the pages that lie wholly or partly in a range of bytes.
  public func advise(_ advice: Advice, _ range: Range<Int>) {
    let page = Int(sysconf(Int32(_SC_PAGESIZE)))
    let start = max(range.lowerBound, 0) / page * page
    let end = min(range.upperBound, byteCount)
    guard end > start else { return }
    func advise(_ flag: Int32) -> Bool {
      unsafe madvise(UnsafeMutableRawPointer(bitPattern: address + UInt(start)), end - start, flag) == 0
    }
    switch advice {
    case .willNeed: _ = advise(MADV_WILLNEED)
    // Linux before 5.14 does not know how to populate.
    case .populate: if !advise(MADV_POPULATE_READ) { _ = advise(MADV_WILLNEED) }
    case .release: _ = advise(MADV_DONTNEED)
    case .drop:
      _ = advise(MADV_DONTNEED)
      switch descriptor {
      case .some(let descriptor):
        _ = posix_fadvise(descriptor.number, off_t(start), off_t(end - start), POSIX_FADV_DONTNEED)
      case .none: break
      }
    case .hugePages: _ = advise(MADV_HUGEPAGE)
    }
  }
}
