import CKernels
import Glibc
import Synchronization

/// The threads that compute for all requests of a process.
///
/// Work is cut into some pieces for each thread, and a free thread takes the next one: a thread that the system keeps
/// waiting holds up no more than a piece. No result depends on the cut or on who did what: one thread and many compute
/// the same bits. The caller is one of the threads. Safe to use from any thread: the work of several requests takes
/// turns, product by product, so that no more threads compute than there are processors.
public final class ThreadPool: Sendable {
  /// Threads that share a piece of work, the caller included.
  public let threadCount: Int
  private let board: WorkBoard
  /// Held by the caller whose work is posted.
  private let turn = Mutex<Void>(())

  /// One thread for each processor that is online. Everything that is not given another pool uses it.
  public static let shared = ThreadPool(threadCount: min(max(1, sysconf(Int32(_SC_NPROCESSORS_ONLN))), 1024))

  /// Pieces that a thread takes when all are equally fast: more cost more claims, fewer leave more to wait for.
  private static let piecesPerThread = 8

  /// Threads that are left to others, such as those that run Swift's tasks, where the system has too few for the pool.
  private static let reserve = 8

  /// Where the system does not have so many threads, the pool has fewer; no result depends on that.
  /// - Parameter threadCount: 1 … 1024, the caller included.
  public init(threadCount: Int) {
    precondition((1...1024).contains(threadCount))
    var crew = Self.crew(of: threadCount)
    if crew.threadCount < threadCount {
      crew.board.close()
      crew = Self.crew(of: max(1, crew.threadCount - Self.reserve))
    }
    (self.threadCount, board) = crew
  }

  /// Starts threads until there are as many, or the system has no more.
  private static func crew(of threadCount: Int) -> (threadCount: Int, board: WorkBoard) {
    let board = WorkBoard()
    for index in 1..<threadCount where !WorkThread.start({ board.serve(as: index) }) { return (index, board) }
    return (threadCount, board)
  }

  deinit { board.close() }

  /// Cuts `0 ..< count` into ranges and returns when all are done.
  /// - Parameters:
  ///   - minimum: no piece has fewer items than this; small work stays on the caller.
  ///   - context: what `work` is called with. A closure that captures nothing costs no memory.
  ///   - work: called with the context, a thread's index and a range. It must not post work itself.
  package func run<Context>(
    count: Int, minimum: Int = 1, with context: Context,
    _ work: @escaping (_ context: Context, _ thread: Int, _ range: Range<Int>) -> Void
  ) {
    let pieces = threadCount * Self.piecesPerThread
    let share = max(minimum, (count + pieces - 1) / pieces)
    guard threadCount > 1, share < count else {
      if count > 0 { work(context, 0, 0..<count) }
      return
    }
    let posted = Posted(context: context, work: work)
    unsafe withUnsafePointer(to: posted) { posted in
      turn.withLock { _ in
        unsafe board.perform(UnsafeRawPointer(posted), of: Posted<Context>.self, count: count, share: share)
      }
    }
  }
}

/// Work with its context, as it lies on the caller's stack.
private struct Posted<Context>: PostedWork {
  let context: Context
  let work: (Context, Int, Range<Int>) -> Void

  @unsafe static func perform(_ posted: UnsafeRawPointer, thread: Int, range: Range<Int>) {
    let posted = unsafe posted.assumingMemoryBound(to: Self.self)
    unsafe posted.pointee.work(posted.pointee.context, thread, range)
  }
}

private protocol PostedWork {
  @unsafe static func perform(_ posted: UnsafeRawPointer, thread: Int, range: Range<Int>)
}

/// Where the pool's work is posted. The threads keep it alive, so that the pool itself can go.
@safe private final class WorkBoard: @unchecked Sendable {
  /// Pieces that nobody has claimed yet in the last 16 bits, the number of the posting before them. A claim succeeds
  /// only if the word has not changed meanwhile, so a late one claims nothing of a later posting.
  private let unclaimed = Atomic<UInt64>(0)
  private let unfinished = Atomic<Int>(0)
  private let isClosed = Atomic<Bool>(false)
  private let sleepers = Atomic<Int>(0)
  private let callerSleeps = Atomic<Bool>(false)

  // Written while no piece is unfinished, read by a thread that has claimed one.
  @unsafe private var posted: UnsafeRawPointer?
  private var type: (any PostedWork.Type)?
  private var count = 0
  private var share = 0
  private var pieces = 0

