import Synchronization
import Testing

@testable import LlamaRuntime

@Suite struct ThreadPoolTests {
  private final class Counters: Sendable {
    let items = Atomic<Int>(0)
    let sum = Atomic<Int>(0)
  }

  /// Work that comes from several callers at once: every item is done once, and for the caller that posted it.
  @Test(arguments: [1, 2, 4]) func callersTakeTurns(threadCount: Int) async {
    let pool = ThreadPool(threadCount: threadCount)
    await withTaskGroup(of: Bool.self) { group in
      for caller in 1...6 {
        group.addTask {
          await withCheckedContinuation { continuation in
            let isStarted = WorkThread.start {
              var isRight = true
              for count in [1, 7, 100, 1000] + Array(repeating: 64, count: 200) {
                let counters = Counters()
                pool.run(count: count, with: (counters, caller)) { context, thread, range in
                  let (counters, caller) = context
                  counters.items.add(range.count, ordering: .relaxed)
                  for item in range { counters.sum.add(item * caller, ordering: .relaxed) }
                }
                isRight =
                  isRight && counters.items.load(ordering: .relaxed) == count
                  && counters.sum.load(ordering: .relaxed) == caller * count * (count - 1) / 2
              }
              continuation.resume(returning: isRight)
            }
            if !isStarted { continuation.resume(returning: false) }
          }
        }
      }
      for await isRight in group { #expect(isRight) }
    }
  }
}
