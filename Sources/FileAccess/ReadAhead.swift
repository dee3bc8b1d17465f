import Dispatch
import Synchronization

/// Reads ranges of a mapped file before they are used, and drops them afterwards: for a file that is larger than memory.
///
/// Nothing waits for it, and it affects only speed: a page that is not in memory when it is touched is read then.
/// Ranges are processed in the order of the calls. Safe to use from any thread.
public final class ReadAhead: Sendable {
  private let file: MappedFile
  private let queues: [DispatchQueue]
  private let isStopped = StopFlag()

  private final class StopFlag: Sendable {
    let value = Atomic<Bool>(false)
  }

  /// The size of one request to the kernel: a huge page, which is read and mapped as one where the system has them and
  /// the file was advised so.
  public static let pieceByteCount = 2 << 20

  /// Each thread waits for its own piece, so this many requests are on their way to the disk.
  private static let threadCount = 4

  public init(_ file: MappedFile) {
    self.file = file
    // A separate queue gets a thread whatever other queues are doing.
    queues = (0..<Self.threadCount).map { DispatchQueue(label: "sharedpack.read-ahead.\($0)") }
  }

  deinit { isStopped.value.store(true, ordering: .relaxed) }

  /// Starts to read a range of bytes into memory.
  public func read(_ range: Range<Int>) {
    let piece = Self.pieceByteCount
    advise(.populate, range.lowerBound / piece..<(range.upperBound + piece - 1) / piece)
  }

  /// Starts to drop a range of bytes from memory, except for the piece in which the bytes after the range start.
  public func drop(_ range: Range<Int>) {
    let piece = Self.pieceByteCount
    let first = range.lowerBound / piece
    advise(.drop, first..<max(first, range.upperBound / piece))
  }

  /// A piece always goes to the same thread, so that it is not dropped after it has been read again.
  private func advise(_ advice: MappedFile.Advice, _ pieces: Range<Int>) {
    for (index, queue) in queues.enumerated() {
      queue.async { [file, isStopped] in
        for piece in pieces where piece % Self.threadCount == index {
          guard !isStopped.value.load(ordering: .relaxed) else { return }
          let start = piece * Self.pieceByteCount
          file.advise(advice, start..<start + Self.pieceByteCount)
        }
      }
    }
  }
}