  private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
  private let wakes = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
  private let finished = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)

  private static let pieceMask: UInt64 = 0xFFFF

  /// How often a thread looks for a change before it sleeps. That takes about ten microseconds: longer than the time
  /// between two products of a layer, shorter than others on a shared machine would notice.
  private static let spins = 1000

  init() {
    unsafe pthread_mutex_init(mutex, nil)
    unsafe pthread_cond_init(wakes, nil)
    unsafe pthread_cond_init(finished, nil)
  }

  deinit {
    unsafe mutex.deallocate()
    unsafe wakes.deallocate()
    unsafe finished.deallocate()
  }

  /// Ends the threads.
  func close() {
    isClosed.store(true, ordering: .sequentiallyConsistent)
    wakeSleepers()
  }

  /// Posts work, takes part in it and returns when all of it is done.
  @unsafe func perform(_ work: UnsafeRawPointer, of type: any PostedWork.Type, count: Int, share: Int) {
    unsafe posted = work
    self.type = type
    self.count = count
    self.share = share
    pieces = (count + share - 1) / share
    unfinished.store(pieces, ordering: .relaxed)
    let number = unclaimed.load(ordering: .relaxed) & ~Self.pieceMask &+ (Self.pieceMask + 1)
    unclaimed.store(number | UInt64(pieces), ordering: .sequentiallyConsistent)
    if sleepers.load(ordering: .sequentiallyConsistent) > 0 { wakeSleepers() }
    performPieces(thread: 0)
    unsafe wait(
      for: finished, announcing: { self.callerSleeps.store($0, ordering: .sequentiallyConsistent) },
      until: { self.unfinished.load(ordering: .sequentiallyConsistent) == 0 })
  }

  private func wakeSleepers() {
    unsafe pthread_mutex_lock(mutex)
    unsafe pthread_cond_broadcast(wakes)
    unsafe pthread_mutex_unlock(mutex)
  }

  func serve(as index: Int) {
    while !isClosed.load(ordering: .relaxed) {
      performPieces(thread: index)
      unsafe wait(
        for: wakes,
        announcing: { _ = self.sleepers.add($0 ? 1 : -1, ordering: .sequentiallyConsistent) },
        until: {
          self.unclaimed.load(ordering: .sequentiallyConsistent) & Self.pieceMask != 0
            || self.isClosed.load(ordering: .sequentiallyConsistent)
        })
    }
  }

  /// Claims and performs pieces until none is left.
  private func performPieces(thread: Int) {
    var seen = unclaimed.load(ordering: .acquiring)
    while seen & Self.pieceMask != 0 {
      let claim = unclaimed.weakCompareExchange(
        expected: seen, desired: seen - 1, ordering: .acquiringAndReleasing)
      seen = claim.original
      guard claim.exchanged else { continue }
      let piece = pieces - Int(seen & Self.pieceMask)
      if let posted = unsafe posted, let type {
        unsafe type.perform(posted, thread: thread, range: piece * share..<min((piece + 1) * share, count))
      }
      if unfinished.subtract(1, ordering: .sequentiallyConsistent).newValue == 0,
        callerSleeps.load(ordering: .sequentiallyConsistent)
      {
        unsafe pthread_mutex_lock(mutex)
        unsafe pthread_cond_signal(finished)
        unsafe pthread_mutex_unlock(mutex)
      }
      seen = unclaimed.load(ordering: .acquiring)
    }
  }

  /// - Parameter announcing: records that a thread sleeps, or no longer does, for those who may change the condition,
  ///   which is checked once more after that.
  @unsafe private func wait(
    for condition: UnsafeMutablePointer<pthread_cond_t>, announcing: (Bool) -> Void, until isMet: () -> Bool
  ) {
    for _ in 0..<Self.spins {
      if isMet() { return }
      sp_spin_hint()
    }
    unsafe pthread_mutex_lock(mutex)
    announcing(true)
    while !isMet() { unsafe _ = pthread_cond_wait(condition, mutex) }
    announcing(false)
    unsafe pthread_mutex_unlock(mutex)
  }
}

/// A thread for work that computes or waits for long: the pool that runs Swift's tasks has few threads, which must not
/// be blocked.
package enum WorkThread {
  private final class Work: Sendable {
    let body: @Sendable () -> Void

    init(_ body: @escaping @Sendable () -> Void) { self.body = body }
  }

  /// - Returns: whether the system had a thread. If not, the body is not called.
  package static func start(_ body: @escaping @Sendable () -> Void) -> Bool {
    let work = unsafe Unmanaged.passRetained(Work(body)).toOpaque()
    var thread = pthread_t()
    let code = unsafe pthread_create(
      &thread, nil,
      { argument in
        guard let argument = unsafe argument else { return nil }
        unsafe Unmanaged<Work>.fromOpaque(argument).takeRetainedValue().body()
        return nil
      }, work)
    guard code == 0 else {
      unsafe Unmanaged<Work>.fromOpaque(work).release()
      return false
    }
    pthread_detach(thread)
    return true
  }
}
