import Glibc
import Synchronization

/// A few threads that share every piece of work evenly.
///
/// Work is cut by position alone, never by who is free, and no result depends on the cut: one thread and many compute
/// the same bits. The caller is one of the threads. One caller at a time.
final class ThreadCrew: Sendable {
  let threadCount: Int
  private let board: WorkBoard

  /// - Parameter threadCount: at least 1, the caller included.
  init(threadCount: Int) {
    precondition(threadCount >= 1)
    self.threadCount = threadCount
    board = WorkBoard(threadCount: threadCount)
    for index in 1..<max(threadCount, 1) { board.startThread(index) }
  }

  deinit {
    if threadCount > 1 { board.post(nil) }
  }

  /// Cuts `0 ..< count` into one range for each thread and returns when all are done.
  /// - Parameters:
  ///   - minimum: no thread gets fewer items than this; small work stays on the caller.
  ///   - work: called with a thread's index and its range.
  func run(count: Int, minimum: Int = 1, _ work: (_ thread: Int, _ range: Range<Int>) -> Void) {
    let share = max(minimum, (count + threadCount - 1) / threadCount)
    guard share < count else {
      if count > 0 { work(0, 0..<count) }
      return
    }
    let piece = { (thread: Int) in
      let start = min(thread * share, count)
      let end = min(start + share, count)
      if start < end { work(thread, start..<end) }
    }
    withoutActuallyEscaping(piece) { piece in
      board.post(piece)
      piece(0)
      board.waitForOthers()
    }
  }
}

/// Where the crew's work is put up. The threads keep it alive, so that the crew itself can go.
@safe private final class WorkBoard: @unchecked Sendable {
  private let generation = Atomic<Int>(0)
  private let unfinished = Atomic<Int>(0)
  private let threadCount: Int
  /// Written under the mutex before `generation` rises, read after it was seen to rise.
  private var work: ((Int) -> Void)?
  private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
  private let posted = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
  private let finished = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)

  /// Looks for a change this often before it sleeps: about a microsecond. A shared machine has better use for a
  /// processor than waiting.
  private static let spins = 2000

  init(threadCount: Int) {
    self.threadCount = threadCount
    unsafe pthread_mutex_init(mutex, nil)
    unsafe pthread_cond_init(posted, nil)
    unsafe pthread_cond_init(finished, nil)
  }

  deinit {
    unsafe mutex.deallocate()
    unsafe posted.deallocate()
    unsafe finished.deallocate()
  }

  func startThread(_ index: Int) {
    let start = unsafe Unmanaged.passRetained(ThreadStart(board: self, index: index)).toOpaque()
    var thread = pthread_t()
    let code = unsafe pthread_create(
      &thread, nil,
      { argument in
        guard let argument = unsafe argument else { return nil }
        let start = unsafe Unmanaged<ThreadStart>.fromOpaque(argument).takeRetainedValue()
        start.board.serve(as: start.index)
        return nil
      }, start)
    precondition(code == 0, "the system has no thread left")
    pthread_detach(thread)
  }

  /// Puts up a piece of work for all threads but the caller; nil sends them home.
  func post(_ work: ((Int) -> Void)?) {
    unsafe pthread_mutex_lock(mutex)
    self.work = work
    unfinished.store(threadCount - 1, ordering: .releasing)
    generation.add(1, ordering: .releasing)
    unsafe pthread_cond_broadcast(posted)
    unsafe pthread_mutex_unlock(mutex)
  }

  func waitForOthers() {
    unsafe wait(for: finished) { self.unfinished.load(ordering: .acquiring) == 0 }
    work = nil
  }

  private func serve(as index: Int) {
    var seen = 0
    while true {
      unsafe wait(for: posted) { self.generation.load(ordering: .acquiring) != seen }
      seen += 1
      guard perform(as: index) else { return }
      if unfinished.subtract(1, ordering: .acquiringAndReleasing).newValue == 0 {
        unsafe pthread_mutex_lock(mutex)
        unsafe pthread_cond_signal(finished)
        unsafe pthread_mutex_unlock(mutex)
      }
    }
  }

  /// Not inlined: the reference to the work must be gone before the work counts as finished, because the caller's
  /// closure does not outlive that.
  @inline(never) private func perform(as index: Int) -> Bool {
    guard let work else { return false }
    work(index)
    return true
  }

  @unsafe private func wait(for condition: UnsafeMutablePointer<pthread_cond_t>, until isMet: () -> Bool) {
    for _ in 0..<Self.spins where isMet() { return }
    unsafe pthread_mutex_lock(mutex)
    while !isMet() { unsafe _ = pthread_cond_wait(condition, mutex) }
    unsafe pthread_mutex_unlock(mutex)
  }
}

private final class ThreadStart: Sendable {
  let board: WorkBoard
  let index: Int

  init(board: WorkBoard, index: Int) {
    self.board = board
    self.index = index
  }
}
