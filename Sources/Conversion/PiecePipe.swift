import Dispatch
import FileAccess
import Synchronization

/// Reads pieces of files ahead of the one who converts them, and digests the files on the way.
///
/// A fixed number of buffers goes round: the reader fills one while others are converted.
final class PiecePipe: Sendable {
  /// Enough that neither side waits for the other's next buffer.
  static let bufferCount = 6

  private struct State {
    var free: [[UInt8]] = []
    var filled: [(piece: SourceFile.Piece, buffer: [UInt8])] = []
    var refusal: Refusal?
    var digests: [Digest256] = []
    var isStopped = false
  }

  private let state: Mutex<State>
  private let freeCount = DispatchSemaphore(value: PiecePipe.bufferCount)
  private let filledCount = DispatchSemaphore(value: 0)
  private let reader = DispatchGroup()

  init(bufferByteCount: Int) {
    state = Mutex(
      State(free: (0..<Self.bufferCount).map { _ in [UInt8](repeating: 0, count: bufferByteCount) }))
  }

  /// The digests of the files, when `next()` has returned nil.
  var digests: [Digest256] { state.withLock(\.digests) }

  /// Starts to read all files, in order, on a thread of its own.
  func read(_ files: [SourceFile]) {
    // The seam of the tests belongs to the task that converts.
    let probe = FileOperation.probe
    DispatchQueue.global().async(group: reader) { [self] in
      FileOperation.$probe.withValue(probe) {
        do throws(Refusal) {
          for file in files { try read(file) }
        } catch {
          state.withLock { $0.refusal = error }
        }
      }
      // The end, or the refusal.
      filledCount.signal()
    }
  }

  private func read(_ file: SourceFile) throws(Refusal) {
    let source = try SequentialFile(file.path)
    guard source.byteCount == file.byteCount else {
      throw Refusal(.inputOutput, file: file.path, "has changed while it was read")
    }
    var hasher = Hasher256()
    for piece in file.pieces {
      freeCount.wait()
      guard var buffer = state.withLock({ $0.isStopped ? nil : $0.free.popLast() }) else { return }
      var span = buffer.mutableSpan
      var bytes = unsafe span.mutableBytes
      var part = bytes._mutatingExtracting(0..<piece.byteRange.count)
      try source.read(at: piece.byteRange.lowerBound, into: &part)
      hasher.update(part.bytes)
      state.withLock { $0.filled.append((piece, buffer)) }
      filledCount.signal()
    }
    state.withLock { $0.digests.append(hasher.finalize()) }
  }

  /// The next piece and a buffer that starts with its bytes. The buffer must come back through `recycle`.
  /// - Returns: nil at the end.
  /// - Throws: the reader's `Refusal`.
  func next() throws(Refusal) -> (piece: SourceFile.Piece, buffer: [UInt8])? {
    filledCount.wait()
    let (first, refusal) = state.withLock { state in
      (state.filled.isEmpty ? nil : state.filled.removeFirst(), state.refusal)
    }
    if first == nil, let refusal { throw refusal }
    return first
  }

  func recycle(_ buffer: consuming [UInt8]) {
    let buffer = buffer
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
