import Dispatch

/// Threads for work that takes long and does not wait for anything: a task that does such work among the threads of all
/// tasks would keep others waiting.
final class BlockingWork: TaskExecutor {
  private let queue: DispatchQueue

  /// - Parameter isSerial: whether one piece of work begins after the one before has ended.
  init(_ label: String, isSerial: Bool) {
    queue = isSerial ? DispatchQueue(label: label) : DispatchQueue(label: label, attributes: .concurrent)
  }

  func enqueue(_ job: consuming ExecutorJob) {
    let job = UnownedJob(job)
    queue.async { unsafe job.runSynchronously(on: self.asUnownedTaskExecutor()) }
  }

  /// Does work for the task that waits for it; cancelling that cancels it.
  func run<Value: Sendable>(_ work: @escaping @Sendable () throws -> Value) async throws -> Value {
    let task = Task(executorPreference: self) { try work() }
    return try await withTaskCancellationHandler {
      try await task.value
    } onCancel: {
      task.cancel()
    }
  }
}
