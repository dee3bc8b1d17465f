internal import CKernels
internal import Synchronization

/// What the processor and its memory can do, measured with the kernels' own instructions.
public struct MachineLimits: Sendable {
  /// The instruction set that was chosen.
  public static var instructionSet: String { unsafe String(cString: sp_kernels().pointee.name) }

  /// Multiplications and additions of int8 per second, all threads together.
  /// - Parameter seconds: about how long to measure.
  public static func int8OperationsPerSecond(threadCount: Int, seconds: Double = 0.2) -> Double {
    let threads = ThreadPool(threadCount: threadCount)
    var iterations = 1 << 16
    while true {
      let operations = Atomic<UInt64>(0)
      let start = ContinuousClock.now
      threads.run(count: threadCount, with: iterations) { iterations, _, _ in
        let done = unsafe sp_kernels().pointee.peak_int8(iterations)
        operations.add(done, ordering: .relaxed)
      }
      let elapsed = (ContinuousClock.now - start).seconds
      if elapsed >= seconds / 2 { return Double(operations.load(ordering: .relaxed)) / elapsed }
      iterations *= 2
    }
  }
}

/// Reads a region of memory that no cache holds, as one-token products would if they did nothing else.
public final class MemoryReader {
  public let byteCount: Int
  private let threads: ThreadPool
  private let region: FloatBuffer

  /// - Parameter byteCount: the region, in all.
  public init(threadCount: Int, byteCount: Int = 1 << 30) {
    let columns = 1 << 16
    threads = ThreadPool(threadCount: threadCount)
    region = FloatBuffer(rows: byteCount / 4 / columns, columns: columns)
    self.byteCount = region.rows * columns * 4
    threads.run(count: region.rows, with: region) { region, _, rows in
      for row in rows { unsafe region.row(row).update(repeating: Float(row), count: columns) }
    }
  }

  /// All of it once, all threads together.
  /// - Returns: the seconds that it took.
  public func read() -> Double {
    let start = ContinuousClock.now
    threads.run(count: region.rows, with: region) { region, _, rows in
      _ = unsafe sp_kernels().pointee.read_memory(region.row(rows.lowerBound), rows.count * region.columns * 4)
    }
    return (ContinuousClock.now - start).seconds
  }

  /// Bytes per second: the best of a few passes.
  public func bytesPerSecond() -> Double {
    Double(byteCount) / (0..<5).map { _ in read() }.reduce(.infinity, min)
  }
}

extension MachineLimits {
  /// Seconds from posting work until every thread has taken a piece and all are done: the median of many runs. 0 for
  /// one thread.
  public static func handOffSeconds(threadCount: Int) -> Double {
    guard threadCount > 1 else { return 0 }
    let threads = ThreadPool(threadCount: threadCount)
    let meeting = Meeting()
    let seconds = (0..<2001).map { _ in
      let start = ContinuousClock.now
      meeting.present.store(0, ordering: .relaxed)
      threads.run(count: threadCount, with: (meeting, threadCount)) { work, _, _ in
        let (meeting, threadCount) = work
        meeting.present.add(1, ordering: .acquiringAndReleasing)
        while meeting.present.load(ordering: .acquiring) < threadCount { sp_spin_hint() }
      }
      return (ContinuousClock.now - start).seconds
    }
    return seconds.sorted()[seconds.count / 2]
  }

  private final class Meeting: Sendable {
    let present = Atomic<Int>(0)
  }
}

extension Duration {
  /// In seconds, for rates.
  package var seconds: Double { Double(components.seconds) + Double(components.attoseconds) * 1e-18 }
}
