import Dispatch
import FileAccess
import Synchronization

/// A buffer that is handed from the reader to the converter and back; only one of them has it at a time.
final class PieceBuffer: @unchecked Sendable {
  var bytes: [UInt8]

  init(byteCount: Int) { bytes = [UInt8](repeating: 0, count: byteCount) }

  func fill(from file: any WeightReader, _ range: Range<Int>, hasher: inout Hasher256) throws(Refusal) {
    // A span of a class's property cannot outlive the access, so the array is taken out meanwhile.
    var bytes: [UInt8] = []
    swap(&bytes, &self.bytes)
    defer { swap(&bytes, &self.bytes) }
    var span = bytes.mutableSpan
    var whole = unsafe span.mutableBytes
    var part = whole._mutatingExtracting(0..<range.count)
    try file.read(at: range.lowerBound, into: &part)
    hasher.update(part.bytes)
  }
}

/// Reads pieces of files ahead of the converter, and digests the files on the way.
///
/// A fixed number of buffers goes round: the reader fills one while others are converted.
final class PiecePipe: Sendable {
  /// Enough that neither side waits for the other's next buffer.
  static let bufferCount = 6

  /// How far the disk reads ahead of the reader.
  static let prefetchByteCount = 32 << 20

  private struct State {
    var free: [PieceBuffer] = []
    var filled: [(piece: SourceFile.Piece, buffer: PieceBuffer)] = []
    var refusal: Refusal?
    var digests: [Digest256] = []
    var isStopped = false
  }

  private let state: Mutex<State>
  private let freeCount = DispatchSemaphore(value: 0)
  private let filledCount = DispatchSemaphore(value: 0)
  private let reader = DispatchGroup()

  init(bufferByteCount: Int) {
    state = Mutex(State(free: (0..<Self.bufferCount).map { _ in PieceBuffer(byteCount: bufferByteCount) }))
    // Not the initial value, because a semaphore must not be released below its initial value.
    for _ in 0..<Self.bufferCount { freeCount.signal() }
  }

  /// The digests of the files, when `next()` has returned nil.
  var digests: [Digest256] { state.withLock(\.digests) }

  /// Starts to read all files, in order, on a thread of its own.
  func read(_ files: [SourceFile], of weights: any WeightSource) {
    // The probe of tests belongs to the task that converts.
    let probe = FileOperation.probe
    // A separate queue gets a thread whatever other queues are doing.
    DispatchQueue(label: "sharedpack.conversion.reader").async(group: reader) { [self] in
      FileOperation.withProbe(probe) { readAll(files, of: weights) }
      // Announces the end or the refusal.
      filledCount.signal()
    }
  }

  private func readAll(_ files: [SourceFile], of weights: any WeightSource) {
    do throws(Refusal) {
      for (number, file) in files.enumerated() { try read(file, from: weights.open(number)) }
    } catch {
      state.withLock { $0.refusal = error }
    }
  }

  private func read(_ file: SourceFile, from source: any WeightReader) throws(Refusal) {
    guard source.byteCount == file.byteCount else {
      throw Refusal(.inputOutput, file: file.path, "changed while it was being read")
    }
    var hasher = Hasher256()
    var prefetched = 0
    var released = 0
    for piece in file.pieces {
      // The disk works while this thread digests.
      let ahead = min(piece.byteRange.upperBound + Self.prefetchByteCount, file.byteCount)
      if ahead - prefetched >= Self.prefetchByteCount / 2 || (ahead == file.byteCount && ahead > prefetched) {
        source.prefetch(prefetched..<ahead)
        prefetched = ahead
        // Pages that were read are dropped; otherwise a checkpoint larger than memory makes the kernel search for pages
        // to evict.
        source.release(released..<piece.byteRange.lowerBound)
        released = piece.byteRange.lowerBound
      }
      freeCount.wait()
      guard let buffer = state.withLock({ $0.isStopped ? nil : $0.free.popLast() }) else {
        // The next file is not read either.
        freeCount.signal()
        return
      }
      try buffer.fill(from: source, piece.byteRange, hasher: &hasher)
      state.withLock { $0.filled.append((piece, buffer)) }
      filledCount.signal()
    }
    state.withLock { $0.digests.append(hasher.finalize()) }
  }

  /// The next piece and a buffer that starts with its bytes. The buffer must come back through `recycle`.
  /// - Returns: nil at the end.
  /// - Throws: the reader's `Refusal`.
  func next() throws(Refusal) -> (piece: SourceFile.Piece, buffer: PieceBuffer)? {
    filledCount.wait()
    let (first, refusal) = state.withLock { state in
      (state.filled.isEmpty ? nil : state.filled.removeFirst(), state.refusal)
    }
    if first == nil, let refusal { throw refusal }
    return first
  }

  func recycle(_ buffer: PieceBuffer) {
    state.withLock { $0.free.append(buffer) }
    freeCount.signal()
  }

  /// Makes the reader end and waits for it.
  func stop() {
    state.withLock { $0.isStopped = true }
    freeCount.signal()
    reader.wait()
  }
}
